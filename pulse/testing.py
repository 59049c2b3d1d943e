"""For the tests of a host: a policy in force for the length of a test, and its counters' clock.

Needs neither Redis nor a database, and leaves both alone.
"""

import math
import time
from contextlib import ExitStack
from typing import Final

from django.test.utils import TestContextDecorator

from pulse.core.document import Document
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import Snapshot
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.store import heartbeat, limits
from pulse.store.memory import MemoryStore, monotone_clock

__all__ = ["advance", "override_policies"]


class override_policies(TestContextDecorator):  # noqa: N801 - beside Django's override_settings
    """Put exactly this policy document in force, in this process and every thread of it.

    A context manager, and a decorator of functions, coroutines and ``unittest.TestCase``
    classes. What the document does not name does not exist; rows are neither read nor written.
    Counters begin fresh, in this process alone, and are gone at the end.

    Their clock stands still until ``advance()`` moves it, so that a test counts the same on a slow
    machine. Policies that start or end do so by the time at which the override began.

    Within another override this one alone is in force, with counters of its own.

    Args:
        document: As for ``pulse_apply``, defaults left out; ``version`` may be.
        real_time: Let the counters' clock run, as for a test with a browser that waits.

    Raises:
        InvalidDocument: On entering, as only then every app is loaded: something in the document
            cannot be. ``errors`` has the texts by their places.
    """

    def __init__(self, document: Document, *, real_time: bool = False) -> None:
        super().__init__()
        self._document = document
        self._real_time = real_time
        #: One for each time that it was entered: a decorated test may call itself.
        self._entered: list[ExitStack] = []

    def enable(self) -> Snapshot:
        """Put the policy in force; ``with … as`` gives it compiled."""
        document = complete(self._document)
        clock = _Clock(runs=self._real_time)
        with ExitStack() as stack:
            stack.enter_context(heartbeat.suspended())
            snapshot = stack.enter_context(current.overridden(document))
            stack.enter_context(limits.using_memory(MemoryStore(clock)))
            _clocks.append(clock)
            stack.callback(_clocks.remove, clock)
            self._entered.append(stack.pop_all())
        return snapshot

    def disable(self) -> None:
        """Put back what was in force before."""
        self._entered.pop().close()


def advance(seconds: float) -> None:
    """Move the clock of the counters, of the override that is in force.

    After the ``Retry-After`` of a refusal the same request passes again.

    Raises:
        RuntimeError: No ``override_policies`` is in force.
        ValueError: The time would go back.
    """
    if not _clocks:
        raise RuntimeError("Only within override_policies() is there a clock to move.")
    if seconds < 0:
        raise ValueError("The clock of the counters never goes back.")
    _clocks[-1].ahead_us += math.ceil(seconds * SECOND_US)


class _Clock:
    """Epoch microseconds: those of its beginning, or running, and what it was moved ahead."""

    def __init__(self, *, runs: bool) -> None:
        began_us = time.time_ns() // 1000
        self._base = monotone_clock() if runs else lambda: began_us
        self.ahead_us = 0

    def __call__(self) -> int:
        return self._base() + self.ahead_us


_clocks: Final[list[_Clock]] = []
