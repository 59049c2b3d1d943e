"""What this process measured since it was last asked; a request only queues what it leaves.

Fields of what is taken are those of ``store/scripts/measure.lua``: a letter, and what it is of.
"""

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import repeat, starmap
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from pulse.conf import conf
from pulse.core.claims import Store
from pulse.core.endpoints import known_method
from pulse.core.histogram import MAX_US, bucket_of
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.core.quotas import SECOND_US
from pulse.core.targets import MAX_ENDPOINT_ID
from pulse.logging import say

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: By field: of one endpoint, or of pulse itself.
Fields = dict[str, int]
#: Fields by endpoint; those of pulse itself are by ``OWN``.
Groups = dict[str, Fields]

OWN: Final = ""
#: What is counted apart.
APART = PROBES, PULSE, STREAMS = "probes", "pulse", "streams"
#: Endpoints whose eviction is told in a second; all are counted.
MAX_TOLD: Final = 10
#: Endpoints that a process tells what is in flight of.
MAX_ACTIVE: Final = 100
#: Rules of one endpoint in a second, and names of other things that are counted.
MAX_NAMES: Final = 1000

#: What the names of pulse's own views begin with.
OWN_VIEWS: Final = "pulse."
#: Of one body; what is more was never sent.
MAX_BYTES: Final = 1 << 36
#: What pulse counts of itself, before a reason and an address; in the sums of all time alone.
REFUSED_OF: Final = "refused_of"
#: The letters of fields.
STATUS, BUCKET, REFUSED, WOULD_REFUSE = "c", "h", "r", "w"
SUM, SATISFIED, TOLERATED, SLOW = "u", "a", "o", "l"
BYTES_IN, BYTES_OUT, QUERIES, QUERY_US = "i", "b", "q", "y"
#: These two are compared, not added.
LEAST, MOST = "n", "m"
#: In the sums of all time: latencies by how many bits they have as microseconds.
DOUBLING: Final = "d"

#: Status and bucket are one number while they are counted; this one stands for no bucket.
SHIFT: Final = 10
UNTIMED: Final = (1 << SHIFT) - 1
MAX_STATUS: Final = 999
#: Where the counts of a status are; of what is none, a host may have set it, as of the last.
PLACES: Final = {status: status << SHIFT for status in range(MAX_STATUS + 1)}
NO_STATUS: Final = MAX_STATUS << SHIFT
#: Their fields, ready made.
STATUSES: Final = tuple(f"{STATUS}{status}" for status in range(MAX_STATUS + 1))
BUCKETS: Final = tuple(f"{BUCKET}{bucket}" for bucket in range(UNTIMED))
#: So many answers are queued before one of those who answer counts them; the heartbeat does sooner.
FOLD: Final = 2048


class _Tally:
    """What one endpoint did since the last time."""

    __slots__ = (
        *("name", "counts", "sum_us", "least_us", "most_us", "satisfied", "tolerated", "slow"),
        *("bytes_in", "bytes_out", "queries", "query_us", "by_rule", "used"),
    )

    def __init__(self, name: str, used: int) -> None:
        self.name = name
        self.used = used
        self.counts: dict[int, int] = {}
        self.sum_us = self.most_us = 0
        self.least_us = MAX_US
        self.satisfied = self.tolerated = self.slow = 0
        self.bytes_in = self.bytes_out = self.queries = self.query_us = 0
        self.by_rule: Fields | None = None

    def count_rule(self, field: str) -> None:
        """Count what a rule did."""
        if self.by_rule is None:
            self.by_rule = {}
        if field in self.by_rule or len(self.by_rule) < MAX_NAMES:
            self.by_rule[field] = self.by_rule.get(field, 0) + 1

    def fields(self) -> Fields:  # noqa: C901 - a list of branches, see below
        """Return what was counted as it is sent."""
        found: Fields = {}
        # A thousand times a second, where so many endpoints are in use: tables and branches cost a
        # third of what texts and generators do.
        for key, count in self.counts.items():
            status, bucket = STATUSES[key >> SHIFT], key & UNTIMED
            found[status] = found.get(status, 0) + count
            if bucket != UNTIMED:
                name = BUCKETS[bucket]
                found[name] = found.get(name, 0) + count
        if self.sum_us:
            found[SUM] = self.sum_us
        if self.satisfied:
            found[SATISFIED] = self.satisfied
        if self.tolerated:
            found[TOLERATED] = self.tolerated
        if self.slow:
            found[SLOW] = self.slow
        if self.bytes_in:
            found[BYTES_IN] = self.bytes_in
        if self.bytes_out:
            found[BYTES_OUT] = self.bytes_out
        if self.queries:
            found[QUERIES], found[QUERY_US] = self.queries, self.query_us
        if self.least_us <= self.most_us:
            found[LEAST], found[MOST] = self.least_us, self.most_us
        if self.by_rule:
            found.update(self.by_rule)
        return found


