"""What browsers reported of Content-Security-Policies, by hour: added up, never kept one by one.

As in ``buckets``: a report adds to a dictionary, the heartbeat to what all processes know. Whoever
can reach the site can report anything, so what is kept is bounded, and what finds no more room is
counted in one entry.
"""

import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from pulse.store import heartbeat
from pulse.store.connection import Script, current_backend

COLLECT: Final = Script("collect")
HOUR_S: Final = 3600
HOURS: Final = 24
KEPT_S: Final = (HOURS + 2) * HOUR_S
FLUSH_S: Final = 1.0
#: Distinct reports of an hour, in a process and in Redis.
MAX_FIELDS: Final = 1000
#: No name, directive, origin or route is longer; together at most 1 MB an hour.
MAX_TEXT: Final = 255
#: Stands for what found no more room.
OVERFLOW: Final = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """What was reported of one policy in the last day, the same reports added up.

    Attributes:
        policy: The name of the header policy.
        page: The route of the page; empty for a page that is none of the site's.
        first: The hour of the first report, in epoch seconds, and ``last`` of the last.
    """

    policy: str
    directive: str
    source: str
    page: str
    count: int
    first: int
    last: int


class _Gathered:
    """Counts by hour and field that are not in Redis yet, or have no Redis to go to."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.counts: dict[int, Counter[str]] = {}


_gathered = _Gathered()


def add(policy: str, directive: str, source: str, page: str) -> None:
    """Count one report, in this process."""
    hour = int(time.time()) // HOUR_S
    field = "\n".join(text[:MAX_TEXT] for text in (policy, directive, source, page))
    with _gathered.lock:
        counts = _gathered.counts.setdefault(hour, Counter())
        counts[field if field in counts or len(counts) < MAX_FIELDS else OVERFLOW] += 1


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
            arguments = [KEPT_S, MAX_FIELDS, *(part for pair in counts.items() for part in pair)]
            backend.run(COLLECT, (backend.keys.named(f"csp:{hour}"),), arguments)
    finally:
        with _gathered.lock:
            for hour, counts in sent.items():
                _gathered.counts.setdefault(hour, Counter()).update(counts)


def last_day() -> tuple[list[Reported], int]:
    """Return what was reported in the last 24 hours, most often first; of all processes with Redis.

    Makes one call for each hour.

    Returns:
        The reports, and how many more found no room.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    counts: Counter[str] = Counter()
    hours: dict[str, set[int]] = {}
    for hour, found in _by_hour().items():
        counts.update(found)
        for field in found:
            hours.setdefault(field, set()).add(hour)
    rest = counts.pop(OVERFLOW, 0)
    reported = []
    for field, count in counts.most_common():
        policy, directive, source, page = field.split("\n", 3)
        first, last = min(hours[field]) * HOUR_S, max(hours[field]) * HOUR_S
        reported.append(Reported(policy, directive, source, page, count, first, last))
    return reported, rest


def _by_hour() -> dict[int, Counter[str]]:
    now = int(time.time()) // HOUR_S
    with _gathered.lock:
        hours = {
            hour: Counter(counts)
            for hour, counts in _gathered.counts.items()
            if hour >= now - HOURS
        }
    backend = current_backend()
    if backend is not None:
        for hour in range(now - HOURS, now + 1):
            reply = backend.call("HGETALL", backend.keys.named(f"csp:{hour}"))
            found: list[bytes] = reply if isinstance(reply, list) else []  # type: ignore[assignment]
            for field, amount in zip(found[::2], found[1::2], strict=True):
                hours.setdefault(hour, Counter())[field.decode()] += int(amount)
    return hours


heartbeat.register("csp reports", FLUSH_S, flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_gathered.reset)
