"""Jobs as pages and API show them: counts, progress, what is left, and each probe of one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone

from pulse.probes import engine, jobs
from pulse.probes.state import (
    OPEN_ITEMS,
    OPEN_JOBS,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    Trigger,
)
from pulse.probes.summary import cursors
from pulse.probes.summary.wire import eta_s, job_as_dict

#: Jobs of a page, and probes of a job's page.
JOBS: Final = 50
ITEMS: Final = 100
#: What a list of jobs is narrowed by: columns, and what they may be; None for any text.
FILTERS: Final[Mapping[str, Iterable[str] | None]] = {
    "status": JobStatus.values,
    "trigger": Trigger.values,
    "schedule": None,
}
#: States of items, as a page groups them: trouble first.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "trouble": (ItemState.FAILED, ItemState.TIMEOUT, ItemState.LOST, ItemState.DEGRADED),
    "open": OPEN_ITEMS,
    "ok": (ItemState.OK,),
    "cancelled": (ItemState.CANCELLED,),
}


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with what its items say of it.

    Attributes:
        counts: Items by state, and ``total``.
        eta_s: How long it probably still takes; None where that is not to be said.
    """

    job: ProbeJob
    counts: Mapping[str, int]
    eta_s: int | None
    now: datetime

    @property
    def total(self) -> int:
        """How many probes it has, or had."""
        return max(self.job.total, self.counts["total"])

    @property
    def done(self) -> int:
        """How many have ended; all of a job that has."""
        if not self.is_open:
            return self.total
        return self.counts["total"] - self.counts["queued"] - self.counts["running"]

    @property
    def percent(self) -> int:
        """How far it is, from 0 to 100."""
        return int(100 * self.done / self.total) if self.total else 100

    @property
    def is_open(self) -> bool:
        """Whether it is queued or running."""
        return self.job.status in OPEN_JOBS

    @property
    def trouble(self) -> int:
        """How many of its probes did not end well."""
        return sum(self.counts[state] for state in GROUPS["trouble"])

    @property
    def states(self) -> list[tuple[str, int]]:
        """How many of its probes are in each state that any is in."""
        return [(state, self.counts[state]) for state in ItemState if self.counts[state]]

    @property
    def took(self) -> timedelta | None:
        """From its first probe to its end, or until now; None before it began."""
        if self.job.started_at is None:
            return None
        return (self.job.finished_at or self.now) - self.job.started_at

    @property
    def can_rerun(self) -> bool:
        """Whether there is something that may be run again."""
        return self.trouble + self.counts["cancelled"] > 0 and not self.is_open

    def as_dict(self) -> dict[str, Any]:
        """Write it as the API does."""
        return job_as_dict(self.job, self.counts, self.now)


def view_of(job: ProbeJob, now: datetime | None = None) -> JobView:
    """Add what a job's items say; one query."""
    return views_of([job], now)[0]


def views_of(rows: Iterable[ProbeJob], now: datetime | None = None) -> list[JobView]:
    """Add what the items of jobs say; one query."""
    rows, now = list(rows), now or timezone.now()
    counted = jobs.counts([job.pk for job in rows], engine.database())
    return [JobView(job, counted[job.pk], eta_s(job, counted[job.pk], now), now) for job in rows]


def page(chosen: Mapping[str, str], cursor: str = "", size: int = JOBS) -> cursors.Page[ProbeJob]:
    """Read a page of jobs, newest first; one query.

    Args:
        chosen: Values by the names of ``FILTERS``; what is empty or cannot be is left out.
        cursor: As ``cursors.read`` takes it.
        size: How many.
    """
    rows = ProbeJob.objects.using(engine.database()).all()
    for name in FILTERS:
        value = chosen.get(name, "")
        if value and can_be(name, value):
            rows = rows.filter(**{name: value})
    return cursors.read(rows, cursor, size)


def can_be(name: str, value: str) -> bool:
    """Whether any job can have a value of one of ``FILTERS``; PostgreSQL takes no NUL."""
    values = FILTERS[name]
    return value in values if values is not None else "\x00" not in value


def items_of(job: ProbeJob, group: str = "", number: int = 1) -> tuple[list[ProbeItem], bool]:
    """Read a page of a job's probes, in the order of their start; one query.

    Returns:
        The items, and whether there are more behind them.
    """
    rows: QuerySet[ProbeItem] = ProbeItem.objects.using(engine.database()).filter(job=job)
    if group in GROUPS:
        rows = rows.filter(state__in=GROUPS[group])
    start = (number - 1) * ITEMS
    found = list(rows.order_by("pk").defer("evidence")[start : start + ITEMS + 1])
    return found[:ITEMS], len(found) > ITEMS


def open_by_hand() -> int:
    """Count the jobs that were started by hand and are open; one query."""
    rows = ProbeJob.objects.using(engine.database()).filter(status__in=OPEN_JOBS)
    return rows.exclude(trigger=Trigger.SCHEDULE).count()
