"""How the engine itself is: what runs, what waits too long, and who is there to work."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Min
from django.db.models.functions import Now
from django.utils import timezone

from pulse.probes import engine
from pulse.probes.plan import Plan
from pulse.probes.state import (
    OPEN_JOBS,
    ItemState,
    ProbeEngine,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeWorker,
    ScheduleState,
    Trigger,
)

#: A worker that was not heard of for so long is not counted as there.
ALIVE: Final = timedelta(seconds=30)
#: From so many seconds on something that is due waits for somebody who is not there.
LATE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The engine at one moment, by the database's clock.

    Attributes:
        in_flight: Probes that run now, of ``cap`` at most.
        waiting: Probes that are due and not yet sent.
        lag_s: How long the oldest of what is due has waited, in seconds; 0 for nothing.
        jobs: Started by hand and open, of ``max_jobs`` at most.
        missed: Slots that nobody was there to run, in all.
    """

    now: datetime
    in_flight: int
    cap: int
    waiting: int
    lag_s: float
    workers: tuple[ProbeWorker, ...]
    jobs: int
    max_jobs: int
    missed: int

    @property
    def problem(self) -> str:
        """What is wrong with it: ``nobody``, ``late``, or nothing."""
        if self.lag_s < LATE_S:
            return ""
        return "late" if self.workers else "nobody"


def read(plan: Plan) -> Machine:
    """Look at the engine; six queries."""
    using = engine.database()
    row = ProbeEngine.objects.using(using).filter(pk=1).values_list(Now(), "missed").first()
    now, missed = row or (timezone.now(), 0)
    counted = _items(now, using)
    slots = ProbeScheduleState.objects.using(using).exclude(state=ScheduleState.QUARANTINED)
    due = [counted["oldest"], slots.aggregate(first=Min("next_at"))["first"]]
    workers = ProbeWorker.objects.using(using).filter(seen_at__gte=now - ALIVE).order_by("name")
    open_jobs = ProbeJob.objects.using(using).filter(status__in=OPEN_JOBS)
    return Machine(
        now=now,
        in_flight=counted["running"],
        cap=plan.budget.max_concurrency,
        waiting=counted["waiting"],
        lag_s=max([0.0, *((now - at).total_seconds() for at in due if at is not None)]),
        workers=tuple(workers),
        jobs=open_jobs.exclude(trigger=Trigger.SCHEDULE).count(),
        max_jobs=plan.budget.max_jobs,
        missed=missed,
    )


def _items(now: datetime, using: str) -> Mapping[str, Any]:
    # Each by the index of its own state: together they would read every result that is kept.
    rows = ProbeItem.objects.using(using)
    waits = rows.filter(state=ItemState.QUEUED, due_at__lte=now)
    waiting = waits.aggregate(waiting=Count("pk"), oldest=Min("due_at"))
    return {**waiting, "running": rows.filter(state=ItemState.RUNNING).count()}
