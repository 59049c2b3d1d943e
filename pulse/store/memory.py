"""The exact counters of one process, for hosts without Redis and for the time it is away."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from pulse.core.claims import SLOTS, Claim, Decision, Store, settle
from pulse.core.quotas import State

#: How many of the longest unused counters are looked at for full ones before one that counts goes.
SWEEP: Final = 32


def monotone_clock() -> Callable[[], int]:
    """A clock of epoch microseconds that never goes back.

    It starts at the wall clock's time and then runs by itself: a wall clock set back would lock
    clients out until it caught up, one set forward would fill every bucket.
    """
    start_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000
    return lambda: start_us + time.monotonic_ns() // 1000


class MemoryStore:
    """Counters in a dictionary, bounded: full buckets go first, then the least recently used."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or monotone_clock()
        self._lock = threading.Lock()
        #: State, and when the bucket is full or the window over; the longest unused first.
        self._kept: OrderedDict[tuple[str, str], tuple[State, int]] = OrderedDict()
        #: Counters that had to go for want of room.
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._kept)

    def decide(self, claims: Sequence[Claim], *, max_keys: int, parts: int = 1) -> Decision:
        """Decide all claims of one request at one instant, all or none.

        Args:
            claims: What the request asks.
            max_keys: How many counters are kept at most.
            parts: Into how many equal parts each allowance is cut; one of them is granted.
        """
        places = [(claim.key, slot) for claim in claims for slot in claim.allowance.slots]
        kept = self._kept
        with self._lock:
            now_us = self._clock()
            found = [entry and entry[0] for entry in map(kept.get, places)]
            outcomes, states = settle(claims, found, now_us, parts=parts)
            allowed, at = True, 0
            for claim, passed, verdicts in outcomes:
                allowed = allowed and (passed or not claim.enforced)
                for verdict in verdicts:
                    place, state = places[at], states[at]
                    at += 1
                    if state is not None:
                        kept[place] = state, now_us + verdict.reset_after_us
                    if place in kept:  # Also what was refused is in use.
                        kept.move_to_end(place)
            while len(kept) > max_keys:
                before = len(kept)
                self._shrink(now_us)
                self.evictions += before - len(kept)
        return Decision(allowed, outcomes, now_us, Store.LOCAL)

    def read(self, claims: Sequence[Claim]) -> tuple[int, list[State | None]]:
        """Return the clock, and what each quota of each claim keeps, in order."""
        places = [(claim.key, slot) for claim in claims for slot in claim.allowance.slots]
        with self._lock:
            found = [self._kept.get(place) for place in places]
            return self._clock(), [entry and entry[0] for entry in found]

    def forget(self, key: str) -> None:
        """Forget every counter of one claim, whatever its quotas are."""
        with self._lock:
            for slot in SLOTS:
                self._kept.pop((key, slot), None)

    def clear(self) -> None:
        """Forget every counter."""
        with self._lock:
            self._kept.clear()

    def _shrink(self, now_us: int) -> None:
        oldest = [place for place, _ in zip(self._kept, range(SWEEP), strict=False)]
        full = [place for place in oldest if self._kept[place][1] <= now_us]
        for place in full or oldest[:1]:
            del self._kept[place]

    def after_fork(self) -> None:
        """Take a new lock: the old one may be held by a thread that stayed with the parent."""
        self._lock = threading.Lock()


memory: Final = MemoryStore()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=memory.after_fork)
