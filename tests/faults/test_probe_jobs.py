"""Jobs that are ended while they run: by their deadline, and by a person."""

from tests.engines import IN_ALL, PROBES, Engine

DONE = PROBES // 4
#: Started by hand alone, once the other job has ended.
LATER = {"name": "later", "cron": "0 0 1 1 *", "targets": ["t0"]}


def test_a_deadline_ends_what_hangs_and_keeps_the_rest(engine: Engine) -> None:
    """S0-17, S0-18: unfinished probes are ``timeout``, whoever runs them; nothing is sent after."""
    engine.apply(engine.targets(timeout_s=60), probe_schedules=[LATER])
    engine.target.hold(after=DONE)
    engine.worker()
    engine.worker()
    engine.wait(lambda: engine.value("SELECT count(*) FROM pulse_probeworker") == 2)
    job = engine.start(deadline_s=20.0)
    engine.wait(lambda: engine.status(job) == "timeout")
    deadline, finished = engine.rows(
        f"SELECT deadline_at, finished_at FROM pulse_probejob WHERE id = {job}"
    )[0]
    assert finished >= deadline
    # Whoever was held is broken off.
    engine.wait(lambda: engine.target.report()["in_flight"] == 0)
    sent = engine.target.report()["requests"]
    assert sent == DONE + IN_ALL == DONE + engine.target.report()["broken_off"], engine.told()
    assert engine.states() == {"ok": DONE, "timeout": PROBES - DONE}, engine.told()
    errors = "SELECT DISTINCT error FROM pulse_probeitem WHERE state = 'timeout'"
    assert engine.rows(errors) == [("deadline",)]
    assert_nothing_follows(engine, sent)


def test_a_cancelled_job_breaks_off_what_runs(engine: Engine) -> None:
    """What waits is never sent, what runs is broken off, what has ended is kept."""
    engine.apply(engine.targets(timeout_s=60), probe_schedules=[LATER])
    engine.target.hold(after=DONE)
    job = engine.start()
    engine.worker()
    engine.worker()
    engine.wait(lambda: engine.ended() == DONE and engine.target.report()["in_flight"] == IN_ALL)
    engine.cancel(job)
    engine.wait(lambda: engine.target.report()["in_flight"] == 0)
    sent = engine.target.report()["requests"]
    assert sent == DONE + IN_ALL == DONE + engine.target.report()["broken_off"], engine.told()
    assert engine.states() == {"ok": DONE, "cancelled": PROBES - DONE}, engine.told()
    assert engine.status(job) == "cancelled"
    assert_nothing_follows(engine, sent)


def assert_nothing_follows(engine: Engine, sent: int) -> None:
    """Another job is run to its end meanwhile, and nothing of the ended one is sent or recorded."""
    written = engine.value("SELECT count(*) FROM ledger")
    engine.target.release()
    later = engine.start(schedule="later")
    engine.wait_until_ended(later)
    assert engine.status(later) == "completed"
    assert engine.target.report()["requests"] == sent + 1
    assert engine.value("SELECT count(*) FROM ledger") == written + 1
    assert engine.check_sent() == 0
