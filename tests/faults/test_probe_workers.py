"""Workers of probes that die, freeze and lose their clock: exact caps, one result each, none lost.

What is asked is the target that was probed and the database's own ledger. Set PULSE_TEST_PROBES to
10000 for the proof in full, under the caps that a budget has by default.
"""

from tests.deadly import DEADLY_PORT
from tests.engines import IN_ALL, PER_HOST, PROBES, Engine


def test_a_probe_that_ends_its_workers_is_lost_alone(engine: Engine) -> None:
    """It is tried so often and no oftener, its schedule rests, and all others have results."""
    poison = {
        "name": "poison",
        "url": f"http://127.0.0.1:{DEADLY_PORT}/",
        "allow_networks": ["127.0.0.1/32"],
        "timeout_s": 1,
    }
    engine.apply(
        [*engine.targets(40, timeout_s=1), poison],
        probe_schedules=[{"name": "deadly", "every": "5s", "targets": ["poison", "t0", "t1"]}],
    )
    job = engine.start()
    quarantined = "SELECT count(*) FROM pulse_probeschedulestate WHERE state = 'quarantined'"
    workers = [engine.worker(), engine.worker()]

    def is_over() -> bool:
        for number, worker in enumerate(workers):
            if not worker.is_alive:
                workers[number] = engine.worker()
        return engine.status(job) == "completed" and engine.value(quarantined) == 1

    engine.wait(is_over)
    lost = "SELECT DISTINCT target FROM pulse_probeitem WHERE state = 'lost'"
    assert engine.rows(lost) == [("poison",)], engine.told()
    assert engine.ended(job) == 41, engine.told()


def test_two_workers_fill_the_caps_and_never_pass_them(engine: Engine) -> None:
    """As many at once as may be, not one more; each probe is sent once and recorded once."""
    engine.apply(engine.targets(timeout_s=60))
    engine.target.hold()
    job = engine.start()
    workers = [engine.worker(), engine.worker()]
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    looks = "SELECT min(seen_at) FROM pulse_probeworker"
    engine.wait(lambda: engine.value("SELECT count(*) FROM pulse_probeworker") == 2)
    before = engine.value(looks)
    engine.wait(lambda: engine.value(looks) > before)
    assert engine.target.report()["peak"] == IN_ALL, "they look again, and see that all is taken"
    engine.target.release(delay_s=0.02)
    engine.wait_until_ended(job)
    assert all(worker.is_alive for worker in workers), engine.told()
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.target.report()["peak_of_a_port"] == PER_HOST
    assert engine.check_sent() == 0
    assert engine.target.report()["paths"] == PROBES
    assert engine.states() == {"ok": PROBES}, engine.told()
    assert engine.status(job) == "completed"


def test_a_killed_worker_loses_no_probe(engine: Engine) -> None:
    """What it had is taken back once its lease is over, and nothing else is sent again."""
    engine.apply(engine.targets())
    engine.target.hold(after=PROBES // 4)
    job = engine.start()
    killed = engine.worker()
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    engine.worker()
    killed.kill()
    taken = engine.running_of(killed)
    engine.target.release(delay_s=0.02)
    engine.wait_until_ended(job)
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.check_sent() == taken
    taken_back = engine.value("SELECT count(*) FROM pulse_probeitem WHERE reclaims > 0")
    assert taken_back == taken > 0, engine.told()
    assert engine.states() == {"ok": PROBES}, engine.told()


def test_a_worker_that_was_frozen_past_its_lease_records_nothing(engine: Engine) -> None:
    """Others have what it had by then: its fence is old, and its results are dropped."""
    engine.apply(engine.targets(timeout_s=20))
    engine.target.hold(after=PROBES // 4)
    job = engine.start()
    frozen = engine.worker()
    engine.wait(lambda: engine.running_of(frozen) == IN_ALL)
    with engine.locked():
        engine.target.release(delay_s=0.02)
        engine.wait(lambda: engine.target.report()["in_flight"] == 0)
        # It has waited in vain once, so it waits with every result in hand.
        engine.wait(lambda: "wait for the database" in frozen.log.read_text())
        frozen.stop()
    engine.worker()
    engine.wait(lambda: engine.running_of(frozen) == 0)
    frozen.go_on()
    engine.wait(lambda: engine.dropped() > 0)
    engine.wait_until_ended(job)
    assert engine.dropped() == IN_ALL
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.check_sent() == IN_ALL
    assert engine.states() == {"ok": PROBES}, engine.told()


def test_what_may_not_be_repeated_is_sent_once_whoever_dies(engine: Engine) -> None:
    """``mark_lost``: what a killed or frozen worker may have sent is lost, and never sent again."""
    engine.apply(engine.targets(method="POST", allow_unsafe=True))
    engine.target.hold(after=PROBES // 4)
    # Every safe target is what a start means without names: these have to be named.
    job = engine.start(targets=tuple(f"t{number}" for number in range(PROBES)))
    killed = engine.worker()
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    killed.kill()
    engine.wait(lambda: engine.target.report()["in_flight"] == 0)
    frozen = engine.worker()
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    engine.freeze(frozen)
    # Nobody can close what a frozen process has open: that is over when it is answered.
    engine.target.release(after=0)
    engine.worker()
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    frozen.go_on()
    engine.target.release()
    engine.wait_until_ended(job)
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.check_sent() == 0
    states = engine.states()
    assert IN_ALL <= states.pop("lost") <= 2 * IN_ALL, engine.told()
    # Who was held for too long ran out of time.
    assert set(states) <= {"ok", "timeout"}, engine.told()


def test_workers_whose_clocks_jump_are_right(engine: Engine) -> None:
    """The database's clock alone decides: hours to and fro change nothing."""
    engine.apply(engine.targets())
    engine.target.release(delay_s=0.02)
    job = engine.start()
    engine.worker(stepped=True)
    engine.worker(stepped=True)
    engine.worker()
    engine.wait_until_ended(job)
    engine.check_results(PROBES)
    engine.check_caps()
    assert engine.check_sent() == 0
    assert engine.states() == {"ok": PROBES}, engine.told()
