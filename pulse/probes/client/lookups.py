"""Threads that look names up.

``getaddrinfo`` cannot be broken off. So it has threads of its own: a resolver that hangs keeps
neither the event loop's default executor from its work nor the process from its end.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_THREADS: Final = 16


class Lookups(Generic[T]):
    """A few daemon threads that start when they are needed.

    An executor of the standard library would keep the process from ending while one hangs.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self.forget()

    def forget(self) -> None:
        """Begin without threads: after a fork the child has none of its parent's."""
        self._lock = threading.Lock()
        self._work: SimpleQueue[tuple[Future[T], Callable[[], T]]] = SimpleQueue()
        self._threads = 0
        self._idle = 0

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have a thread do it; one that is cancelled while it waits is never begun."""
        future: Future[T] = Future()
        with self._lock:
            self._work.put((future, work))
            if self._idle:
                self._idle -= 1
            elif self._threads < self._max_threads:
                self._threads += 1
                threading.Thread(target=self._run, name="pulse-lookup", daemon=True).start()
        return future

    def _run(self) -> None:
        queue = self._work
        while True:
            future, work = queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del future, work
            with self._lock:
                if queue.empty():
                    self._idle += 1


lookups: Final[Lookups[list[str]]] = Lookups()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lookups.forget)
