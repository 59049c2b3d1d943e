"""How often Redis failed this process, by kind, since it was last asked."""

import os
import threading
from collections import Counter
from typing import Final

#: Kinds are classes of errors: few, but not pulse's to choose.
MAX_KINDS: Final = 50


class _Failures:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: counts and lock are the parent's."""
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()


_failures: Final = _Failures()


def add(error: BaseException) -> None:
    """Count an error."""
    kind = type(error).__name__
    with _failures.lock:
        counts = _failures.counts
        counts[kind if kind in counts or len(counts) < MAX_KINDS else "others"] += 1


def take() -> Counter[str]:
    """Return what was counted since the last time; it is counted here no longer."""
    with _failures.lock:
        taken, _failures.counts = _failures.counts, Counter()
    return taken


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_failures.reset)
