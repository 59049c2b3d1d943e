"""What is due becomes work that is claimed: exact caps, no slot twice, nothing lost.

Everything here happens under the engine's lock. A lease outlives the hard deadline of what it is
for, so a worker that lives always ends before its lease does, and nobody renews one: whose lease
is over is gone. A fence that goes up with each change of hands keeps one that was only asleep from
recording.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, F, Q

from pulse.core.announcement import Announcement
from pulse.core.attempts import Failure
from pulse.core.schedules import due as due_of
from pulse.exceptions import PolicyError, ProbeError
from pulse.probes import jobs
from pulse.probes.engine import Engine
from pulse.probes.plan import IN_PROCESS, Plan, Planned, Target
from pulse.probes.state import (
    OPEN_JOBS,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ScheduleState,
    Trigger,
)

logger = logging.getLogger(__name__)

#: Beside a probe's own time limit: to be handed over, broken off and recorded, in seconds.
LEASE_MARGIN_S: Final = 5.0
#: Due schedules that one turn at the lock makes jobs of.
MAX_DUE: Final = 500
#: Waiting items that are looked at for one claim, and how often anew past crowded hosts.
WINDOW: Final = 1500
LOOKS: Final = 4
#: So often a probe's worker may vanish before the probe itself is suspected.
MAX_RECLAIMS: Final = 3
#: How long a schedule rests whose probes end their workers.
QUARANTINE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Claimed:
    """One probe that is this worker's to send, and to record under its fence.

    Attributes:
        attempts: How often it was tried before.
        timeout_s: The hard limit of this attempt, in seconds.
        late_s: How long after its time it was claimed.
    """

    item: int
    job: int
    fence: int
    schedule: str
    target: str
    sample: Mapping[str, Any]
    attempts: int
    timeout_s: float
    late_s: float


@dataclass(slots=True)
class _Room:
    """How much may still be claimed, as it is counted down."""

    free: int
    per_host: int
    hosts: Counter[str] = field(default_factory=Counter)
    schedules: Counter[str] = field(default_factory=Counter)

    def full_hosts(self) -> list[str]:
        return [host for host, number in self.hosts.items() if number >= self.per_host]


def prepare(plan: Plan, held: Engine) -> None:
    """Make jobs of what is due, take back what vanished workers had, end what is overdue."""
    if _may_schedule(plan, held):
        _bring_up_to_date(plan, held)
        _make_due(plan, held)
    reclaim(plan, held)
    jobs.end_overdue(held)


def claim(plan: Plan, held: Engine, owner: str, most: int) -> list[Claimed]:
    """Claim waiting probes, as many as the caps leave room for.

    Args:
        plan: The caps, and what is sent.
        held: The lock.
        owner: Who claims.
        most: No more than this.
    """
    room = _room(plan, held, most)
    rows: list[ProbeItem] = []
    for _look in range(LOOKS):
        if room.free <= 0:
            break
        seen = _waiting(held, room, [row.pk for row in rows])
        rows += _choose(seen, plan, room)
        if len(seen) < WINDOW:
            break
    return _hand_over(rows, plan, held, owner)


def next_due_at(using: str) -> datetime | None:
    """Return when something is to be done next: a schedule's slot, or an item that waits."""
    slots = ProbeScheduleState.objects.using(using).order_by("next_at")
    waiting = ProbeItem.objects.using(using).filter(state=ItemState.QUEUED).order_by("due_at")
    found = [
        slots.values_list("next_at", flat=True).first(),
        waiting.values_list("due_at", flat=True).first(),
    ]
    return min((moment for moment in found if moment is not None), default=None)


def reclaim(plan: Plan, held: Engine) -> int:
    """Take back what was claimed under leases that are over; returns how many."""
    items = ProbeItem.objects.using(held.using)
    gone = list(
        items.filter(state=ItemState.RUNNING, lease_until__lte=held.now).select_related("job")
    )
    for item in gone:
        _take_back(item, plan, held)
    if gone:
        logger.warning("%d probes were taken back from workers that vanished", len(gone))
        jobs.end_finished({item.job_id for item in gone}, held)
    return len(gone)


def _take_back(item: ProbeItem, plan: Plan, held: Engine) -> None:
    rows = ProbeItem.objects.using(held.using).filter(
        pk=item.pk, fence=item.fence, state=ItemState.RUNNING
    )
    taken = {"fence": F("fence") + 1, "lease_until": None, "owner": ""}
    reclaims = item.reclaims + 1
    if item.transport == IN_PROCESS:
        # Its process is killed at its limit: the lease only ends where its worker was, too.
        state, detail = ItemState.TIMEOUT, "its process was ended"
    elif reclaims > MAX_RECLAIMS:
        state, detail = ItemState.LOST, f"its worker vanished {reclaims} times"
        _quarantine(item.job.schedule, held)
    elif _reruns(item, plan):
        rows.update(state=ItemState.QUEUED, reclaims=reclaims, due_at=held.now, **taken)
        return
    else:
        state, detail = ItemState.LOST, "its worker vanished; it may have been sent"
    rows.update(
        state=state,
        reclaims=reclaims,
        finished_at=held.now,
        error=Failure.INTERNAL,
        detail=detail,
        **taken,
    )


