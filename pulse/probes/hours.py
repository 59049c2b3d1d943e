"""Sums of each target by the hour, as results come in; under the engine's lock."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulse.core.health import HOUR_S, WATCHED, Status
from pulse.core.histogram import MAX_US, bucket_of
from pulse.probes import bulk
from pulse.probes.engine import Engine, moment_of
from pulse.probes.state import ItemState, ProbeHour

#: How a result may have ended; the columns that count them have the same names.
COUNTED: Final = (
    ItemState.OK,
    ItemState.DEGRADED,
    ItemState.FAILED,
    ItemState.TIMEOUT,
    ItemState.LOST,
)
CREDITED: Final = (*WATCHED, Status.MAINTENANCE)
COLUMNS: Final = (
    "id",
    *(str(state) for state in COUNTED),
    "attempts",
    *(f"{status}_s" for status in CREDITED),
    *("sum_ms", "min_ms", "max_ms", "histogram"),
)
#: A target, and the epoch second at which the hour begins.
Hour = tuple[str, int]


@dataclass(slots=True)
class Tally:
    """What is to be added to one hour of one target.

    Attributes:
        latencies_ms: Of whole answers.
        seconds: By confirmed status.
    """

    counts: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)


def hour_of(epoch_s: float) -> int:
    """Return the epoch second at which the hour of an instant begins."""
    return int(epoch_s // HOUR_S) * HOUR_S


def add(tallies: Mapping[Hour, Tally], held: Engine) -> None:
    """Add to hours; reads them, and writes what they are then, as nobody else can meanwhile."""
    if not tallies:
        return
    before = _read(tallies, held)
    old, fresh = [], []
    for hour in sorted(tallies):
        values = before.get(hour, NOTHING)
        sums = _added(values, tallies[hour])
        if hour in before:
            old.append((values[0], *sums))
        else:
            fresh.append((hour[0], moment_of(hour[1]), *sums))
    bulk.update(ProbeHour, held.using, COLUMNS, old)
    bulk.insert(ProbeHour, held.using, ("target", "at", *COLUMNS[1:]), fresh)


def count_lost(targets: Iterable[str], held: Engine) -> None:
    """Count probes that were lost now."""
    hour = hour_of(held.now.timestamp())
    lost = Counter(targets)
    add(
        {
            (target, hour): Tally(counts=Counter({ItemState.LOST.value: number}))
            for target, number in lost.items()
        },
        held,
    )


def _read(tallies: Iterable[Hour], held: Engine) -> dict[Hour, tuple[Any, ...]]:
    found: dict[Hour, tuple[Any, ...]] = {}
    by_hour: dict[int, list[str]] = {}
    for target, hour in tallies:
        by_hour.setdefault(hour, []).append(target)
    columns = ("target", *COLUMNS)
    for hour, targets in by_hour.items():
        at = moment_of(hour)
        for target, *values in bulk.read(ProbeHour, held.using, columns, "target", targets, at=at):
            found[target, hour] = tuple(values)
    return found


def _added(values: tuple[Any, ...], tally: Tally) -> tuple[Any, ...]:
    _pk, *numbers, sum_ms, min_ms, max_ms, histogram = values
    more = (
        *(tally.counts[state] for state in COUNTED),
        tally.attempts,
        *(tally.seconds[status] for status in CREDITED),
    )
    sums = [before + added for before, added in zip(numbers, more, strict=True)]
    buckets = dict(histogram)
    for latency_ms in tally.latencies_ms:
        key = str(bucket_of(min(max(int(latency_ms * 1000), 0), MAX_US)))
        buckets[key] = buckets.get(key, 0) + 1
    seen = [ms for ms in (min_ms, max_ms) if ms is not None] + tally.latencies_ms
    return (
        *sums,
        sum_ms + sum(tally.latencies_ms),
        min(seen, default=None),
        max(seen, default=None),
        buckets,
    )


NOTHING: Final[tuple[Any, ...]] = (
    None,
    *(0 for _ in COUNTED),
    0,
    *(0.0 for _ in CREDITED),
    *(0.0, None, None, {}),
)