class Seen(NamedTuple):
    """One answer, as it is counted.

    Attributes:
        method: As ``known_method`` has it; empty where there is no route.
        route: As Django has it; ``UNRESOLVED`` where there is none.
        status: From 0 to 999.
        us: What it took, from 0 to ``MAX_US`` microseconds.
        refused: Why pulse refused it, and the rule that did, with a space between.
        would_refuse: Rules in shadow that would have.
        is_slow: It took longer than it may.
        bytes_in: Of the request's body; counted up to ``MAX_BYTES``, and not where it was refused,
            as nobody read it.
        bytes_out: Of the answer's.
        queries: SQL statements.
        query_us: What they took.
    """

    method: str
    route: str
    status: int
    us: int
    refused: str | None = None
    would_refuse: Sequence[str] = ()
    is_slow: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    queries: int = 0
    query_us: int = 0


#: What a request leaves: its method, route and the name of its view; the answer's status and how
#: many seconds it took; what refused it, which would have, and whether it was slow, as ``Seen`` has
#: them; how large it said its body was, the bytes of the answer, its SQL statements and their time.
#: Texts and numbers alone: what is kept beyond its request costs the collector of garbage.
Left = tuple[
    str | None,
    str | None,
    str,
    int,
    float,
    str | None,
    Sequence[str],
    bool,
    int,
    int,
    int,
    int,
]


