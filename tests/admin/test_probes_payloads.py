"""Payloads and the budget in the admin."""

import pytest
from django.utils import timezone

from pulse.policies import document, publisher
from pulse.policies.models import PolicyRevision
from pulse.probes.models import ProbeBudget, ProbePayload
from pulse.probes.state import DiscoveredEndpoint
from tests.admin.conftest import errors, form_data, revision, told, url

KB = 1024
MB = 1024 * KB


@pytest.fixture
def shop(kim, settings) -> None:
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    document.apply(
        {
            "version": 1,
            "probe_targets": [
                {"name": "search", "url_name": "search"},
                {
                    "name": "order",
                    "url_name": "orders",
                    "method": "POST",
                    "allow_unsafe": True,
                },
            ],
        },
        publisher.SYSTEM,
    )
    now = timezone.now()
    DiscoveredEndpoint.objects.create(
        endpoint_id="POST /api/orders/",
        method="POST",
        route="api/orders/",
        sample={"body": {"lines": [{"product": 1}]}},
        first_seen_at=now,
        last_seen_at=now,
    )


def add(kim, **changed):
    return kim.post(
        "probepayload_add", **{**kim.form("probepayload_add"), "target": "order", **changed}
    )


@pytest.mark.parametrize(
    ("typed", "body", "size"),
    [
        ('{"lines": [{"product": 1}]}', {"lines": [{"product": 1}]}, 25),
        ("[1, 2]", [1, 2], 5),
        ("lines=1&more=2", "lines=1&more=2", 14),
        ("12", 12, 2),
        ('"12"', "12", 2),
        ('"{not json"', "{not json", 9),
        ("two\r\nlines", "two\nlines", 9),
        ("ü", "ü", 2),
        ("  ", None, 0),
    ],
)
def test_a_body_is_json_or_a_text(kim, shop, typed, body, size):
    """Shown as it would be typed, so that a form that is sent back changes nothing."""
    assert add(kim, body=typed, query="q: 1").status_code == 302
    row = ProbePayload.objects.get()
    assert (row.body, row.size) == (body, size)
    number = revision()
    kim.post("probepayload_change", row.pk, **kim.form("probepayload_change", row.pk))
    assert revision() == number
    kim.save("probepayload_change", row.pk, description="why")
    row.refresh_from_db()
    assert row.body == body
    assert set(PolicyRevision.objects.first().changes[0]["fields"]) == {"description"}


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ('{"a": 1,}', "This begins as JSON and is none: "),
        ('{"a": NaN}', "That is no JSON that can be stored."),
        ('{"a": "\\u0000"}', "Null characters are not allowed."),
        ('{"a": "\\ud800"}', "Half a character cannot be stored."),
        ("[" * 100_000, "This begins as JSON and is none: "),
    ],
)
def test_what_is_no_body_is_told_and_comes_back(kim, shop, typed, text):
    page = add(kim, body=typed)
    assert text in errors(page)["body"][0]
    assert form_data(page)["body"] == typed
    assert not ProbePayload.objects.exists()


def test_a_payload_that_is_too_large_is_told_at_its_body(kim, shop):
    """S0-08, with the numbers."""
    page = add(kim, body="a" * 1_500_000)
    assert errors(page)["body"] == [
        "Payload too large: 1500000 bytes. Maximum allowed: 1048576 bytes (1024KB)"
    ]
    assert add(kim, body="a" * MB).status_code == 302
    assert ProbePayload.objects.get().size == MB


def test_payloads_that_are_too_large_together_are_told_at_the_body(kim, shop, settings):
    """S0-09; and also where one that was there grows (S0-10, trap 14)."""
    settings.PULSE = {**settings.PULSE, "PROBE_PAYLOAD_TOTAL_BYTES": 10 * KB}
    assert add(kim, target="search", body="a" * 6 * KB).status_code == 302
    page = add(kim, body="a" * 5 * KB)
    assert errors(page)["body"] == [
        "Storage limit exceeded. Current: 11264 bytes, Maximum: 10240 bytes (0MB)"
    ]
    assert add(kim, body="a" * 4 * KB).status_code == 302
    row = ProbePayload.objects.get(target="order")
    page = kim.save("probepayload_change", row.pk, body="a" * 5 * KB)
    assert "Storage limit exceeded. Current: 11264 bytes" in errors(page)["body"][0]
    assert kim.save("probepayload_change", row.pk, body="b" * 4 * KB).status_code == 302


