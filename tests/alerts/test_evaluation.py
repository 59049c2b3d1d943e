"""Rules: when an incident begins, who is told, and when it is over."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import OperationalError, connection, connections
from django.utils import timezone

from pulse import tasks
from pulse.alerts import evaluation, timeline
from pulse.alerts.evaluation import evaluate
from pulse.alerts.state import (
    AlertDelivery,
    AlertEngine,
    AlertState,
    Incident,
    IncidentUpdate,
    Mark,
)
from pulse.metrics import flush, window
from pulse.metrics.models import MetricMinute
from pulse.metrics.series import MINUTE, floored
from pulse.probes import engine
from pulse.probes.state import JobStatus, ProbeJob, ProbeTargetState
from pulse.store.connection import current_backend
from tests import factories
from tests.alerts.conftest import answered
from tests.servers import free_port
from tests.store.conftest import LOCMEM, cache_of

MAIL = {"name": "mail", "type": "email", "to": ["ops@example.com"]}
ERRORS = {
    "name": "errors",
    "metric": "error_rate",
    "threshold": 0.1,
    "resolve_for_s": 0,
    "channels": ["mail"],
}


@pytest.fixture
def clock(monkeypatch: Any) -> Iterator[Any]:
    """The database's time, which a test moves."""

    class Clock:
        ahead = timedelta()

        def pass_(self, **of: float) -> None:
            self.ahead += timedelta(**of)

    moved, real = Clock(), engine.clock
    monkeypatch.setattr(engine, "clock", lambda using: real(using) + moved.ahead)
    locked = evaluation._locked

    class Locked:
        def __init__(self, using: str) -> None:
            self.inner = locked(using)

        def __enter__(self) -> Any:
            row, now = self.inner.__enter__()
            return row, now + moved.ahead

        def __exit__(self, *error: object) -> Any:
            return self.inner.__exit__(*error)

    monkeypatch.setattr(evaluation, "_locked", Locked)
    yield moved


def standing(name: str = "errors", subject: str = "") -> str:
    row = AlertState.objects.filter(rule=name, subject=subject).first()
    return "ok" if row is None else str(row.state)


def words() -> list[str]:
    return list(AlertDelivery.objects.order_by("pk").values_list("event", flat=True))


def test_what_is_well_leaves_no_row(apply) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(200)
    assert evaluate().opened == 0
    assert not AlertState.objects.exists()


def test_an_incident_begins_and_ends_and_both_are_told_once(apply, clock) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(200, 500)
    assert evaluate().opened == 1
    clock.pass_(seconds=10)
    assert evaluate().opened == 0
    incident = Incident.objects.get()
    assert incident.title == "error_rate is 50 % (> 10 %)"
    assert (incident.rule, incident.value, incident.threshold) == ("errors", 0.5, 0.1)
    assert words() == ["alert.firing"]
    answered(*[200] * 20)
    clock.pass_(seconds=10)
    assert evaluate().resolved == 1
    incident.refresh_from_db()
    assert (incident.state, standing()) == ("resolved", "ok")
    assert words() == ["alert.firing", "alert.resolved"]
    kinds = IncidentUpdate.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["opened", "resolved"]
    body = AlertDelivery.objects.first().body
    assert body["data"]["incident"] == str(incident.pk)
    assert body["data"]["url"] is None


def test_it_must_be_so_for_a_while(apply, clock) -> None:
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "for_s": 60}])
    answered(500)
    evaluate()
    assert (standing(), words()) == ("pending", [])
    clock.pass_(seconds=61)
    evaluate()
    assert (standing(), words()) == ("firing", ["alert.firing"])


def test_who_comes_too_late_changes_nothing(apply, clock, monkeypatch) -> None:
    """Another looks while this one reads what is measured."""
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(500)
    looks = []

    class Slow(evaluation.Reading):
        def values(self, rule: Any) -> Any:
            found = super().values(rule)
            if not looks:
                looks.append("another")
                clock.pass_(seconds=1)
                assert evaluate().opened == 1
                clock.pass_(seconds=1)
            return found

    monkeypatch.setattr(evaluation, "Reading", Slow)
    assert evaluate().was_late
    assert words() == ["alert.firing"]


