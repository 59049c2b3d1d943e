"""Whether Redis is worth asking: the breaker around the connection.

Pure but for its counters: the clock is an argument. Once open, no request touches Redis; the
heartbeat tries it and closes the guard again, so that no request pays for the trial.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

#: Two failures this close together, with no success between them, are no hiccup.
STREAK_S: Final = 1.0
#: Without a trial for this long nobody is trying: a host that runs no threads.
UNATTENDED_S: Final = 2.0
REFUSALS: Final = (ConnectionRefusedError, FileNotFoundError)


@dataclass(frozen=True, slots=True)
class GuardStatus:
    """What a status page shows of the guard.

    Attributes:
        closed: Redis is being asked.
        seconds: Since when it has been so.
        errors: How often each type of error was met since the process began.
    """

    closed: bool
    seconds: float
    errors: Mapping[str, int]


class Guard:
    """A breaker. All times are seconds of one monotonic clock.

    Attributes:
        is_open: Nobody is to ask Redis.
        is_suspicious: The last call failed.
    """

    def __init__(self, now: float) -> None:
        self.is_open = False
        self.is_suspicious = False
        self._changed_at = now
        self._failed_at = now
        self._tried_at = now
        self._errors: Counter[str] = Counter()
        self._lock = threading.Lock()

    def failed(self, error: BaseException, now: float, *, at_once: bool = False) -> bool:
        """Note a failed call; True if it opened the guard, which ``at_once`` makes it do."""
        with self._lock:
            self._errors[type(error).__name__] += 1
            again = self.is_suspicious and now - self._failed_at <= STREAK_S
            self.is_suspicious, self._failed_at = True, now
            if self.is_open or not (again or at_once or was_refused(error)):
                return False
            self.is_open, self._changed_at, self._tried_at = True, now, now
            return True

    def succeeded(self) -> None:
        """Note a call that came back: the next failure begins a new streak."""
        # A call that was under way when the guard opened says nothing of now: only a trial closes.
        if not self.is_open:
            self.is_suspicious = False

    def tried(self, now: float) -> None:
        """Note that a trial begins."""
        self._tried_at = now

    def recovered(self, now: float) -> bool:
        """Close after a trial that came back; True if the guard was open."""
        with self._lock:
            was_open, self.is_open, self.is_suspicious = self.is_open, False, False
            if was_open:
                self._changed_at = now
            return was_open

    def is_unattended(self, now: float) -> bool:
        """Open, and nobody has tried for so long that a request must."""
        return self.is_open and now - self._tried_at > UNATTENDED_S

    def status(self, now: float) -> GuardStatus:
        """What a status page shows."""
        with self._lock:
            return GuardStatus(not self.is_open, now - self._changed_at, dict(self._errors))


def was_refused(error: BaseException) -> bool:
    """Nobody listens there: waiting for a second failure would tell nothing new."""
    return any(isinstance(cause, REFUSALS) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
