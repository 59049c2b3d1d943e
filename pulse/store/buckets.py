"""What each rule refused, by hour: gathered in each process, added up by the heartbeat.

A request adds to a dictionary. What a process gathered and could not add is kept for the next
time; what was sent and not answered is not sent again, so that nothing counts twice.
"""

import os
import threading
import time
from collections import Counter
from typing import Final

from pulse.store import heartbeat
from pulse.store.connection import Script, current_backend

ADD: Final = Script("add")
HOUR_S: Final = 3600
HOURS: Final = 24
KEPT_S: Final = (HOURS + 2) * HOUR_S
FLUSH_S: Final = 1.0
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


class _Gathered:
    """Counts by hour and field that are not in Redis yet, or have no Redis to go to."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.counts: dict[int, Counter[str]] = {}


_gathered = _Gathered()


def add(verb: str, rule: str, amount: int = 1) -> None:
    """Count something that a rule did, in this process."""
    hour = int(time.time()) // HOUR_S
    with _gathered.lock:
        counts = _gathered.counts.get(hour)
        if counts is None:
            counts = _gathered.counts[hour] = Counter()
        if len(counts) < MAX_FIELDS:
            counts[f"{verb} {rule}"] += amount


def forget() -> None:
    """Drop what this process gathered and did not yet add."""
    with _gathered.lock:
        _gathered.counts = {}


def flush() -> None:
    """Add what this process gathered to what all did; without Redis it stays here.

    Raises:
        StoreUnavailable: Redis failed. What was not sent yet stays here.
    """
    backend = current_backend()
    with _gathered.lock:
        oldest = int(time.time()) // HOUR_S - HOURS
        for hour in [hour for hour in _gathered.counts if hour < oldest]:
            del _gathered.counts[hour]
        if backend is None or backend.guard.is_open:
            return
        sent, _gathered.counts = _gathered.counts, {}
    try:
        while sent:
            hour, counts = sent.popitem()
            arguments = [KEPT_S, *(part for pair in counts.items() for part in pair)]
            backend.run(ADD, (backend.keys.named(f"b:{hour}"),), arguments)
    finally:
        with _gathered.lock:
            for hour, counts in sent.items():
                _gathered.counts.setdefault(hour, Counter()).update(counts)


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
    now = int(time.time()) // HOUR_S
    with _gathered.lock:
        hours = {hour: Counter(counts) for hour, counts in _gathered.counts.items()}
    backend = current_backend()
    if backend is not None:
        for hour in range(now - HOURS, now + 1):
            reply = backend.call("HGETALL", backend.keys.named(f"b:{hour}"))
            found: list[bytes] = reply if isinstance(reply, list) else []  # type: ignore[assignment]
            for field, amount in zip(found[::2], found[1::2], strict=True):
                hours.setdefault(hour, Counter())[field.decode()] += int(amount)
    return hours


heartbeat.register("refusals", FLUSH_S, flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_gathered.reset)
