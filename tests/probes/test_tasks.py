"""The tick that Celery calls, what nudges it, and what beat sends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, current_app
from celery.signals import worker_shutting_down
from django.db import OperationalError, connection, transaction
from kombu.exceptions import OperationalError as BrokerAway

from pulse import tasks
from pulse.probes import runner, workers
from pulse.probes.state import ItemState, ProbeItem, ProbeWorker
from pulse.schedules import beat_schedule
from tests.probes.conftest import Apply
from tests.probes.engines import held, start, targets

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def going_on() -> Iterator[None]:
    yield
    tasks._go_on()


@pytest.fixture
def broken(apply: Apply, settings: Any) -> None:
    """A target that is over before it is sent, so that no test needs a site."""
    apply(probe_targets=targets(1))
    settings.PULSE = {}


def test_a_tick_runs_what_is_due(broken: None) -> None:
    """Without arguments; what is to be done is in rows."""
    start()
    tasks.tick()
    assert ProbeItem.objects.get().state == ItemState.FAILED
    assert ProbeWorker.objects.get().kind == "celery"


def test_doubled_ticks_cost_nothing(broken: None) -> None:
    """A second one finds nothing to do."""
    start()
    tasks.tick()
    tasks.tick()
    assert ProbeItem.objects.get().attempts == 1


def test_a_tick_leaves_the_work_to_others_where_there_are_enough(
    broken: None, settings: Any
) -> None:
    """``PROBE_TURNS`` of them, counted under the lock."""
    settings.PULSE = {"PROBE_TURNS": 1}
    start()
    with held() as (_plan, lock):
        assert workers.begin_turn("another", "celery", 1, lock)
    tasks.tick()
    assert ProbeItem.objects.get().state == ItemState.QUEUED
    settings.PULSE = {"PROBE_TURNS": 2}
    tasks.tick()
    assert ProbeItem.objects.get().state == ItemState.FAILED


def test_a_tick_survives_a_database_that_is_away(
    broken: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and the next one tries again."""
    start()

    def away(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        raise OperationalError("the server is gone")

    with connection.execute_wrapper(away):
        tasks.tick()
    assert "Probes wait for the database: the server is gone" in caplog.messages
    assert ProbeItem.objects.get().state == ItemState.QUEUED


def test_a_worker_that_shuts_down_takes_no_more(broken: None) -> None:
    """What its main process alone is told, it tells the others."""
    start()
    worker_shutting_down.send(sender="host", sig="TERM", how="Warm", exitcode=0)
    tasks.tick()
    assert ProbeItem.objects.get().state == ItemState.QUEUED


def test_a_pools_processes_know_that_their_worker_shuts_down() -> None:
    """By a byte that they have shared with it since before they were forked."""
    source = """
import os, django
django.setup()
from celery.signals import worker_shutting_down
from pulse import tasks
begins, begin = os.pipe()
child = os.fork()
if not child:
    os.read(begins, 1)
    os._exit(int(tasks.is_stopping()))
worker_shutting_down.send(sender="host", sig="TERM", how="Warm", exitcode=0)
os.write(begin, b"!")
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "project.settings.test"}
    done = subprocess.run([sys.executable, "-c", source], check=False, env=environment)
    assert done.returncode == 1


def test_the_limits_leave_time_for_the_longest_probe() -> None:
    """A turn ends by itself before Celery would end it."""
    assert tasks.tick.soft_time_limit >= runner.TURN_S + runner.LONGEST_TIMEOUT_S
    assert tasks.tick.time_limit > tasks.tick.soft_time_limit
    assert tasks.tick.ignore_result
    assert not tasks.tick.acks_late


def test_every_entry_of_beat_is_a_task_that_there_is() -> None:
    """And is stale before the next comes, so that a worker that was away is not flooded."""
    entries = beat_schedule()
    assert entries["pulse-tick"]["task"] == "pulse.tick"
    assert entries["pulse-tick"]["schedule"] == 1.0
    for entry in entries.values():
        assert entry["task"] in current_app.tasks
        assert 0 < entry["options"]["expires"] <= max(2, entry["schedule"])


def test_the_schedule_is_for_settings_to_import() -> None:
    """Before Django is configured."""
    source = "from pulse.schedules import beat_schedule; assert beat_schedule()"
    subprocess.run([sys.executable, "-c", source], check=True, env={})


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks.tick, "apply_async", lambda **options: found.append(options))
    return found


def test_a_nudge_goes_after_commit(sent: list[dict[str, Any]]) -> None:
    """A worker that came before it would find nothing."""
    with transaction.atomic():
        tasks.nudge()
        assert sent == []
    assert len(sent) == 1
    assert sent[0]["expires"] <= 10
    with pytest.raises(RuntimeError), transaction.atomic():
        tasks.nudge()
        raise RuntimeError
    assert len(sent) == 1


def test_who_starts_a_job_does_not_fail_by_the_broker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beat's next tick comes to it."""

    def away(**_: Any) -> None:
        raise BrokerAway("Connection refused")

    monkeypatch.setattr(tasks.tick, "apply_async", away)
    with caplog.at_level("INFO", tasks.logger.name):
        tasks.nudge()
    assert any("No worker was told" in message for message in caplog.messages)


def test_a_nudge_is_a_message_without_work() -> None:
    """Through a real producer, to a broker in memory."""
    app = Celery("host", broker="memory://", set_as_current=False)
    with app.connection_for_write() as wire:
        tick = app.tasks["pulse.tick"]
        tick.apply_async(expires=10, retry=False, connection=wire)
        message = None
        while message is None or message.headers["task"] != "pulse.tick":
            # What other tests sent is there as well.
            message = wire.default_channel.basic_get("celery")
            assert message is not None
    assert message.payload[:2] == [[], {}]
    app.close()
