"""The event loop in a thread of its own, where probes are sent: it gets and gives plain values."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from pulse.probes.attempt import Attempt, Finished, Key, Send, run

logger = logging.getLogger(__name__)

#: So many outcomes are worth being recorded at once.
FULL: Final = 100
#: How long the thread is waited for when it is to end, in seconds.
JOINED_WITHIN_S: Final = 5.0


class Loop:
    """Runs attempts at once, as many as it is given.

    All but the coroutines is called from one thread, the one that has the database.

    Attributes:
        in_flight: What was submitted, by item and fence, and is neither taken nor given up.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="pulse-probes", daemon=True)
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._changed = threading.Condition()
        self._finished: list[Finished] = []
        self._unsent: list[Key] = []
        self.in_flight: dict[Key, Attempt] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOINED_WITHIN_S)
        if self._thread.is_alive():
            logger.error("The thread of probes does not end; it is left behind")

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Begin attempts."""
        if attempts:
            self.in_flight |= {attempt.claimed.key: attempt for attempt in attempts}
            self._loop.call_soon_threadsafe(self._begin, attempts)

    def give_up(self, keys: Iterable[Key]) -> None:
        """Break attempts off; nothing will come of them."""
        gone = [key for key in keys if self.in_flight.pop(key, None)]
        if gone:
            self._loop.call_soon_threadsafe(self._cancel, gone)

    def take(self) -> tuple[list[Finished], list[Key]]:
        """Return what has finished since, and what it was too late to begin."""
        with self._changed:
            finished, self._finished = self._finished, []
            unsent, self._unsent = self._unsent, []
        # What was given up may have finished meanwhile.
        kept = [each for each in finished if self.in_flight.pop(each.claimed.key, None)]
        return kept, [key for key in unsent if self.in_flight.pop(key, None)]

    def wait(self, rest_s: float, until_s: float) -> None:
        """Wait until it is worth looking again.

        Args:
            rest_s: Not before, unless outcomes are ``FULL``, in seconds.
            until_s: Not for longer, though there be no outcome, in seconds.
        """
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: len(self._finished) >= FULL, timeout=rest_s)
            left_s = until_s - (time.monotonic() - began)
            if left_s > 0:
                self._changed.wait_for(lambda: self._finished or self._unsent, timeout=left_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks))
            self._loop.close()

    def _begin(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            task = self._loop.create_task(self._run(attempt))
            self._tasks[attempt.claimed.key] = task

    def _cancel(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if task := self._tasks.get(key):
                task.cancel()

    async def _run(self, attempt: Attempt) -> None:
        key = attempt.claimed.key
        try:
            outcome = await run(attempt, self._send)
        finally:
            del self._tasks[key]
        with self._changed:
            if outcome is None:
                self._unsent.append(key)
            else:
                self._finished.append(Finished(attempt.claimed, outcome))
            if len(self._finished) <= 1 or len(self._finished) == FULL:
                self._changed.notify()
