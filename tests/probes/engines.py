"""The engine in the hands of tests: a clock to set, answers to give, a worker to be."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pulse.core.attempts import Answer, Call, Failure, Phases
from pulse.core.judging import State
from pulse.policies.publisher import Actor
from pulse.probes import due, engine, jobs, recorder
from pulse.probes.attempt import Claimed, Finished, Outcome
from pulse.probes.engine import Engine
from pulse.probes.jobs import Order, Starter
from pulse.probes.plan import Plan, current_plan
from pulse.probes.recorder import Recorded
from pulse.probes.state import ProbeJob, ProbeScheduleState, Trigger

ANA = Starter(Actor("user", "ana"), Trigger.PAGE)
WELL = Answer(
    started_at=0.0,
    latency_ms=12.5,
    phases=Phases(dns=0.1, connect=0.2, first_byte=12.0, body=0.2),
    status_code=200,
    headers={"content-type": "text/html"},
    body=b"well",
    bytes=4,
    address="127.0.0.1",
)
ILL = replace(WELL, status_code=500)


def targets(number: int, **fields: Any) -> list[dict[str, Any]]:
    """So many targets of this site, ``t0`` and so on."""
    return [{"name": f"t{each}", "path": "/api/products/"} | fields for each in range(number)]


def elsewhere(number: int, **fields: Any) -> list[dict[str, Any]]:
    """So many targets, each of a host of its own."""
    return [
        {"name": f"t{each}", "url": f"http://h{each}.example.com/"} | fields
        for each in range(number)
    ]


@contextmanager
def held(*, later: float = 0.0) -> Iterator[tuple[Plan, Engine]]:
    """The lock and the plan, on a clock that is so many seconds later."""
    with engine.locked() as lock:
        lock.now += timedelta(seconds=later)
        yield current_plan(lock.now.timestamp()), lock


@contextmanager
def held_at(epoch_s: float) -> Iterator[tuple[Plan, Engine]]:
    """The lock and the plan, at a time."""
    with engine.locked() as lock:
        lock.now = datetime.fromtimestamp(epoch_s, UTC)
        yield current_plan(epoch_s), lock


def prepare(*, later: float = 0.0) -> None:
    with held(later=later) as (plan, lock):
        due.prepare(plan, lock)


def claim(
    owner: str = "one", most: int = 100, *, later: float = 0.0, **kinds: Any
) -> list[Claimed]:
    with held(later=later) as (plan, lock):
        return due.claim(plan, lock, owner, most, **kinds)


def outcome(state: State = State.OK, *, at_s: float = 0.0, **fields: Any) -> Outcome:
    errors = {State.FAILED: Failure.EXPECTATION, State.TIMEOUT: Failure.TIMEOUT}
    fields = {"error": errors.get(state), "latency_ms": 10.0, "status_code": 200} | fields
    return Outcome(state, at_s, at_s, **fields)


def record(
    claimed: Sequence[Claimed], state: State = State.OK, *, later: float = 0.0, **fields: Any
) -> Recorded:
    """Record each as having ended so, now."""
    with held(later=later) as (plan, lock):
        ended = outcome(state, **{"at_s": lock.now.timestamp()} | fields)
        return recorder.record([Finished(each, ended) for each in claimed], plan, lock)


def start(*names: str, **fields: Any) -> ProbeJob:
    return jobs.start(Order(targets=names, **fields), ANA)


def state_of(name: str) -> ProbeScheduleState:
    return ProbeScheduleState.objects.get(name=name)


def answering(answer: Answer = WELL) -> Callable[[Call], Awaitable[Answer]]:
    """A client whose every call is answered so, at once."""

    async def send(call: Call) -> Answer:
        return answer

    return send
