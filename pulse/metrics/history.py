"""Minutes and hours of what was measured, kept in the database when the store holds them no longer.

Whoever keeps a minute writes what it comes to in all, so that it may be done twice, or by two at
once. A minute is written again when something of it arrives late; an hour, when a minute of it was.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from pulse.core.measures import Measures, merged
from pulse.metrics import backends, window
from pulse.metrics.models import SUMS, MetricHour, MetricMinute, MetricSpan
from pulse.metrics.series import HOUR, floored, measures_of
from pulse.policies import publisher
from pulse.store.connection import current_backend

#: The store keeps two hours; of these the newest minute may not be whole yet.
LOOK_BACK: Final = 118
#: A minute is looked at once its last flush has had so many seconds.
SETTLED: Final = timedelta(seconds=5)
#: Minutes are looked at again for so long by a process that has just begun to keep them.
LATE: Final = 5
#: How long each is kept.
MINUTES: Final = timedelta(days=1, hours=1)
HOURS: Final = timedelta(days=31)
#: Rows of one statement.
BATCH: Final = 500
FIELDS: Final = ("statuses", "refused_by", "histogram", "min_us", "max_us", "seconds", *SUMS)


@dataclass(slots=True)
class _Kept:
    """Which version of each minute this process saw written last."""

    versions: Mapping[int, int] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)


_kept = _Kept()


@dataclass(frozen=True, slots=True)
class Keeping:
    """What was written: how many minutes, and how many hours."""

    minutes: int = 0
    hours: int = 0


def keep(now: datetime) -> Keeping:
    """Keep the minutes that are over and not kept, and the hours that they are of.

    Raises:
        StoreUnavailable: Redis cannot be asked; what is missing is kept once it can.
    """
    # Whoever measures in pulse's place keeps in its place, too; and without a Redis each process
    # knows of itself alone.
    if backends.current() is not None or current_backend() is None:
        return Keeping()
    last = int((now - SETTLED).timestamp()) // 60 - 1
    first = last - LOOK_BACK + 1
    using = publisher.database()
    # Two threads of one process have nothing to win by doing the same at once.
    with _kept.lock:
        versions = window.versions(first, last)
        known = _kept.versions or _kept_by_others(first, last, versions, using)
        wrote = []
        for number in sorted(versions):
            if versions[number] == known.get(number, 0):
                continue
            for minute in window.minutes(number, number):
                _write(MetricMinute, minute.at, minute.seconds, minute.endpoints, using)
                wrote.append(minute.at)
        hours = _hours(wrote, now, using)
        for hour in hours:
            _roll(hour, using)
        # Only now: where the database fails before, the same is done again.
        _kept.versions = versions
    return Keeping(len(wrote), len(hours))


def old(now: datetime, using: str) -> dict[str, QuerySet[Any]]:
    """Select what is kept no longer, by name."""
    return {
        "minutes": MetricMinute.objects.using(using).filter(at__lt=now - MINUTES),
        "measured hours": MetricHour.objects.using(using).filter(at__lt=now - HOURS),
    }


def forget() -> None:
    """Look at every minute anew, as a process that has just begun."""
    global _kept  # noqa: PLW0603 - a forked child must not take the parent's lock
    _kept = _Kept()


def _kept_by_others(
    first: int, last: int, versions: Mapping[int, int], using: str
) -> Mapping[int, int]:
    """Return the minutes that another process wrote, but the last: they may lack what came late."""
    since = datetime.fromtimestamp(first * 60, UTC)
    rows = MetricMinute.objects.using(using).filter(endpoint="", at__gte=since)
    numbers = {int(at.timestamp()) // 60 for at in rows.values_list("at", flat=True)}
    return {number: versions.get(number, 0) for number in numbers if number <= last - LATE}


def _hours(wrote: Sequence[datetime], now: datetime, using: str) -> list[datetime]:
    """Return hours that are over and whose minutes changed, or which nobody kept."""
    since, until = now - MINUTES + HOUR, floored(now, HOUR)
    minutes = MetricMinute.objects.using(using).filter(endpoint="", at__gte=since, at__lt=until)
    kept = MetricHour.objects.using(using).filter(endpoint="", at__gte=floored(since, HOUR))
    there = {floored(at, HOUR) for at in minutes.values_list("at", flat=True)}
    missing = there - set(kept.values_list("at", flat=True))
    changed = {floored(at, HOUR) for at in wrote}
    return sorted(hour for hour in missing | (changed & there) if hour < until)


def _roll(hour: datetime, using: str) -> None:
    """Make an hour of its minutes."""
    rows = MetricMinute.objects.using(using).filter(at__gte=hour, at__lt=hour + HOUR)
    endpoints: dict[str, Measures] = {}
    seconds, total = 0.0, Measures()
    ordered = rows.order_by("endpoint", "at").iterator()
    for endpoint, found in groupby(ordered, lambda row: row.endpoint):
        minutes = list(found)
        measures = merged(map(measures_of, minutes))
        if endpoint:
            endpoints[endpoint] = measures
        else:
            seconds, total = sum(minute.seconds for minute in minutes), measures
    _write(MetricHour, hour, seconds, endpoints, using, total=total)


def _write(
    model: type[MetricSpan],
    at: datetime,
    seconds: float,
    endpoints: Mapping[str, Measures],
    using: str,
    *,
    total: Measures | None = None,
) -> None:
    named = {"": merged(endpoints.values()) if total is None else total, **endpoints}
    # In one order, so that two who write the same wait for each other and do not lock each other.
    rows = (_row(model, at, seconds, name, named[name]) for name in sorted(named))
    manager = model._default_manager.using(using)
    with transaction.atomic(using=using):
        for batch in _batches(rows):
            manager.bulk_create(
                batch,
                update_conflicts=True,
                unique_fields=["endpoint", "at"],
                update_fields=FIELDS,
            )


def _row(
    model: type[MetricSpan], at: datetime, seconds: float, endpoint: str, found: Measures
) -> MetricSpan:
    latencies = found.latencies
    timed = bool(latencies.counts)
    return model(
        at=at,
        endpoint=endpoint,
        seconds=seconds,
        requests=found.requests,
        errors=found.errors,
        refused=found.refused,
        would_refuse=found.would_refuse,
        satisfied=found.satisfied,
        tolerated=found.tolerated,
        slow=found.slow,
        bytes_in=found.bytes_in,
        bytes_out=found.bytes_out,
        queries=found.queries,
        query_us=found.query_us,
        sum_us=latencies.sum_us,
        min_us=latencies.min_us if timed else None,
        max_us=latencies.max_us if timed else None,
        statuses={str(status): count for status, count in sorted(found.statuses.items())},
        refused_by=dict(found.refused_by),
        histogram=latencies.to_json(),
    )


def _batches(rows: Iterable[MetricSpan]) -> Iterator[list[MetricSpan]]:
    batch: list[MetricSpan] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