class Recorder:
    """The counts of this process: bounded, and the same whichever thread adds to them.

    What a request leaves is queued and counted some time later, many at once and as a rule by the
    heartbeat: whoever counts one has to fetch all that this needs into the processor's caches,
    which costs several times what the counting does.

    Attributes:
        active: Requests that are being answered, by whatever their middleware tells them apart by.
        queue: Answers to be counted.
        decisions: Of limits: by which counters, whether allowed, and seconds.
        tracked: By method and route.
        evictions: Endpoints that had to go, since the process began.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.tracked: dict[tuple[str, str], _Tally] = {}
        # One entry for each that is tracked: when it was used, or some time before that. To keep
        # them in order at each request costs more than to look when one must go.
        self._by_use: list[tuple[int, tuple[str, str]]] = []
        self._uses = 0
        self.active: dict[Any, Any] = {}
        self.queue: deque[Left] = deque()
        self.decisions: deque[tuple[Store, bool, float]] = deque()
        self._others: Fields = {}
        self._own: Counter[str] = Counter()
        self._decided: Counter[tuple[Store, bool]] = Counter()
        self._decision_bits: Counter[int] = Counter()
        self._decision_us = 0
        self._evicted: set[str] = set()
        self.evictions = 0
        self._told: list[str] = []
        self._may_tell = MAX_TOLD

    def add(self, seen: Seen) -> None:
        """Count one answer."""
        left = (
            seen.method,
            seen.route,
            "",
            seen.status,
            # Half a microsecond more, as what is left is cut to whole ones.
            (seen.us + 0.5) / SECOND_US,
            seen.refused,
            seen.would_refuse,
            seen.is_slow,
            seen.bytes_in,
            seen.bytes_out,
            seen.queries,
            seen.query_us,
        )
        with self.lock:
            self._count_left([left])
        self._tell()

    def count(self, name: str, amount: int = 1, *, instead: str | None = None) -> None:
        """Count something else: what is apart, or what failed in pulse itself.

        Args:
            name: Of what.
            amount: How often.
            instead: What it is counted as where there is no room for another name.
        """
        with self.lock:
            if name in self._own or len(self._own) < MAX_NAMES:
                self._own[name] += amount
            elif instead is not None:
                self._own[instead] += amount

    def fold(self) -> None:
        """Count what is queued, unless another thread is at it."""
        if self.lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self.lock.release()
            self._tell()

    def in_flight(self) -> int:
        """How many requests are being answered."""
        return len(self.active)

    def in_flight_by(self) -> Fields:
        """How many of each endpoint, the most first; of those whose route is known."""
        found: Counter[str] = Counter()
        for request in list(self.active.values()):
            resolved = request.resolver_match
            if resolved is not None:
                found[name_of(known_method(request.method), resolved.route or "")] += 1
        return dict(found.most_common(MAX_ACTIVE))

    def take(self) -> tuple[Groups, set[str]]:
        """Return what was counted since the last time, and which endpoints were evicted."""
        with self.lock:
            self._fold()
            groups: Groups = {}
            for key, tally in self.tracked.items():
                if tally.counts:
                    # Two routes have one name where that is cut, or has blanks in it.
                    add_fields(groups.setdefault(tally.name, {}), tally.fields())
                    self.tracked[key] = _Tally(tally.name, tally.used)
            if self._others:
                add_fields(groups.setdefault(OTHERS, {}), self._others)
            own = {**self._own, **self._take_decisions()}
            if own:
                groups[OWN] = own
            evicted = self._evicted - {tally.name for tally in self.tracked.values()}
            self._others, self._own, self._evicted = {}, Counter(), set()
        self._tell()
        self._may_tell = MAX_TOLD
        return groups, evicted

    def _fold(self) -> None:
        self._count_left(_taken_from(self.queue))
        decisions = list(_taken_from(self.decisions))
        # Without a line of Python for each.
        self._decided.update(map(itemgetter(0, 1), decisions))
        taken_us = [int(decision[2] * SECOND_US) for decision in decisions]
        self._decision_bits.update(map(int.bit_length, taken_us))
        self._decision_us += sum(taken_us)

    def _take_decisions(self) -> Fields:
        found: Fields = {}
        for (store, allowed), count in self._decided.items():
            found[f"decided {'allowed' if allowed else 'refused'} {store}"] = count
        if found:
            found |= {f"decision_bits {n}": many for n, many in self._decision_bits.items()}
            found["decision_us"] = self._decision_us
            self._decided, self._decision_bits, self._decision_us = Counter(), Counter(), 0
        return found

    def _count_left(self, lefts: Iterable[Left]) -> None:  # noqa: C901, PLR0912 - see below
        """Count answers. Every request comes by here: calls cost more than branches."""
        tracked, good_us = self.tracked, conf.APDEX_MS * 1000
        for (
            method,
            route,
            view,
            status,
            taken_s,
            refused,
            would_refuse,
            is_slow,
            bytes_in,
            bytes_out,
            queries,
            query_us,
        ) in lefts:
            if view.startswith(OWN_VIEWS):
                self._own[PULSE] += 1
                continue
            tally = tracked.get((method, route))  # type: ignore[arg-type]  # None is found nowhere
            if tally is None:
                tally = self._tally(method, route)
            self._uses = tally.used = self._uses + 1
            place = PLACES.get(status, NO_STATUS)
            if refused is None:
                us = int(taken_s * SECOND_US)
                if us > MAX_US:  # noqa: PLR1730 - as said
                    us = MAX_US
                place |= bucket_of(us)
                tally.sum_us += us
                if us < tally.least_us:  # noqa: PLR1730
                    tally.least_us = us
                if us > tally.most_us:  # noqa: PLR1730
                    tally.most_us = us
                if us <= good_us:
                    tally.satisfied += 1
                elif us <= 4 * good_us:
                    tally.tolerated += 1
                if is_slow:
                    tally.slow += 1
                if bytes_in:
                    tally.bytes_in += min(bytes_in, MAX_BYTES)
            else:
                # Nobody read its body: what a client only says, it may say of anything.
                place |= UNTIMED
                tally.count_rule(f"{REFUSED}{refused}")
            counts = tally.counts
            counts[place] = counts.get(place, 0) + 1
            if would_refuse:
                for rule in would_refuse:
                    tally.count_rule(f"{WOULD_REFUSE}{rule}")
            if method != "HEAD":
                tally.bytes_out += bytes_out
            if queries:
                tally.queries += queries
                tally.query_us += query_us

    def _tally(self, method: str | None, route: str | None) -> _Tally:
        """Return what counts an endpoint whose names are not as they are kept, or that is new."""
        key = ("" if route == UNRESOLVED else known_method(method), route or "")
        return self.tracked.get(key) or self._track(key)

    def _track(self, key: tuple[str, str]) -> _Tally:
        """Make room for an endpoint."""
        while len(self.tracked) >= conf.MAX_ENDPOINTS:
            oldest = self._pop_oldest()
            if oldest.counts:
                # What was answered stays in the sum of all.
                add_fields(self._others, oldest.fields())
            self._own["evicted"] += 1
            self.evictions += 1
            if len(self._evicted) < conf.MAX_ENDPOINTS:
                self._evicted.add(oldest.name)
            if self._may_tell:
                self._may_tell -= 1
                self._told.append(oldest.name)
        tally = self.tracked[key] = _Tally(name_of(*key), self._uses)
        heappush(self._by_use, (self._uses, key))
        return tally

    def _pop_oldest(self) -> _Tally:
        """Let go of the endpoint that was unused for longest."""
        while True:
            used, key = self._by_use[0]
            tally = self.tracked[key]
            if tally.used == used:
                heappop(self._by_use)
                return self.tracked.pop(key)
            heapreplace(self._by_use, (tally.used, key))

    def _tell(self) -> None:
        """Log evictions, with no lock held."""
        if not self._told:
            return
        told, self._told = self._told, []
        for endpoint in told:
            say(
                logger,
                logging.INFO,
                "Evicted endpoint metrics due to max_endpoints limit",
                extra={"endpoint": endpoint, "max_endpoints": conf.MAX_ENDPOINTS},
            )


def _taken_from(queue: deque[T]) -> Iterator[T]:
    """Take all that waits, and no more: under load others come in as fast as these go out."""
    return starmap(queue.popleft, repeat((), len(queue)))


def name_of(method: str, route: str) -> str:
    """Return the endpoint id of a method and a route."""
    if route == UNRESOLVED:
        return UNRESOLVED
    return f"{method} /{' '.join(route.split())}"[:MAX_ENDPOINT_ID]


def add_fields(total: Fields, others: Mapping[str, int]) -> None:
    """Add fields up; the least and the most are compared."""
    for name, amount in others.items():
        before = total.get(name)
        if before is None:
            total[name] = amount
        elif name == LEAST:
            total[name] = min(before, amount)
        elif name == MOST:
            total[name] = max(before, amount)
        else:
            total[name] = before + amount


#: The one of this process.
recorder: Final = Recorder()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=recorder.reset)