def test_a_clock_that_is_set_back_stops_no_alert(apply, clock) -> None:
    """What stands goes on standing, what comes is told, and what is over ends."""
    slow = {**ERRORS, "name": "lasting", "for_s": 60, "channels": []}
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "resolve_for_s": 20}, slow])
    answered(500)
    evaluate()
    assert (standing(), standing("lasting")) == ("firing", "pending")
    clock.pass_(hours=-1)
    assert not evaluate().was_late
    assert (standing(), standing("lasting")) == ("firing", "pending")
    clock.pass_(seconds=61)
    evaluate()
    assert standing("lasting") == "firing"
    answered(*[200] * 20)
    evaluate()
    clock.pass_(hours=-1)
    evaluate()
    assert standing() == "firing"
    clock.pass_(seconds=21)
    evaluate()
    assert standing() == "ok"
    assert words() == ["alert.firing", "alert.resolved"]


def test_in_shadow_it_stands_so_and_nobody_is_told(apply, clock) -> None:
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "mode": "shadow"}])
    answered(500)
    evaluate()
    assert standing() == "firing"
    assert not Incident.objects.exists()
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    clock.pass_(seconds=10)
    evaluate()
    assert words() == ["alert.firing"]
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "mode": "shadow"}])
    clock.pass_(seconds=10)
    evaluate()
    assert Incident.objects.get().state == "resolved"
    assert words() == ["alert.firing", "alert.resolved"]


@pytest.mark.parametrize("after", [[], [{**ERRORS, "mode": "off"}], "another endpoint"])
def test_a_rule_that_goes_ends_its_incident(apply, clock, after) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(500)
    evaluate()
    if after == "another endpoint":
        after = [{**ERRORS, "endpoint": "GET /other/"}]
    apply(alert_channels=[MAIL], alert_rules=after)
    clock.pass_(seconds=10)
    assert evaluate().resolved == 1
    assert words() == ["alert.firing", "alert.resolved"]
    assert "gone" in Incident.objects.get().updates.first().text
    clock.pass_(seconds=10)
    assert evaluate().resolved == 0


def test_maintenance_keeps_word_back_until_it_is_over(apply, clock) -> None:
    now = timezone.now()
    window = {
        "name": "release",
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(minutes=10)).isoformat(),
        "rules": ["errors"],
    }
    apply(alert_channels=[MAIL], alert_rules=[ERRORS], maintenance_windows=[window])
    answered(500)
    evaluate()
    assert (standing(), words()) == ("firing", [])
    assert AlertState.objects.get().silenced
    clock.pass_(minutes=11)
    evaluate()
    assert words() == ["alert.firing"]
    kinds = IncidentUpdate.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["opened", "silenced", "changed"]


def test_what_ends_within_maintenance_was_never_told(apply, clock) -> None:
    now = timezone.now()
    window = {
        "name": "release",
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(minutes=10)).isoformat(),
    }
    apply(alert_channels=[MAIL], alert_rules=[ERRORS], maintenance_windows=[window])
    answered(500)
    evaluate()
    answered(*[200] * 20)
    clock.pass_(seconds=10)
    evaluate()
    assert (standing(), words()) == ("ok", [])
    assert Incident.objects.get().state == "resolved"


def test_what_flaps_is_one_incident_after_a_while(apply, clock) -> None:
    """Each return within the hour doubles how long it must be well."""
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "resolve_for_s": 10}])
    now = timezone.now()
    Incident.objects.bulk_create(
        Incident(
            title="before",
            rule="errors",
            source_key="errors",
            state="resolved",
            started_at=now,
            resolved_at=now,
        )
        for _ in range(3)
    )
    answered(500)
    evaluate()
    answered(*[200] * 20)
    clock.pass_(seconds=1)
    evaluate()
    clock.pass_(seconds=70)
    evaluate()
    assert standing() == "firing"
    clock.pass_(seconds=10)
    evaluate()
    assert standing() == "ok"