def _reruns(item: ProbeItem, plan: Plan) -> bool:
    target = _find(plan, item.target)
    return target is not None and target.reruns


def _quarantine(schedule: str, held: Engine) -> None:
    """Let a schedule rest whose probes take their workers with them."""
    states = ProbeScheduleState.objects.using(held.using).filter(name=schedule)
    if states.update(state=ScheduleState.QUARANTINED, next_at=held.now + QUARANTINE):
        logger.error("Probe schedule %s is quarantined: its workers vanish", schedule)


def _may_schedule(plan: Plan, held: Engine) -> bool:
    """Whether nobody has brought the schedules to a newer policy than this process holds."""
    known = Announcement.parse(held.row.stamp.partition("|")[0])
    if known is None or plan.announcement is None:
        return True
    return known.lineage != plan.announcement.lineage or not known.supersedes(plan.announcement)


def _bring_up_to_date(plan: Plan, held: Engine) -> None:
    """Give each schedule in force a state, and take those of others away."""
    stamp = f"{plan.announcement}|{plan.stamp}"
    if held.row.stamp == stamp:
        return
    states = ProbeScheduleState.objects.using(held.using)
    before = {state.name: state for state in states.all()}
    fresh, changed = [], []
    now_s = held.now.timestamp()
    for name, planned in plan.schedules.items():
        state = before.pop(name, None)
        if state is not None and state.definition == planned.definition:
            continue
        next_at = _moment(planned.schedule.next_after(now_s))
        if state is None:
            fresh.append(
                ProbeScheduleState(name=name, definition=planned.definition, next_at=next_at)
            )
        else:
            # An edit ends a quarantine as well: somebody has looked at it.
            state.definition, state.next_at, state.failed_claims = planned.definition, next_at, 0
            if state.state == ScheduleState.QUARANTINED:
                state.state = ScheduleState.IDLE
            changed.append(state)
    states.bulk_create(fresh, batch_size=jobs.BATCH)
    states.bulk_update(
        changed, ["definition", "next_at", "failed_claims", "state"], batch_size=jobs.BATCH
    )
    for start in range(0, len(before), jobs.BATCH):
        states.filter(name__in=list(before)[start : start + jobs.BATCH]).delete()
    held.row.stamp = stamp
    held.row.save(using=held.using, update_fields=["stamp"])


def _make_due(plan: Plan, held: Engine) -> None:
    """Make a job of each slot that has come, unless the schedule's last job is still open."""
    states = ProbeScheduleState.objects.using(held.using)
    come = list(states.filter(next_at__lte=held.now).order_by("next_at")[:MAX_DUE])
    if not come:
        return
    still_open = set(
        ProbeJob.objects.using(held.using)
        .filter(
            pk__in=[state.last_job_id for state in come if state.last_job_id],
            status__in=OPEN_JOBS,
        )
        .values_list("pk", flat=True)
    )
    names = {name for state in come for name in plan.schedules[state.name].targets}
    known = jobs.samples(names, held.using)
    drafts: list[tuple[ProbeScheduleState, ProbeJob, list[Target]]] = []
    missed = 0
    for state in come:
        planned = plan.schedules[state.name]
        slot = int(state.next_at.timestamp())
        found = due_of(planned.schedule, slot, held.now.timestamp())
        if found.missed or state.last_job_id in still_open:
            # Late by more than an interval, or still at it: counted, and not made up for.
            skipped = found.missed or 1
            missed, state.missed = missed + skipped, state.missed + skipped
            upcoming = found.slot if found.missed else planned.schedule.next_after(slot)
            state.next_at = _moment(upcoming)
            continue
        targets = [
            target
            for name in planned.targets
            if (target := _find(plan, name, known.get(name))) is not None
        ]
        drafts.append((state, _job_of(planned, slot, plan, held, len(targets)), targets))
        state.next_at = _moment(planned.schedule.next_after(slot))
    _insert(drafts, held)
    states.bulk_update(come, ["next_at", "missed", "state", "last_job"], batch_size=jobs.BATCH)
    if missed:
        held.row.missed += missed
        held.row.save(using=held.using, update_fields=["missed"])


def _job_of(planned: Planned, slot: int, plan: Plan, held: Engine, total: int) -> ProbeJob:
    return ProbeJob(
        trigger=Trigger.SCHEDULE,
        schedule=planned.name,
        slot_at=_moment(slot),
        created_at=held.now,
        deadline_at=held.now + timedelta(seconds=planned.deadline_s),
        timeout_s=planned.timeout_s,
        revision=plan.revision,
        total=total,
        # Of nothing there is nothing to run.
        status=JobStatus.QUEUED if total else JobStatus.COMPLETED,
        finished_at=None if total else held.now,
    )


