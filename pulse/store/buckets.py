"""What each rule refused, and what else is counted by rule, by hour."""

from collections import Counter
from typing import Final

from pulse.store.connection import Script
from pulse.store.hourly import Hourly

#: Rules are bounded by the policy; this bounds what a policy edited in a loop leaves behind.
MAX_FIELDS: Final = 50_000

REFUSED: Final = "refused"
WOULD_REFUSE: Final = "would_refuse"
#: Answers that took longer than their endpoint may, and were not cancelled.
OVERRUN: Final = "overrun"
#: What scripts of other origins were told: they may, they might if it were enforced, they may not.
CORS_USED: Final = "cors_used"
CORS_WOULD_USE: Final = "cors_would_use"
CORS_REFUSED: Final = "cors_refused"
#: Cookies that went out over HTTPS without Secure, by name.
INSECURE_COOKIE: Final = "insecure_cookie"
#: What failed in pulse on the way of a request, by step.
SWALLOWED: Final = "swallowed"


_gathered: Final = Hourly("refusals", "b", Script("add"), lambda: MAX_FIELDS)


def add(verb: str, rule: str, amount: int = 1) -> None:
    """Count something that a rule did, in this process."""
    _gathered.add(f"{verb} {rule}", amount)


def forget() -> None:
    """Drop what this process gathered and did not yet add."""
    _gathered.forget()


def flush() -> None:
    """Add what this process gathered to what all did, as the heartbeat does each second.

    Raises:
        StoreUnavailable: Redis failed. What was not sent yet stays here.
    """
    _gathered.flush()


def last_day() -> dict[str, Counter[str]]:
    """Return what each rule did in the last 24 hours, by verb; of all processes with Redis.

    Makes one call for each hour.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    totals: Counter[str] = Counter()
    for counts in last_hours().values():
        totals.update(counts)
    by_verb: dict[str, Counter[str]] = {REFUSED: Counter(), WOULD_REFUSE: Counter()}
    for field, amount in totals.items():
        verb, _, rule = field.partition(" ")
        by_verb.setdefault(verb, Counter())[rule] += amount
    return by_verb


def last_hours() -> dict[int, Counter[str]]:
    """Return what was counted in each of the last hours, by verb and rule in one text.

    Makes one call for each hour.

    Returns:
        Counts by the hour, in hours since the epoch, and by ``verb rule``.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    return _gathered.last_hours()
