"""What is due becomes work that is claimed: exact caps, no slot twice, nothing lost.

Everything here happens under the engine's lock. A lease outlives the hard deadline of what it is
for, so a worker that lives always ends before its lease does, and nobody renews one: whose lease
is over is gone. A fence that goes up with each change of hands keeps one that was only asleep from
recording.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db.models import Count, F, Min, QuerySet
from django.db.models.functions import Now

from pulse.probes import bulk, jobs, leases, slots
from pulse.probes.attempt import Claimed
from pulse.probes.engine import Engine
from pulse.probes.plan import Plan
from pulse.probes.state import (
    ItemState,
    JobStatus,
    ProbeEngine,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
)

logger = logging.getLogger(__name__)

#: Of a target that the policy has no more: it is over before it is sent.
DEFAULT_TIMEOUT_S: Final = 10.0
#: Beside a probe's own time limit: to be handed over, broken off and recorded, in seconds.
LEASE_MARGIN_S: Final = 5.0
#: What is left of a job's time where nothing is sent any more, in seconds.
TOO_LATE_S: Final = 0.05
#: Looked at beside what may be claimed; the next times so much for each, past what is full then.
SLACK: Final = 50
LOOKED_AT: Final = 4
LOOKS: Final = 4


class _Waiting(NamedTuple):
    """A row that may be claimed, as it is read; and what it is by the plan that sends it.

    Attributes:
        known_host: Whose cap it was meant for when it was made.
        host: Whose cap it counts against, if it is sent now.
        limit_s: The least of the target's time limit and the job's for each. What a job has left
            is none: what its deadline cuts off tells nothing of the target, so it is broken off
            then, and not judged as a target that took too long.
    """

    item: int
    job: int
    fence: int
    known_host: str
    target: str
    attempts: int
    reclaims: int
    due_at: datetime
    schedule: str
    slot_at: datetime | None
    timeout_s: float | None
    deadline_at: datetime
    host: str
    limit_s: float


_WAITING: Final = (
    *("id", "job_id", "fence", "host", "target", "attempts", "reclaims", "due_at"),
    *("job__schedule", "job__slot_at", "job__timeout_s", "job__deadline_at"),
)
TARGET: Final = _WAITING.index("target")
TIMEOUT: Final = _WAITING.index("job__timeout_s")


@dataclass(slots=True)
class _Room:
    """How much may still be claimed, as it is counted down."""

    free: int
    per_host: int
    per_schedule: Mapping[str, int]
    hosts: Counter[str] = field(default_factory=Counter)
    schedules: Counter[str] = field(default_factory=Counter)

    def takes(self, row: _Waiting) -> bool:
        # What has no host has a problem instead, and is over before it is sent.
        if row.host and self.hosts[row.host] >= self.per_host:
            return False
        most = self.per_schedule.get(row.schedule)
        return most is None or self.schedules[row.schedule] < most

    def take(self, row: _Waiting) -> None:
        self.free -= 1
        self.hosts[row.host] += 1
        self.schedules[row.schedule] += 1

    def full_hosts(self) -> list[str]:
        return [host for host, number in self.hosts.items() if host and number >= self.per_host]

    def full_schedules(self) -> list[str]:
        return [
            name
            for name, number in self.schedules.items()
            if number >= self.per_schedule.get(name, math.inf)
        ]


def prepare(plan: Plan, held: Engine) -> None:
    """Make jobs of what is due, take back what vanished workers had, end what is overdue."""
    slots.make_jobs(plan, held)
    leases.reclaim(plan, held)
    jobs.end_overdue(held)


def claim(
    plan: Plan,
    held: Engine,
    owner: str,
    most: int,
    *,
    longest_s: float = math.inf,
    is_idle: bool = True,
) -> list[Claimed]:
    """Claim waiting probes, as many as the caps leave room for.

    One whose workers vanish is tried for the last time by a worker that runs nothing beside it: if
    it is what ends them, it takes none along that were only near it.

    Args:
        plan: The caps, and what is sent.
        held: The lock.
        owner: Who claims; the name of one process, never of another after it.
        most: No more than this.
        longest_s: None whose time limit is longer, in seconds.
        is_idle: The owner runs nothing.
    """
    if most <= 0:
        return []
    room = _room(plan, held, most)
    rows = _last_tried(plan, held, room, longest_s) if is_idle and room.free > 0 else []
    return _hand_over(rows or _chosen(plan, held, room, longest_s), held, owner)


def next_due_s(held: Engine) -> float | None:
    """Say in how many seconds something is due; 0 where something waits, None for nothing."""
    if _does_any_wait(held.now, held.using):
        return 0.0
    states = ProbeScheduleState.objects.using(held.using)
    found = (
        _queued(held.using).aggregate(least=Min("due_at"))["least"],
        states.aggregate(least=Min("next_at"))["least"],
    )
    least = min((moment for moment in found if moment is not None), default=None)
    return None if least is None else max(0.0, (least - held.now).total_seconds())


def is_anything_due(plan: Plan, using: str, within_s: float) -> bool:
    """Whether there is anything to do now, or soon; takes no lock.

    Queries: five at most, each of which finds its answer in an index.
    """
    row = ProbeEngine.objects.using(using).filter(pk=1).values_list("stamp", Now()).first()
    if row is None or row[0] != slots.stamp_of(plan):
        return row is not None or bool(plan.schedules)
    now, soon = row[1], row[1] + timedelta(seconds=within_s)
    running = ProbeItem.objects.using(using).filter(state=ItemState.RUNNING)
    return (
        ProbeScheduleState.objects.using(using).filter(next_at__lte=soon).exists()
        or _does_any_wait(soon, using)
        or jobs.open_jobs(using).filter(deadline_at__lte=now).exists()
        or running.filter(lease_until__lte=now).exists()
    )


def _room(plan: Plan, held: Engine, most: int) -> _Room:
    """Count what runs now: all of it, as leases that are over are taken back under this lock."""
    running = (
        ProbeItem.objects.using(held.using)
        .filter(state=ItemState.RUNNING)
        .order_by()
        .values_list("host", "job__schedule")
        .annotate(number=Count("pk"))
    )
    room = _Room(
        free=0,
        per_host=plan.budget.max_per_host,
        per_schedule=plan.limited,
    )
    in_all = 0
    for host, schedule, number in running:
        in_all += number
        room.hosts[host] += number
        room.schedules[schedule] += number
    room.free = min(most, plan.budget.max_concurrency - in_all)
    return room


def _queued(using: str) -> QuerySet[ProbeItem]:
    return ProbeItem.objects.using(using).filter(state=ItemState.QUEUED)


def _does_any_wait(until: datetime, using: str) -> bool:
    # In the order of their index: ``exists()`` has none, and PostgreSQL then looks among
    # all that ever ended.
    rows = _queued(using).filter(due_at__lte=until).order_by("priority", "due_at", "pk")
    return bool(rows.values_list("pk", flat=True)[:1])


def _last_tried(plan: Plan, held: Engine, room: _Room, longest_s: float) -> list[_Waiting]:
    """Choose one item whose workers vanished as often as may be, if any waits."""
    for row in _waiting(plan, held, room, SLACK, last_try=True):
        if room.takes(row) and row.limit_s <= longest_s:
            return [row]
    return []


def _chosen(plan: Plan, held: Engine, room: _Room, longest_s: float) -> list[_Waiting]:
    """Choose items until the room is full, or nothing waits that fits in."""
    rows: list[_Waiting] = []
    for _look in range(LOOKS):
        if room.free <= 0:
            break
        window = room.free + SLACK if not rows else LOOKED_AT * room.free + len(rows)
        seen = _waiting(plan, held, room, window)
        taken = {row.item for row in rows}
        for row in seen:
            if room.free <= 0 or row.item in taken or not room.takes(row):
                continue
            if row.limit_s <= longest_s:
                room.take(row)
                rows.append(row)
        if len(seen) < window:
            break
    return rows


def _waiting(
    plan: Plan, held: Engine, room: _Room, most: int, *, last_try: bool = False
) -> list[_Waiting]:
    """Read a window of what waits, past the hosts and schedules that are full.

    Hosts are those of when a row was made: one whose target has moved away from a full host waits
    until that has room, or is past it by then.
    """
    rows = _queued(held.using).filter(
        due_at__lte=held.now, job__deadline_at__gt=held.now + timedelta(seconds=TOO_LATE_S)
    )
    which = "reclaims__gte" if last_try else "reclaims__lt"
    rows = rows.filter(**{which: leases.MAX_RECLAIMS})
    if hosts := room.full_hosts():
        rows = rows.exclude(host__in=hosts)
    if schedules := room.full_schedules():
        rows = rows.exclude(job__schedule__in=schedules)
    ordered = rows.order_by("priority", "due_at", "pk")[:most]
    found = bulk.fetch(ordered, _WAITING)
    return [_Waiting._make([*row, *_as_sent(row[TARGET], row[TIMEOUT], plan)]) for row in found]


def _hand_over(rows: Sequence[_Waiting], held: Engine, owner: str) -> list[Claimed]:
    """Give the chosen items to the owner, each under a lease of its own and a new fence."""
    if not rows:
        return []
    known = jobs.samples({row.target for row in rows}, held.using)
    claimed: list[Claimed] = []
    by_lease: dict[int, list[int]] = {}
    for row in rows:
        # In whole seconds, so that few statements serve many rows.
        lease_s = math.ceil(row.limit_s + LEASE_MARGIN_S)
        by_lease.setdefault(lease_s, []).append(row.item)
        claimed.append(
            Claimed(
                item=row.item,
                job=row.job,
                fence=row.fence + 1,
                schedule=row.schedule,
                target=row.target,
                sample=known.get(row.target, {}),
                attempts=row.attempts,
                timeout_s=row.limit_s,
                lease_s=lease_s,
                late_s=(held.now - row.due_at).total_seconds(),
                deadline_at=row.deadline_at,
                slot_at=row.slot_at,
                is_last_try=row.reclaims >= leases.MAX_RECLAIMS,
            )
        )
    items = ProbeItem.objects.using(held.using)
    for lease_s, pks in by_lease.items():
        until = held.now + timedelta(seconds=lease_s)
        for batch in bulk.batches(pks):
            items.filter(pk__in=batch).update(
                state=ItemState.RUNNING,
                owner=owner,
                lease_until=until,
                fence=F("fence") + 1,
                # About then; its result says it exactly. What is cut off has none.
                started_at=held.now,
            )
    # Caps are counted by where each is sent, which an edit may have changed since it was made.
    moved = [(row.item, row.host) for row in rows if row.host != row.known_host]
    bulk.update(ProbeItem, held.using, ("id", "host"), moved)
    begun = ProbeJob.objects.using(held.using).filter(pk__in={row.job for row in rows})
    begun.filter(status=JobStatus.QUEUED).update(status=JobStatus.RUNNING, started_at=held.now)
    return claimed


def _as_sent(name: str, timeout_s: float | None, plan: Plan) -> tuple[str, float]:
    """Return the host and the time limit of what is sent for a row."""
    target = plan.find(name)
    if target is None:
        # It is over before it is sent.
        host, limit_s = "", DEFAULT_TIMEOUT_S
    else:
        host, limit_s = target.host, target.call.timeout_s
    return host, limit_s if timeout_s is None else min(limit_s, timeout_s)