@pytest.mark.parametrize(
    ("changed", "place", "text"),
    [
        ({"target": "ordr"}, "target", "Unknown target: ordr Did you mean order?"),
        ({"target": "GET /nowhere/"}, "target", "Unknown target: GET /nowhere/"),
        (
            {"target": "../../../etc/passwd"},
            "target",
            "Invalid endpoint_id format: ../../../etc/passwd",
        ),
        ({"headers": "X-A"}, "headers", "is no “Name: value”."),
        ({"query": f"q: {'a' * 70_000}"}, "query", "That is more than 64 KB."),
    ],
)
def test_what_cannot_be_is_told_at_its_field(kim, shop, changed, place, text):
    assert text in " ".join(errors(add(kim, **changed))[place])
    assert not ProbePayload.objects.exists()


def test_the_form_tells_how_much_room_is_left(kim, shop):
    add(kim, body="a" * 512 * KB)
    page = kim.get("probepayload_change", ProbePayload.objects.get().pk).content.decode()
    assert "512.0\xa0KB of 1.0\xa0MB; all together 512.0\xa0KB of 10.0\xa0MB." in page
    assert "512.0\xa0KB" in kim.get("probepayload_changelist").content.decode()


@pytest.mark.parametrize("named", ["order", "POST /api/orders/"])
def test_a_sample_is_filled_in(kim, shop, named):
    """Of a target by its endpoint, and of an endpoint itself."""
    page = kim.client.post(url("probepayload_sample"), {"target": named}, follow=True)
    data = form_data(page)
    assert data["target"] == named
    assert '"product": 1' in data["body"]
    assert kim.post("probepayload_add", **data).status_code == 302
    row = ProbePayload.objects.get()
    assert (row.body, row.source) == ({"lines": [{"product": 1}]}, "generated")
    kim.save("probepayload_change", row.pk, body='{"lines": []}')
    assert ProbePayload.objects.get().source == "custom"


def test_where_there_is_no_sample_one_is_told_so(kim, shop):
    for named in ("search", "nobody", "", "../x", "a\0b"):
        page = kim.client.post(url("probepayload_sample"), {"target": named}, follow=True)
        assert "No sample is known of" in told(page)
    assert kim.get("probepayload_sample").status_code == 403


def test_a_sample_of_what_no_database_can_hold_is_none(kim, shop):
    assert kim.get("probepayload_add", sample="GET /\x00").status_code == 200


def test_a_sample_is_for_who_may_add(clerk, shop):
    assert clerk.post("probepayload_sample", target="order").status_code == 403


def test_there_is_one_budget(kim, clerk):
    page = kim.get("probebudget_changelist").content.decode()
    assert "The defaults hold: 200 probes at once" in page
    data = {**kim.form("probebudget_add"), "max_per_host": "5"}
    before = revision()
    assert kim.post("probebudget_add", **data).status_code == 302
    row = ProbeBudget.objects.get()
    assert (row.name, row.max_per_host, row.max_jobs, revision()) == ("default", 5, 3, before + 1)
    page = kim.get("probebudget_changelist").content.decode()
    assert "At most 200 probes at once over all workers, and 5 of one host." in page
    assert "Add probe budget" not in page
    assert kim.get("probebudget_add").status_code == 403
    page = kim.save("probebudget_change", row.pk, max_per_host="500")
    assert errors(page)["max_per_host"] == ["That is more than the probes at once in all."]
    assert clerk.get("probebudget_change", row.pk).status_code == 200
    assert kim.post("probebudget_delete", row.pk, post="yes").status_code == 302
    assert kim.get("probebudget_add").status_code == 200
