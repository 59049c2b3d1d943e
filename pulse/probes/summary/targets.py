"""Every target with how it stands: what a list shows, filters and sorts, and one target whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db.models import QuerySet

from pulse.core.document import Item
from pulse.core.health import Status, status_at
from pulse.core.redaction import Redactor
from pulse.core.snapshot import Mode
from pulse.core.windows import Scope, find_open
from pulse.exceptions import PulseError
from pulse.policies import current
from pulse.policies.models import PolicyRevision
from pulse.probes import engine, jobs
from pulse.probes.kinds import TARGETS
from pulse.probes.plan import Plan, Target
from pulse.probes.standings import standing_of
from pulse.probes.state import (
    OPEN_ITEMS,
    ItemState,
    ProbeItem,
    ProbeScheduleState,
    ProbeTargetState,
    ProbeTransition,
)
from pulse.probes.summary import history
from pulse.probes.summary.history import Bar, Tally

#: Targets of a page.
SIZE: Final = 50
#: The worst first.
RANK: Final = {
    Status.DOWN: 0,
    Status.DEGRADED: 1,
    Status.NOT_WATCHED: 2,
    Status.MAINTENANCE: 3,
    Status.UP: 4,
}
SORTS: Final = ("trouble", "name", "changed", "last")
#: The schedules of a target by name, each with its state.
Slots = Mapping[str, ProbeScheduleState | None]
#: Transitions that one target's page tells.
TRANSITIONS: Final = 20
redactor: Final = Redactor()
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target, and how it stands now.

    Attributes:
        name: Of the target, or an endpoint id that stands for it.
        item: As the document has it; empty for an endpoint id.
        status: As confirmed, unless it is maintained or nobody looks any more.
        since: When the confirmed status began.
        schedules: Names of those that probe it.
        next_at: When the next of them is due; None for one that is not scheduled.
        missed: Slots of its schedules that nobody was there to run.
        shadow: How it stands by schedules or in a mode that nobody is told of; empty for not.
    """

    name: str
    item: Item
    status: Status
    since: datetime | None = None
    last_at: datetime | None = None
    last_state: str = ""
    failures: int = 0
    schedules: tuple[str, ...] = ()
    next_at: datetime | None = None
    missed: int = 0
    shadow: str = ""

    @property
    def group(self) -> str:
        """The group that it stands in on the status page."""
        return str(self.item.get("public_group") or "")

    @property
    def mode(self) -> str:
        """Its mode; an endpoint id's is always to be enforced."""
        return str(self.item.get("mode", Mode.ENFORCE))

    @property
    def is_endpoint(self) -> bool:
        """Whether it is an endpoint id, which has no row of its own."""
        return " " in self.name

    @property
    def text(self) -> str:
        """What is searched: all of it that is told to operators, in small letters."""
        words = (self.item.get(name) or "" for name in ("description", "path", "url_name"))
        # A query may hold a secret, which a search would tell letter by letter.
        url = str(self.item.get("url") or "").partition("?")[0].partition("#")[0]
        return " ".join([self.name, self.group, url, *map(str, words)]).lower()