def _insert(drafts: list[tuple[ProbeScheduleState, ProbeJob, list[Target]]], held: Engine) -> None:
    made = [job for _state, job, _targets in drafts]
    ProbeJob.objects.using(held.using).bulk_create(made, batch_size=jobs.BATCH)
    jobs.insert_items(
        ((job, targets) for _state, job, targets in drafts), held, priority=jobs.BY_SCHEDULE
    )
    for state, job, _targets in drafts:
        state.last_job, state.state = job, ScheduleState.CLAIMED


def _room(plan: Plan, held: Engine, most: int) -> _Room:
    """Count what runs now. Leases that are over were taken back before, under the same lock."""
    running = (
        ProbeItem.objects.using(held.using)
        .filter(state=ItemState.RUNNING)
        .order_by()
        .values_list("host", "job__schedule")
        .annotate(number=Count("pk"))
    )
    room = _Room(min(most, plan.budget.max_concurrency), plan.budget.max_per_host)
    in_all = 0
    for host, schedule, number in running:
        in_all += number
        room.hosts[host] += number
        room.schedules[schedule] += number
    room.free = min(most, plan.budget.max_concurrency - in_all)
    return room


def _waiting(held: Engine, room: _Room, chosen: list[int]) -> list[ProbeItem]:
    """Read a window of what waits, past the hosts that are full."""
    rows = ProbeItem.objects.using(held.using).filter(state=ItemState.QUEUED, due_at__lte=held.now)
    if full := room.full_hosts():
        rows = rows.exclude(host__in=full)
    if chosen:
        rows = rows.exclude(pk__in=chosen)
    return list(
        rows.order_by("priority", "due_at", "pk")
        .select_related("job")
        .only(
            *("target", "host", "fence", "attempts", "due_at", "priority"),
            *("job__schedule", "job__timeout_s", "job__deadline_at", "job__status"),
        )[:WINDOW]
    )


def _choose(seen: Iterable[ProbeItem], plan: Plan, room: _Room) -> list[ProbeItem]:
    chosen = []
    for row in seen:
        if room.free <= 0:
            break
        if room.hosts[row.host] >= room.per_host:
            continue
        schedule = row.job.schedule
        planned = plan.schedules.get(schedule)
        most = planned.max_concurrency if planned else None
        if most is not None and room.schedules[schedule] >= most:
            continue
        room.free -= 1
        room.hosts[row.host] += 1
        room.schedules[schedule] += 1
        chosen.append(row)
    return chosen


def _hand_over(rows: list[ProbeItem], plan: Plan, held: Engine, owner: str) -> list[Claimed]:
    """Give the chosen items to the owner, each under a lease of its own and a new fence."""
    if not rows:
        return []
    known = jobs.samples({row.target for row in rows}, held.using)
    claimed: list[Claimed] = []
    by_lease: dict[datetime, list[int]] = {}
    for row in rows:
        timeout_s = _timeout_s(row, plan, held)
        until = held.now + timedelta(seconds=timeout_s + LEASE_MARGIN_S)
        by_lease.setdefault(until, []).append(row.pk)
        claimed.append(
            Claimed(
                item=row.pk,
                job=row.job_id,
                fence=row.fence + 1,
                schedule=row.job.schedule,
                target=row.target,
                sample=known.get(row.target, {}),
                attempts=row.attempts,
                timeout_s=timeout_s,
                late_s=(held.now - row.due_at).total_seconds(),
            )
        )
    items = ProbeItem.objects.using(held.using)
    for until, pks in by_lease.items():
        items.filter(pk__in=pks, state=ItemState.QUEUED).update(
            state=ItemState.RUNNING, owner=owner, lease_until=until, fence=F("fence") + 1
        )
    ProbeJob.objects.using(held.using).filter(
        Q(pk__in={row.job_id for row in rows}), status=JobStatus.QUEUED
    ).update(status=JobStatus.RUNNING, started_at=held.now)
    return claimed


def _timeout_s(row: ProbeItem, plan: Plan, held: Engine) -> float:
    """The least of the target's limit, the job's, and what is left of the job's time."""
    target = _find(plan, row.target)
    limits = [10.0 if target is None else target.call.timeout_s]
    if row.job.timeout_s is not None:
        limits.append(row.job.timeout_s)
    limits.append((row.job.deadline_at - held.now).total_seconds())
    return max(0.0, min(limits))


def _find(plan: Plan, name: str, sample: Mapping[str, Any] | None = None) -> Target | None:
    """Return a target; None where the policy has it no more."""
    try:
        return plan.target(name, sample)
    except (PolicyError, ProbeError):
        return None


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
