"""The button that tries what was typed on recorded traffic, and saves nothing."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from pulse.admin.tryouts import BUTTON, WINDOW
from pulse.policies import current, publisher
from pulse.policies.models import EndpointLimit
from pulse.store import sample
from tests.admin.conftest import errors, revision, url
from tests.store.conftest import LOCMEM

ECHO = "/api/echo/"
LIMITS = {
    "limits-TOTAL_FORMS": "1",
    "limits-INITIAL_FORMS": "0",
    "limits-0-rate": "4/h",
    "limits-0-burst": "",
    "limits-0-algorithm": "token_bucket",
}
ECHO_LIMIT = {
    "name": "echo",
    "path": ECHO,
    "key": "client",
    "cost": "1",
    "mode": "enforce",
    "percent": "100",
    "on_store_error": "local",
    **LIMITS,
}


@pytest.fixture
def traffic(kim, default, settings) -> None:
    """Ten requests of one client."""
    settings.CACHES = LOCMEM
    current.forget()
    for _ in range(10):
        Client().get(ECHO, headers={"X-Track-ID": "one"})
    sample.flush()


def text_of(page) -> str:
    return " ".join(page.content.decode().split())


def test_new_limit_is_tried_and_not_saved(kim, traffic):
    """What was typed stays in the form; no row, no revision, no entry of the log."""
    before = revision(), LogEntry.objects.count()
    page = kim.post("endpointlimit_add", **ECHO_LIMIT, **{BUTTON: "1"}, reason="to see")
    assert page.status_code == 200
    assert errors(page) == {}
    shown = text_of(page)
    assert "Would refuse <strong>6 of 10 requests</strong> (60 %), of 1 client." in shown
    assert "What is in force: 0. Change: +6." in shown
    assert 'value="4/h"' in shown
    assert 'value="to see"' in shown
    assert "errornote" not in shown
    assert (revision(), LogEntry.objects.count()) == before
    assert not EndpointLimit.objects.filter(name="echo").exists()


def test_limit_that_is_there_is_tried_with_what_was_changed(kim, traffic, default):
    before = publisher.document_of_rows()
    page = kim.save("ratetier_change", default.pk, **{"limits-0-rate": "3/h", BUTTON: "1",
                                                     "limits-0-burst": ""})  # fmt: skip
    assert "Would refuse <strong>7 of 10 requests</strong>" in text_of(page)
    assert publisher.document_of_rows() == before
    # And saved afterwards as ever.
    assert kim.save("ratetier_change", default.pk, **{"limits-0-rate": "90/s"}).status_code == 302


def test_shadow_is_told_as_such(kim, traffic):
    page = kim.post("endpointlimit_add", **{**ECHO_LIMIT, "mode": "shadow"}, **{BUTTON: "1"})
    shown = text_of(page)
    assert "Would refuse <strong>0 of 10 requests</strong>" in shown
    assert "Rules in shadow would refuse 6 more" in shown


def test_what_is_wrong_is_told_as_on_saving(kim, traffic):
    page = kim.post("endpointlimit_add", **{**ECHO_LIMIT, "limits-0-rate": "many"}, **{BUTTON: "1"})
    assert "is not a rate" in text_of(page)
    assert 'id="pulse-tryout"' not in text_of(page)


def test_nothing_recorded_is_said(kim, default, settings):
    settings.CACHES = LOCMEM
    page = kim.post("endpointlimit_add", **ECHO_LIMIT, **{BUTTON: "1"})
    shown = text_of(page)
    assert "No traffic is recorded in this time" in shown
    assert "Would refuse" not in shown
    settings.PULSE = {"SAMPLE_BYTES": 0}
    page = kim.post("endpointlimit_add", **ECHO_LIMIT, **{BUTTON: "1"})
    assert "PULSE[&#x27;SAMPLE_BYTES&#x27;] is 0" in text_of(page)


def test_what_cannot_be_told_is_listed(kim, traffic):
    page = kim.post(
        "endpointlimit_add", **{**ECHO_LIMIT, "key": "header:X-Tenant"}, **{BUTTON: "1"}
    )
    shown = text_of(page)
    assert "Not in these figures:" in shown
    assert "the header x-tenant was not looked at when this was recorded (10 requests)" in shown


@pytest.mark.parametrize("chosen", ["86400", "nonsense"])
def test_time_is_chosen(kim, traffic, chosen):
    page = kim.post("endpointlimit_add", **ECHO_LIMIT, **{BUTTON: "1", WINDOW: chosen})
    known = chosen if chosen == "86400" else "3600"
    assert f'<option value="{known}" selected>' in text_of(page)


@pytest.mark.parametrize(
    ("name", "offered"),
    [("ratetier_add", True), ("endpointlimit_add", True), ("tierassignment_add", True),
     ("exemption_add", True), ("trustedproxy_add", False), ("corsorigin_add", False)],
)  # fmt: skip
def test_button_is_on_every_form_of_a_limit(kim, default, name, offered):
    assert (f'name="{BUTTON}"' in text_of(kim.get(name))) is offered


def test_assignment_and_exemption_are_tried(kim, traffic, default):
    shared = {"mode": "enforce", "percent": "100", BUTTON: "1"}
    page = kim.post("exemption_add", path=ECHO, **shared)
    assert "Would refuse <strong>0 of 10 requests</strong>" in text_of(page)
    page = kim.post(
        "tierassignment_add", header="X-Plan: gold", tier=default.pk, priority="0", **shared
    )
    assert "Not in these figures:" in text_of(page)
    assert revision() == publisher.lock("default").revision


def test_lock_out_is_tried_all_the_same(kim, traffic, default):
    """Nothing is in force that could lock anybody out; saving still warns."""
    tight = {"limits-0-rate": "1/d", "limits-0-burst": "", "key": "client"}
    page = kim.save("ratetier_change", default.pk, **tight, **{BUTTON: "1"})
    assert "Would refuse" in text_of(page)
    page = kim.save("ratetier_change", default.pk, **tight)
    assert "This could lock you out" in text_of(page)
    assert url("ratetier_change", default.pk)