@dataclass(frozen=True, slots=True)
class Card:
    """A target of a list, with its bars and its last day."""

    view: TargetView
    endpoint: str
    bars: Sequence[Bar]
    day: Tally

    @property
    def last_at(self) -> datetime | None:
        """When its newest result came, one in shadow too."""
        return self.bars[-1].at if self.bars else self.view.last_at

    @property
    def p95_ms(self) -> float | None:
        """The latency that 95 % of the last day's results did not exceed."""
        return self.day.latencies.quantile_ms(0.95)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a list is narrowed and sorted."""

    status: str = ""
    group: str = ""
    schedule: str = ""
    q: str = ""
    sort: str = SORTS[0]
    page: int = 1


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of targets, and all of them counted.

    Attributes:
        counts: All targets by status, whatever is wanted.
        found: How many are wanted, of which ``cards`` are one page.
    """

    cards: Sequence[Card]
    counts: Mapping[Status, int]
    total: int
    found: int
    page: int
    pages: int
    groups: Sequence[str]
    troubled: Sequence[TargetView] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """One target with everything that its page shows.

    Attributes:
        target: As it would be sent; None for one that is off, or a route that needs input.
        windows: Its times added up, by the names of ``history.WINDOWS``.
        failure: The newest result that failed, with its evidence.
    """

    view: TargetView
    target: Target | None
    problem: str
    bars: Sequence[Bar]
    windows: Mapping[str, Tally]
    transitions: Sequence[ProbeTransition]
    last: ProbeItem | None
    failure: ProbeItem | None
    slots: Sequence["Slot"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A schedule of a target."""

    name: str
    next_at: datetime | None
    state: str
    missed: int
    mode: str
    every_s: int
    cron: str
    time_zone: str
    last_job: int | None


def overview(plan: Plan, now: datetime, wanted: Wanted) -> Overview:
    """Read one page of targets; six queries, however many there are."""
    everything = views(plan, now)
    chosen = [each for each in everything if _is_wanted(each, wanted)]
    chosen.sort(key=lambda each: _order(each, wanted.sort))
    pages = max(1, -(-len(chosen) // SIZE))
    page = min(max(wanted.page, 1), pages)
    shown = chosen[(page - 1) * SIZE : page * SIZE]
    names = [each.name for each in shown]
    bars, days = history.bars(names), history.last_day(names, now)
    return Overview(
        cards=[
            Card(each, _endpoint(plan, each), bars[each.name], days[each.name]) for each in shown
        ],
        counts=Counter(each.status for each in everything),
        total=len(everything),
        found=len(chosen),
        page=page,
        pages=pages,
        groups=sorted({each.group for each in everything if each.group}),
        troubled=[each for each in everything if each.status in {Status.DOWN, Status.DEGRADED}],
    )


def views(plan: Plan, now: datetime) -> list[TargetView]:
    """Return every target of the document, and every endpoint id that is or was probed.

    Two queries.
    """
    using = engine.database()
    items = {item["name"]: item for item in current.document_in_force().get(TARGETS, ())}
    states = {state.name: state for state in ProbeTargetState.objects.using(using).all()}
    slots = _slots(plan, using)
    names = dict.fromkeys([*items, *slots, *(name for name in states if " " in name)])
    return [
        _view(
            plan,
            now,
            name,
            item=items.get(name, {}),
            state=states.get(name),
            slots=slots.get(name, {}),
        )
        for name in names
        if name in items or " " in name
    ]


def find(plan: Plan, now: datetime, name: str) -> TargetView | None:
    """Return one target; None where there is none of the name. At most three queries."""
    using = engine.database()
    items = current.document_in_force().get(TARGETS, ())
    item: Item = next((item for item in items if item["name"] == name), {})
    state = ProbeTargetState.objects.using(using).filter(name=name).first()
    slots = _slots(plan, using, name).get(name, {})
    if not item and not (" " in name and (state or slots or _is_found(name, using))):
        return None
    return _view(plan, now, name, item=item, state=state, slots=slots)


def whole(plan: Plan, now: datetime, view: TargetView) -> Whole:
    """Read everything that one target's page shows, but its results; nine queries."""
    using, name = engine.database(), view.name
    target, problem = None, ""
    try:
        target = plan.target(name, jobs.samples([name], using).get(name))
        problem = target.problem
    except PulseError as error:
        problem = str(error)
    slots = _slots(plan, using, name).get(name, {})
    ended = ProbeItem.objects.using(using).filter(target=name).exclude(state__in=OPEN_ITEMS)
    bad = ended.filter(state__in=[ItemState.FAILED, ItemState.TIMEOUT, ItemState.LOST])
    transitions = ProbeTransition.objects.using(using).filter(target=name)
    return Whole(
        view=view,
        target=target,
        problem=problem if view.mode != Mode.OFF else "",
        bars=history.bars([name])[name],
        windows=history.windows([name], now)[name],
        transitions=list(transitions.order_by("-at", "-pk")[:TRANSITIONS]),
        last=ended.select_related("job").order_by("-pk").first(),
        failure=bad.select_related("job").order_by("-pk").first(),
        slots=[_slot(plan, each, state) for each, state in sorted(slots.items())],
    )


def results(name: str) -> QuerySet[ProbeItem]:
    """Return the results of a target that have ended."""
    rows = ProbeItem.objects.using(engine.database()).filter(target=name)
    return rows.exclude(state__in=OPEN_ITEMS).select_related("job").defer("evidence")


def address_of(target: Target) -> str:
    """Write method and URL of what is sent, without the secrets that a query may hold."""
    return redactor.text(f"{target.call.method} {target.call.url}")


def revisions_between(first: datetime, last: datetime, most: int) -> list[PolicyRevision]:
    """Return the revisions made in a time, oldest first, without what they hold; one query."""
    rows = PolicyRevision.objects.using(engine.database()).defer("document", "changes")
    return list(rows.filter(created_at__gt=first, created_at__lte=last).order_by("-pk")[:most])[
        ::-1
    ]


def status_of(
    state: ProbeTargetState | None, name: str, group: str, plan: Plan, now: datetime
) -> Status:
    """Say how a target stands now."""
    maintained = find_open(plan.windows.values(), Scope(name, group), now.timestamp()) is not None
    if state is None or state.last_at is None:
        return Status.MAINTENANCE if maintained else Status.NOT_WATCHED
    return status_at(standing_of(state), now.timestamp(), in_maintenance=maintained)


def _view(
    plan: Plan,
    now: datetime,
    name: str,
    *,
    item: Item,
    state: ProbeTargetState | None,
    slots: Slots,
) -> TargetView:
    off = item.get("mode") == Mode.OFF
    group = str(item.get("public_group") or "")
    known = [slot for slot in slots.values() if slot is not None]
    return TargetView(
        name=name,
        item=item,
        status=Status.NOT_WATCHED if off else status_of(state, name, group, plan, now),
        since=None if state is None else state.since,
        last_at=None if state is None else state.last_at,
        last_state="" if state is None else state.last_state,
        failures=0 if state is None else state.failures,
        schedules=tuple(sorted(slots)),
        next_at=None if off else min((slot.next_at for slot in known), default=None),
        missed=sum(slot.missed for slot in known),
        shadow="" if state is None or not state.shadow else str(state.shadow["status"]),
    )


def _slots(plan: Plan, using: str, only: str = "") -> Mapping[str, Slots]:
    """Return the schedules of each target with their states, or those of one; one query."""
    wanted = {
        name: planned.targets
        for name, planned in plan.schedules.items()
        if not only or only in planned.targets
    }
    states = ProbeScheduleState.objects.using(using)
    rows = states.filter(name__in=list(wanted)) if only else states.all()
    known = {state.name: state for state in rows}
    found: dict[str, dict[str, ProbeScheduleState | None]] = {}
    for name, targets in wanted.items():
        for target in targets:
            # One that no worker has seen yet has no state.
            found.setdefault(target, {})[name] = known.get(name)
    return found


def _slot(plan: Plan, name: str, state: ProbeScheduleState | None) -> Slot:
    planned = plan.schedules[name]
    return Slot(
        name=name,
        next_at=None if state is None else state.next_at,
        state="" if state is None else state.state,
        missed=0 if state is None else state.missed,
        mode=planned.mode,
        every_s=planned.schedule.every_s,
        cron=planned.schedule.cron,
        time_zone=planned.schedule.time_zone,
        last_job=None if state is None else state.last_job_id,
    )


def _is_found(name: str, using: str) -> bool:
    return bool(jobs.samples([name], using))


def _is_wanted(each: TargetView, wanted: Wanted) -> bool:
    return (
        (not wanted.status or each.status == wanted.status)
        and (not wanted.group or each.group == wanted.group)
        and (not wanted.schedule or wanted.schedule in each.schedules)
        and (not wanted.q or all(word in each.text for word in wanted.q.lower().split()))
    )


def _order(each: TargetView, sort: str) -> tuple[float, str]:
    if sort == "name":
        return 0.0, each.name
    if sort in {"changed", "last"}:
        moment = each.since if sort == "changed" else each.last_at
        return -(moment or EPOCH).timestamp(), each.name
    return RANK[each.status], each.name


def _endpoint(plan: Plan, each: TargetView) -> str:
    """Say what is probed, in as few words as there are."""
    target = plan.find(each.name)
    if target is None:
        item = each.item
        return redactor.text(str(item.get("path") or item.get("url_name") or item.get("url") or ""))
    return target.endpoint_id or address_of(target)
