"""Jobs: started by hand or by a schedule, cancelled, run again, and ended in time.

Every refusal is decided under the engine's lock, so a cooldown and a number of jobs are exact over
any number of processes; a refused start leaves nothing behind.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, Exists, F, OuterRef, QuerySet, When
from django.utils.translation import gettext as _

from pulse.audit.models import Action
from pulse.audit.record import record
from pulse.core.attempts import Failure
from pulse.core.targets import EndpointId, parse_target
from pulse.exceptions import (
    CooldownActive,
    InvalidFields,
    JobFinished,
    TooManyJobs,
    UnknownJob,
    UnknownSchedule,
    UnknownTarget,
)
from pulse.policies import routes
from pulse.policies.publisher import SYSTEM, Actor
from pulse.probes import bulk, engine
from pulse.probes.engine import Engine
from pulse.probes.plan import Plan, Planned, Target, current_plan
from pulse.probes.state import (
    OPEN_ITEMS,
    OPEN_JOBS,
    TRANSITIONS,
    DiscoveredEndpoint,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeStart,
    ScheduleState,
    Trigger,
)

logger = logging.getLogger(__name__)

#: Between two starts of a target by hand, in seconds; a schedule names its own.
TARGET_COOLDOWN_S: Final = 30.0
#: What was started by hand goes before what is merely due.
BY_HAND: Final = 0
BY_SCHEDULE: Final = 10
#: Rows are inserted in batches of this size.
BATCH: Final = bulk.BATCH
#: Jobs past their deadline that one turn at the lock ends.
MAX_OVERDUE: Final = 500


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: one schedule, or some targets, or every safe target there is.

    Attributes:
        timeout_s: Of each probe, where it is less than the target's own and the schedule's, in
            seconds.
        deadline_s: Of the whole job, from now on, in seconds; at most the budget's and the
            schedule's, which it is without.
    """

    schedule: str = ""
    targets: tuple[str, ...] = ()
    timeout_s: float | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Starter:
    """Who starts a job, and by which door."""

    actor: Actor
    trigger: Trigger
    request_id: str = ""


@dataclass(slots=True)
class _Draft:
    """A job before it has a row: what it probes, and whose cooldowns it obeys."""

    targets: list[Target] = field(default_factory=list)
    cooldowns: dict[str, float] = field(default_factory=dict)


def start(order: Order, starter: Starter) -> ProbeJob:
    """Start a job by hand; workers find it by themselves.

    Raises:
        InvalidEndpointId: A target is neither a name nor an endpoint id (S0-07).
        UnknownTarget: There is no such target; or nothing to probe at all.
        UnknownSchedule: There is no such schedule in force.
        InvalidFields: Its deadline is later than it may be.
        CooldownActive: It was started a moment ago (S0-15).
        TooManyJobs: As many as may be are open (S0-16).
    """
    with engine.locked() as held:
        plan = current_plan(held.now.timestamp())
        return _start(_draft(plan, order, held), order, starter, plan, held)


def rerun(job_id: int, starter: Starter) -> ProbeJob:
    """Start a new job of what did not end well in another, for the same schedule.

    Its targets' cooldowns count, as if each had been named; what the policy has no more is left
    out.

    Raises:
        UnknownJob: There is no such job.
        UnknownTarget: All of it is ``ok``, or its targets are gone.
        CooldownActive: As for ``start``.
        TooManyJobs: As for ``start``.
    """
    job = find(job_id)
    rows = ProbeItem.objects.using(engine.database()).filter(job=job).order_by("pk")
    unwell = rows.exclude(state__in=[ItemState.OK, *OPEN_ITEMS])
    names = tuple(dict.fromkeys(unwell.values_list("target", flat=True)))
    with engine.locked() as held:
        plan = current_plan(held.now.timestamp())
        known = samples(names, held.using)
        targets = [
            target for name in names if (target := plan.find(name, known.get(name))) is not None
        ]
        cooldowns = {f"target:{target.name}": TARGET_COOLDOWN_S for target in targets}
        draft = _Draft(targets, cooldowns)
        order = Order(schedule=job.schedule, timeout_s=job.timeout_s)
        return _start(draft, order, starter, plan, held)


