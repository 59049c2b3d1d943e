"""Which operations of the site are under which policies, and which are probed: values for pages.

A policy covers an operation where it could act on a request to it. The tier of every client is
left out: it covers all of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from pulse.core.document import Document, Item
from pulse.core.endpoints import EndpointIndex, Match, Matcher
from pulse.core.snapshot import ENDPOINTS, Mode
from pulse.core.targets import PARAMETER, SAFE_METHODS, fill_route
from pulse.exceptions import InvalidPathParams
from pulse.policies import current, kinds
from pulse.probes import engine
from pulse.probes.plan import Plan, current_plan
from pulse.probes.state import DiscoveredEndpoint, ProbeTargetState, TargetStatus

#: So long an operation is called new; those of the first look never are.
NEW: Final = timedelta(days=1)
#: Kinds whose items are for a path and all below it.
BY_PATH: Final = ("exemptions", "access_rules", "cors_origins", "header_policies")
#: Of these only the most specific one holds.
ONE_HOLDS: Final = frozenset({"header_policies"})
#: What a row and what is told of it have in common.
SAME: Final = (
    *("endpoint_id", "method", "route", "url_name", "view"),
    *("requires_input", "sample", "first_seen_at", "vanished_at"),
)


class CoveredBy(NamedTuple):
    """A policy that covers an operation.

    Attributes:
        key: Its natural key.
        mode: ``enforce`` or ``shadow``.
    """

    kind: str
    key: Mapping[str, Any]
    mode: str


class ProbedBy(NamedTuple):
    """What probes an operation.

    Attributes:
        target: A target's name, or the endpoint id where a schedule names that.
        schedules: Names of those that probe it; none where it is probed by hand only.
        status: As confirmed, ``not_watched`` where the last result is too old.
    """

    target: str
    schedules: tuple[str, ...]
    status: str
    last_result_at: datetime | None


@dataclass(frozen=True, slots=True)
class Covered:
    """An operation, and what covers it.

    Attributes:
        safe: It may be probed without a thought.
        requires_input: It needs a query or a body, or a path that nobody can guess.
        sample: What it is probed with; None where there is none.
        state: ``new``, ``present`` or ``vanished``.
    """

    endpoint_id: str
    method: str
    route: str
    url_name: str
    view: str
    safe: bool
    requires_input: bool
    sample: Mapping[str, Any] | None
    state: str
    first_seen_at: datetime
    vanished_at: datetime | None
    policies: tuple[CoveredBy, ...]
    probes: tuple[ProbedBy, ...]

    @property
    def is_gap(self) -> bool:
        """Whether it could be probed at once, and is not on any schedule."""
        return (
            self.state != "vanished"
            and self.safe
            and self.sample is not None
            and not any(probe.schedules for probe in self.probes)
        )


def coverage(now: datetime) -> list[Covered]:
    """Return every operation that was found, by route; two queries.

    Args:
        now: By which policies are in force, and results are too old.
    """
    rows = list(DiscoveredEndpoint.objects.using(engine.database()).all())
    plan = current_plan(now.timestamp())
    indexes = _indexes(current.document_in_force(), now)
    probed = _probed(plan, {row.endpoint_id for row in rows}, now)
    first = min((row.first_seen_at for row in rows), default=now)
    return [
        Covered(
            **{name: getattr(row, name) for name in SAME},
            safe=row.method in SAFE_METHODS,
            state=_state(row, first, now),
            policies=tuple(_policies(row, indexes)),
            probes=probed.get(row.endpoint_id, ()),
        )
        for row in rows
    ]


_Indexes = Mapping[str, EndpointIndex[CoveredBy]]


def _state(row: DiscoveredEndpoint, first: datetime, now: datetime) -> str:
    if row.vanished_at is not None:
        return "vanished"
    is_new = row.first_seen_at > first and now - row.first_seen_at < NEW
    return "new" if is_new else "present"


def _indexes(document: Document, now: datetime) -> _Indexes:
    """Index the policies in force by what they match, as the request path does."""
    found = {
        ENDPOINTS: EndpointIndex(
            (_matcher(item), _named(ENDPOINTS, item))
            for item in _in_force(document.get(ENDPOINTS, ()), now)
        )
    }
    for kind in BY_PATH:
        items = _in_force(document.get(kind, ()), now)
        found[kind] = EndpointIndex(
            (Matcher(path=item["path"]), _named(kind, item)) for item in items if item.get("path")
        )
    return found


def _matcher(item: Item) -> Matcher:
    return Matcher(
        route=item.get("route"),
        url_name=item.get("url_name"),
        view=item.get("view"),
        path=item.get("path"),
        methods=frozenset(item["methods"]) or None,
    )


def _named(kind: str, item: Item) -> CoveredBy:
    registered = kinds.find_kind(kind)
    key = registered.key_of(item) if registered is not None else {}
    return CoveredBy(kind, key, item["mode"])


def _in_force(items: Iterable[Item], now: datetime) -> Iterator[Item]:
    for item in items:
        starts, ends = (_moment(item.get(name)) for name in ("starts_at", "ends_at"))
        if item["mode"] == Mode.OFF or (starts and starts > now) or (ends and ends <= now):
            continue
        yield item


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _policies(row: DiscoveredEndpoint, indexes: _Indexes) -> Iterator[CoveredBy]:
    match, path = Match(row.route, row.url_name, row.view), _path_of(row)
    for kind, index in indexes.items():
        found = index.find(match, path, row.method)
        yield from found[:1] if kind in ONE_HOLDS else found


def _path_of(row: DiscoveredEndpoint) -> str:
    """Return a path of the route, decoded; without a sample, what all its paths begin with."""
    sample = row.sample or {}
    try:
        path = sample.get("path") or fill_route(row.route, sample.get("path_params") or {})
    except InvalidPathParams:
        path = f"/{PARAMETER.split(row.route.removeprefix('^'), maxsplit=1)[0]}"
    return unquote(path)


def _probed(plan: Plan, known: set[str], now: datetime) -> dict[str, tuple[ProbedBy, ...]]:
    schedules: dict[str, list[str]] = {}
    for name, planned in plan.schedules.items():
        for target in planned.targets:
            schedules.setdefault(target, []).append(name)
    endpoints = {name: plan.target(name).endpoint_id for name in plan.target_names}
    endpoints |= {name: name for name in schedules if " " in name}
    states = {
        state.name: state
        for state in ProbeTargetState.objects.using(engine.database()).only(
            "name", "status", "last_at", "grace_s"
        )
    }
    found: dict[str, tuple[ProbedBy, ...]] = {}
    for name, endpoint_id in endpoints.items():
        method, _space, route = endpoint_id.partition(" ")
        # HEAD is an operation of its own only where a view writes it.
        key = f"GET {route}" if method == "HEAD" and endpoint_id not in known else endpoint_id
        by = ProbedBy(name, tuple(schedules.get(name, ())), *_standing(states.get(name), now))
        found[key] = (*found.get(key, ()), by)
    return found


def _standing(state: ProbeTargetState | None, now: datetime) -> tuple[str, datetime | None]:
    if state is None or state.last_at is None:
        return TargetStatus.NOT_WATCHED.value, None
    is_old = now > state.last_at + timedelta(seconds=state.grace_s)
    return (TargetStatus.NOT_WATCHED.value if is_old else state.status), state.last_at
