"""Alert rules and channels in the admin: written, tried, and their secrets shown once."""

import pytest
from django.contrib.messages import get_messages

from pulse.alerts.models import AlertChannel, AlertRule, ChannelSecret
from pulse.alerts.state import AlertDelivery, AlertState
from pulse.probes import secrets
from pulse.probes.models import MaintenanceWindow
from tests.alerts.conftest import SECRET

pytestmark = pytest.mark.django_db
HOOK = {
    "name": "hook",
    "type": "webhook",
    "url": "https://93.184.216.34/hook",
    "mode": "enforce",
    "percent": 100,
}
RULE = {
    "name": "errors",
    "metric": "error_rate",
    "op": ">",
    "threshold": "0.05",
    "window_s": "5m",
    "for_s": "0s",
    "resolve_for_s": "1m",
    "severity": "critical",
    "mode": "enforce",
    "percent": 100,
}


def told(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def stored() -> str:
    return secrets.decrypt(ChannelSecret.objects.get().value)


def test_a_secret_that_is_made_is_shown_once(kim) -> None:
    response = kim.post("alertchannel_add", **HOOK)
    assert response.status_code == 302
    assert stored() in told(response)
    row = AlertChannel.objects.get()
    assert stored() in kim.get("alertchannel_changelist").content.decode()
    page = kim.get("alertchannel_change", row.pk).content.decode()
    assert stored() not in page
    assert "kept; write another one to change it" in page


def test_what_is_left_empty_is_kept_and_what_is_written_replaces_it(kim) -> None:
    kim.post("alertchannel_add", **HOOK)
    row, before = AlertChannel.objects.get(), stored()
    kim.post("alertchannel_change", row.pk, **{**HOOK, "description": "for ops"})
    assert stored() == before
    kim.post("alertchannel_change", row.pk, **{**HOOK, "secret": SECRET})
    assert stored() == SECRET
    row.refresh_from_db()
    assert row.secret == "***"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"url": "https://127.0.0.1/"}, "Address not allowed"),
        ({"secret": "hunter2"}, "whsec_ and 24 to 64 bytes"),
        ({"type": "email", "to": "nobody"}, "is no address of email"),
        ({"type": "email"}, "Write at least one address"),
    ],
)
def test_a_channel_that_cannot_be_is_refused_by_its_field(kim, fields, text) -> None:
    response = kim.post("alertchannel_add", **{**HOOK, **fields})
    assert response.status_code == 200
    assert text in response.content.decode()
    assert not AlertChannel.objects.exists()


def test_a_test_is_sent_by_a_button_and_from_the_list(kim) -> None:
    kim.post("alertchannel_add", **HOOK)
    row = AlertChannel.objects.get()
    assert "/test/" in kim.get("alertchannel_change", row.pk).content.decode()
    assert kim.post("alertchannel_test", row.pk).status_code == 302
    kim.post("alertchannel_changelist", action="send_tests", _selected_action=[row.pk])
    assert list(AlertDelivery.objects.values_list("event", flat=True)) == ["alert.test"] * 2
    page = kim.get("alertchannel_change", row.pk).content.decode()
    assert page.count("<code>alert.test</code>") == 2
    assert kim.get("alertchannel_test", row.pk).status_code == 405


def test_a_rule_is_written_with_times_as_people_write_them(kim) -> None:
    kim.post("alertchannel_add", **HOOK)
    response = kim.post("alertrule_add", **{**RULE, "channels": ["hook"], "baseline_s": "1h"})
    assert response.status_code == 302
    row = AlertRule.objects.get()
    assert (row.window_s, row.baseline_s, row.for_s, row.resolve_for_s) == (300, 3600, 0, 60)
    assert row.channels == ["hook"]
    page = kim.get("alertrule_changelist").content.decode()
    assert "an incident is opened, and hook told" in page


def test_the_list_says_where_rules_stand(kim) -> None:
    kim.post("alertrule_add", **RULE)
    assert ">ok<" in kim.get("alertrule_changelist").content.decode()
    row = AlertRule.objects.get()
    AlertState.objects.create(
        rule="errors", state="firing", since=row.created_at, looked_at=row.created_at
    )
    assert "firing" in kim.get("alertrule_changelist").content.decode()
    assert "firing" in kim.get("alertrule_change", row.pk).content.decode()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"metric": "happiness"}, "is not measured. There are: requests"),
        ({"threshold": ""}, "Write what it is compared with."),
        ({"for_s": ""}, "This field is required."),
        ({"window_s": "1s"}, "greater than or equal to 60"),
        ({"channels": ["nobody"]}, "nobody is not one of the available choices"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_field(kim, fields, text) -> None:
    response = kim.post("alertrule_add", **{**RULE, **fields})
    assert response.status_code == 200
    assert text in response.content.decode()


def test_a_maintenance_window_names_the_rules_that_it_silences(kim) -> None:
    kim.post("alertrule_add", **RULE)
    window = {
        "name": "night",
        "cron": "0 3 * * *",
        "time_zone": "UTC",
        "duration_s": "1h",
        "mode": "enforce",
        "percent": 100,
    }
    refused = kim.post("maintenancewindow_add", **{**window, "rules": "nothing"})
    assert "There is no alert rule nothing." in refused.content.decode()
    assert kim.post("maintenancewindow_add", **{**window, "rules": "errors"}).status_code == 302
    assert MaintenanceWindow.objects.get().rules == ["errors"]
    assert "There are: errors." in kim.get("maintenancewindow_add").content.decode()