def cancel(job_id: int, actor: Actor = SYSTEM, request_id: str = "") -> ProbeJob:
    """Cancel a job: what waits is not sent, what runs is broken off. Again changes nothing.

    Args:
        job_id: Which.
        actor: Who cancels it.
        request_id: Of which request.

    Raises:
        UnknownJob: There is no such job.
        JobFinished: It ended in another way.
    """
    with engine.locked() as held:
        job = find(job_id)
        if job.status == JobStatus.CANCELLED:
            return job
        if not end(job, JobStatus.CANCELLED, held):
            raise JobFinished(job.pk, job.status)
        _close_items(ProbeItem.objects.using(held.using).filter(job=job), ItemState.CANCELLED, held)
        _record(Action.JOB_CANCEL, job, actor, request_id, held)
    logger.info("Probe job %s cancelled", job.pk)
    return job


def find(job_id: int) -> ProbeJob:
    """Return a job.

    Raises:
        UnknownJob: There is none of this number.
    """
    job = ProbeJob.objects.using(engine.database()).filter(pk=job_id).first()
    if job is None:
        raise UnknownJob(str(job_id))
    return job


def open_jobs(using: str) -> QuerySet[ProbeJob]:
    """Select the jobs that have not ended, by their index."""
    return ProbeJob.objects.using(using).filter(status__in=OPEN_JOBS, finished_at=None)


def insert(job: ProbeJob, targets: Sequence[Target], held: Engine, *, priority: int) -> ProbeJob:
    """Insert a job and its items; who calls holds the lock."""
    job.created_at, job.total = held.now, len(targets)
    job.save(using=held.using)
    insert_items([(job, targets)], held, priority=priority)
    return job


def insert_items(
    drafts: Iterable[tuple[ProbeJob, Sequence[Target]]], held: Engine, *, priority: int
) -> None:
    """Insert the items of jobs that have rows; who calls holds the lock."""
    bulk.insert(
        ProbeItem,
        held.using,
        ("job_id", "target", "endpoint_id", "host", "transport", "due_at"),
        (
            (
                *(job.pk, target.name, target.endpoint_id, target.host, target.transport),
                job.slot_at or held.now,
            )
            for job, targets in drafts
            for target in targets
        ),
        {
            "state": ItemState.QUEUED,
            "priority": priority,
            **dict.fromkeys(("fence", "attempts", "reclaims"), 0),
            **dict.fromkeys(("owner", "address", "error", "detail"), ""),
        },
    )


def end(job: ProbeJob, status: JobStatus, held: Engine, *, error: str = "") -> bool:
    """Bring a job to an end state; False where it is at one already.

    The transition is guarded by what the row says now, not by what was read.
    """
    allowed = [before for before, after in TRANSITIONS.items() if status in after]
    rows = ProbeJob.objects.using(held.using).filter(pk=job.pk, status__in=allowed)
    done = rows.update(status=status, finished_at=held.now, error=error)
    if done:
        job.status, job.finished_at, job.error = status, held.now, error
        _settle([job.pk], held)
    return bool(done)


def end_overdue(held: Engine) -> list[ProbeJob]:
    """Bring jobs past their deadline to an end; what they have is kept (S0-17, S0-18).

    Six queries for as many as ``MAX_OVERDUE``, the longest overdue first: when workers come back
    after a while, the last job of every schedule is.
    """
    rows = open_jobs(held.using)
    overdue = list(rows.filter(deadline_at__lte=held.now).order_by("deadline_at")[:MAX_OVERDUE])
    if not overdue:
        return []
    pks = [job.pk for job in overdue]
    items = ProbeItem.objects.using(held.using).filter(job__in=pks)
    still_open = items.filter(state__in=OPEN_ITEMS).order_by().values_list("job")
    unfinished = dict(still_open.annotate(number=Count("pk")))
    _close_items(items, ItemState.TIMEOUT, held, error="deadline", detail="the job's time was over")
    rows.filter(pk__in=pks).update(status=JobStatus.TIMEOUT, finished_at=held.now)
    _settle(pks, held)
    for job in overdue:
        job.status, job.finished_at = JobStatus.TIMEOUT, held.now
        details = {
            "job": job.pk,
            "schedule": job.schedule,
            "limit_s": (job.deadline_at - job.created_at).total_seconds(),
            "total": job.total,
            "completed": job.total - unfinished.get(job.pk, 0),
        }
        transaction.on_commit(
            partial(logger.error, "Probe job timed out", extra=details),
            using=held.using,
            robust=True,
        )
    return overdue


