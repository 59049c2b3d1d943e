"""Coverage as pages and API show it: a page of routes, and all of them counted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pulse.core.health import Status
from pulse.core.measures import Measures, keeps, told
from pulse.exceptions import StoreUnavailable
from pulse.metrics import window, wire
from pulse.policies import current
from pulse.policies.headroom import headroom_of_rules
from pulse.policies.kinds import time_to_text
from pulse.probes.coverage import Covered, CoveredBy, coverage
from pulse.probes.summary.targets import RANK

#: Endpoints of a page.
SIZE: Final = 100
CORS: Final = "cors_origins"
HEADERS: Final = "header_policies"
EXEMPTIONS: Final = "exemptions"
ACCESS: Final = "access_rules"
#: An exemption takes guards away, and an access rule is about somebody, not about a route.
NO_GUARDS: Final = frozenset({EXEMPTIONS, ACCESS})
SHOWN: Final = ("unprobed", "unguarded", "new", "vanished", "trouble")


#: In which order routes are shown.
SORTS: Final = ("route", "worst", "busiest", "slowest", "fullest")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation of the site, with what is told of it.

    Attributes:
        measures: Of the last minutes; None where nobody asked for it.
        seconds: How long that was recorded.
        peak: The highest share of one of its limits that a client had used within a day, 0 to 1;
            None where it has none, or that cannot be known.
    """

    covered: Covered
    measures: Measures | None = None
    seconds: float = 0.0
    peak: float | None = None

    @property
    def told(self) -> Mapping[str, Any] | None:
        """What was measured, as the API tells it."""
        found = self.measures
        return None if found is None else told(found, self.seconds, wire.promised())

    @property
    def is_there(self) -> bool:
        """Whether the site has it still."""
        return self.covered.state != "vanished"

    @property
    def is_probed(self) -> bool:
        """Whether some target in force probes it."""
        return bool(self.covered.probes)

    @property
    def is_guarded(self) -> bool:
        """Whether some policy guards it."""
        return any(by.kind not in NO_GUARDS for by in self.covered.policies)

    @property
    def is_probeable(self) -> bool:
        """Whether it can be probed at once: it is there, is safe, and what it needs is known."""
        return self.is_there and self.covered.safe and self.covered.sample is not None

    @property
    def status(self) -> str:
        """How it stands by its probes: the worst of them."""
        statuses = [Status(probe.status) for probe in self.covered.probes]
        return str(min(statuses, key=RANK.__getitem__, default=Status.NOT_WATCHED))

    @property
    def by_kind(self) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
        """What is for it, by kind: the name and the mode of each."""
        found: dict[str, list[tuple[str, str]]] = {}
        for by in self.covered.policies:
            found.setdefault(by.kind, []).append((name_of(by), by.mode))
        return list(found.items())


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of routes, and all of them counted; counts leave out what vanished."""

    rows: Sequence[Endpoint]
    total: int
    probed: int
    unguarded: int
    new: int
    vanished: int
    found: int
    page: int
    pages: int
    default_tier: str


def everything(now: datetime) -> list[Endpoint]:
    """Return every route with what is known of it; two queries, and some calls to Redis.

    Args:
        now: By which policies are in force, and results are too old.
    """
    reading, peaks = window.read(), _peaks()
    return [
        Endpoint(
            covered,
            reading.endpoints.get(covered.endpoint_id),
            reading.covered_s,
            max(
                (peaks[name] for name in map(_rule, covered.policies) if name in peaks),
                default=None,
            ),
        )
        for covered in coverage(now)
    ]


def in_order(found: Sequence[Endpoint], sort: str) -> list[Endpoint]:
    """Sort routes by one of ``SORTS``."""
    order = _ORDERS.get(sort)
    return list(found) if order is None else sorted(found, key=order)


def listing(
    now: datetime, *, show: str = "", q: str = "", sort: str = "route", page: int = 1
) -> Listing:
    """Read one page of routes, as ``everything`` reads them.

    Args:
        now: Likewise.
        show: One of ``SHOWN``; empty for all.
        q: Words that the route, the name or the view has.
        sort: One of ``SORTS``.
        page: Which, from 1.
    """
    all_ = everything(now)
    present = [each for each in all_ if each.is_there]
    chosen = in_order([each for each in all_ if _is_shown(each, show) and has(each, q)], sort)
    pages = max(1, -(-len(chosen) // SIZE))
    page = min(max(page, 1), pages)
    tier = current.current_snapshot().default_tier
    return Listing(
        rows=chosen[(page - 1) * SIZE : page * SIZE],
        total=len(present),
        probed=sum(each.is_probed for each in present),
        unguarded=sum(not each.is_guarded for each in present),
        new=sum(each.covered.state == "new" for each in present),
        vanished=len(all_) - len(present),
        found=len(chosen),
        page=page,
        pages=pages,
        default_tier="" if tier is None else tier.name,
    )


def endpoint_as_dict(endpoint: Endpoint) -> dict[str, Any]:
    """Write a route as the API does."""
    row = endpoint.covered
    probe = row.probes[0] if row.probes else None
    return {
        "endpoint_id": row.endpoint_id,
        "route": row.route,
        "url_name": row.url_name or None,
        "view": row.view or None,
        "safe": row.safe,
        "requires_input": row.requires_input,
        "sample": row.sample,
        "state": row.state,
        "policies": [{"kind": by.kind, "key": dict(by.key)} for by in row.policies],
        "metrics": endpoint.told,
        "probe": None
        if probe is None
        else {
            "target": probe.target,
            "status": str(probe.status),
            "last_result_at": time_to_text(probe.last_result_at),
        },
    }


def name_of(by: CoveredBy) -> str:
    """Write a policy's natural key: a name, or what stands in its place."""
    values: Iterable[Any] = by.key.values()
    return " ".join(str(value) for value in values if value)


def _is_shown(each: Endpoint, show: str) -> bool:
    if show in {"new", "vanished"}:
        return each.covered.state == show
    if not each.is_there:
        return show == ""
    if show == "unprobed":
        return not each.is_probed
    if show == "unguarded":
        return not each.is_guarded
    return show != "trouble" or each.status in {Status.DOWN, Status.DEGRADED}


def has(each: Endpoint, q: str) -> bool:
    """Whether a route, its name or its view has every word."""
    row = each.covered
    text = f"{row.endpoint_id} {row.url_name} {row.view}".lower()
    return all(word in text for word in q.lower().split())


def _rule(by: CoveredBy) -> str:
    return f"{by.kind}:{name_of(by)}"


def _peaks() -> Mapping[str, float]:
    """Return how close each limit came to refusing; of none where Redis cannot be asked."""
    try:
        found = headroom_of_rules()
    except StoreUnavailable:
        return {}
    return {rule: each.peak for rule, each in found.items() if each.peak is not None}


def _worst(each: Endpoint) -> tuple[float, ...]:
    """Those in trouble first: down, failing, slower than promised; then the busiest."""
    found = each.measures or Measures()
    is_slow = keeps(found, wire.promised()) is False
    return (
        RANK[Status(each.status)] if each.is_probed else RANK[Status.UP],
        -found.errors,
        -is_slow,
        -found.requests,
    )


def _p95_ms(each: Endpoint) -> float:
    return (each.measures.latencies.quantile_ms(0.95) or 0.0) if each.measures else 0.0


_ORDERS: Final[Mapping[str, Callable[[Endpoint], Any]]] = {
    "worst": _worst,
    "busiest": lambda each: -each.measures.requests if each.measures else 0,
    "slowest": lambda each: -_p95_ms(each),
    "fullest": lambda each: -(each.peak or 0.0),
}
