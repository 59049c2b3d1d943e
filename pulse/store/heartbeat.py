"""What must happen in a process though no request comes: one thread, and one for the database.

A database that is frozen says nothing for minutes. What needs none, as to find Redis again and to
bring together what was measured, goes on beside it.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pulse.exceptions import StoreUnavailable
from pulse.logging import say
from pulse.store import processes
from pulse.store.connection import current_backend

logger = logging.getLogger(__name__)

BEAT_S: Final = 2.0
TRIAL_S: Final = 0.25


class _Task:
    """One thing to do now and then."""

    def __init__(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        self.name = name
        self.seconds = seconds
        self.function = function
        self.due = time.monotonic()
        self.is_failing = False

    def run(self) -> None:
        """Call the function; whatever it raises is told once until it works again."""
        try:
            self.function()
        except Exception as error:  # noqa: BLE001 - the others go on
            if not self.is_failing:
                say(
                    logger,
                    logging.WARNING,
                    "The heartbeat's %s fails: %s",
                    self.name,
                    error,
                    # A Redis that is away is no fault of the code's.
                    exc_info=not isinstance(error, StoreUnavailable),
                )
            self.is_failing = True
        else:
            self.is_failing = False
        self.due = time.monotonic() + self.seconds


class Heartbeat:
    """A daemon thread that starts when first needed and never outlives its process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: dict[str, _Task] = {}
        self._suspended = 0
        self.reset()

    def reset(self) -> None:
        """Forget the thread, as a forked child must."""
        self.is_running = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def register(self, name: str, seconds: float, function: Callable[[], object]) -> None:
        """Call a function every so many seconds; a name registered before is replaced."""
        with self._lock:
            self._tasks = {**self._tasks, name: _Task(name, seconds, function)}
        self._wake.set()

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._lock:
            if self.is_running or self._suspended:
                return
            wake = self._wake = threading.Event()
            thread = threading.Thread(target=self._run, args=(wake,), name=self._name, daemon=True)
            self.is_running = True
            try:
                thread.start()
            except RuntimeError:
                # No thread can be had here, or the interpreter is going: requests do without.
                say(logger, logging.WARNING, "The heartbeat cannot start", exc_info=True)
            else:
                self._thread = thread

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the thread and wait for it."""
        with self._lock:
            thread, self._thread = self._thread, None
            ended, self._wake = self._wake, threading.Event()
            self.is_running = False
        ended.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """End the thread, and start none while the block lasts."""
        with self._lock:
            self._suspended += 1
        try:
            self.stop()
            yield
        finally:
            with self._lock:
                self._suspended -= 1

    def _run(self, wake: threading.Event) -> None:
        # The event is the thread's own: another one in its place means that this one is over.
        while self._wake is wake:
            wake.clear()
            for task in self._tasks.values():
                if task.due <= time.monotonic() and self._wake is wake:
                    task.run()
            due = min((task.due for task in self._tasks.values()), default=time.monotonic() + 1)
            if self._wake is wake:
                wake.wait(max(due - time.monotonic(), 0.001))


def ensure() -> None:
    """See that the threads of this process run. Called on every request."""
    if not _heartbeat.is_running:
        _heartbeat.start()
        _beside.start()


def register(
    name: str, seconds: float, function: Callable[[], object], *, asks_database: bool = False
) -> None:
    """Have a function called every so many seconds; a name registered before is replaced.

    Args:
        name: What it is called in the log.
        seconds: From its end to its next beginning.
        function: What it raises is logged.
        asks_database: It may have to wait for one, which holds up only what does so, too.
    """
    (_beside if asks_database else _heartbeat).register(name, seconds, function)


def stop() -> None:
    """End the threads; the next ``ensure()`` starts others."""
    _heartbeat.stop()
    _beside.stop()


@contextmanager
def suspended() -> Iterator[None]:
    """Have no background thread while the block lasts, as where tests want to be alone."""
    with _heartbeat.suspended(), _beside.suspended():
        yield


def live_processes() -> int:
    """How many processes share the counters, as last heard; this one at least.

    What was heard last stays in force while Redis is away.
    """
    return _live["processes"]


def _beat() -> None:
    backend = current_backend()
    if backend is None:
        _live["processes"] = 1
        return
    try:
        count = processes.beat(backend)
    except StoreUnavailable:
        return
    if count is not None:
        _live["processes"] = max(count, 1)


def _try_redis() -> None:
    backend = current_backend()
    if backend is not None and backend.guard.is_open:
        backend.attempt_recovery()


_live: Final = {"processes": 1}
_heartbeat: Final = Heartbeat("pulse")
_beside: Final = Heartbeat("pulse-database")

register("processes", BEAT_S, _beat)
register("recovery", TRIAL_S, _try_redis)
atexit.register(stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_heartbeat.reset)
    os.register_at_fork(after_in_child=_beside.reset)
