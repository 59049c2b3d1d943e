"""Celery's messages are nudges: Redis may forget them, beats may double them, no probe minds."""

import json
from typing import Any

import pytest

from tests.engines import IN_ALL, PROBES, Engine
from tests.servers import RedisServer

pytestmark = pytest.mark.postgres

#: Ticks that come at once, as from beats that were all asleep.
EXTRA = "from pulse.tasks import tick\nfor _ in range(200): tick.delay()"


def start_workers(engine: Engine, beats: int) -> None:
    for number in range(2):
        engine.celery("worker", "--concurrency", "1", "--hostname", f"w{number}@localhost")
    for number in range(beats):
        file = engine.directory / f"beat-{number}"
        engine.celery("beat", "--schedule", str(file), "--pidfile", "")


def workers_told(client: Any) -> list[dict[str, Any]]:
    said = [json.loads(one) for key in client.keys("*{pulse}:running") for one in client.hvals(key)]
    return [one for one in said if one["kind"] == "worker"]


def check(engine: Engine, job: int) -> None:
    engine.wait_until_ended(job)
    assert all(worker.is_alive for worker in engine.workers), engine.told()
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.check_sent() == 0
    assert engine.states() == {"ok": PROBES}, engine.told()


def test_a_flushed_redis_loses_no_probe(celery_engine: Engine, mortal_redis: RedisServer) -> None:
    """What is to be done is in the database: the turn goes on, and ticks come again."""
    engine = celery_engine
    engine.apply(engine.targets())
    engine.target.hold(after=PROBES // 4)
    job = engine.start()
    start_workers(engine, beats=1)
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    with mortal_redis.client() as client:
        client.flushall()
        engine.target.release(delay_s=0.02)
        engine.wait(lambda: engine.ended() > PROBES // 2)
        client.flushall()
    check(engine, job)


def test_a_flushed_redis_stops_no_ticks(celery_engine: Engine, mortal_redis: RedisServer) -> None:
    """Workers that had nothing to do while Redis forgot all find what is started after."""
    engine = celery_engine
    engine.apply(engine.targets())
    start_workers(engine, beats=1)
    # Which of the two takes a tick is chance.
    engine.wait(lambda: engine.value("SELECT count(*) FROM pulse_probeworker") > 0)
    engine.wait(lambda: engine.logged().count(" ready.") == 2)
    with mortal_redis.client() as client:
        client.flushall()
        # Both tell of themselves again with the next beat, as workers that run the policy.
        engine.wait(lambda: len(workers_told(client)) == 2)
        assert all(said["revision"] for said in workers_told(client))
    job = engine.start()
    check(engine, job)


def test_two_beats_and_doubled_ticks_run_nothing_twice(celery_engine: Engine) -> None:
    """Each slot of a schedule is one job, and each probe is sent once, whatever was announced."""
    engine = celery_engine
    core = {"name": "core", "every": "5s", "targets": [f"t{number}" for number in range(20)]}
    engine.apply(engine.targets(), probe_schedules=[core])
    engine.target.release(delay_s=0.02)
    start_workers(engine, beats=2)
    engine.python(EXTRA)
    job = engine.start()
    engine.python(EXTRA)
    slots = "SELECT count(*) FROM pulse_probejob WHERE schedule = 'core' AND status = 'completed'"
    engine.wait(lambda: engine.status(job) == "completed" and engine.value(slots) >= 3)
    assert engine.states(job) == {"ok": PROBES}, engine.told()
    assert engine.check_sent() == 0
    engine.check_caps()
    doubled = (
        "SELECT count(*) FROM (SELECT 1 FROM pulse_probejob WHERE schedule = 'core'"
        " GROUP BY slot_at HAVING count(*) > 1) AS found"
    )
    assert engine.value(doubled) == 0
    written, items = engine.rows("SELECT count(*), count(DISTINCT item) FROM ledger")[0]
    assert written == items