def test_without_redis_nothing_is_known_of_requests(apply, settings, clock) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(500)
    evaluate()
    for caches in (LOCMEM, cache_of(f"redis://127.0.0.1:{free_port()}/0")):
        settings.CACHES = caches
        clock.pass_(seconds=600)
        assert evaluate().resolved == 0
    assert standing() == "firing"


def test_nothing_measured_is_found_by_absence_alone(apply, clock) -> None:
    absent = {"name": "silent", "metric": "requests", "op": "absent", "endpoint": "GET /feed/"}
    apply(alert_channels=[MAIL], alert_rules=[ERRORS, {**absent, "channels": ["mail"]}])
    evaluate()
    assert standing("silent", "GET /feed/") == "ok"  # Nobody was there to measure.
    answered(404, endpoint="/other/")
    clock.pass_(seconds=10)
    evaluate()
    assert standing("silent", "GET /feed/") == "firing"
    assert Incident.objects.get().title == "requests of GET /feed/: nothing was measured"
    answered(200, endpoint="/feed/")
    clock.pass_(seconds=10)
    evaluate()
    clock.pass_(seconds=70)
    evaluate()
    assert standing("silent", "GET /feed/") == "ok"


def test_a_window_is_compared_with_the_time_before_it(apply) -> None:
    slower = {
        "name": "slower",
        "metric": "latency_ms.p95",
        "threshold": 3,
        "baseline_s": 3600,
        "channels": ["mail"],
    }
    apply(alert_channels=[MAIL], alert_rules=[slower])
    answered(200, 200, taken_ms=100.0)
    evaluate()
    assert standing("slower") == "ok"  # Nothing is kept of before.
    at = floored(timezone.now(), MINUTE) - 20 * MINUTE
    kept = {"requests": 9, "statuses": {"200": 9}, "histogram": {"40": 9}, "seconds": 60.0}
    MetricMinute.objects.create(at=at, sum_us=9 * 400, min_us=400, max_us=400, **kept)
    AlertEngine.objects.update(looked_at=None)
    evaluate()
    assert standing("slower") == "firing"
    assert Incident.objects.get().value > 100


def minutes_of(seconds_ago: range, *statuses: int) -> None:
    """Minutes that were kept: of each so many answers."""
    now = floored(timezone.now(), MINUTE)
    for ago in seconds_ago:
        MetricMinute.objects.create(
            at=now - timedelta(seconds=ago),
            endpoint="",
            seconds=60,
            statuses={str(status): statuses.count(status) for status in set(statuses)},
        )


def test_counts_are_compared_for_the_same_length_of_time(apply) -> None:
    """As many as ever are one time as many, however long the time before was."""
    fewer = {"name": "fewer", "metric": "requests", "op": "<", "threshold": 0.5}
    apply(alert_rules=[{**fewer, "window_s": 60, "baseline_s": 3600}])
    minutes_of(range(120, 3600, 60), *[200] * 60)
    answered(*[200] * 60)
    assert evaluate().opened == 0
    assert standing("fewer") == "ok"


def test_anything_is_more_than_any_multiple_of_nothing(apply) -> None:
    more = {"name": "more", "metric": "error_rate", "threshold": 3, "window_s": 60}
    apply(alert_rules=[{**more, "baseline_s": 3600}])
    minutes_of(range(120, 3600, 60), *[200] * 10)
    answered(500)
    assert evaluate().opened == 1
    title = "error_rate is not nothing any more, as it was before"
    assert Incident.objects.get().title == title


def test_a_zero_that_was_measured_is_not_absent(apply) -> None:
    apply(alert_rules=[{"name": "gone", "metric": "error_rate", "op": "absent"}])
    answered(*[200] * 5)
    evaluate()
    assert standing("gone") == "ok"


