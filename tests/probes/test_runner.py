"""Turns: probes are claimed, sent and recorded, whatever happens meanwhile."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError, InternalError, OperationalError, connections
from django.utils import timezone

from pulse.core.attempts import Answer, Call
from pulse.policies import document
from pulse.policies.publisher import Actor
from pulse.probes import jobs, recorder, runner, workers
from pulse.probes.runner import Turn
from pulse.probes.state import (
    ItemState,
    JobStatus,
    ProbeHour,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeTargetState,
    ProbeWorker,
    TargetStatus,
)
from tests.probes.conftest import Apply
from tests.probes.engines import (
    WELL,
    answering,
    elsewhere,
    held,
    prepare,
    start,
    state_of,
    targets,
)

pytestmark = pytest.mark.django_db(transaction=True)

UNSAFE = {"method": "POST", "allow_unsafe": True}
Send = Callable[[Call], Awaitable[Answer]]


class Hanging:
    """A client that waits until it is let go, and counts what it has at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.begun = self.now = self.peak = self.broken_off = 0
        self._let_go = threading.Event()
        if at_once:
            self._let_go.set()

    def let_go(self) -> None:
        self._let_go.set()

    async def __call__(self, call: Call) -> Answer:
        self.begun += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        try:
            while not self._let_go.is_set():  # noqa: ASYNC110 - it is another thread's event
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        finally:
            self.now -= 1
        return WELL


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread, with a connection of its own."""

    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(30)


def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def take(sends: Send, *, soon_s: float = 0.0, **fields: Any) -> Turn:
    turn = runner.take_turn("command", soon_s=soon_s, sends=sends, **fields)
    assert turn is not None
    return turn


def item_states() -> list[str]:
    return sorted(ProbeItem.objects.values_list("state", flat=True))


def test_a_turn_does_what_is_due_and_ends(apply: Apply) -> None:
    """All of it, within the caps; the worker is seen, and at rest after it."""
    apply(
        probe_targets=elsewhere(30),
        probe_budgets=[{"name": "default", "max_concurrency": 4}],
    )
    job = start()
    client = Hanging(at_once=True)
    turn = take(client)
    assert (turn.claimed, turn.ended, turn.refused) == (30, 30, 0)
    assert client.peak <= 4
    job.refresh_from_db()
    assert job.status == JobStatus.COMPLETED
    worker = ProbeWorker.objects.get()
    assert (worker.kind, worker.turn_until, worker.in_flight) == ("command", None, 0)


def test_where_nothing_is_due_no_turn_is_taken(apply: Apply) -> None:
    """But the worker says that it is there."""
    apply(probe_targets=targets(1))
    prepare()
    assert runner.take_turn("command", sends=answering()) is None
    seen_at = ProbeWorker.objects.get().seen_at
    # Not at each tick: that would be a write a second for each process.
    assert runner.take_turn("command", sends=answering()) is None
    assert ProbeWorker.objects.get().seen_at == seen_at
    ProbeWorker.objects.update(seen_at=seen_at - timedelta(seconds=6))
    assert runner.take_turn("command", sends=answering()) is None
    assert ProbeWorker.objects.get().seen_at >= seen_at


def test_a_worker_without_work_says_that_it_is_there(
    apply: Apply, django_assert_num_queries
) -> None:
    """By one statement each time: it does so every second."""
    apply()
    workers.be_seen("idle", "command", "default")
    first = ProbeWorker.objects.get()
    with django_assert_num_queries(1):
        workers.be_seen("idle", "command", "default")
    again = ProbeWorker.objects.get()
    assert again.started_at == first.started_at
    assert again.seen_at >= first.seen_at


def test_a_turn_waits_for_what_is_due_soon(apply: Apply) -> None:
    """So that it is sent on time, though beat's ticks are a second apart."""
    apply(
        probe_targets=targets(1),
        probe_schedules=[{"name": "core", "every": "1h", "targets": ["t0"]}],
    )
    prepare()
    with held() as (_plan, lock):
        ProbeScheduleState.objects.update(next_at=lock.now + timedelta(seconds=1))
    take(answering(), soon_s=2.0, seconds=3.0)
    item = ProbeItem.objects.get()
    assert 0 <= (item.started_at - item.due_at).total_seconds() < 1.5
    assert state_of("core").missed == 0


def test_only_so_many_take_turns_at_once(apply: Apply) -> None:
    """Counted under the lock; who is silent is not counted."""
    apply(probe_targets=targets(1))
    start()
    with held() as (_plan, lock):
        assert workers.begin_turn("one", "celery", 2, lock)
        assert workers.begin_turn("two", "celery", 2, lock)
        assert workers.begin_turn("two", "celery", 2, lock)
        assert not workers.begin_turn("three", "celery", 2, lock)
        assert workers.begin_turn("other", "command", None, lock)
    assert runner.take_turn("celery", most_turns=2, sends=answering()) is None
    with held(later=6) as (_plan, lock):
        assert workers.begin_turn("three", "celery", 2, lock)


