"""Which routes of this site are probed, and which policies are for them: coverage."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pulse.core.cors import Found
from pulse.core.endpoints import Match, PathIndex
from pulse.core.headers import HeaderRule
from pulse.core.health import Status
from pulse.core.snapshot import ENDPOINTS, Snapshot
from pulse.core.targets import EndpointId
from pulse.policies import current
from pulse.policies.kinds import time_to_text
from pulse.probes import engine
from pulse.probes.plan import Plan
from pulse.probes.state import DiscoveredEndpoint
from pulse.probes.summary import targets
from pulse.probes.summary.targets import TargetView

#: Endpoints of a page.
SIZE: Final = 100
#: So long a route that was not there at first is told as new.
NEW_FOR: Final = timedelta(days=7)
#: Routes that are found together with the first one are not new: the site is.
TOGETHER: Final = timedelta(hours=1)
CORS: Final = "cors_origins"
HEADERS: Final = "header_policies"
EXEMPTIONS: Final = "exemptions"
SHOWN: Final = ("unprobed", "unguarded", "new", "vanished", "trouble")


@dataclass(frozen=True, slots=True)
class Named:
    """A policy that is for a route, by its kind and its name."""

    kind: str
    name: str
    mode: str = "enforce"


@dataclass(frozen=True, slots=True)
class Covered:
    """A route with what is for it.

    Attributes:
        state: ``new``, ``present`` or ``vanished``.
        policies: Those that guard it; an exemption is told apart, as it takes guards away.
        probes: The targets that probe it.
    """

    endpoint: DiscoveredEndpoint
    state: str
    policies: Sequence[Named]
    exempt_by: str
    probes: Sequence[TargetView]

    @property
    def is_safe(self) -> bool:
        """Whether it may be probed without an operator's leave."""
        return EndpointId(self.endpoint.method, self.endpoint.route).is_safe

    @property
    def is_probeable(self) -> bool:
        """Whether it can be probed at once: it is there, is safe, and what it needs is known."""
        knows = not self.endpoint.requires_input or self.endpoint.sample is not None
        return self.is_safe and knows and self.state != "vanished"

    @property
    def is_probed(self) -> bool:
        """Whether some target in force probes it."""
        return any(view.mode != "off" for view in self.probes)

    @property
    def is_guarded(self) -> bool:
        """Whether some policy is for it."""
        return bool(self.policies)

    @property
    def word(self) -> str:
        """How it stands by its probes: the worst of them."""
        statuses = [view.status for view in self.probes]
        return str(min(statuses, key=targets.RANK.__getitem__, default=Status.NOT_WATCHED))


@dataclass(frozen=True, slots=True)
class Coverage:
    """A page of routes, and all of them counted; counts leave out what vanished."""

    rows: Sequence[Covered]
    total: int
    probed: int
    unguarded: int
    new: int
    vanished: int
    found: int
    page: int
    pages: int
    default_tier: str


