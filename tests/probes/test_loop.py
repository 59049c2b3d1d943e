"""The event loop in its thread: what is handed to it, and what it hands back."""

import asyncio
import time
from datetime import UTC, datetime

from pulse.core.attempts import Answer, Call, Failure
from pulse.core.judging import State
from pulse.probes.attempt import BREAK_OFF_S, Attempt, Claimed, Clock, Finished
from pulse.probes.loop import Loop
from tests.probes.engines import WELL


def ready(item: int, *, timeout_s: float = 10.0) -> Attempt:
    claimed = Claimed(
        item, 1, 1, "", f"t{item}", {}, 0, timeout_s, 60.0, 0.0, datetime(2100, 1, 1, tzinfo=UTC)
    )
    now_s = time.monotonic()
    call = Call("GET", f"http://a.test/{item}", timeout_s=timeout_s)
    return Attempt(claimed, Clock(1_000.0, now_s), now_s + 2, now_s + 60, call)


def taken(loop: Loop, number: int, within_s: float = 10.0) -> list[Finished]:
    """Take until there are so many."""
    found: list[Finished] = []
    deadline = time.monotonic() + within_s
    while len(found) < number:
        assert time.monotonic() < deadline, found
        loop.wait(0.0, 0.1)
        found += loop.take()[0]
    return found


class Hanging:
    """A client that keeps no limit; only the first items are let be."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.broken_off: list[str] = []

    async def __call__(self, call: Call) -> Answer:
        if call.url.endswith("/0"):
            return WELL
        self.begun.append(call.url)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.broken_off.append(call.url)
            raise
        return WELL


def test_a_client_that_hangs_is_broken_off_from_outside() -> None:
    """Though it does not keep its own limit; what ended before is what it was."""
    client = Hanging()
    with Loop(client) as loop:
        began = time.monotonic()
        loop.submit([ready(0, timeout_s=0.1), ready(1, timeout_s=0.1)])
        well, late = sorted(taken(loop, 2), key=lambda each: each.claimed.item)
        assert time.monotonic() - began >= 0.1 + BREAK_OFF_S
    assert well.outcome.state == State.OK
    assert (late.outcome.state, late.outcome.error) == (State.TIMEOUT, Failure.TIMEOUT)
    assert late.outcome.ended_s - late.outcome.started_s >= 0.1 + BREAK_OFF_S
    assert client.broken_off == ["http://a.test/1"]


def test_who_begins_later_has_a_limit_as_well() -> None:
    """The watch ends with those that it watches, and begins again."""
    with Loop(Hanging()) as loop:
        loop.submit([ready(1, timeout_s=0.05)])
        taken(loop, 1)
        loop.submit([ready(2, timeout_s=0.05)])
        (late,) = taken(loop, 1)
    assert late.outcome.error == Failure.TIMEOUT


def test_nothing_comes_of_what_is_given_up() -> None:
    """It is broken off at once, and is no timeout."""
    client = Hanging()
    with Loop(client) as loop:
        given_up, kept = ready(1, timeout_s=0.1), ready(2, timeout_s=0.1)
        loop.submit([given_up, kept])
        while len(client.begun) < 2:
            time.sleep(0.001)
        loop.give_up([given_up.claimed.key])
        assert [each.claimed.item for each in taken(loop, 1)] == [2]
        assert loop.in_flight == {}
    assert client.broken_off == ["http://a.test/1", "http://a.test/2"]


def test_what_is_given_up_before_it_begins_is_not_begun() -> None:
    """And leaves nothing to watch."""
    client = Hanging()
    with Loop(client) as loop:
        attempts = [ready(item) for item in range(1, 50)]
        loop.submit(attempts)
        loop.give_up([each.claimed.key for each in attempts])
        loop.submit([ready(0)])
        assert [each.claimed.item for each in taken(loop, 1)] == [0]
    assert client.begun == client.broken_off