def test_a_rule_that_is_turned_to_something_else_begins_anew(apply, clock) -> None:
    """The end is told to those who heard of the beginning."""
    other = {"name": "other", "type": "email", "to": ["two@example.com"]}
    apply(alert_channels=[MAIL, other], alert_rules=[ERRORS])
    answered(500, taken_ms=900.0)
    evaluate()
    slow = {**ERRORS, "metric": "latency_ms.p95", "threshold": 100, "channels": ["other"]}
    apply(alert_channels=[MAIL, other], alert_rules=[slow])
    clock.pass_(seconds=10)
    look = evaluate()
    assert (look.resolved, look.opened) == (1, 1)
    told = AlertDelivery.objects.order_by("pk").values_list("channel", "event")
    assert list(told) == [
        ("mail", "alert.firing"),
        ("mail", "alert.resolved"),
        ("other", "alert.firing"),
    ]


def test_long_windows_are_read_from_what_is_kept(apply) -> None:
    apply(alert_channels=[MAIL], alert_rules=[{**ERRORS, "window_s": 7201}])
    kept = {"requests": 9, "errors": 9, "statuses": {"500": 9}, "seconds": 60.0}
    at = floored(timezone.now(), MINUTE) - 110 * MINUTE
    MetricMinute.objects.create(at=at, **kept)
    evaluate()
    assert standing() == "firing"


def test_each_target_that_is_down_is_an_incident_of_its_own(apply, clock) -> None:
    names = ("a", "b", "c")
    down = {"name": "down", "metric": "probe_down", "channels": ["mail"], "resolve_for_s": 0}
    apply(
        alert_channels=[MAIL],
        alert_rules=[down],
        probe_targets=[{"name": name, "path": "/"} for name in names],
        probe_schedules=[{"name": "core", "every": "60s", "targets": list(names)}],
    )
    now = timezone.now()
    for name, status in (("a", "down"), ("b", "down"), ("c", "up")):
        ProbeTargetState.objects.update_or_create(
            name=name,
            defaults={"status": status, "since": now, "last_at": now, "grace_s": 3600},
        )
    evaluate()
    assert sorted(Incident.objects.values_list("subject", flat=True)) == ["a", "b"]
    assert Incident.objects.get(subject="a").title == "a is down"
    ProbeTargetState.objects.filter(name="a").update(status="up")
    clock.pass_(seconds=10)
    evaluate()
    assert Incident.objects.get(state="open").subject == "b"


def test_jobs_that_fail_are_counted(apply) -> None:
    rule = {"name": "jobs", "metric": "jobs_failed", "op": ">=", "threshold": 2}
    apply(alert_rules=[rule])
    for _ in range(2):
        factories.job("timeout", status="timeout", targets=["x"])
    ProbeJob.objects.update(finished_at=timezone.now(), status=JobStatus.TIMEOUT)
    evaluate()
    assert standing("jobs") == "firing"


def test_a_thousand_rules_take_as_many_queries_as_one(apply, django_assert_max_num_queries) -> None:
    rules = [{**ERRORS, "name": f"r{number}", "channels": []} for number in range(1000)]
    apply(alert_rules=rules)
    answered(200)
    evaluate()
    with django_assert_max_num_queries(20):
        evaluate()


def test_switched_off_nobody_looks_and_nothing_is_sent(apply, settings) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(500)
    settings.PULSE = {"ENABLED": False}
    tasks.alerts()
    assert not Incident.objects.exists()
    settings.PULSE = {}
    tasks.alerts()
    assert words() == ["alert.firing"]
    settings.PULSE = {"ENABLED": False}
    tasks.deliver()
    assert mail.outbox == []
    settings.PULSE = {}
    tasks.deliver()
    assert len(mail.outbox) == 1


def test_a_database_that_is_away_is_waited_for(apply, caplog) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])

    def gone(*_: Any) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(gone):
        tasks.alerts()
        tasks.deliver()
        tasks.keep_measures()
    assert [message.partition(":")[0] for message in caplog.messages if "wait" in message] == [
        "Alerts wait for the database",
        "Words of alerts wait for the database",
        "Measures wait to be kept",
    ]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_look_at_once_one_opens(apply) -> None:
    apply(alert_channels=[MAIL], alert_rules=[ERRORS])
    answered(500)
    barrier, failed = threading.Barrier(4), []

    def look() -> None:
        try:
            barrier.wait()
            for _ in range(5):
                evaluate()
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert Incident.objects.count() == 1
    assert words() == ["alert.firing"]


