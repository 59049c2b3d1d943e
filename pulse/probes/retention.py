"""What goes when: history that nobody needs any more, in batches, beside a running engine.

Nothing that is open is touched: no probe that waits or runs, and none of a job that does. Each
batch is a transaction of its own, so pruning may be interrupted at any time; the next one goes on.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import TruncDate

from pulse.access import answers
from pulse.audit import retention as audit
from pulse.conf import conf
from pulse.metrics import history
from pulse.probes import engine, rollups
from pulse.probes.state import (
    OPEN_ITEMS,
    OPEN_JOBS,
    DiscoveredEndpoint,
    ItemState,
    ProbeDay,
    ProbeHour,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeStart,
    ProbeTargetState,
    ProbeTransition,
    ProbeWorker,
    Trigger,
)

logger = logging.getLogger(__name__)

#: Rows of one batch (S1-13).
BATCH: Final = 1000
#: Of results that were ok so many of each target are kept, what its page shows; the others for as
#: long as somebody may still ask what went wrong.
KEPT_OK: Final = 50
RESULTS: Final = timedelta(days=30)
#: A job without results has only its name to tell. One of a schedule comes every few seconds, and
#: tells nothing that the hours do not.
JOBS: Final = timedelta(days=30)
SCHEDULED_JOBS: Final = timedelta(days=1)
#: Hours show two weeks, days a year and the month before it.
HOURS: Final = timedelta(days=14)
DAYS: Final = timedelta(days=400)
#: A release that takes a route away may be taken back itself.
ENDPOINTS: Final = timedelta(days=90)
#: A worker is seen every few seconds.
WORKERS: Final = timedelta(days=1)
#: The longest cooldown is a day.
STARTS: Final = timedelta(days=2)
#: Progress is logged after so many rows (S1-14).
LOGGED_EVERY: Final = 50_000

Old = Callable[[datetime, str], Mapping[str, QuerySet[Any]]]
#: Told what is at hand, how many rows were looked at, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Pruned:
    """How many rows went, or would go, by what they are."""

    rows: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All of them together."""
        return sum(self.rows.values())


def prune(
    now: datetime,
    *,
    also: Old = lambda *_: {},
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> Pruned:
    """Remove what is older than it is kept; days are made of hours before those go.

    Args:
        now: What ages are counted from.
        also: Selects what of other rooms is too old, by name, from ``now`` and the database.
        dry_run: Only count.
        progress: Is told after each batch.
    """
    using = engine.database()
    if not dry_run:
        rollups.roll_days(now)
    pruned = Pruned()
    for name, steps in (
        ("results", _results(now, using, dry_run=dry_run)),
        *(
            (name, _rows(rows, dry_run=dry_run))
            for name, rows in {**_old(now, using), **also(now, using)}.items()
        ),
    ):
        pruned.rows[name] = 0
        logged_at = LOGGED_EVERY
        for looked, total, gone in steps:
            pruned.rows[name] += gone
            progress(name, looked, total)
            if looked >= logged_at:
                logger.info("Pruning %s: %d of %d looked at", name, looked, total)
                logged_at = looked + LOGGED_EVERY
    if pruned.total and not dry_run:
        told = ", ".join(f"{name}: {number}" for name, number in pruned.rows.items() if number)
        logger.info("Pruned %s", told)
    return pruned


def _old(now: datetime, using: str) -> dict[str, QuerySet[Any]]:
    """Select what is too old, by name; the results apart."""
    items = ProbeItem.objects.using(using).filter(job=OuterRef("pk"))
    ended = ProbeJob.objects.using(using).exclude(status__in=OPEN_JOBS)
    scheduled = Q(trigger=Trigger.SCHEDULE, created_at__lt=now - SCHEDULED_JOBS)
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    # An hour goes when its day has been made, whatever became of that.
    hours = ProbeHour.objects.using(using).filter(at__lt=midnight - HOURS)
    rolled = ProbeDay.objects.using(using).filter(target=OuterRef("target"), at=OuterRef("day"))
    days = ProbeDay.objects.using(using).filter(at__lt=(now - DAYS).date())
    transitions = ProbeTransition.objects.using(using).filter(at__lt=now - DAYS)
    endpoints = DiscoveredEndpoint.objects.using(using).filter(vanished_at__lt=now - ENDPOINTS)
    return {
        "jobs": ended.filter(scheduled | Q(created_at__lt=now - JOBS)).filter(~Exists(items)),
        "hours": hours.annotate(day=TruncDate("at", tzinfo=UTC)).filter(Exists(rolled)),
        "days": days,
        "transitions": transitions,
        "endpoints": endpoints,
        "workers": ProbeWorker.objects.using(using).filter(seen_at__lt=now - WORKERS),
        "audit": audit.old(now),
        "answers": answers.too_old(now, using),
        **history.old(now, using),
        "starts": ProbeStart.objects.using(using).filter(started_at__lt=now - STARTS),
    }


def _results(now: datetime, using: str, *, dry_run: bool) -> Iterator[tuple[int, int, int]]:
    """Go through all results, the newest first, and remove what is too old or too much.

    Counting what is kept as it goes, it needs no more memory than there are targets.
    """
    rows = ProbeItem.objects.using(using).order_by("-pk")
    total, looked, kept = rows.count(), 0, 0
    ok: Counter[str] = Counter()
    last = None
    while window := list(
        (rows if last is None else rows.filter(pk__lt=last)).values_list(
            "pk", "target", "state", "finished_at", "job__status"
        )[:BATCH]
    ):
        gone = []
        for pk, target, state, finished_at, job_status in window:
            if state in OPEN_ITEMS or job_status in OPEN_JOBS or finished_at is None:
                continue
            if state == ItemState.OK:
                ok[target] += 1
                is_kept = ok[target] <= KEPT_OK
            else:
                is_kept = now - finished_at < RESULTS
            if is_kept and kept < conf.PROBE_RESULTS_MAX:
                kept += 1
            else:
                gone.append(pk)
        last, looked = window[-1][0], looked + len(window)
        if gone and not dry_run:
            _delete(ProbeItem, gone, using)
        yield looked, max(total, looked), len(gone)


def _rows(rows: QuerySet[Any], *, dry_run: bool) -> Iterator[tuple[int, int, int]]:
    """Remove what a query selects, the oldest first."""
    total = rows.count()
    if dry_run:
        yield total, total, total
        return
    looked = 0
    while pks := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        _delete(rows.model, pks, rows.db)
        looked += len(pks)
        yield looked, max(total, looked), len(pks)


#: What names rows that may go, and forgets them.
NAMED_BY: Final[dict[type[models.Model], Sequence[tuple[type[models.Model], str]]]] = {
    ProbeItem: ((ProbeTargetState, "last_item"), (ProbeTransition, "item")),
    ProbeJob: ((ProbeScheduleState, "last_job"),),
}


def _delete(model: type[models.Model], pks: Sequence[int], using: str) -> None:
    """Delete a batch without reading it: results hold what was answered."""
    with transaction.atomic(using=using):
        for other, name in NAMED_BY.get(model, ()):
            rows = other._default_manager.using(using)
            rows.filter(**{f"{name}__in": pks}).update(**{name: None})
        model._default_manager.using(using).filter(pk__in=pks)._raw_delete(using)
