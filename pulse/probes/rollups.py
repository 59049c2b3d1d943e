"""Days of hours: what is kept of a target when its hours are gone; and latencies over any time.

A day is made of its hours once it is over, and again where they have changed since, so it does not
matter how often this runs, or for how many days it did not.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from django.db.models import Count, Max, Min, QuerySet, Sum
from django.db.models.functions import TruncDate

from pulse.core.histogram import Histogram, add_counts, from_json
from pulse.probes import engine
from pulse.probes.state import ProbeDay, ProbeHour, Rollup

logger = logging.getLogger(__name__)

#: Targets whose days are written at once.
BATCH: Final = 500
#: Hours that are read at once.
CHUNK: Final = 1000
#: So many days that are over are looked at whole: a result may be recorded late, by a worker that
#: was stopped.
RECENT_DAYS: Final = 2
#: What adds up; and is looked at to see whether a day is still what its hours say.
SUMS: Final = (
    *("ok", "degraded", "failed", "timeout", "lost", "attempts"),
    *("up_s", "degraded_s", "down_s", "maintenance_s", "sum_ms"),
)
COUNTS: Final = SUMS[:6]
COLUMNS: Final = (*SUMS, "min_ms", "max_ms", "histogram")


def roll_days(now: datetime) -> int:
    """Make the days that are over and have none, or another than their hours say.

    Each batch is a transaction of its own, so it may be interrupted at any time.

    Args:
        now: A time of today, which is not over.

    Returns:
        How many days of targets were written.
    """
    using = engine.database()
    today = now.astimezone(UTC).date()
    written = 0
    for day in _candidates(today, using):
        changed = _changed(day, using)
        for start in range(0, len(changed), BATCH):
            written += _write(day, changed[start : start + BATCH], using)
        if changed:
            logger.info("Rolled up %s for %d targets", day, len(changed))
    return written


def latencies(target: str, since: datetime, until: datetime) -> Histogram:
    """Add up the latencies of a target's hours; percentiles of them are right over any window.

    What hours are gone of is taken from whole days. Two queries.

    Args:
        target: Its name, or an endpoint id.
        since: The first hour is the one that it lies in.
        until: The last hour likewise, itself excluded where it is the beginning of one.
    """
    using = engine.database()
    first = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    hours = ProbeHour.objects.using(using).filter(target=target, at__gte=first, at__lt=until)
    rows: list[Rollup] = list(hours.only("at", *COLUMNS))
    known = {row.at.astimezone(UTC).date() for row in rows if isinstance(row, ProbeHour)}
    days = ProbeDay.objects.using(using).filter(
        target=target, at__gte=first.date(), at__lt=until.astimezone(UTC).date()
    )
    rows += [row for row in days.only("at", *COLUMNS) if row.at not in known]
    return merged(rows)


def merged(rows: Iterable[Rollup]) -> Histogram:
    """Add up the latencies of hours or days."""
    total = Histogram()
    for row in rows:
        if row.min_ms is not None and row.max_ms is not None:
            bounds = (row.sum_ms, row.min_ms, row.max_ms)
            total.merge(from_json(row.histogram, *(round(ms * 1000) for ms in bounds)))
    return total


def added(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the columns of hours, of which there is at least one."""
    sums = {name: sum(row[name] for row in rows) for name in SUMS}
    least = [row["min_ms"] for row in rows if row["min_ms"] is not None]
    most = [row["max_ms"] for row in rows if row["max_ms"] is not None]
    return {
        **sums,
        "min_ms": min(least, default=None),
        "max_ms": max(most, default=None),
        "histogram": add_counts(row["histogram"] for row in rows),
    }


def hours_of(day: date, using: str) -> QuerySet[ProbeHour]:
    """Select the hours of a day in UTC."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return ProbeHour.objects.using(using).filter(at__gte=begin, at__lt=begin + timedelta(days=1))


def _candidates(today: date, using: str) -> Iterator[date]:
    """Yield the days to look at: the last ones, and earlier ones that lack targets."""
    bounds = ProbeHour.objects.using(using).aggregate(first=Min("at"), last=Max("at"))
    if bounds["first"] is None:
        return
    hours = ProbeHour.objects.using(using).annotate(day=TruncDate("at", tzinfo=UTC))
    in_hours = dict(
        hours.order_by().values_list("day").annotate(number=Count("target", distinct=True))
    )
    days = ProbeDay.objects.using(using).filter(at__gte=bounds["first"].astimezone(UTC).date())
    in_days = dict(days.order_by().values_list("at").annotate(number=Count("pk")))
    recent = today - timedelta(days=RECENT_DAYS)
    for day in sorted(in_hours):
        if day < today and (day >= recent or in_days.get(day, 0) < in_hours[day]):
            yield day


def _changed(day: date, using: str) -> list[str]:
    """Name the targets whose day is not what its hours say."""
    kept = {
        target: counts
        for target, *counts in ProbeDay.objects.using(using)
        .filter(at=day)
        .values_list("target", *COUNTS)
    }
    # Seconds are left out: they come with results, and floats do not compare.
    sums = {f"sum_{name}": Sum(name) for name in COUNTS}
    rows = hours_of(day, using).order_by("target").values_list("target").annotate(**sums)
    return [target for target, *counts in rows if kept.get(target) != counts]


def _write(day: date, targets: Sequence[str], using: str) -> int:
    rows = hours_of(day, using).filter(target__in=targets).order_by("target", "at")
    values = rows.values("target", *COLUMNS).iterator(chunk_size=CHUNK)
    days = [
        ProbeDay(target=target, at=day, **added(list(hours)))
        for target, hours in groupby(values, key=lambda row: row["target"])
    ]
    ProbeDay.objects.using(using).bulk_create(
        days,
        update_conflicts=True,
        unique_fields=["target", "at"],
        update_fields=list(COLUMNS),
    )
    return len(days)
