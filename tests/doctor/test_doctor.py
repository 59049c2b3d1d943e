"""What the doctor finds, its evidence, and its exit code."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import models
from django.utils import timezone

from pulse.alerts.evaluation import evaluate
from pulse.alerts.state import AlertDelivery, AlertEngine
from pulse.audit.models import AuditEntry
from pulse.doctor.findings import Finding, Severity
from pulse.doctor.topics import TOPICS, examine
from pulse.policies import current, document, publisher
from pulse.policies.models import Exemption, PolicyRevision, RateTier, TierLimit
from pulse.store import processes
from pulse.store.connection import current_backend
from tests.factories import KIM
from tests.management.test_commands import run

pytestmark = pytest.mark.django_db(transaction=True)
ALIVE, RUNNING = (f"test:1:{{pulse}}:{name}" for name in ("alive", "running"))


@pytest.fixture(autouse=True)
def policy() -> None:
    publisher.finish_leftovers()


def found(topic: str):
    (finding,) = examine([topic])
    assert finding.topic == topic
    assert finding.evidence
    assert bool(finding.fix) == (finding.severity is not Severity.OK)
    return finding


def test_who_is_well_is_told_so_and_exits_zero(redis_cache) -> None:
    backend = current_backend()
    assert backend is not None
    from pulse.policies.current import current_snapshot

    current_snapshot()
    processes.beat(backend)
    code, out, _ = run("pulse_doctor")
    assert code == 0, out
    assert [line[0] for line in out.splitlines() if not line.startswith(" ")] == ["✓"] * len(TOPICS)
    code, out, _ = run("pulse_doctor", "history", "--format", "json")
    (told,) = json.loads(out)["findings"]
    assert code == 0
    assert set(told) == {"topic", "severity", "title", "evidence", "fix"}
    assert (told["topic"], told["severity"]) == ("history", "ok")


def test_a_broken_chain_is_an_error() -> None:
    PolicyRevision.objects.update(reason="another")
    number = PolicyRevision.objects.earliest("number").number
    finding = found("history")
    assert finding.severity is Severity.ERROR
    assert str(number) in finding.title
    code, out, _ = run("pulse_doctor", "history")
    assert code == 1
    assert out.startswith("✗ history: ")


def test_a_process_that_stays_behind_is_an_error(redis_cache) -> None:
    """One that is behind for a moment is none."""
    with redis_cache.client() as client:
        client.zadd(ALIVE, {"web:1": client.time()[0]})
        client.hset(RUNNING, "web:1", '{"kind":"web","revision":0}')
    assert found("convergence").severity is Severity.OK
    long_ago = timezone.now() - timedelta(minutes=1)
    PolicyRevision.objects.update(created_at=long_ago)
    finding = found("convergence")
    assert finding.severity is Severity.ERROR
    assert "web:1 (web): 0" in finding.evidence


def test_without_redis_the_doctor_says_what_it_cannot_see(settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert found("convergence").severity is Severity.INFO
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    assert found("convergence").severity is Severity.WARNING
    assert run("pulse_doctor", "convergence")[0] == 1
    assert run("pulse_doctor", "convergence", "--fail-level", "error")[0] == 0


def test_a_process_has_to_be_heard_of(redis_cache) -> None:
    assert found("convergence").severity is Severity.INFO


def test_a_draft_is_told_and_rows_past_every_signal_are_an_error(settings) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/draft/")
    finding = found("publishing")
    assert (finding.severity, finding.evidence) == (
        Severity.INFO,
        "Changes beside the newest revision: 1.",
    )
    settings.PULSE = {}
    assert found("publishing").severity is Severity.ERROR


def test_rows_that_make_no_policy_are_named() -> None:
    tier = RateTier.objects.get(name="default")
    rows = models.QuerySet(TierLimit).filter(tier=tier)
    rows.update(rate="many")
    finding = found("publishing")
    assert finding.severity is Severity.ERROR
    assert "many" in finding.evidence


def test_an_audit_that_nobody_prunes_is_a_warning() -> None:
    assert found("audit").severity is Severity.OK
    old = timezone.now() - timedelta(days=400)
    AuditEntry.objects.create(action="auth.login", created_at=old)
    assert found("audit").severity is Severity.WARNING


def ruled(**rule: Any) -> None:
    channel = {"name": "mail", "type": "email", "to": ["ops@example.com"]}
    errors = {"name": "errors", "metric": "error_rate", "threshold": 0.1, "channels": ["mail"]}
    document.apply({"version": 1, "alert_channels": [channel], "alert_rules": [errors | rule]}, KIM)
    current.forget()


def test_rules_that_nobody_looks_at_are_an_error() -> None:
    assert found("alerts").severity is Severity.OK  # There are none.
    ruled()
    finding = found("alerts")
    assert (finding.severity, finding.title) == (
        Severity.ERROR,
        "Nobody looks at the alert rules.",
    )
    assert "never" in finding.evidence
    evaluate()
    assert found("alerts").severity is Severity.OK
    AlertEngine.objects.update(looked_at=timezone.now() - timedelta(minutes=5))
    assert found("alerts").severity is Severity.ERROR


@pytest.mark.parametrize(
    ("rule", "title", "evidence"),
    [
        ({"channels": []}, "Alert rules that open incidents and tell nobody: 1.", "errors."),
        (
            {"metric": "probe_down", "threshold": None, "endpoint": "nowhere"},
            "Alert rules about targets that there are not: 1.",
            "errors (nowhere).",
        ),
    ],
)
def test_rules_that_lead_nowhere_are_named(rule, title, evidence) -> None:
    ruled(**rule)
    evaluate()
    finding = found("alerts")
    assert finding == Finding("alerts", Severity.WARNING, title, evidence, finding.fix)
    ruled(**rule, mode="shadow")
    assert found("alerts").severity is (Severity.WARNING if rule.get("endpoint") else Severity.OK)


def test_a_channel_that_takes_nothing_is_an_error_until_it_does() -> None:
    ruled()
    evaluate()
    now = timezone.now()

    def word(state: str, attempt: int, at: datetime, error: str = "") -> None:
        AlertDelivery.objects.create(
            channel="mail",
            webhook_id=f"msg_{state}_{attempt}",
            event="alert.firing",
            body={},
            state=state,
            attempt=attempt,
            error=error,
            created_at=at,
            finished_at=None if state == "pending" else at,
        )

    word("delivered", 1, now - timedelta(hours=3))
    word("pending", 2, now - timedelta(hours=2), "Refused.")
    assert found("alerts").severity is Severity.OK  # It may still arrive.
    word("failed", 10, now - timedelta(hours=2), "The receiver answered 500.")
    finding = found("alerts")
    assert finding.severity is Severity.ERROR
    assert finding.evidence == "mail (The receiver answered 500.)."
    word("delivered", 2, now - timedelta(hours=1))
    assert found("alerts").severity is Severity.OK
    word("pending", 3, now - timedelta(minutes=9), "Refused.")
    assert found("alerts").evidence == "mail (Refused.)."


def test_a_topic_that_nobody_knows_is_refused() -> None:
    code, _, err = run("pulse_doctor", "weather")
    assert code != 0
    assert "weather" in err
