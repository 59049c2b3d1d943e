"""What was measured over a time, in as many equal spans as a chart shows.

Minutes and hours come from the database, where a worker keeps them; what no worker has kept yet, of
the last minutes, from the store itself. So a chart ends with what was flushed last.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from pulse.core.histogram import MAX_US, from_json
from pulse.core.measures import Measures
from pulse.exceptions import StoreUnavailable
from pulse.metrics import flush, window
from pulse.metrics.models import MetricHour, MetricMinute, MetricSpan
from pulse.policies import publisher

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
#: What a chart may show, by name: how far it looks back, and how long a span is.
WINDOWS: Final = {
    "1h": (HOUR, MINUTE),
    "24h": (timedelta(days=1), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=2)),
    "30d": (timedelta(days=30), timedelta(hours=6)),
}
#: Where minutes are looked for that are in no hour yet.
UNROLLED: Final = timedelta(hours=2)


@dataclass(slots=True)
class Span:
    """A span of time as all processes measured it.

    Attributes:
        at: Its beginning.
        seconds: How much of it was recorded; 0: nobody was there.
    """

    at: datetime
    seconds: float = 0.0
    measures: Measures = field(default_factory=Measures)

    def add(self, seconds: float, measures: Measures) -> None:
        """Add what was recorded in a part of it."""
        self.seconds += seconds
        self.measures.merge(measures)


def read(name: str, now: datetime, endpoint: str = "") -> list[Span]:
    """Return the spans of a window, oldest first, the last one being under way.

    Makes two queries at most, four for an endpoint, and a call to the store for each minute of the
    last two hours that no worker has kept.

    Args:
        name: Of a window.
        now: Where it ends.
        endpoint: An endpoint id; empty for all together.
    """
    length, step = WINDOWS[name]
    return between(floored(now, step) - length + step, now, step, endpoint)


def between(first: datetime, last: datetime, step: timedelta, endpoint: str = "") -> list[Span]:
    """Return the spans of a time, oldest first, each whole; queries and calls as ``read`` makes.

    Args:
        first: In the first span.
        last: In the last one, which may be under way.
        step: How long a span is: minutes or hours.
        endpoint: An endpoint id; empty for all together.
    """
    first = floored(first, step)
    spans = {at: Span(at) for at in _steps(first, last, step)}
    for at, seconds, measures in _parts(first, last, step, endpoint):
        span = spans.get(floored(at, step))
        if span is not None:
            span.add(seconds, measures)
    return list(spans.values())


def floored(at: datetime, step: timedelta) -> datetime:
    """Return when the span began that a moment is in; spans are counted from the epoch."""
    seconds = int(step.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)


def measures_of(row: MetricSpan) -> Measures:
    """Read what was kept."""
    # Without latencies there is neither a shortest nor a longest.
    least = MAX_US if row.min_us is None else row.min_us
    return Measures(
        statuses=Counter({int(status): count for status, count in row.statuses.items()}),
        refused_by=Counter(row.refused_by),
        would_refuse=row.would_refuse,
        satisfied=row.satisfied,
        tolerated=row.tolerated,
        slow=row.slow,
        bytes_in=row.bytes_in,
        bytes_out=row.bytes_out,
        queries=row.queries,
        query_us=row.query_us,
        latencies=from_json(row.histogram, row.sum_us, least, row.max_us or 0),
    )


def _parts(
    first: datetime, last: datetime, step: timedelta, endpoint: str
) -> Iterator[tuple[datetime, float, Measures]]:
    """Yield what was kept, each moment once."""
    since, end = first, floored(last, step) + step
    if step >= HOUR:
        for at, seconds, measures in _rows(MetricHour, first, end, endpoint):
            since = at + HOUR
            yield at, seconds, measures
        since = max(since, floored(last, HOUR) - UNROLLED)
    kept = set()
    for at, seconds, measures in _rows(MetricMinute, since, end, endpoint):
        kept.add(at)
        yield at, seconds, measures
    yield from _unkept(since, end, kept, endpoint)


def _rows(
    model: type[MetricSpan], since: datetime, until: datetime, endpoint: str
) -> Iterator[tuple[datetime, float, Measures]]:
    """Yield what was kept; of an endpoint that nobody asked for, that there was nothing."""
    rows = model._default_manager.using(publisher.database()).filter(at__gte=since, at__lt=until)
    if not endpoint:
        for row in rows.filter(endpoint="").order_by("at").iterator():
            yield row.at, row.seconds, measures_of(row)
        return
    found = {row.at: row for row in rows.filter(endpoint=endpoint)}
    recorded = rows.filter(endpoint="").order_by("at").values_list("at", "seconds")
    for at, seconds in recorded:
        yield at, seconds, measures_of(found[at]) if at in found else Measures()


def _unkept(
    since: datetime, until: datetime, kept: Collection[datetime], endpoint: str
) -> Iterator[tuple[datetime, float, Measures]]:
    """Yield minutes from the store that no worker has kept, be it for want of one."""
    last = int(flush.now()) // 60
    first = max(int(since.timestamp()) // 60, last - flush.KEPT_S // 60 + 1)
    last = min(last, -(-int(until.timestamp()) // 60) - 1)
    missing = (n for n in range(first, last + 1) if datetime.fromtimestamp(n * 60, UTC) not in kept)
    # What the store cannot tell now is a gap until it can.
    with suppress(StoreUnavailable):
        for begin, end in _runs(missing):
            for minute in window.minutes(begin, end):
                measures: Mapping[str, Measures] = minute.endpoints
                wanted = measures.get(endpoint, Measures()) if endpoint else minute.total
                yield minute.at, minute.seconds, wanted


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of numbers that follow on each other."""
    for _gap, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        found = [number for _place, number in run]
        yield found[0], found[-1]


def _steps(first: datetime, last: datetime, step: timedelta) -> Iterator[datetime]:
    while first <= last:
        yield first
        first += step
