"""What was counted of all time: sums that never become less, for who asks again and again.

They outlive every process that added to them. Where there are too many endpoints, those that were
unused for longest are let go; ``OTHERS`` has what came of endpoints that found no room.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.exceptions import StoreUnavailable
from pulse.metrics import flush
from pulse.metrics.buckets import groups_of
from pulse.metrics.recorder import (
    APART,
    DOUBLING,
    OWN,
    REFUSED,
    REFUSED_OF,
    STATUS,
    SUM,
    WOULD_REFUSE,
    Fields,
    Groups,
)
from pulse.store.connection import current_backend

#: What pulse counts of itself: the first words of the names of its fields.
DECIDED, DECISION_BITS = "decided", "decision_bits"
STORE_ERROR, SWALLOWED = "store_error", "swallowed"
#: And of probes: results, their latencies, and how late they were sent.
PROBE, PROBE_BITS, PROBE_US = "probe", "probe_bits", "probe_us"
LATE_BITS, LATE_US = "probe_late_bits", "probe_late_us"


@dataclass(slots=True)
class Endpoint:
    """One endpoint.

    Attributes:
        method: ``*`` where the endpoint stands for several, as ``* (unresolved)`` does.
        route: With the slash in front.
        statuses: Answers by status code.
        bits: Latencies by how many bits they have in microseconds: those with ``n`` are below
            ``2 ** n``. Of answers that pulse did not refuse.
        sum_us: Of them all.
    """

    method: str
    route: str
    statuses: Counter[int] = field(default_factory=Counter)
    bits: Counter[int] = field(default_factory=Counter)
    sum_us: int = 0


@dataclass(slots=True)
class Totals:
    """Every sum.

    Attributes:
        scope: ``all``, or ``process`` where no Redis brings processes together.
        is_stale: Redis cannot be asked: this is what was known last.
        since_at: None where nothing was counted yet.
        refused: By reason (``rate body access store nonce timeout``), and rule.
        would_refuse: By rule.
        refused_of: By reason and address, while ``PULSE["PROMETHEUS_ADDRESSES"]`` asks for it.
        decisions: By result (``allowed refused``), and store (``redis local none``).
        decision_bits: What they took, as of an endpoint.
        decision_us: In all.
        store_errors: By the class of the error.
        swallowed: What failed in pulse and failed no request, by where.
        apart: Requests in none of the endpoints.
        evicted: Endpoints that processes let go.
        dropped: Answers whose measures were lost.
        probes: Results by state and target.
        probe_bits: Latencies of probes, as of an endpoint.
        late_bits: Likewise, how late they were sent.
    """

    scope: str = "all"
    is_stale: bool = False
    since_at: datetime | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    would_refuse: Counter[str] = field(default_factory=Counter)
    refused_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    decision_bits: Counter[int] = field(default_factory=Counter)
    decision_us: int = 0
    store_errors: Counter[str] = field(default_factory=Counter)
    swallowed: Counter[str] = field(default_factory=Counter)
    apart: Counter[str] = field(default_factory=Counter)
    evicted: int = 0
    dropped: int = 0
    probes: Counter[tuple[str, str]] = field(default_factory=Counter)
    probe_bits: Counter[int] = field(default_factory=Counter)
    probe_us: int = 0
    late_bits: Counter[int] = field(default_factory=Counter)
    late_us: int = 0


class _Last:
    totals: Totals | None = None


_last: Final = _Last()


def read() -> Totals:
    """Return the sums of all processes; one call. Never fails: see ``Totals.is_stale``."""
    backend = current_backend()
    if backend is None:
        flush.flush()
        return _own("process")
    try:
        reply = backend.call("HGETALL", flush.sums_key(backend))
    except StoreUnavailable:
        totals = _last.totals or _own("process")
        totals.is_stale = True
        return totals
    found: list[bytes] = reply if isinstance(reply, list) else []  # type: ignore[assignment]
    sums = groups_of(found)
    totals = _last.totals = _of_groups(sums.groups)
    if "since" in sums.about:
        totals.since_at = datetime.fromtimestamp(sums.about["since"], UTC)
    return totals


def forget() -> None:
    """Forget what was known last."""
    _last.totals = None


def _own(scope: str) -> Totals:
    totals = _of_groups(flush.own_buckets()[1])
    totals.scope = scope
    totals.since_at = datetime.fromtimestamp(flush.unsent.since, UTC)
    return totals


def _of_groups(groups: Groups) -> Totals:
    totals = Totals()
    for name, fields in groups.items():
        if name == OWN:
            _read_own(totals, fields)
        else:
            totals.endpoints[name] = _endpoint(name, fields)
    return totals


def _endpoint(name: str, fields: Mapping[str, int]) -> Endpoint:
    method, _, route = name.partition(" ")
    if name in (UNRESOLVED, OTHERS):
        method, route = "*", name
    made = Endpoint(method, route)
    for field_, amount in fields.items():
        letter, rest = field_[:1], field_[1:]
        if field_ == SUM:
            made.sum_us = amount
        elif letter == STATUS and rest.isdecimal():
            made.statuses[int(rest)] = amount
        elif letter == DOUBLING and rest.isdecimal():
            made.bits[int(rest)] = amount
    return made


def _read_own(totals: Totals, fields: Fields) -> None:
    totals.evicted = fields.get("evicted", 0)
    totals.dropped = fields.get("dropped", 0)
    totals.decision_us = fields.get("decision_us", 0)
    totals.probe_us, totals.late_us = fields.get(PROBE_US, 0), fields.get(LATE_US, 0)
    totals.apart.update({name: fields[name] for name in APART if name in fields})
    named = {STORE_ERROR: totals.store_errors, SWALLOWED: totals.swallowed}
    bits = {
        DECISION_BITS: totals.decision_bits,
        PROBE_BITS: totals.probe_bits,
        LATE_BITS: totals.late_bits,
    }
    for name, amount in fields.items():
        first, _, rest = name.partition(" ")
        if first in named:
            named[first][rest] = amount
        elif first == DECIDED:
            result, _, store = rest.partition(" ")
            totals.decisions[result, store] = amount
        elif first in bits:
            bits[first][int(rest)] = amount
        elif first == REFUSED_OF:
            reason, _, address = rest.partition(" ")
            totals.refused_of[reason, address] = amount
        elif first == PROBE:
            state, _, target = rest.partition(" ")
            totals.probes[state, target] = amount
        elif rest and name.startswith(REFUSED):
            totals.refused[first[1:], rest] = amount
        elif ":" in name and name.startswith(WOULD_REFUSE):
            totals.would_refuse[name[1:]] = amount