def end_finished(
    job_ids: Iterable[int], held: Engine, unsent: Mapping[int, str] | None = None
) -> int:
    """Bring those jobs to an end of which no item is open; returns how many.

    ``completed``, whatever came of its probes; ``failed`` where not one could be sent.

    Args:
        job_ids: Those that may have ended.
        held: The lock.
        unsent: Why a probe of a job could not be sent, of those that have one such.
    """
    unfinished = ProbeItem.objects.using(held.using).filter(
        job=OuterRef("pk"), finished_at__isnull=True
    )
    rows = ProbeJob.objects.using(held.using).filter(status__in=OPEN_JOBS)
    ended = list(rows.filter(~Exists(unfinished), pk__in=set(job_ids)).values_list("pk", flat=True))
    if ended:
        for pk in _of_nothing_sent([pk for pk in ended if pk in (unsent or {})], held):
            error = (unsent or {})[pk]
            rows.filter(pk=pk).update(status=JobStatus.FAILED, finished_at=held.now, error=error)
            logger.error("Probe job %s failed: %s", pk, error)
        rows.filter(pk__in=ended).update(status=JobStatus.COMPLETED, finished_at=held.now)
        _settle(ended, held)
    return len(ended)


def _of_nothing_sent(job_ids: Sequence[int], held: Engine) -> list[int]:
    if not job_ids:
        return []
    items = ProbeItem.objects.using(held.using).filter(job__in=job_ids)
    sent = set(items.exclude(error=Failure.INTERNAL).values_list("job", flat=True))
    return [pk for pk in job_ids if pk not in sent]


def counts(job_ids: Iterable[int], using: str) -> dict[int, dict[str, int]]:
    """Count the items of jobs by state, ``total`` first; one query."""
    ids = list(job_ids)
    found = {job: {"total": 0, **dict.fromkeys(ItemState.values, 0)} for job in ids}
    rows = ProbeItem.objects.using(using).filter(job__in=ids).order_by()
    for job, state, number in rows.values_list("job", "state").annotate(number=Count("pk")):
        found[job][state] = number
        found[job]["total"] += number
    return found


def samples(names: Iterable[str], using: str) -> dict[str, Mapping[str, Any]]:
    """Return the generated samples of endpoint ids; one query, none where nothing needs one."""
    wanted = [name for name in names if " " in name]
    if not wanted:
        return {}
    rows = DiscoveredEndpoint.objects.using(using).filter(endpoint_id__in=wanted)
    return {name: sample or {} for name, sample in rows.values_list("endpoint_id", "sample")}


def _start(draft: _Draft, order: Order, starter: Starter, plan: Plan, held: Engine) -> ProbeJob:
    if not draft.targets:
        raise UnknownTarget("")
    _check_cooldowns(draft.cooldowns, held)
    _check_open(plan.budget.max_jobs, held)
    planned = plan.schedules.get(order.schedule)
    deadline_s = _deadline_s(order, planned, plan)
    timeouts = (order.timeout_s, planned.timeout_s if planned else None)
    job = insert(
        ProbeJob(
            trigger=starter.trigger,
            schedule=order.schedule,
            actor_type=starter.actor.type,
            actor_name=starter.actor.name[:150],
            request_id=starter.request_id[:128],
            deadline_at=held.now + timedelta(seconds=deadline_s),
            timeout_s=min((limit for limit in timeouts if limit), default=None),
            revision=plan.revision,
        ),
        draft.targets,
        held,
        priority=BY_HAND,
    )
    ProbeStart.objects.using(held.using).bulk_create(
        [ProbeStart(scope=scope, started_at=held.now) for scope in draft.cooldowns],
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["scope"],
        update_fields=["started_at"],
    )
    _record(Action.JOB_START, job, starter.actor, starter.request_id, held)
    transaction.on_commit(
        partial(
            logger.info,
            "Probe job %s started by %s %s: %d probes",
            job.pk,
            job.actor_type,
            job.actor_name,
            job.total,
        ),
        using=held.using,
        robust=True,
    )
    return job


