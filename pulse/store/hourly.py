"""Counts by hour: gathered in each process, added up in Redis by the heartbeat.

A request adds to a dictionary. What a process gathered and could not add is kept for the next
time; what was sent and not answered is not sent again, so that nothing counts twice.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from pulse.store import heartbeat
from pulse.store.connection import Script, current_backend

HOUR_S: Final = 3600
HOURS: Final = 24
KEPT_S: Final = (HOURS + 2) * HOUR_S
FLUSH_S: Final = 1.0


class Hourly:
    """Counts by hour and field that are not in Redis yet, or have no Redis to go to.

    Attributes:
        lock: Held while ``counts`` is read or changed.
        counts: By the hour, in hours since the epoch, and by field.
    """

    def __init__(
        self, name: str, key: str, script: Script, room: Callable[[], int], rest: str | None = None
    ) -> None:
        """Have the heartbeat add up what is gathered from now on.

        Args:
            name: Of the heartbeat's task.
            key: Begins the key of each hour's hash.
            script: Adds fields and amounts; with ``rest`` it is told how much room there is.
            room: How many fields an hour may have.
            rest: The field that stands for what found no room; None to drop it.
        """
        self._key, self._script, self._room, self._rest = key, script, room, rest
        self.reset()
        heartbeat.register(name, FLUSH_S, self.flush)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.counts: dict[int, Counter[str]] = {}

    def add(self, field: str, amount: int = 1) -> None:
        """Count something, in this process."""
        hour = int(time.time()) // HOUR_S
        with self.lock:
            counts = self.counts.get(hour)
            if counts is None:
                counts = self.counts[hour] = Counter()
            if field in counts or len(counts) < self._room():
                counts[field] += amount
            elif self._rest is not None:
                counts[self._rest] += amount

    def forget(self) -> None:
        """Drop what this process gathered and did not yet add."""
        with self.lock:
            self.counts = {}

    def flush(self) -> None:
        """Add what this process gathered to what all did; without Redis it stays here.

        Raises:
            StoreUnavailable: Redis failed. What was not sent yet stays here.
        """
        backend = current_backend()
        with self.lock:
            oldest = int(time.time()) // HOUR_S - HOURS
            for hour in [hour for hour in self.counts if hour < oldest]:
                del self.counts[hour]
            if backend is None or backend.guard.is_open:
                return
            sent, self.counts = self.counts, {}
        bounds = [KEPT_S] if self._rest is None else [KEPT_S, self._room()]
        try:
            while sent:
                hour, counts = sent.popitem()
                arguments = [*bounds, *(part for pair in counts.items() for part in pair)]
                backend.run(self._script, (backend.keys.named(f"{self._key}:{hour}"),), arguments)
        finally:
            with self.lock:
                for hour, counts in sent.items():
                    self.counts.setdefault(hour, Counter()).update(counts)

    def last_hours(self) -> dict[int, Counter[str]]:
        """Return what was counted in each of the last 24 hours; of all processes with Redis.

        Makes one call for each hour.

        Raises:
            StoreUnavailable: Redis cannot be asked for what it holds.
        """
        now = int(time.time()) // HOUR_S
        with self.lock:
            kept = self.counts.items()
            hours = {hour: Counter(counts) for hour, counts in kept if hour >= now - HOURS}
        backend = current_backend()
        if backend is not None:
            for hour in range(now - HOURS, now + 1):
                reply = backend.call("HGETALL", backend.keys.named(f"{self._key}:{hour}"))
                found: list[bytes] = reply if isinstance(reply, list) else []  # type: ignore[assignment]
                for field, amount in zip(found[::2], found[1::2], strict=True):
                    hours.setdefault(hour, Counter())[field.decode()] += int(amount)
        return hours