def test_one_process_takes_one_turn_at_a_time(apply: Apply) -> None:
    """As with a pool of threads."""
    apply(probe_targets=targets(1))
    start()
    client = Hanging()

    def second() -> None:
        until(lambda: client.begun)
        seen.append(runner.take_turn("command", sends=client))
        client.let_go()

    seen: list[Turn | None] = []
    with meanwhile(second):
        take(client)
    assert seen == [None]


def test_a_cancelled_job_is_broken_off_while_it_runs(apply: Apply) -> None:
    """Within two seconds; what waits is not sent."""
    apply(probe_targets=targets(3))
    job = start()
    client = Hanging()
    took: list[float] = []

    def cancel() -> None:
        until(lambda: client.begun == 2)
        began = time.monotonic()
        jobs.cancel(job.pk)
        until(lambda: client.broken_off == 2)
        took.append(time.monotonic() - began)

    with meanwhile(cancel):
        turn = take(client)
    assert took
    assert (turn.broken_off, turn.ended) == (2, 0)
    assert item_states() == ["cancelled"] * 3


def test_a_hanging_target_ends_with_its_job(apply: Apply) -> None:
    """S0-18: on time, with the others' results kept."""
    apply(probe_targets=elsewhere(3))
    job = start(deadline_s=1)

    async def sends(call: Call) -> Answer:
        if call.url == "http://h0.example.com/":
            await asyncio.sleep(60)
        return WELL

    take(sends)
    job.refresh_from_db()
    assert job.status == JobStatus.TIMEOUT
    assert (job.finished_at - job.deadline_at).total_seconds() < 2
    assert item_states() == ["ok", "ok", "timeout"]


def test_one_hanging_target_alone_is_cut_off_by_the_job(apply: Apply) -> None:
    """S0-18: the job says timeout, and nothing is held against the target."""
    apply(probe_targets=elsewhere(1, timeout_s=30))
    job = start(deadline_s=1)

    async def hangs(_call: Call) -> Answer:
        await asyncio.sleep(60)
        return WELL

    take(hangs)
    job.refresh_from_db()
    item = ProbeItem.objects.get()
    assert (job.status, item.state, item.error) == ("timeout", "timeout", "deadline")
    assert not ProbeTargetState.objects.exclude(status=TargetStatus.NOT_WATCHED).exists()


def test_a_job_of_which_nothing_can_be_sent_has_failed(apply: Apply, settings: Any) -> None:
    """S0-19: the engine could not run it, and says why; with one that ran it is completed."""
    apply(probe_targets=[*targets(1), *elsewhere(2)[1:]])
    settings.PULSE = {}
    alone, with_another = start("t0"), start("t1")
    take(answering(WELL))
    for job in (alone, with_another):
        job.refresh_from_db()
    assert (alone.status, with_another.status) == (JobStatus.FAILED, JobStatus.COMPLETED)
    assert "PROBE_BASE_URL" in alone.error


@pytest.mark.parametrize(
    ("fields", "state"), [({}, ItemState.QUEUED), (UNSAFE, ItemState.LOST)], ids=["safe", "unsafe"]
)
def test_a_worker_that_is_told_to_stop_gives_back(
    apply: Apply, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], state: str
) -> None:
    """What it did not finish in time is another's at once, or known to be lost."""
    monkeypatch.setattr(runner, "STOPPED_WITHIN_S", 0.2)
    apply(probe_targets=targets(3, **fields))
    start("t0", "t1", "t2")
    client = Hanging()
    turn = take(client, stops=lambda: client.begun == 2)
    assert (turn.given_back, client.broken_off) == (2, 2)
    assert item_states() == sorted([ItemState.QUEUED, state, state])
    assert not ProbeItem.objects.exclude(owner="").exists()


def test_a_worker_that_is_told_to_stop_records_what_ends_meanwhile(apply: Apply) -> None:
    apply(probe_targets=targets(3))
    start()
    client = Hanging()

    def stops() -> bool:
        if client.begun == 2:
            threading.Timer(0.2, client.let_go).start()
        return client.begun == 2

    turn = take(client, stops=stops)
    assert (turn.ended, turn.given_back) == (2, 0)
    assert item_states() == ["ok", "ok", "queued"]


class Away:
    """A database that answers nothing that writes results, so many times."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error = times, error

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self.left and "pulse_probeitem" in sql and "evidence" in sql and "UPDATE" in sql:
            self.left -= 1
            raise self.error
        return execute(sql, params, many, context)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("server closed the connection unexpectedly"),
        InternalError("terminating connection due to idle-in-transaction timeout"),
    ],
)
def test_what_ended_while_the_database_was_away_is_recorded_after_it(
    apply: Apply, error: Exception
) -> None:
    """Once: nothing is sent again."""
    apply(probe_targets=targets(2))
    start()
    client = Hanging(at_once=True)
    away = Away(3, error)
    with connections["default"].execute_wrapper(away):
        turn = take(client)
    assert away.left == 0
    assert (turn.ended, turn.refused, client.begun) == (2, 0, 2)
    assert sum(hour.ok for hour in ProbeHour.objects.all()) == 2


class CommittedUnheard:
    """A database that commits what it was told, and is gone before it can say so; once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, when: Callable[[], bool]) -> None:
        connection = connections["default"]
        commit = connection._commit

        def unheard() -> None:
            is_it = when()
            commit()
            if is_it:
                self.happened = True
                monkeypatch.setattr(connection, "_commit", commit)
                raise OperationalError("server closed the connection unexpectedly")

        self.happened = False
        monkeypatch.setattr(connection, "_commit", unheard)


