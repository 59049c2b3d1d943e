"""What targets did: their newest results, and hours and days added up."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db.models import OuterRef, Q, Subquery

from pulse.core.health import WATCHED, Status, uptime
from pulse.core.histogram import Histogram, from_json
from pulse.probes import engine
from pulse.probes.state import (
    OPEN_ITEMS,
    ProbeDay,
    ProbeHour,
    ProbeItem,
    ProbeTargetState,
)

#: How many of its newest results a target shows as bars.
BARS: Final = 60
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
#: The windows of uptime: the first by hours of the clock, the others by days in UTC.
WINDOWS: Final = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
#: What a chart shows: how long a span is, and how many.
SPANS: Final = {"24h": (HOUR, 24), "7d": (6 * HOUR, 28), "30d": (DAY, 30)}
#: Days are made of their hours some time after they ended; until then the hours stand for them.
HOURS_KEPT_FOR_DAYS: Final = 3
SECONDS: Final = {
    "up_s": Status.UP,
    "degraded_s": Status.DEGRADED,
    "down_s": Status.DOWN,
    "maintenance_s": Status.MAINTENANCE,
}
COUNTS: Final = ("ok", "degraded", "failed", "timeout", "lost")
SHARES: Final = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Bar:
    """One result, as a bar."""

    item: int
    state: str
    at: datetime | None
    latency_ms: float | None


@dataclass(slots=True)
class Tally:
    """Hours or days of a target, added up.

    Attributes:
        seconds: By status; what nobody watched is what is missing.
        counts: Results by state.
    """

    seconds: dict[Status, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    latencies: Histogram = field(default_factory=Histogram)

    @property
    def watched_s(self) -> float:
        """How long somebody looked, maintenance left out, in seconds."""
        return sum(self.seconds.get(status, 0.0) for status in WATCHED)

    @property
    def down_s(self) -> float:
        """How long it was down, in seconds."""
        return self.seconds.get(Status.DOWN, 0.0)

    @property
    def known_s(self) -> float:
        """How long somebody looked or maintained, in seconds."""
        return self.watched_s + self.seconds.get(Status.MAINTENANCE, 0.0)

    @property
    def uptime(self) -> float | None:
        """The share of the watched time in which it was not down; None if it was not watched."""
        return uptime(self.seconds)

    @property
    def checks(self) -> int:
        """How many results there are."""
        return sum(self.counts.values())

    def quantiles_ms(self) -> Sequence[float | None]:
        """Return the latencies of ``SHARES``."""
        return self.latencies.quantiles_ms(SHARES)

    def add(self, other: "Tally") -> None:
        """Add another time of the same target."""
        for status, seconds in other.seconds.items():
            self.seconds[status] = self.seconds.get(status, 0.0) + seconds
        for state, number in other.counts.items():
            self.counts[state] = self.counts.get(state, 0) + number
        self.latencies.merge(other.latencies)


def tally_of(row: ProbeHour | ProbeDay) -> Tally:
    """Read a rolled-up hour or day."""
    return Tally(
        {status: getattr(row, name) for name, status in SECONDS.items()},
        {name: getattr(row, name) for name in COUNTS},
        from_json(row.histogram, _us(row.sum_ms), _us(row.min_ms), _us(row.max_ms))
        if row.histogram
        else Histogram(),
    )


def bars(names: Iterable[str]) -> dict[str, list[Bar]]:
    """Return the newest results of targets, oldest first; two queries.

    First the key of the oldest one that is wanted of each, by the index of items by target;
    then no more rows than are shown, however many results are kept.
    """
    names, using = list(names), engine.database()
    ended = ProbeItem.objects.using(using).exclude(state__in=OPEN_ITEMS)
    newest = ended.filter(target=OuterRef("name")).order_by("-pk").values("pk")
    floors = (
        ProbeTargetState.objects.using(using)
        .filter(name__in=names)
        .annotate(floor=Subquery(newest[BARS - 1 : BARS]))
        .values_list("name", "floor")
    )
    wanted = Q(pk__in=[])
    for name, floor in floors:
        wanted |= Q(target=name) if floor is None else Q(target=name, pk__gte=floor)
    found: dict[str, list[Bar]] = {name: [] for name in names}
    rows = ended.filter(wanted).order_by("pk")
    for pk, target, state, finished_at, latency_ms in rows.values_list(
        "pk", "target", "state", "finished_at", "latency_ms"
    ):
        found[target].append(Bar(pk, state, finished_at, latency_ms))
    # One that was claimed late has ended after younger ones.
    return {name: each[-BARS:] for name, each in found.items()}


def last_day(names: Iterable[str], now: datetime) -> dict[str, Tally]:
    """Add up the last 24 hours of the clock, this one included; one query."""
    names = list(names)
    totals = {name: Tally() for name in names}
    rows = ProbeHour.objects.using(engine.database()).filter(target__in=names)
    for row in rows.filter(at__gt=_hour(now) - DAY, at__lte=now):
        totals[row.target].add(tally_of(row))
    return totals


def days(names: Iterable[str], now: datetime, number: int) -> dict[str, dict[date, Tally]]:
    """Return each of the last days in UTC, today included, without latencies; two queries.

    A day is what its own row says, or what its hours add up to, whichever has seen more of it:
    rows of days are written after the day, and hours are pruned after some days.
    """
    names, using = list(names), engine.database()
    today = now.astimezone(UTC).date()
    first = today - timedelta(days=number - 1)
    found: dict[str, dict[date, Tally]] = {name: {} for name in names}
    rolled = ProbeDay.objects.using(using).filter(target__in=names, at__gte=first, at__lte=today)
    for target, at, *seconds in rolled.values_list("target", "at", *SECONDS):
        found[target][at] = Tally(_seconds(seconds))
    since = max(first, today - timedelta(days=HOURS_KEPT_FOR_DAYS - 1))
    from_hours: dict[tuple[str, date], Tally] = {}
    hours = ProbeHour.objects.using(using).filter(target__in=names, at__gte=_midnight(since))
    for target, at, *seconds in hours.filter(at__lte=now).values_list("target", "at", *SECONDS):
        key = target, at.astimezone(UTC).date()
        from_hours.setdefault(key, Tally()).add(Tally(_seconds(seconds)))
    for (target, day), tally in from_hours.items():
        rolled_up = found[target].get(day)
        if rolled_up is None or rolled_up.known_s < tally.known_s:
            found[target][day] = tally
    return found


def uptimes(names: Iterable[str], now: datetime) -> dict[str, dict[str, float | None]]:
    """Return the uptime of each window of ``WINDOWS``, 0 to 1, None if never watched.

    One less the seconds down of the seconds watched, by confirmed state; maintenance and what
    nobody watched are left out, degraded is up. Three queries.
    """
    names = list(names)
    return {
        name: {window: tally.uptime for window, tally in each.items()}
        for name, each in windows(names, now).items()
    }


def windows(names: Iterable[str], now: datetime) -> dict[str, dict[str, Tally]]:
    """Add up each window of ``WINDOWS``, days without latencies; three queries."""
    names = list(names)
    by_hour, by_day = last_day(names, now), days(names, now, max(WINDOWS.values()))
    return {name: windows_of(by_hour[name], by_day[name], now) for name in names}


def windows_of(hours: Tally, by_day: Mapping[date, Tally], now: datetime) -> dict[str, Tally]:
    """Add up each window of ``WINDOWS`` of a target's last day and its days."""
    today = now.astimezone(UTC).date()
    found: dict[str, Tally] = {}
    for window, number in WINDOWS.items():
        if number == 1:
            found[window] = hours
            continue
        total = found[window] = Tally()
        for back in range(number):
            if (tally := by_day.get(today - timedelta(days=back))) is not None:
                total.add(tally)
    return found