def _record(action: Action, job: ProbeJob, actor: Actor, request_id: str, held: Engine) -> None:
    told = {"schedule": job.schedule, "trigger": job.trigger, "probes": job.total}
    record(
        action,
        actor,
        kind="jobs",
        key={"id": str(job.pk)},
        request_id=request_id,
        fields={name: {"before": None, "after": value} for name, value in told.items()},
        using=held.using,
    )


def _deadline_s(order: Order, planned: Planned | None, plan: Plan) -> float:
    """Return how long a job may take.

    Raises:
        InvalidFields: More was asked for than may be: nobody is to wait for what will not come.
    """
    most_s = min(plan.budget.job_timeout_s, planned.deadline_s if planned else math.inf)
    if order.deadline_s is not None and order.deadline_s > most_s:
        raise InvalidFields({"deadline_s": [_("It is at most %g s here.") % most_s]})
    return order.deadline_s or most_s


def _draft(plan: Plan, order: Order, held: Engine) -> _Draft:
    draft = _Draft()
    if order.schedule:
        planned = plan.schedules.get(order.schedule)
        if planned is None:
            raise UnknownSchedule(order.schedule)
        names: Sequence[str] = planned.targets
        draft.cooldowns[f"schedule:{planned.name}"] = planned.cooldown_s
    else:
        names = tuple(dict.fromkeys(order.targets)) or plan.safe_targets
        scopes = [f"target:{name}" for name in names] if order.targets else ["everything"]
        draft.cooldowns |= dict.fromkeys(scopes, TARGET_COOLDOWN_S)
    for name in names:
        parse_target(name)  # What is no name, no database need be asked for.
    known = samples(names, held.using)
    draft.targets = [plan.target(name, known.get(name)) for name in names]
    _check_routes(order.targets)
    return draft


def _check_routes(names: Iterable[str]) -> None:
    """Refuse endpoints that this site has not; those that a schedule names may have vanished."""
    known = routes.known_values(settings.ROOT_URLCONF)["route"]
    for name in names:
        parsed = parse_target(name)
        if isinstance(parsed, EndpointId) and parsed.route not in known:
            raise UnknownTarget(name)


def _check_cooldowns(cooldowns: Mapping[str, float], held: Engine) -> None:
    rows = ProbeStart.objects.using(held.using).filter(scope__in=list(cooldowns))
    left_s = 0.0
    for scope, started_at in rows.values_list("scope", "started_at"):
        passed_s = (held.now - started_at).total_seconds()
        left_s = max(left_s, cooldowns[scope] - passed_s)
    if left_s > 0:
        raise CooldownActive(left_s)


def _check_open(most: int, held: Engine) -> None:
    running = open_jobs(held.using).exclude(trigger=Trigger.SCHEDULE).count()
    if running >= most:
        raise TooManyJobs(running, most)


def _settle(job_ids: Sequence[int], held: Engine) -> None:
    """Let the schedules of jobs that have ended wait for their next slot."""
    states = ProbeScheduleState.objects.using(held.using).filter(last_job__in=job_ids)
    states.filter(state=ScheduleState.CLAIMED).update(state=ScheduleState.IDLE)
    lost = ProbeItem.objects.using(held.using).filter(
        job=OuterRef("last_job"), state=ItemState.LOST
    )
    states.filter(~Exists(lost), failed_claims__gt=0).update(failed_claims=0)


def _close_items(
    rows: QuerySet[ProbeItem], state: ItemState, held: Engine, *, error: str = "", detail: str = ""
) -> int:
    """End open items. Their fences go up, so that who still runs them records nothing.

    What runs was tried as well, though nothing came of it.
    """
    return rows.filter(state__in=OPEN_ITEMS).update(
        state=state,
        fence=F("fence") + 1,
        attempts=F("attempts") + Case(When(state=ItemState.RUNNING, then=1), default=0),
        lease_until=None,
        owner="",
        finished_at=held.now,
        error=error,
        detail=detail,
    )
