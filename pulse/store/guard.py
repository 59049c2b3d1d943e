"""Whether Redis is worth asking: the breaker around the connection.

The clock is an argument. Once open, no request touches Redis; the heartbeat tries it and closes
the guard again, so that no request pays for the trial.
"""

import threading
from collections.abc import Iterator
from typing import Final

#: Two failures this close together, with no success between them, are no hiccup.
STREAK_S: Final = 1.0
#: Without a trial for this long nobody is trying: a host that runs no threads.
UNATTENDED_S: Final = 2.0
REFUSALS: Final = (ConnectionRefusedError, FileNotFoundError)


class Guard:
    """A breaker. All times are seconds of one monotonic clock.

    Attributes:
        is_open: Nobody is to ask Redis.
        is_suspicious: The last call failed.
    """

    def __init__(self, now: float) -> None:
        self.is_open = False
        self.is_suspicious = False
        self._failed_at = now
        self._tried_at = now
        self._lock = threading.Lock()

    def failed(self, error: BaseException, now: float, *, at_once: bool = False) -> bool:
        """Note a failed call; True if it opened the guard, which ``at_once`` makes it do."""
        with self._lock:
            again = self.is_suspicious and now - self._failed_at <= STREAK_S
            self.is_suspicious, self._failed_at = True, now
            if self.is_open or not (again or at_once or was_refused(error)):
                return False
            self.is_open, self._tried_at = True, now
            return True

    def succeeded(self) -> None:
        """Note a call that came back: the next failure begins a new streak."""
        # A call that was under way when the guard opened says nothing of now: only a trial closes.
        if not self.is_open:
            self.is_suspicious = False

    def tried(self, now: float) -> None:
        """Note that a trial begins."""
        self._tried_at = now

    def recovered(self) -> bool:
        """Close after a trial that came back; True if the guard was open."""
        with self._lock:
            was_open, self.is_open, self.is_suspicious = self.is_open, False, False
            return was_open

    def is_unattended(self, now: float) -> bool:
        """Open, and nobody has tried for so long that a request must."""
        return self.is_open and now - self._tried_at > UNATTENDED_S


def was_refused(error: BaseException) -> bool:
    """Nobody listens there: waiting for a second failure would tell nothing new."""
    return any(isinstance(cause, REFUSALS) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
