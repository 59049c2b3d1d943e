"""Slots that have come become jobs: each once, late ones counted and never made up for."""

import logging
import time
from datetime import timedelta
from typing import Final

from django.db import IntegrityError, transaction

from pulse.core.announcement import Announcement
from pulse.core.schedules import due
from pulse.probes import bulk, jobs, standings
from pulse.probes.engine import Engine, moment_of
from pulse.probes.plan import Plan, Planned, Target
from pulse.probes.state import (
    OPEN_JOBS,
    ProbeJob,
    ProbeScheduleState,
    ScheduleState,
    Trigger,
)

logger = logging.getLogger(__name__)

#: Due schedules that one turn at the lock makes jobs of, and for how long it does, in seconds: when
#: nobody was there for a day, counting what a cron schedule missed takes 20 ms, and who
#: is silent for long is taken for frozen by the database.
MAX_DUE: Final = 500
MAX_DUE_S: Final = 1.0


def make_jobs(plan: Plan, held: Engine) -> None:
    """Make jobs of the slots that have come, unless a newer policy than this has its say."""
    if _may_schedule(plan, held):
        _bring_up_to_date(plan, held)
        _make_due(plan, held)


def stamp_of(plan: Plan) -> str:
    """Name a plan by its revision, and by its schedules."""
    return f"{plan.announcement}|{plan.stamp}"


def _may_schedule(plan: Plan, held: Engine) -> bool:
    """Whether nobody has brought the schedules to a newer policy than this process holds."""
    known = Announcement.parse(held.row.stamp.partition("|")[0])
    if known is None:
        return True
    if plan.announcement is None:
        # It could not load any: that there are no schedules is not for it to say.
        return False
    return known.lineage != plan.announcement.lineage or not known.supersedes(plan.announcement)


def _bring_up_to_date(plan: Plan, held: Engine) -> None:
    """Give each schedule in force a state, and take those of others away."""
    stamp = stamp_of(plan)
    if held.row.stamp == stamp:
        return
    # Most revisions change other things than schedules.
    if held.row.stamp.partition("|")[2] != plan.stamp:
        _renew_states(plan, held)
    held.row.stamp = stamp
    held.row.save(using=held.using, update_fields=["stamp"])


def _renew_states(plan: Plan, held: Engine) -> None:
    states = ProbeScheduleState.objects.using(held.using)
    before = {
        name: (pk, definition, state)
        for name, pk, definition, state in states.values_list("name", "pk", "definition", "state")
    }
    fresh, changed = [], []
    graces: dict[str, float] = {}
    now_s = held.now.timestamp()
    for name, planned in plan.schedules.items():
        definition = planned.definition
        pk, known, state = before.pop(name, (None, "", ""))
        if known == definition:
            continue
        next_s = planned.schedule.next_after(now_s)
        next_at = moment_of(next_s)
        if pk is None:
            fresh.append(ProbeScheduleState(name=name, definition=definition, next_at=next_at))
        else:
            # An edit ends a quarantine as well: somebody has looked at it.
            state = ScheduleState.IDLE if state == ScheduleState.QUARANTINED else state
            changed.append((pk, definition, next_at, 0, state))
            grace_s = 2 * planned.schedule.interval_s(next_s)
            graces |= {name: max(grace_s, graces.get(name, 0.0)) for name in planned.targets}
    states.bulk_create(fresh, batch_size=jobs.BATCH)
    columns = ("id", "definition", "next_at", "failed_claims", "state")
    bulk.update(ProbeScheduleState, held.using, columns, changed)
    standings.stretch(graces, held)
    gone = list(before)
    for start in range(0, len(gone), jobs.BATCH):
        states.filter(name__in=gone[start : start + jobs.BATCH]).delete()


def _make_due(plan: Plan, held: Engine) -> None:
    """Make a job of each slot that has come, unless the schedule's last job is still open."""
    states = ProbeScheduleState.objects.using(held.using)
    come = list(states.filter(next_at__lte=held.now).order_by("next_at")[:MAX_DUE])
    if not come:
        return
    still_open = set(
        ProbeJob.objects.using(held.using)
        .filter(
            pk__in=[state.last_job_id for state in come if state.last_job_id is not None],
            status__in=OPEN_JOBS,
        )
        .values_list("pk", flat=True)
    )
    names = {name for state in come for name in plan.schedules[state.name].targets}
    known = jobs.samples(names, held.using)
    drafts: list[tuple[ProbeScheduleState, ProbeJob, list[Target]]] = []
    missed = 0
    looked_until_s = time.monotonic() + MAX_DUE_S
    for number, state in enumerate(come):
        if number and time.monotonic() > looked_until_s:
            come = come[:number]
            break
        planned = plan.schedules[state.name]
        slot = int(state.next_at.timestamp())
        found = due(planned.schedule, slot, held.now.timestamp())
        if found.missed or state.last_job_id in still_open:
            # Late by more than an interval, or still at it: counted, and not made up for.
            skipped = found.missed or 1
            missed, state.missed = missed + skipped, state.missed + skipped
            upcoming = found.slot if found.missed else planned.schedule.next_after(slot)
            state.next_at = moment_of(upcoming)
            continue
        targets = [
            target
            for name in planned.targets
            if (target := plan.find(name, known.get(name))) is not None
        ]
        if targets:
            drafts.append((state, _job_of(planned, slot, plan, held, len(targets)), targets))
        state.next_at = moment_of(planned.schedule.next_after(slot))
    _insert(drafts, held)
    bulk.update(
        ProbeScheduleState,
        held.using,
        ("id", "next_at", "missed", "state", "last_job_id"),
        [(state.pk, state.next_at, state.missed, state.state, state.last_job_id) for state in come],
    )
    if missed:
        logger.warning("%d slots of probe schedules were missed", missed)
        held.row.missed += missed
        held.row.save(using=held.using, update_fields=["missed"])


def _job_of(planned: Planned, slot: int, plan: Plan, held: Engine, total: int) -> ProbeJob:
    return ProbeJob(
        trigger=Trigger.SCHEDULE,
        schedule=planned.name,
        slot_at=moment_of(slot),
        created_at=held.now,
        deadline_at=held.now + timedelta(seconds=planned.deadline_s),
        timeout_s=planned.timeout_s,
        revision=plan.revision,
        total=total,
    )


def _insert(drafts: list[tuple[ProbeScheduleState, ProbeJob, list[Target]]], held: Engine) -> None:
    """Insert jobs with their items; one whose slot had its job before is left out."""
    made = {id(job) for job in _inserted([job for _state, job, _targets in drafts], held)}
    kept = [draft for draft in drafts if id(draft[1]) in made]
    jobs.insert_items(
        ((job, targets) for _state, job, targets in kept), held, priority=jobs.BY_SCHEDULE
    )
    for state, job, _targets in kept:
        state.last_job_id, state.state = job.pk, ScheduleState.CLAIMED


def _inserted(fresh: list[ProbeJob], held: Engine) -> list[ProbeJob]:
    """Insert jobs; returns those that could be, as their slot was not run before."""
    rows = ProbeJob.objects.using(held.using)
    try:
        with transaction.atomic(using=held.using):
            return rows.bulk_create(fresh, batch_size=jobs.BATCH)
    except IntegrityError:
        # A clock that was set back, or a schedule that went and came again, meets its old slots.
        if len(fresh) == 1:
            logger.warning("A slot of the probe schedule %s comes again", fresh[0].schedule)
            return []
    for job in fresh:
        job.pk = None
    return [made for job in fresh for made in _inserted([job], held)]
