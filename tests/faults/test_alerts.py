"""Alerts from end to end, by real workers and beats: each word once, whoever sends and dies."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks

from tests.alerts.conftest import SECRET, Receiver
from tests.alerts.conftest import receiver as receiver  # noqa: PLC0414 - a fixture of this module's
from tests.engines import Engine, Postgres
from tests.faults.test_probe_celery import start_workers

pytestmark = pytest.mark.postgres

#: Holds whoever opens or ends an incident, or records what was sent, for a while.
SLOW = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(1); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON pulse_incident
FOR EACH ROW EXECUTE FUNCTION dawdle();
CREATE TRIGGER slow BEFORE UPDATE OF log ON pulse_alertdelivery
FOR EACH ROW EXECUTE FUNCTION dawdle()
"""
HELD = """SELECT count(*) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND query LIKE '%{table}%'"""

#: What a serving process would have measured, told at once as its heartbeat does.
MEASURE = """
from pulse.metrics import flush, record_request
for status in {statuses}: record_request("/shop/", "GET", status, 10.0)
flush.flush_at_end()
"""


def rules(receiver: Receiver) -> dict[str, Any]:
    now = datetime.now(UTC)
    errors = {"metric": "error_rate", "threshold": 0.5, "resolve_for_s": 0, "channels": ["hook"]}
    return {
        "alert_channels": [
            {
                "name": "hook",
                "type": "webhook",
                "url": receiver.url,
                "secret": SECRET,
                "allow_networks": receiver.opened,
            }
        ],
        "alert_rules": [{**errors, "name": "errors"}, {**errors, "name": "silenced"}],
        "maintenance_windows": [
            {
                "name": "release",
                "starts_at": (now - timedelta(hours=1)).isoformat(),
                "ends_at": (now + timedelta(hours=1)).isoformat(),
                "rules": ["silenced"],
            }
        ],
    }


@pytest.fixture
def alerted(celery_engine: Engine, receiver: Receiver) -> Engine:
    celery_engine.apply([], **rules(receiver))
    return celery_engine


def told(receiver: Receiver) -> Counter[str]:
    """What was sent, by what it tells; every signature is checked by somebody else's library."""
    counted: Counter[str] = Counter()
    for headers, body in list(receiver.got):
        word = standardwebhooks.Webhook(SECRET).verify(body, headers)
        counted[f"{word['data']['rule']} {word['type']}"] += 1
    return counted


def test_each_word_is_sent_once_by_two_workers_and_two_beats(
    alerted: Engine, receiver: Receiver
) -> None:
    """It fires, maintenance silences the other rule, and it resolves."""
    alerted.python(MEASURE.format(statuses="[500] * 10"))
    start_workers(alerted, beats=2)
    alerted.wait(lambda: told(receiver) == {"errors alert.firing": 1})
    alerted.wait(
        lambda: (
            alerted.rows("SELECT rule, state, silenced FROM pulse_alertstate ORDER BY rule")
            == [("errors", "firing", False), ("silenced", "firing", True)]
        )
    )
    alerted.python(MEASURE.format(statuses="[200] * 100"))
    alerted.wait(lambda: told(receiver) == {"errors alert.firing": 1, "errors alert.resolved": 1})
    alerted.wait(
        lambda: alerted.value("SELECT count(*) FROM pulse_incident WHERE state = 'resolved'") == 2
    )
    # Two more looks of either beat.
    looked = "SELECT looked_at FROM pulse_alertengine"
    for _ in range(2):
        before = alerted.value(looked)
        alerted.wait(lambda before=before: alerted.value(looked) > before)
    assert told(receiver) == {"errors alert.firing": 1, "errors alert.resolved": 1}
    assert alerted.value("SELECT count(*) FROM pulse_alertdelivery") == 2


def test_a_courier_that_is_killed_on_its_way_loses_no_word(
    alerted: Engine, receiver: Receiver
) -> None:
    """What it took is another's once its lease is over, under the same id."""
    receiver.hold.clear()
    alerted.python(MEASURE.format(statuses="[500] * 10"))
    start_workers(alerted, beats=1)
    alerted.wait(lambda: len(receiver.got) == 1)
    for worker in alerted.workers[:2]:
        worker.kill()
    receiver.hold.set()
    alerted.write("UPDATE pulse_alertdelivery SET lease_until = created_at")
    start_workers(alerted, beats=0)
    alerted.wait(lambda: len(receiver.got) == 2)
    alerted.wait(
        lambda: alerted.rows("SELECT state, attempt FROM pulse_alertdelivery") == [("delivered", 2)]
    )
    assert len({headers["webhook-id"] for headers, _body in receiver.got}) == 1


def test_a_database_that_is_killed_in_the_middle_tells_nothing_twice(
    alerted: Engine, receiver: Receiver, postgres: Postgres
) -> None:
    """A look that is lost is made again; what was sent and not recorded keeps its id."""
    alerted.write(SLOW)
    alerted.python(MEASURE.format(statuses="[500] * 10"))
    start_workers(alerted, beats=1)
    for table in ("pulse_incident", "pulse_alertdelivery"):
        alerted.wait(lambda table=table: alerted.value(HELD.format(table=table)) > 0)
        postgres.restart()
    alerted.write("UPDATE pulse_alertdelivery SET lease_until = created_at")
    outcome = "SELECT event, state FROM pulse_alertdelivery"
    alerted.wait(lambda: alerted.rows(outcome) == [("alert.firing", "delivered")])
    assert alerted.rows("SELECT rule FROM pulse_incident ORDER BY rule") == [
        ("errors",),
        ("silenced",),
    ]
    assert all(worker.is_alive for worker in alerted.workers), alerted.told()
    assert told(receiver).keys() == {"errors alert.firing"}
    assert len({headers["webhook-id"] for headers, _body in receiver.got}) == 1
