"""What workers had is taken back: leases that are over, and what a worker gives up in time."""

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.db.models import F, QuerySet

from pulse.core.attempts import Failure
from pulse.probes import bulk, hours, jobs, recorder
from pulse.probes.attempt import Key
from pulse.probes.engine import Engine, moment_of
from pulse.probes.plan import Plan
from pulse.probes.state import ItemState, ProbeItem, ProbeScheduleState, ScheduleState

logger = logging.getLogger(__name__)

#: So often a probe's worker may vanish before the probe itself is suspected.
MAX_RECLAIMS: Final = 3
#: How long a schedule rests whose probes end their workers.
QUARANTINE: Final = timedelta(hours=1)


class _Gone(NamedTuple):
    item: int
    job: int
    fence: int
    target: str
    reclaims: int
    schedule: str


_GONE: Final = ("pk", "job_id", "fence", "target", "reclaims", "job__schedule")


def reclaim(plan: Plan, held: Engine) -> int:
    """Take back what was claimed under leases that are over; returns how many."""
    rows = _running(held).filter(lease_until__lte=held.now)
    gone = [_Gone._make(row) for row in rows.values_list(*_GONE)]
    if gone:
        logger.warning("%d probes are taken back from workers that vanished", len(gone))
        _take_back(gone, plan, held)
    return len(gone)


def give_back(keys: Iterable[Key], plan: Plan, held: Engine, *, begun: bool) -> int:
    """Give up what this worker does not finish: somebody else will, unless that may do it twice.

    Args:
        keys: What was claimed.
        plan: Says what may be sent again.
        held: The lock.
        begun: It may have been sent.
    """
    ours = [item for item, _fence in recorder.still_ours(keys, held)]
    if not ours:
        return 0
    rows = [_Gone._make(row) for row in _running(held).filter(pk__in=ours).values_list(*_GONE)]
    again = [row for row in rows if not begun or _reruns(row, plan)]
    _queue(again, held, **({} if begun else {"started_at": None}))
    lost = [row for row in rows if begun and not _reruns(row, plan)]
    _lose(lost, "its worker was stopped; it may have been sent", held)
    return len(rows)


def disown(owner: str, known: Iterable[Key], held: Engine) -> int:
    """Give up what stands under a worker's name and it does not know of.

    A claim may be committed although its commit was answered by an error, or by none in time.
    Nothing was sent.
    """
    rows = _running(held).filter(owner=owner).values_list(*_GONE)
    held_by_it = set(known)
    strange = [row for row in map(_Gone._make, rows) if (row.item, row.fence) not in held_by_it]
    _queue(strange, held, started_at=None)
    return len(strange)


def let_lapse(key: Key, held: Engine) -> None:
    """Take one's name off a probe that was sent and cannot be recorded, so that nobody disowns it.

    When its lease ends it is taken back as of a worker that vanished.
    """
    item, fence = key
    _running(held).filter(pk=item, fence=fence).update(owner="")


def _take_back(gone: Sequence[_Gone], plan: Plan, held: Engine) -> None:
    again, suspects, lost = [], [], []
    for row in gone:
        if row.reclaims >= MAX_RECLAIMS:
            suspects.append(row)
        elif _reruns(row, plan):
            again.append(row)
        else:
            lost.append(row)
    _queue(again, held, reclaims=F("reclaims") + 1)
    shaken = _schedules_shaken(lost, held)
    _lose(suspects, f"its worker vanished {MAX_RECLAIMS + 1} times", held)
    _lose(lost, "its worker vanished; it may have been sent", held)
    _suspect(shaken, {row.schedule for row in suspects}, plan, held)


def _schedules_shaken(lost: Sequence[_Gone], held: Engine) -> set[str]:
    """Name the schedules of jobs that lose their first probe now: what else they lose is no news.

    The leases of one worker end at different times, as its probes' time limits do.
    """
    if not lost:
        return set()
    items = ProbeItem.objects.using(held.using).filter(state=ItemState.LOST)
    known = set(items.filter(job__in={row.job for row in lost}).values_list("job_id", flat=True))
    return {row.schedule for row in lost if row.job not in known}


def _reruns(row: _Gone, plan: Plan) -> bool:
    target = plan.find(row.target)
    return target is not None and target.reruns


def _queue(rows: Sequence[_Gone], held: Engine, **more: Any) -> None:
    for batch in bulk.batches(row.item for row in rows):
        _running(held).filter(pk__in=batch).update(
            state=ItemState.QUEUED,
            due_at=held.now,
            fence=F("fence") + 1,
            lease_until=None,
            owner="",
            **more,
        )


def _lose(rows: Sequence[_Gone], detail: str, held: Engine) -> None:
    if not rows:
        return
    for batch in bulk.batches(row.item for row in rows):
        _running(held).filter(pk__in=batch).update(
            state=ItemState.LOST,
            error=Failure.INTERNAL,
            detail=detail,
            fence=F("fence") + 1,
            reclaims=F("reclaims") + 1,
            lease_until=None,
            owner="",
            finished_at=held.now,
        )
    hours.count_lost((row.target for row in rows), held)
    jobs.end_finished({row.job for row in rows}, held)


def _suspect(shaken: set[str], suspected: set[str], plan: Plan, held: Engine) -> None:
    """Let schedules rest whose probes, or whose jobs again and again, take their workers along."""
    states = ProbeScheduleState.objects.using(held.using)
    shaken -= {""}
    if shaken:
        states.filter(name__in=shaken).update(failed_claims=F("failed_claims") + 1)
        often = states.filter(name__in=shaken, failed_claims__gt=MAX_RECLAIMS)
        suspected |= set(often.values_list("name", flat=True))
    for name in sorted(suspected & plan.schedules.keys()):
        rests_until = (held.now + QUARANTINE).timestamp()
        next_s = plan.schedules[name].schedule.next_after(rests_until)
        states.filter(name=name).update(
            state=ScheduleState.QUARANTINED,
            failed_claims=0,
            next_at=moment_of(next_s),
        )
        logger.error("Probe schedule %s is quarantined: its workers vanish", name)


def _running(held: Engine) -> QuerySet[ProbeItem]:
    # In no order: to read them by their number SQLite would go through all that ever ended.
    return ProbeItem.objects.using(held.using).filter(state=ItemState.RUNNING).order_by()
