"""The event loop in a thread of its own, where probes are sent: it gets and gives plain values."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pulse.probes.attempt import (
    BREAK_OFF_S,
    Attempt,
    Finished,
    Key,
    Outcome,
    Send,
    broken_off,
    run,
)

logger = logging.getLogger(__name__)

#: So many outcomes are worth being recorded at once.
FULL: Final = 180
#: How long the thread is waited for when it is to end, in seconds.
JOINED_WITHIN_S: Final = 5.0
#: Between two looks at who is past its limit: one timer for all costs less than one for each.
WATCHED_EVERY_S: Final = 0.25


@dataclass(slots=True)
class _Running:
    """An attempt under way; ``until_s`` of the loop's clock it may take."""

    task: asyncio.Task[None]
    until_s: float
    is_late: bool = False


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
        self._running: dict[Key, _Running] = {}
        self._is_watched = False
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
            tasks = [each.task for each in self._running.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                self._loop.run_until_complete(asyncio.wait(tasks))
            self._loop.close()

    def _begin(self, attempts: Iterable[Attempt]) -> None:
        now_s = self._loop.time()
        for attempt in attempts:
            task = self._loop.create_task(self._run(attempt))
            until_s = now_s + attempt.claimed.timeout_s + BREAK_OFF_S
            self._running[attempt.claimed.key] = _Running(task, until_s)
        if not self._is_watched:
            self._watch()

    def _cancel(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if running := self._running.get(key):
                running.is_late = False
                running.task.cancel()

    def _watch(self) -> None:
        """Break off whom its client lets go on past its limit."""
        now_s = self._loop.time()
        for key, running in list(self._running.items()):
            if running.task.done():
                # It was given up before it had begun, and so never came to its end.
                del self._running[key]
            elif now_s > running.until_s and not running.is_late:
                running.is_late = True
                running.task.cancel()
        self._is_watched = bool(self._running)
        if self._is_watched:
            self._loop.call_later(WATCHED_EVERY_S, self._watch)

    async def _run(self, attempt: Attempt) -> None:
        key, started_s = attempt.claimed.key, attempt.clock.now()
        outcome: Outcome | None
        try:
            outcome = await run(attempt, self._send)
        except asyncio.CancelledError:
            if not self._running[key].is_late:
                raise
            outcome = broken_off(attempt, started_s)
        finally:
            del self._running[key]
        with self._changed:
            if outcome is None:
                self._unsent.append(key)
            else:
                self._finished.append(Finished(attempt.claimed, outcome))
            if len(self._finished) <= 1 or len(self._finished) == FULL:
                self._changed.notify()
