"""One way through a step that now and then must block, for threads and for the event loop.

A step is a generator. It yields an errand where it would block, and is sent what came of it; on
the usual way it yields nothing, and costs the same in both worlds.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from asgiref.sync import sync_to_async

T = TypeVar("T")


class Errand(NamedTuple):
    """Something that may query the database: as a call, and as a coroutine."""

    run: Callable[[], Any]
    run_async: Callable[[], Awaitable[Any]]


Steps: TypeAlias = Generator[Errand, Any, T]


def errand(call: Callable[[], Any]) -> Errand:
    """Make an errand of a call that knows no event loop: there it goes to a thread."""
    return Errand(call, sync_to_async(call))


def run(steps: Steps[T]) -> T:
    """Take the steps in this thread."""
    answer = None
    while True:
        try:
            wanted = steps.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        answer = wanted.run()


async def run_async(steps: Steps[T]) -> T:
    """Take the steps on the event loop, which no errand blocks."""
    answer = None
    while True:
        try:
            wanted = steps.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        answer = await wanted.run_async()
