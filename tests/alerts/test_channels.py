"""Channels and rules as they are written: what is refused, and what stays secret."""

import pytest
from django.core.exceptions import ValidationError

from pulse.alerts.models import AlertChannel, AlertRule, ChannelSecret
from pulse.core.webhooks import read_secret
from pulse.exceptions import InvalidDocument
from pulse.policies import document, history, publisher
from pulse.probes import secrets
from tests.alerts.conftest import SECRET
from tests.factories import KIM

HOOK = {"name": "hook", "type": "webhook", "url": "https://93.184.216.34/hook"}


def stored() -> str:
    return secrets.decrypt(ChannelSecret.objects.get().value)


def test_a_webhook_without_a_secret_gets_one_that_is_shown_once() -> None:
    channel = AlertChannel(**HOOK)
    channel.full_clean()
    channel.save()
    assert read_secret(channel.made_secret)
    assert stored() == channel.made_secret
    assert AlertChannel.objects.get().secret == "***"
    again = AlertChannel.objects.get()
    again.full_clean()
    again.save()
    assert again.made_secret == ""
    assert stored() == channel.made_secret


def test_what_was_written_stands_in_no_document(apply) -> None:
    apply(alert_channels=[{**HOOK, "secret": SECRET}])
    assert stored() == SECRET
    (item,) = publisher.newest_document()["alert_channels"]
    assert item["secret"] == "***"
    assert SECRET not in ChannelSecret.objects.get().value
    revision = document.apply({"version": 1, "alert_channels": [item]}, KIM)
    assert not revision.changed
    apply(alert_channels=[HOOK])
    assert stored() == SECRET


def test_another_address_of_the_same_receiver_keeps_the_secret(apply) -> None:
    apply(alert_channels=[{**HOOK, "secret": SECRET}])
    apply(alert_channels=[{**HOOK, "url": "https://93.184.216.34/other", "secret": "***"}])
    assert stored() == SECRET


def test_what_was_written_for_one_receiver_goes_to_no_other(apply) -> None:
    apply(alert_channels=[{**HOOK, "secret": SECRET}])
    apply(alert_channels=[{**HOOK, "url": "https://93.184.216.35/hook", "secret": "***"}])
    assert stored() != SECRET


def test_a_secret_that_nobody_was_told_is_told_of(apply, caplog) -> None:
    """Such as that of a webhook which was deleted, and comes back with what it was."""
    first = document.apply({"alert_channels": [{**HOOK, "secret": SECRET}]}, KIM)
    assert not first.warnings
    document.apply({"version": 1}, KIM, prune=True)
    back = history.rollback(first.revision, KIM)
    assert stored() != SECRET
    (warning,) = back.warnings
    assert "“hook” has a new secret" in warning
    assert warning in caplog.text
    assert stored() not in warning


def test_a_secret_in_the_environment_leaves_none_here(apply, settings) -> None:
    settings.PULSE = {"PROBE_SECRET_ENV": ["HOOK"]}
    apply(alert_channels=[{**HOOK, "secret": SECRET}])
    apply(alert_channels=[{**HOOK, "secret": "env:HOOK"}])
    assert not ChannelSecret.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "pigeon"}, "type"),
        ({"url": ""}, "url"),
        ({"url": "ftp://93.184.216.34/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://169.254.169.254/"}, "url"),
        ({"url": "http://93.184.216.34/"}, "url"),
        ({"url": "http://93.184.216.34/", "allow_networks": ["10.0.0.5/32"]}, "url"),
        ({"url": "https://kim:pw@93.184.216.34/"}, "url"),
        ({"url": "env:PATH"}, "url"),
        ({"secret": "hunter2"}, "secret"),
        ({"secret": "env:PATH"}, "secret"),
        ({"type": "email", "to": []}, "to"),
        ({"type": "email", "to": ["nobody"]}, "to"),
        ({"type": "email", "to": ["a@example.com\nBcc: b@example.com"]}, "to"),
        ({"type": "email", "to": "ops@example.com"}, "to"),
        ({"type": "email", "to": [f"a{n}@example.com" for n in range(51)]}, "to"),
    ],
)
def test_a_channel_that_cannot_be_is_refused(fields, field) -> None:
    with pytest.raises(ValidationError) as error:
        AlertChannel(**{**HOOK, **fields}).full_clean()
    assert field in error.value.message_dict


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"metric": "happiness"}, "metric"),
        ({"threshold": None}, "threshold"),
        ({"threshold": float("inf")}, "threshold"),
        ({"op": "~"}, "op"),
        ({"window_s": 59}, "window_s"),
        ({"metric": "in_flight", "endpoint": "GET /a/"}, "endpoint"),
        ({"metric": "probe_down", "baseline_s": 3600}, "baseline_s"),
        ({"op": "absent", "baseline_s": 3600}, "baseline_s"),
        ({"severity": "meh"}, "severity"),
        ({"threshold": 5}, "threshold"),
        ({"metric": "apdex", "threshold": -0.1}, "threshold"),
        ({"channels": ["a", "a"]}, "channels"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused(fields, field) -> None:
    rule = {"name": "r", "metric": "error_rate", "threshold": 0.1, **fields}
    with pytest.raises(ValidationError) as error:
        AlertRule(**rule).full_clean()
    assert field in error.value.message_dict


def test_a_rule_names_channels_that_there_are(apply) -> None:
    rule = {"name": "r", "metric": "error_rate", "threshold": 0.1, "channels": ["nobody"]}
    with pytest.raises(InvalidDocument) as error:
        apply(alert_rules=[rule])
    assert error.value.errors == {"alert_rules.0.channels": ["Unknown channel: nobody"]}
