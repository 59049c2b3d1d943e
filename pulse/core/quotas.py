"""How much is allowed: rates, and the verdict on one request.

All times are integer microseconds, all counts integers, so that the in-process store, the Redis
script and the tests agree to the last digit. ``store/scripts/decide.lua`` is the same arithmetic.
"""

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from pulse.exceptions import InvalidQuota

SECOND_US: Final = 1_000_000
UNITS_US: Final = {
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "d": 86_400 * SECOND_US,
}
UNIT_NAMES: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
}
MAX_PERIOD_US: Final = 366 * UNITS_US["d"]
MAX_COUNT: Final = 1_000_000_000
#: The longest a bucket may take to fill, a hundred times the longest period. Times on the clock
#: stay below 2^53 with it, up to which the doubles of the script are exact.
MAX_FULL_US: Final = 100 * MAX_PERIOD_US
RATE: Final = re.compile(r"\s*([0-9]{1,12})\s*/\s*([0-9]{0,6})\s*([A-Za-z]+)\s*", re.ASCII)


class Algorithm(StrEnum):
    """How requests are counted."""

    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - no password
    FIXED_WINDOW = "fixed_window"


@dataclass(frozen=True, slots=True)
class Quota:
    """``count`` requests for each ``period_us`` microseconds, up to ``burst`` at once.

    Attributes:
        spacing_us: The time in which one request is earned back; rounded up, so that never more
            than ``count`` are earned in a period.
        capacity: The most that one client may ever take at one instant.
        tolerance_us: The time in which the whole capacity is earned back.
    """

    count: int
    period_us: int
    burst: int
    algorithm: Algorithm = Algorithm.TOKEN_BUCKET
    spacing_us: int = field(init=False, compare=False, repr=False)
    capacity: int = field(init=False, compare=False, repr=False)
    tolerance_us: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        spacing = -(-self.period_us // self.count)
        capacity = self.count
        if self.algorithm is Algorithm.TOKEN_BUCKET:
            capacity = min(self.burst, MAX_FULL_US // spacing)
        object.__setattr__(self, "spacing_us", spacing)
        object.__setattr__(self, "capacity", capacity)
        object.__setattr__(self, "tolerance_us", capacity * spacing)

    @property
    def rate(self) -> str:
        """The rate as people write it, such as ``10/s`` or ``5/10m``."""
        return format_rate(self.count, self.period_us)

    def times(self, factor: int) -> "Quota":
        """``factor`` times as much in the same period: the ceiling of an address."""
        return self._of(self.count * factor, self.burst * factor)

    def share(self, parts: int) -> "Quota":
        """One of ``parts`` equal parts, never less than one request."""
        if self.count >= parts:
            return self._of(self.count // parts, max(1, self.burst // parts))
        period_us = min(-(-self.period_us * parts // self.count), MAX_PERIOD_US)
        return replace(self, count=1, period_us=period_us, burst=max(1, self.burst // parts))

    def _of(self, count: int, burst: int) -> "Quota":
        # Above one a microsecond the spacing would be nought and the bucket bottomless.
        return replace(self, count=min(count, self.period_us), burst=burst)


class Verdict(NamedTuple):
    """What one quota says of one request.

    Attributes:
        remaining: Requests that would still pass at this instant.
        retry_after_us: From now until the same request would pass; 0 if it passed.
        reset_after_us: From now until the whole capacity is free again.
    """

    allowed: bool
    remaining: int
    retry_after_us: int
    reset_after_us: int


#: What a quota keeps of one client: arrival and spacing of a token bucket, end and use of a window.
State: TypeAlias = tuple[int, int]


def gcra(
    quota: Quota,
    arrival_us: int,
    now_us: int,
    *,
    cost: int = 1,
    spacing_us: int | None = None,
) -> tuple[Verdict, int]:
    """Judge one request by the generic cell rate algorithm.

    A client may take ``burst`` at once, then one for each ``spacing_us``. A refused
    request costs nothing.

    Args:
        quota: The allowance.
        arrival_us: Theoretical arrival time kept from the last call, in epoch
            microseconds; 0 for a client not seen before. Clamped, so that a quota
            edited since then neither locks the client out nor refills it.
        now_us: Epoch microseconds.
        cost: What the request takes, at most the quota's capacity.
        spacing_us: The quota's spacing when ``arrival_us`` was kept, if it was another:
            what the client owes is carried over in requests, not in seconds.

    Returns:
        The verdict, and the arrival time to keep.

    Source: ITU-T I.371 (GCRA, virtual scheduling form).
    """
    spacing = quota.spacing_us
    tolerance = quota.tolerance_us
    owed = owed_us(quota, arrival_us, now_us, spacing_us) if arrival_us > now_us else 0
    wait = owed + cost * spacing - tolerance
    if wait > 0:
        remaining = (tolerance - owed) // spacing
        return _refused(remaining, wait, owed), now_us + owed
    owed += cost * spacing
    return Verdict(True, (tolerance - owed) // spacing, 0, owed), now_us + owed  # noqa: FBT003 - the first field


def owed_us(quota: Quota, arrival_us: int, now_us: int, spacing_us: int | None = None) -> int:
    """How long the client would have to rest until its whole capacity is free."""
    owed = arrival_us - now_us
    if owed <= 0:
        return 0
    if spacing_us and spacing_us != quota.spacing_us:
        # In doubles as the script has them: the product may need more than 64 bits, and both
        # must round it alike.
        owed = int(owed * float(quota.spacing_us) / spacing_us)
    return min(owed, quota.tolerance_us)


def fixed_window(
    quota: Quota, ends_us: int, used: int, now_us: int, *, cost: int = 1
) -> tuple[Verdict, int, int]:
    """Judge one request by a window that opens with a client's first request.

    Windows that open with the client, not with the clock, spread the clients' returns.
    A lone client may take twice the count across the edge of two windows.

    Args:
        quota: The allowance; its burst does not matter here.
        ends_us: When the window kept from the last call ends, in epoch microseconds;
            0 for a client not seen before. Clamped to one period from now.
        used: What was taken in that window.
        now_us: Epoch microseconds.
        cost: What the request takes, at most ``count``.

    Returns:
        The verdict, and the window's end and use to keep.
    """
    if ends_us <= now_us:
        ends_us, used = now_us + quota.period_us, 0
    ends_us = min(ends_us, now_us + quota.period_us)
    left = ends_us - now_us
    if used + cost > quota.count:
        return _refused(max(quota.count - used, 0), left, left), ends_us, used
    used += cost
    return _passed(quota.count - used, left), ends_us, used


def judge(quota: Quota, state: State | None, now_us: int, cost: int) -> tuple[Verdict, State]:
    """Judge one request by the quota's own algorithm.

    Args:
        quota: The allowance.
        state: What the last call gave back, None for a client not seen before.
        now_us: Epoch microseconds.
        cost: What the request takes, at most the quota's capacity.
    """
    first, second = state or (0, 0)
    if quota.algorithm is Algorithm.TOKEN_BUCKET:
        verdict, arrival = gcra(quota, first, now_us, cost=cost, spacing_us=second)
        return verdict, (arrival, quota.spacing_us)
    verdict, ends, used = fixed_window(quota, first, second, now_us, cost=cost)
    return verdict, (ends, used)


def standing(quota: Quota, state: State | None, now_us: int) -> Verdict:
    """What the state leaves to the client at this instant, with nothing asked or charged."""
    first, second = state or (0, 0)
    if quota.algorithm is Algorithm.TOKEN_BUCKET:
        owed = owed_us(quota, first, now_us, second)
        remaining = (quota.tolerance_us - owed) // quota.spacing_us
        return _passed(remaining, owed)
    if first <= now_us or not second:
        return _passed(quota.count, 0)
    left = min(first - now_us, quota.period_us)
    return _passed(max(quota.count - second, 0), left)


def mend(quota: Quota, state: State | None, now_us: int) -> State | None:
    """The state as today's quota has it, None where it need not be written anew.

    After an edit, or a clock set back, what the client owes is converted and clamped on
    reading. Unless that is kept too, the next reading converts it again, and the wait that was
    told proves wrong.
    """
    if state is None or state[0] <= now_us:
        return None
    first, second = state
    if quota.algorithm is Algorithm.TOKEN_BUCKET:
        mended = (now_us + owed_us(quota, first, now_us, second), quota.spacing_us)
    else:
        mended = (min(first, now_us + quota.period_us), second)
    return mended if mended != state else None


def parse_rate(text: str) -> tuple[int, int]:
    """Read ``10/s``, ``1000/h``, ``5/10m`` or ``100 / day``.

    Returns:
        The count, and the period in microseconds.

    Raises:
        InvalidQuota: The text is no rate, or one that cannot be counted.
    """
    match = RATE.fullmatch(text)
    unit = UNIT_NAMES.get(match[3].lower()) if match else None
    if match is None or unit is None:
        raise InvalidQuota(text, "is not a rate. Write a count and a unit, such as 10/s.")
    count, period_us = int(match[1]), int(match[2] or 1) * UNITS_US[unit]
    if count < 1:
        raise InvalidQuota(text, "lets nothing through. Use an access rule to deny.")
    if period_us < SECOND_US:
        raise InvalidQuota(text, "has no period. Write at least one second.")
    if period_us > MAX_PERIOD_US:
        raise InvalidQuota(text, "is counted over more than a year.")
    if count > MAX_COUNT or count > period_us:
        raise InvalidQuota(text, "is more than one request a microsecond.")
    return count, period_us


def format_rate(count: int, period_us: int) -> str:
    """Write a rate in its shortest form: the largest unit that divides the period."""
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(period_us, UNITS_US[unit])
        if number and not rest:
            return f"{count}/{'' if number == 1 else number}{unit}"
    return f"{count}/{period_us}us"


def make_quota(
    rate: str, burst: int | None = None, algorithm: str = Algorithm.TOKEN_BUCKET
) -> Quota:
    """Make a quota from what an operator wrote; without a burst it is the rate's count.

    Raises:
        InvalidQuota: A part of it cannot be used.
    """
    count, period_us = parse_rate(rate)
    if algorithm not in tuple(Algorithm):
        raise InvalidQuota(algorithm, f"is not one of {', '.join(Algorithm)}.")
    if burst is None:
        burst = count
    if not 1 <= burst <= MAX_COUNT:
        raise InvalidQuota(str(burst), f"is not a burst. Write a number from 1 to {MAX_COUNT}.")
    quota = Quota(count, period_us, burst, Algorithm(algorithm))
    if quota.algorithm is Algorithm.TOKEN_BUCKET and quota.capacity < burst:
        raise InvalidQuota(str(burst), "is a burst that takes more than a century to earn back.")
    return quota


def _passed(remaining: int, reset_after_us: int) -> Verdict:
    return Verdict(True, remaining, 0, reset_after_us)  # noqa: FBT003 - the first field


def _refused(remaining: int, retry_after_us: int, reset_after_us: int) -> Verdict:
    return Verdict(False, remaining, retry_after_us, reset_after_us)  # noqa: FBT003 - as above
