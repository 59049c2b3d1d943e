"""When something is due: a grid of slots, by an interval or by cron in a time zone.

A slot is told by the whole epoch second at which it begins. The grid stands still: when a run
was late or took long, the next slot is where it always was, so nothing drifts.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pulse.exceptions import InvalidSchedule

MIN_EVERY_S: Final = 5
MAX_EVERY_S: Final = 30 * 86_400
UNITS_S: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
EVERY: Final = re.compile(r"([0-9]{1,9})\s*([smhd])", re.ASCII)
#: The longest cron expression worth reading.
MAX_CRON: Final = 200
CRON_FIELDS: Final = 5
TIME_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
#: What the machine says, or tables of another kind, beside the zones of the database.
NO_TIME_ZONES: Final = frozenset({"localtime", "posixrules", "posix", "right", "Factory"})
#: Missed slots are counted up to here; of more it matters only that there are more.
MAX_MISSED: Final = 1000
#: From here cron expressions are tried. Any day that there ever is comes within 50 years.
TRIED_FROM_S: Final = 1_704_067_200


class Due(NamedTuple):
    """What is to be run of a schedule that is looked at late.

    Attributes:
        slot: Runs next, now or later.
        missed: Slots that do not run any more, at most ``MAX_MISSED``.
    """

    slot: int
    missed: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """A grid of slots, in epoch seconds.

    Attributes:
        every_s: The interval; 0 for one by cron.
        phase_s: Where in the interval the slots lie, so that schedules of one interval do not
            all run at once. Cron names its times itself.
        cron: Five fields; empty for one by an interval.
        time_zone: In which cron is read. A time that the change to summer time leaves out is
            moved to the first minute after the gap, one that the change back repeats comes
            once; what names no hour or no minute (``*``, ``*/15``) goes by what has passed.
    """

    every_s: int = 0
    phase_s: int = 0
    cron: str = ""
    time_zone: str = "UTC"

    def next_after(self, at_s: float) -> int:
        """Return the first slot after an instant."""
        if self.every_s:
            number = (int(at_s // 1) - self.phase_s) // self.every_s + 1
            return number * self.every_s + self.phase_s
        return next(self._after(at_s))

    def slot_of(self, at_s: float) -> int:
        """Return the newest slot that has begun at an instant, or begins with it."""
        if self.every_s:
            return self.next_after(at_s) - self.every_s
        # Back from the next second: the library never gives the time that it starts from. In an
        # hour that comes twice it may go back too far, as the clock alone does not tell which.
        backwards = CronSim(self.cron, self._local(at_s // 1 + 1), reverse=True)
        slot = next(found for found in map(_epoch, backwards) if found <= at_s)
        while (later := self.next_after(slot)) <= at_s:
            slot = later
        return slot

    def interval_s(self, at_s: float) -> int:
        """How long the slot that an instant lies in lasts, in seconds."""
        return self.every_s or self.next_after(at_s) - self.slot_of(at_s)

    def _after(self, at_s: float) -> Iterator[int]:
        """Yield the slots of cron after an instant."""
        # In an hour that comes twice the library may begin with times that have passed.
        for found in map(_epoch, CronSim(self.cron, self._local(at_s))):
            if found > at_s:
                yield found

    def _local(self, at_s: float) -> datetime:
        return datetime.fromtimestamp(at_s // 1, _zone(self.time_zone))


def make_schedule(
    name: str, *, every: str | None = None, cron: str | None = None, time_zone: str = "UTC"
) -> Schedule:
    """Make a schedule from what an operator wrote: exactly one of ``every`` and ``cron``.

    Args:
        name: Whose schedule it is; says where in an interval its slots lie, in every process.
        every: Such as ``60s``, ``5m`` or ``1h``.
        cron: Five fields, such as ``*/15 9-17 * * MON-FRI``.
        time_zone: In which cron is read, such as ``Europe/Berlin``.

    Raises:
        InvalidSchedule: A part of it cannot be used, or both or neither are given.
    """
    if bool(every) == bool(cron):
        raise InvalidSchedule(name, "needs exactly one of an interval and a cron expression.")
    if every:
        every_s = parse_every(every)
        return Schedule(every_s=every_s, phase_s=phase_of(name, every_s))
    zone = parse_time_zone(time_zone)
    return Schedule(cron=parse_cron(cron or "", zone), time_zone=zone)


def parse_every(text: str) -> int:
    """Read an interval, such as ``60s``, ``5m``, ``1h`` or ``1d``, in seconds.

    Raises:
        InvalidSchedule: It is none, or too short or too long.
    """
    found = EVERY.fullmatch(text.strip())
    if found is None:
        raise InvalidSchedule(text, "is not an interval. Write a number and s, m, h or d: 5m.")
    seconds = int(found[1]) * UNITS_S[found[2]]
    if seconds < MIN_EVERY_S:
        raise InvalidSchedule(text, f"is too often. Write at least {MIN_EVERY_S}s.")
    if seconds > MAX_EVERY_S:
        raise InvalidSchedule(text, f"is too seldom. Write at most {format_every(MAX_EVERY_S)}.")
    return seconds


def format_every(seconds: int) -> str:
    """Write an interval in the largest unit that it is whole in: ``5m``."""
    unit = next(unit for unit, of in UNITS_S.items() if seconds % of == 0)
    return f"{seconds // UNITS_S[unit]}{unit}"


def parse_cron(text: str, time_zone: str = "UTC") -> str:
    """Check a cron expression, and return it with single blanks.

    Raises:
        InvalidSchedule: It is none, or names a day that never comes.
    """
    cron = " ".join(text.split())
    if len(cron) > MAX_CRON:
        raise InvalidSchedule(f"{cron[:MAX_CRON]}…", "is too long.")
    if len(cron.split()) != CRON_FIELDS or not cron.isascii():
        raise InvalidSchedule(
            text, "is not a cron expression: minute, hour, day of month, month, day of week."
        )
    try:
        next(CronSim(cron, datetime.fromtimestamp(TRIED_FROM_S, _zone(time_zone))))
    except CronSimError as error:
        raise InvalidSchedule(text, f"is not a cron expression: {error}.") from None
    except StopIteration:
        raise InvalidSchedule(text, "names a day that never comes.") from None
    return cron


def parse_time_zone(text: str) -> str:
    """Check the name of a time zone, such as ``Europe/Berlin``.

    Raises:
        InvalidSchedule: There is no such zone.
    """
    if TIME_ZONE.fullmatch(text) and text.partition("/")[0] not in NO_TIME_ZONES:
        # ZoneInfo reads files: of directories and of what is no table it says so in its own way.
        with suppress(KeyError, OSError, ValueError):
            _zone(text)
            return text
    raise InvalidSchedule(text[:MAX_CRON], "is no time zone. Write one such as Europe/Berlin.")


def phase_of(name: str, every_s: int) -> int:
    """Say where in an interval a schedule's slots lie: the same in every process, by its name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % every_s


def next_runs(schedule: Schedule, now_s: float, count: int = 5) -> list[int]:
    """Return the next slots, for people to see what they wrote."""
    slots = [schedule.next_after(now_s)]
    while len(slots) < count:
        slots.append(schedule.next_after(slots[-1]))
    return slots


def due(schedule: Schedule, slot: int, now_s: float) -> Due:
    """Decide what runs of a slot that came due and was not run until now.

    Late by less than one interval, it still runs. Else it and all that came since were missed;
    they are counted, not made up for, and the grid's next slot runs.

    Args:
        schedule: As it is now; the slot may be of another before an edit.
        slot: The earliest that has not run.
        now_s: Epoch seconds.
    """
    if now_s < (upcoming := schedule.next_after(slot)):
        return Due(slot, 0)
    if schedule.every_s:
        missed = 1 + (int(now_s // 1) - upcoming) // schedule.every_s + 1
        return Due(schedule.next_after(now_s), min(missed, MAX_MISSED))
    missed = 1
    while upcoming <= now_s and missed < MAX_MISSED:
        missed, upcoming = missed + 1, schedule.next_after(upcoming)
    return Due(schedule.next_after(now_s), missed)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