def read(plan: Plan, now: datetime, *, show: str = "", q: str = "", page: int = 1) -> Coverage:
    """Read one page of routes; three queries.

    Args:
        plan: What is probed.
        now: Of today.
        show: One of ``SHOWN``; empty for all.
        q: Words that the route, the name or the view has.
        page: Which, from 1.
    """
    snapshot = current.current_snapshot()
    # Also of one that is enforced for a share of clients: it is for the route all the same.
    header_policies = PathIndex((rule.path, rule) for rule in snapshot.headers)
    rows = list(DiscoveredEndpoint.objects.using(engine.database()).all())
    began = min((row.first_seen_at for row in rows), default=now)
    probes = _probes(plan, targets.views(plan, now))
    covered = [
        Covered(
            endpoint=row,
            state=_state(row, began, now),
            policies=_policies(snapshot, header_policies, row),
            exempt_by=snapshot.exempt_paths.find(_path(row)) or "",
            probes=probes.get(row.endpoint_id, ()),
        )
        for row in rows
    ]
    present = [each for each in covered if each.state != "vanished"]
    chosen = [each for each in covered if _is_shown(each, show) and _has(each, q)]
    pages = max(1, -(-len(chosen) // SIZE))
    page = min(max(page, 1), pages)
    tier = snapshot.default_tier
    return Coverage(
        rows=chosen[(page - 1) * SIZE : page * SIZE],
        total=len(present),
        probed=sum(each.is_probed for each in present),
        unguarded=sum(not each.is_guarded for each in present),
        new=sum(each.state == "new" for each in present),
        vanished=len(covered) - len(present),
        found=len(chosen),
        page=page,
        pages=pages,
        default_tier="" if tier is None else tier.name,
    )


def endpoint_as_dict(covered: Covered) -> dict[str, Any]:
    """Write a route as the API does, but for what users make of it."""
    row = covered.endpoint
    probe = covered.probes[0] if covered.probes else None
    return {
        "endpoint_id": row.endpoint_id,
        "route": row.route,
        "url_name": row.url_name or None,
        "view": row.view or None,
        "safe": covered.is_safe,
        "requires_input": row.requires_input,
        "sample": row.sample,
        "state": covered.state,
        "policies": [
            {"kind": named.kind, "key": _key(named)}
            for named in [
                *covered.policies,
                *([Named(EXEMPTIONS, covered.exempt_by)] if covered.exempt_by else []),
            ]
        ],
        "metrics": None,
        "probe": None
        if probe is None
        else {
            "target": probe.name,
            "status": str(probe.status),
            "last_result_at": time_to_text(probe.last_at),
        },
    }


def _policies(
    snapshot: Snapshot, header_policies: PathIndex[HeaderRule], endpoint: DiscoveredEndpoint
) -> list[Named]:
    """List the policies that are for a route and its method, by the indexes that requests meet.

    Parameters stand in its path as the route has them: a prefix that names a value is not found.
    """
    path, method = _path(endpoint), endpoint.method
    match = Match(endpoint.route, endpoint.url_name, endpoint.view)
    found = [
        Named(ENDPOINTS, rule.name, rule.mode)
        for rule in snapshot.endpoints.find(match, path, method)
    ]
    named = {each.name for each in found}
    found += [
        Named(ENDPOINTS, bound.name, "enforce" if bound.enforced else "shadow")
        for bound in snapshot.bounds.endpoints.find(match, path, method)
        if bound.name not in named
    ]
    found += _cors(snapshot.cors.find(path, None))
    if (headers := next(header_policies.find(path), None)) is not None:
        found.append(Named(HEADERS, headers.name))
    return found


def _key(named: Named) -> dict[str, str]:
    return {{CORS: "path", EXEMPTIONS: "path"}.get(named.kind, "name"): named.name}


def _cors(found: Found) -> Iterable[Named]:
    return [] if found.path is None else [Named(CORS, found.path)]


def _probes(plan: Plan, views: Iterable[TargetView]) -> Mapping[str, list[TargetView]]:
    found: dict[str, list[TargetView]] = {}
    for view in views:
        endpoint_id = view.name if view.is_endpoint else targets.endpoint_of(plan, view)
        if endpoint_id:
            found.setdefault(endpoint_id, []).append(view)
    return found


def _path(endpoint: DiscoveredEndpoint) -> str:
    return f"/{endpoint.route.removeprefix('^').removesuffix('$')}"


def _state(row: DiscoveredEndpoint, began: datetime, now: datetime) -> str:
    if row.vanished_at is not None:
        return "vanished"
    is_new = row.first_seen_at > max(now - NEW_FOR, began + TOGETHER)
    return "new" if is_new else "present"


def _is_shown(each: Covered, show: str) -> bool:
    if show in {"new", "vanished"}:
        return each.state == show
    if each.state == "vanished":
        return show == ""
    if show == "unprobed":
        return not each.is_probed
    if show == "unguarded":
        return not each.is_guarded
    return show != "trouble" or each.word in {Status.DOWN, Status.DEGRADED}


def _has(each: Covered, q: str) -> bool:
    row = each.endpoint
    text = f"{row.endpoint_id} {row.url_name} {row.view}".lower()
    return all(word in text for word in q.lower().split())