def spans(name: str, now: datetime, window: str) -> tuple[timedelta, dict[datetime, Tally]]:
    """Return a window of ``SPANS`` cut into even spans, oldest first; at most two queries.

    Returns:
        How long a span is, and each span by its beginning; empty where nothing was recorded.
    """
    step, number = SPANS[window]
    using = engine.database()
    if step < DAY:
        size = int(step.total_seconds())
        newest = datetime.fromtimestamp(int(now.timestamp()) // size * size, UTC)
        first = newest - step * (number - 1)
        found = {first + step * place: Tally() for place in range(number)}
        rows = ProbeHour.objects.using(using).filter(target=name, at__gte=first, at__lte=now)
        for row in rows:
            place = int((row.at - first) / step)
            found[first + step * place].add(tally_of(row))
        return step, found
    today = now.astimezone(UTC).date()
    found = {_midnight(today - timedelta(days=back)): Tally() for back in range(number - 1, -1, -1)}
    first = next(iter(found))
    rolled = ProbeDay.objects.using(using).filter(target=name, at__gte=first.date(), at__lte=today)
    for rolled_up in rolled:
        found[_midnight(rolled_up.at)].add(tally_of(rolled_up))
    since = _midnight(today - timedelta(days=HOURS_KEPT_FOR_DAYS - 1))
    from_hours: dict[datetime, Tally] = {}
    hours = ProbeHour.objects.using(using).filter(target=name, at__gte=since, at__lte=now)
    for row in hours:
        day = _midnight(row.at.astimezone(UTC).date())
        from_hours.setdefault(day, Tally()).add(tally_of(row))
    for day, tally in from_hours.items():
        if found[day].known_s <= tally.known_s:
            found[day] = tally
    return step, found


def _seconds(values: Sequence[float]) -> dict[Status, float]:
    return dict(zip(SECONDS.values(), values, strict=True))


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _us(ms: Any) -> int:
    return round((ms or 0.0) * 1000)
