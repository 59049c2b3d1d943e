"""Alert rules, channels and incidents, by the API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pulse.access.scopes import Scope
from pulse.alerts.incidents import Finding, open_incident
from pulse.alerts.models import AlertChannel, ChannelSecret
from pulse.alerts.state import AlertDelivery, AlertState, Mark
from pulse.core.webhooks import read_secret
from pulse.probes import secrets
from tests.api.conftest import Script, script

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(db: None) -> Script:
    return script(Scope.OPERATE)


HOOK = {"name": "hook", "type": "webhook", "url": "https://93.184.216.34/hook"}


def test_a_secret_that_was_made_is_in_one_answer(administrator) -> None:
    made = administrator.post("alert-channels/", HOOK, Idempotency_Key="one")
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert read_secret(secret)
    assert secrets.decrypt(ChannelSecret.objects.get().value) == secret
    again = administrator.post("alert-channels/", HOOK, Idempotency_Key="one")
    assert (again.status_code, again.json()["secret"]) == (201, "***")
    ident = made.json()["id"]
    assert administrator.get(f"alert-channels/{ident}/").json()["secret"] == "***"
    patched = administrator.patch(f"alert-channels/{ident}/", {"description": "ops"})
    assert patched.json()["secret"] == "***"


def test_a_test_is_sent_and_what_became_of_it_is_told(operator, administrator) -> None:
    ident = administrator.post("alert-channels/", HOOK).json()["id"]
    response = operator.post(f"alert-channels/{ident}/test/", {})
    assert response.status_code == 202
    assert (response.json()["event"], response.json()["state"]) == ("alert.test", "pending")
    listed = operator.get(f"alert-channels/{ident}/deliveries/").json()["results"]
    assert [row["id"] for row in listed] == [response.json()["id"]]
    assert operator.get(f"alert-channels/{ident}/deliveries/?state=failed").json()["results"] == []
    assert operator.post("alert-channels/999/test/", {}).status_code == 404


def test_a_rule_says_where_it_stands(administrator) -> None:
    rule = {"name": "errors", "metric": "error_rate", "threshold": 0.05}
    made = administrator.post("alert-rules/", rule).json()
    assert (made["state"], made["window_s"], made["op"]) == ("ok", 300, ">")
    now = timezone.now()
    for subject, state in (("a", "pending"), ("b", "firing"), ("c", "ok")):
        AlertState.objects.create(
            rule="errors", subject=subject, state=state, since=now, looked_at=now
        )
    assert administrator.get(f"alert-rules/{made['id']}/").json()["state"] == "firing"


def test_an_incident_lists_what_changed_before_it_and_takes_notes(operator, administrator) -> None:
    administrator.post("alert-channels/", HOOK)
    now = timezone.now()
    Mark.objects.create(at=now - timedelta(minutes=5), text="Release 4.2")
    Mark.objects.create(at=now - timedelta(minutes=11), text="Release 4.1")
    incident = open_incident(
        Finding(title="slow", severity="warning", rule="slow", source_key="slow"),
        timezone.now(),
    )
    assert AlertDelivery.objects.count() == 0
    (listed,) = operator.get("incidents/?state=open").json()["results"]
    assert (listed["id"], listed["source"]) == (
        str(incident.pk),
        {"kind": "alert_rules", "key": "slow"},
    )
    found = operator.get(f"incidents/{incident.pk}/").json()
    texts = [change["text"] for change in found["changes"]]
    assert "Deploy: Release 4.2" in texts
    assert "Deploy: Release 4.1" not in texts
    assert any(change["kind"] == "policy" for change in found["changes"])
    noted = operator.post(f"incidents/{incident.pk}/notes/", {"text": " looking "})
    assert noted.status_code == 201
    assert noted.json()["updates"][0]["text"] == "looking"
    assert noted.json()["updates"][0]["public"] is False


@pytest.mark.parametrize(
    "body", [{}, {"text": " "}, {"text": 5}, {"text": "a" * 4001}, {"text": "a", "public": "yes"}]
)
def test_a_note_that_says_nothing_is_refused(operator, body) -> None:
    incident = open_incident(Finding(title="x", severity="warning"), timezone.now())
    assert operator.post(f"incidents/{incident.pk}/notes/", body).status_code == 400


def test_a_channel_that_a_rule_names_stays(administrator) -> None:
    ident = administrator.post("alert-channels/", HOOK).json()["id"]
    rule = {"name": "r", "metric": "requests", "op": "absent", "channels": ["hook"]}
    assert administrator.post("alert-rules/", rule).status_code == 201
    assert administrator.delete(f"alert-channels/{ident}/").status_code == 409
    assert AlertChannel.objects.exists()
