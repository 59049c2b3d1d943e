"""What each rule refused a moment ago, by the policy that decided so: for the guards of revisions.

Only gathered here, in this process; ``policies.watching`` takes it away each second.
"""

import os
import threading
from collections import Counter
from typing import Final

from pulse.store import buckets

#: A rule of one policy, which is named by its stamp.
Place = tuple[str, str]

#: Rules are bounded by the policy; this bounds what is gathered where nobody takes it away.
MAX_PLACES: Final = 50_000


class _Recent:
    """What was refused since it was last taken away."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.counts: Counter[Place] = Counter()


_recent: Final = _Recent()


def add(stamp: str | None, rule: str) -> None:
    """Count a refusal, by the rule for the day and by policy and rule for the guards.

    Args:
        stamp: The policy's; None where none was announced, of which no revision has a guard.
        rule: Kind and natural key, or what else refused.
    """
    buckets.add(buckets.REFUSED, rule)
    if stamp is None:
        return
    place = (stamp, rule)
    with _recent.lock:
        counts = _recent.counts
        amount = counts.get(place)
        if amount is not None:
            counts[place] = amount + 1
        elif len(counts) < MAX_PLACES:
            counts[place] = 1


def take() -> Counter[Place]:
    """Return what was gathered since the last time; it is gathered here no longer."""
    with _recent.lock:
        taken, _recent.counts = _recent.counts, Counter()
    return taken


def give_back(taken: Counter[Place]) -> None:
    """Gather what was taken and could not be used."""
    with _recent.lock:
        for place, amount in taken.items():
            if place in _recent.counts or len(_recent.counts) < MAX_PLACES:
                _recent.counts[place] += amount


def forget() -> None:
    """Drop what this process gathered."""
    _recent.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
