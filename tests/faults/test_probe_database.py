"""The database of probes restarts, and fails in the middle of what is written."""

import pytest

from tests.engines import IN_ALL, PROBES, Engine, Postgres, vendor_of

#: What stands in the way of one new row of sums in so many, and so of a good part of what is
#: written together; the database says it as it would of a full disk (PostgreSQL), or of a broken
#: rule (SQLite).
ONE_IN = 2 * IN_ALL
OBSTACLE = {
    "postgresql": (
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF random() * {ONE_IN} < 1 THEN
        RAISE EXCEPTION USING ERRCODE = ''disk_full'', MESSAGE = ''no space left''; END IF;
        RETURN NEW; END'""",
        """CREATE TRIGGER obstacle BEFORE INSERT ON pulse_probehour
        FOR EACH ROW EXECUTE FUNCTION fail()""",
    ),
    "sqlite": (
        f"""CREATE TRIGGER obstacle BEFORE INSERT ON pulse_probehour
        WHEN random() % {ONE_IN} = 0 BEGIN SELECT RAISE(ABORT, 'no such luck'); END""",
    ),
}


@pytest.mark.postgres
def test_a_restarted_database_loses_no_probe(postgres_engine: Engine, postgres: Postgres) -> None:
    """What was being written is written later, once; workers go on by themselves."""
    engine = postgres_engine
    engine.apply(engine.targets())
    engine.target.hold(after=PROBES // 6)
    job = engine.start()
    workers = [engine.worker(), engine.worker()]
    for _ in range(2):
        engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
        postgres.restart()
        engine.target.release(after=PROBES // 6)
    engine.wait(lambda: engine.target.report()["in_flight"] == IN_ALL)
    engine.target.release()
    engine.wait_until_ended(job)
    assert all(worker.is_alive for worker in workers), engine.told()
    assert "Probes wait for the database" in engine.logged()
    engine.check_results(PROBES)
    engine.check_caps()
    engine.check_sent()


def test_what_fails_while_it_is_written_is_written_once(engine: Engine) -> None:
    """Results, jobs, standings and sums are written together or not at all, and then again."""
    engine.apply(engine.targets())
    engine.target.hold(after=PROBES // 2)
    job = engine.start()
    for statement in OBSTACLE[vendor_of(engine.url)]:
        engine.write(statement)
    workers = [engine.worker(), engine.worker()]
    engine.target.release(delay_s=0.02)
    engine.wait_until_ended(job)
    assert all(worker.is_alive for worker in workers), engine.told()
    assert "no space left" in engine.logged() or "no such luck" in engine.logged()
    engine.check_results(PROBES)
    engine.check_caps()
    engine.check_sent()