def test_a_flush_that_was_committed_unheard_is_not_written_twice(
    apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence says that it was written."""
    apply(probe_targets=targets(2))
    start()
    unheard = CommittedUnheard(monkeypatch, lambda: "ok" in item_states())
    turn = take(answering())
    assert unheard.happened
    assert turn.refused == 2
    assert item_states() == ["ok", "ok"]
    assert sum(hour.ok for hour in ProbeHour.objects.all()) == 2
    assert ProbeJob.objects.get().status == JobStatus.COMPLETED


def test_a_claim_that_was_committed_unheard_is_not_lost(
    apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back at once, long before its lease ends, and is sent once."""
    apply(probe_targets=targets(2, **UNSAFE))
    start("t0", "t1")
    unheard = CommittedUnheard(monkeypatch, lambda: "running" in item_states())
    client = Hanging(at_once=True)
    turn = take(client)
    assert unheard.happened
    assert (turn.ended, client.begun) == (2, 2)
    assert item_states() == ["ok", "ok"]


def test_an_outcome_that_no_database_takes_keeps_none_of_the_others(
    apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is recorded as a fault of the engine's own."""
    apply(probe_targets=targets(2))
    start()
    write = recorder.bulk.update

    def writes(model: Any, using: str, columns: Any, rows: Any) -> None:
        taken = list(rows)
        if any("poison" in row for row in taken):
            raise DataError("it cannot be written")
        write(model, using, columns, taken)

    monkeypatch.setattr(recorder.bulk, "update", writes)
    seen = []

    async def sends(call: Call) -> Answer:
        seen.append(call)
        text = "poison" if len(seen) == 1 else ""
        return Answer(0, 1.0, detail=text, failure="connect" if text else None, status_code=200)

    take(sends)
    rows = list(ProbeItem.objects.order_by("target").values_list("state", "error", "detail"))
    assert rows == [
        ("failed", "internal", "what came of it cannot be written"),
        ("ok", "", ""),
    ]


def test_a_probe_of_which_nothing_can_be_written_is_not_sent_again(
    apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent, so that the end of the turn does not give it back as one that was not."""
    apply(probe_targets=targets(2, **UNSAFE))
    start("t0", "t1")
    stuck = ProbeItem.objects.get(target="t0").pk
    write = recorder.bulk.update

    def writes(model: Any, using: str, columns: Any, rows: Any) -> None:
        taken = list(rows)
        if any(row[0] == stuck for row in taken if model is ProbeItem):
            raise DataError("it cannot be written")
        write(model, using, columns, taken)

    client = Hanging(at_once=True)
    with monkeypatch.context() as patched:
        patched.setattr(recorder.bulk, "update", writes)
        take(client)
    assert item_states() == ["ok", "running"]
    long_ago = timezone.now() - timedelta(hours=1)
    ProbeItem.objects.filter(pk=stuck).update(lease_until=long_ago)
    take(client)
    assert item_states() == ["lost", "ok"]
    assert client.begun == 2


def test_a_turn_cut_short_leaves_nothing_claimed(
    apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a time limit's exception, wherever it strikes."""
    monkeypatch.setattr(runner, "STOPPED_WITHIN_S", 0.2)
    apply(probe_targets=targets(2))
    start()

    class Limit(Exception):
        pass

    calls = []

    def stops() -> bool:
        calls.append(1)
        if len(calls) == 2:
            raise Limit
        return False

    with pytest.raises(Limit):
        take(Hanging(), stops=stops)
    assert item_states() == ["queued", "queued"]


def test_a_switch_turns_everything_off(apply: Apply, settings: Any) -> None:
    """``PULSE["ENABLED"] = False``: nothing is sent."""
    apply(probe_targets=targets(1))
    start()
    settings.PULSE = settings.PULSE | {"ENABLED": False}
    assert runner.take_turn("command", sends=answering()) is None


def test_a_policy_is_in_force_within_a_turn(apply: Apply) -> None:
    """Though no request tells this process of it."""
    apply(probe_targets=targets(1))
    start()
    client = Hanging()

    def edits() -> None:
        until(lambda: client.begun == 1)
        new = [{"name": "new", "path": "/api/products/"}]
        document.apply({"version": 1, "probe_targets": new}, Actor("command", "test"))
        start("new")
        until(lambda: client.begun == 2)
        client.let_go()

    with meanwhile(edits):
        turn = take(client)
    assert turn.ended == 2
