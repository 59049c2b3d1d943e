"""Maintenance windows: when nothing is to be reported, and of what."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Final, NamedTuple

from pulse.core.schedules import TRIED_FROM_S, Schedule, make_schedule
from pulse.exceptions import InvalidWindow

MIN_DURATION_S: Final = 60
MAX_DURATION_S: Final = 31 * 86_400
#: Openings that meet are joined up to so many; a window that joins more never closes.
MAX_JOINED: Final = 100


class Opening(NamedTuple):
    """One time for which a window is open, in epoch seconds; the end is outside of it."""

    starts_s: float
    ends_s: float


class Scope(NamedTuple):
    """What is asked about: a target with its group, an alert rule, or both; empty for none."""

    target: str = ""
    group: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of maintenance, once or again and again, for some targets or everything.

    Attributes:
        once: When it is open; None for one that comes again.
        schedule: When it opens; None for one that is open once.
        duration_s: For how long. An opening that begins while the last one lasts prolongs it.
        targets: Names of targets that it is for. With ``groups`` and ``rules`` empty too, it is
            for everything.
    """

    once: Opening | None = None
    schedule: Schedule | None = None
    duration_s: int = 0
    targets: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()

    @property
    def covers_everything(self) -> bool:
        """Whether it names neither target nor group nor rule."""
        return not (self.targets or self.groups or self.rules)

    def covers(self, scope: Scope) -> bool:
        """Whether it is for what is asked about; one name that fits is enough."""
        return (
            self.covers_everything
            or scope.target in self.targets
            or scope.group in self.groups
            or scope.rule in self.rules
        )


def make_window(
    name: str,
    *,
    starts_s: float | None = None,
    ends_s: float | None = None,
    cron: str = "",
    time_zone: str = "UTC",
    duration_s: int | None = None,
    targets: Iterable[str] = (),
    groups: Iterable[str] = (),
    rules: Iterable[str] = (),
) -> Window:
    """Make a window from what an operator wrote: a start and an end, or cron and a duration.

    Args:
        name: Whose window it is, for errors.
        starts_s: Epoch seconds.
        ends_s: Epoch seconds.
        cron: When it opens, in ``time_zone``.
        time_zone: Such as ``Europe/Berlin``.
        duration_s: From the opening, in seconds that pass, whatever the clocks do.
        targets: Names of targets.
        groups: Names of groups.
        rules: Names of alert rules.

    Raises:
        InvalidWindow: It is neither or both, ends before it begins, or never closes.
        InvalidSchedule: The cron expression or the time zone is none.
    """
    scope = Window(
        targets=frozenset(filter(None, targets)),
        groups=frozenset(filter(None, groups)),
        rules=frozenset(filter(None, rules)),
    )
    is_once = starts_s is not None or ends_s is not None
    if is_once == bool(cron) or (is_once and duration_s is not None):
        raise InvalidWindow(name, "needs a start and an end, or a cron expression and a duration.")
    if is_once:
        if starts_s is None or ends_s is None:
            raise InvalidWindow(name, "needs both a start and an end.")
        if ends_s <= starts_s:
            raise InvalidWindow(name, "ends before it begins.")
        return replace(scope, once=Opening(starts_s, ends_s))
    if duration_s is None or not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise InvalidWindow(name, "needs a duration from a minute to 31 days.")
    schedule = make_schedule(name, cron=cron, time_zone=time_zone)
    window = replace(scope, schedule=schedule, duration_s=duration_s)
    if _end_of(window, schedule.next_after(TRIED_FROM_S)) is None:
        raise InvalidWindow(name, "opens again before it closes, for ever. Make it shorter.")
    return window


def is_open(window: Window, at_s: float) -> bool:
    """Whether a window is open at an instant; at its end it is closed."""
    if window.once:
        return window.once.starts_s <= at_s < window.once.ends_s
    # Of all openings the newest ends last: they are of one length.
    return window.schedule is not None and at_s < window.schedule.slot_of(at_s) + window.duration_s


def opening_at(window: Window, at_s: float) -> Opening | None:
    """Return the whole opening that an instant lies in; None while the window is closed."""
    if not is_open(window, at_s):
        return None
    if window.once or window.schedule is None:
        return window.once
    first = window.schedule.slot_of(at_s)
    for _ in range(MAX_JOINED):
        before = window.schedule.slot_of(first - 1)
        if before + window.duration_s < first:
            break
        first = before
    return Opening(first, _end_of(window, first) or first + window.duration_s)


def next_openings(window: Window, now_s: float, count: int = 5) -> list[Opening]:
    """Return the next openings that begin after an instant, for people to see what they wrote."""
    return list(islice(_after(window, now_s), count))


def openings_between(
    windows: Iterable[Window], scope: Scope, from_s: float, until_s: float
) -> list[Opening]:
    """Return the openings that lie in a time, or reach into it, of windows for what is asked.

    Of many openings in a long time the first of each window are returned, ``MAX_JOINED`` at most.
    """
    found: list[Opening] = []
    for window in windows:
        if window.covers(scope):
            current = opening_at(window, from_s)
            upcoming = islice(_after(window, from_s), MAX_JOINED)
            found += [current] if current else []
            found += takewhile(lambda opening: opening.starts_s < until_s, upcoming)
    return sorted(found)


def find_open(windows: Iterable[Window], scope: Scope, at_s: float) -> Window | None:
    """Return the first window that is open and is for what is asked about."""
    return next((w for w in windows if w.covers(scope) and is_open(w, at_s)), None)


def _after(window: Window, at_s: float) -> Iterator[Opening]:
    """Yield the openings that begin after an instant; of a window that comes again, for ever."""
    if window.once and window.once.starts_s > at_s:
        yield window.once
    current = opening_at(window, at_s)
    at_s = current.ends_s if current else at_s
    while window.schedule:
        starts_s = window.schedule.next_after(at_s)
        at_s = _end_of(window, starts_s) or starts_s + window.duration_s
        yield Opening(starts_s, at_s)


def _end_of(window: Window, starts_s: int) -> float | None:
    """Say when what opens at a slot closes; None when it is prolonged too often to say."""
    if window.schedule is None:
        return None
    slot = starts_s
    for _ in range(MAX_JOINED):
        upcoming = window.schedule.next_after(slot)
        if upcoming > slot + window.duration_s:
            return slot + window.duration_s
        slot = upcoming
    return None