def test_a_rule_of_one_target_ends_with_it(apply, clock) -> None:
    down = {"name": "down", "metric": "probe_down", "endpoint": "a", "resolve_for_s": 0}
    target = {"name": "a", "path": "/"}
    schedule = {"name": "core", "every": "60s", "targets": ["a"]}
    apply(alert_rules=[down], probe_targets=[target], probe_schedules=[schedule])
    now = timezone.now()
    ProbeTargetState.objects.update_or_create(
        name="a", defaults={"status": "down", "since": now, "last_at": now, "grace_s": 3600}
    )
    assert evaluate().opened == 1
    apply(alert_rules=[down], probe_targets=[{**target, "mode": "off"}], probe_schedules=[])
    clock.pass_(seconds=10)
    assert evaluate().resolved == 1
    update = IncidentUpdate.objects.order_by("-pk").first()
    assert update.text == "Nobody watches it any more"


def test_a_count_is_of_its_window_and_not_of_whole_buckets(apply, monkeypatch) -> None:
    """A reading is up to a bucket longer: a steady count would go up and down each minute."""
    busy = {"name": "busy", "metric": "requests", "op": ">", "threshold": 90, "window_s": 60}
    apply(alert_rules=[busy])
    answered(*[200] * 110)
    real = window.read

    def longer(seconds: int | None = None) -> Any:
        found = real(seconds)
        gaps = [(found.from_at, found.to_at - timedelta(seconds=110))]
        from_at = found.to_at - timedelta(seconds=120)
        return replace(found, from_at=from_at, gaps=[(from_at, gaps[0][1])])

    monkeypatch.setattr(window, "read", longer)
    assert evaluate().opened == 0
    value = evaluation.Reading(timezone.now()).values(
        next(rule for rule in evaluation.in_force(timezone.now()) if rule.name == "busy")
    )
    assert value == {"": 60.0}


def test_one_event_is_one_however_long_a_reading_is(apply, monkeypatch) -> None:
    rule = {"name": "any", "metric": "errors", "op": ">=", "threshold": 1, "window_s": 60}
    apply(alert_rules=[rule])
    answered(500)
    real = window.read

    def longer(seconds: int | None = None) -> Any:
        found = real(seconds)
        return replace(found, from_at=found.to_at - timedelta(seconds=119), gaps=[])

    monkeypatch.setattr(window, "read", longer)
    assert evaluate().opened == 1


def test_a_site_that_nobody_serves_any_more_is_absent(apply, redis_cache) -> None:
    apply(alert_rules=[{"name": "gone", "metric": "requests", "op": "absent", "window_s": 60}])
    evaluate()
    assert standing("gone") == "ok"  # Nobody has counted yet: nothing can be missing.
    answered(200)
    backend = current_backend()
    backend.call("HSET", flush.sums_key(backend), "since", int(flush.now()) - 3600)
    for key in backend.call("KEYS", backend.keys.named("measures:60:*")):
        backend.call("DEL", key)
    flush.forget()
    window.forget()
    AlertEngine.objects.update(looked_at=None)
    evaluate()
    assert standing("gone") == "firing"


def test_the_suspects_are_those_before_it_was_first_seen(apply, clock) -> None:
    apply(alert_rules=[{**ERRORS, "channels": [], "for_s": 900}])
    mark = Mark.objects.create(at=timezone.now() - timedelta(minutes=5), kind="deploy", text="v2")
    answered(500)
    evaluate()
    assert standing() == "pending"
    clock.pass_(seconds=901)
    evaluate()
    incident = Incident.objects.get()
    assert incident.seen_at < incident.started_at
    assert str(mark.pk) in [entry.key for entry in timeline.changes_before(incident)]
