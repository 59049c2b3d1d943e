"""Sizes and times in the form and the list of endpoint limits."""

import pytest

from pulse.policies import publisher
from pulse.policies.models import EndpointLimit
from tests.admin.conftest import errors, form_data, revision, told

MB = 2**20


@pytest.mark.parametrize(
    ("typed", "stored", "shown"),
    [
        ("100 MB", 100 * MB, "100 MB"),
        ("512kb", 512 * 1024, "512 KB"),
        ("1500000", 1_500_000, "1500000 bytes"),
        ("0", 0, "0 bytes"),
        ("", None, ""),
    ],
)
def test_a_size_is_typed_as_people_write_it(kim, search, typed, stored, shown):
    """And shown as the number that is stored, exactly (S1-20, S1-23)."""
    data = form_data(kim.get("endpointlimit_change", search.pk))
    kim.post("endpointlimit_change", search.pk, **{**data, "max_body_bytes": typed})
    search.refresh_from_db()
    assert search.max_body_bytes == stored
    assert form_data(kim.get("endpointlimit_change", search.pk))["max_body_bytes"] == shown


def test_the_same_size_in_another_unit_is_no_change(kim, search):
    """No revision for it."""
    data = form_data(kim.get("endpointlimit_change", search.pk))
    kim.post("endpointlimit_change", search.pk, **{**data, "max_body_bytes": "1 MB"})
    data = form_data(kim.get("endpointlimit_change", search.pk))
    before, version = revision(), data["seen_version"]
    kim.post("endpointlimit_change", search.pk, **{**data, "max_body_bytes": "1024 KB"})
    search.refresh_from_db()
    assert (revision(), str(search.version)) == (before, version)


@pytest.mark.parametrize(
    ("field", "typed", "text"),
    [
        ("max_body_bytes", "ten megs", "is not a size. Write a number and a unit, such as 100 MB."),
        ("max_body_bytes", "2 TB", "is more than a terabyte."),
        ("max_body_bytes", "-1 MB", "is not a size."),
        ("timeout_s", "nan", "Enter a number."),
        ("timeout_s", "0", "greater than or equal to 0.01"),
        ("slow_ms", "86400001", "less than or equal to 86400000"),
        ("slow_ms", "1.5", "Enter a whole number."),
    ],
)
def test_what_is_no_bound_is_told_at_its_field(kim, search, field, typed, text):
    """With what to write instead, and the input as it was typed."""
    data = form_data(kim.get("endpointlimit_change", search.pk))
    page = kim.post("endpointlimit_change", search.pk, **{**data, field: typed})
    assert text in " ".join(errors(page)[field])
    assert form_data(page)[field] == typed


def test_the_list_says_how_large_and_how_long(kim):
    """Without a rate nobody is counted, so nobody is named."""
    EndpointLimit.objects.create(
        name="upload", url_name="upload", max_body_bytes=100 * MB, timeout_s=30
    )
    page = kim.get("endpointlimit_changelist").content.decode()
    assert "A body of up to 100 MB and an answer within 30 s." in page
    row = page.partition(">upload<")[2].partition("</tr>")[0]
    assert "≤ 100 MB<br>≤ 30 s" in row
    assert "by client" not in row


def test_the_upload_preset_is_one_click(kim):
    """100 MB for the route that looks like it (S1-20)."""
    page = kim.get("endpointlimit_presets").content.decode()
    assert "a body of up to 100 MB" in page
    response = kim.post(
        "endpointlimit_presets", preset="upload", **{"upload-targets": ["url_name:upload"]}
    )
    assert "upload" in told(kim.client.get(response.url))
    row = EndpointLimit.objects.get(name="upload")
    assert (row.url_name, row.max_body_bytes, row.limits.count()) == ("upload", 100 * MB, 0)


@pytest.mark.parametrize("bound", [{"max_body_bytes": "0"}, {"timeout_s": "30"}, {"slow_ms": "0"}])
def test_a_bound_without_a_rate_is_saved(kim, bound):
    """It limits something; without any of them it limits nothing."""
    data = form_data(kim.get("endpointlimit_add"))
    data |= {"name": "upload", "url_name": "upload", "methods": []}
    page = kim.post("endpointlimit_add", **data)
    assert errors(page)["limits"] == ["It limits nothing: give it limits, or name a tier."]
    kim.post("endpointlimit_add", **{**data, **bound})
    assert EndpointLimit.objects.get(name="upload").limits.count() == 0


def test_what_is_slow_on_the_whole_site_is_one_form_away(kim, settings):
    """The list leads to a form that needs only be saved, then to the rule; its mode switches it."""
    settings.PULSE = {"SLOW_REQUEST_MS": 700}

    def address() -> str:
        tools = dict(kim.get("endpointlimit_changelist").context["pulse_tools"])
        return tools["What is slow"]

    def published() -> tuple[str, int, str]:
        items = publisher.newest_document()["endpoint_limits"]
        [item] = [item for item in items if item["name"] == "slow-requests"]
        return item["path"], item["slow_ms"], item["mode"]

    data = form_data(kim.client.get(address()))
    assert (data["name"], data["path"], data["slow_ms"]) == ("slow-requests", "/", "700")
    kim.post("endpointlimit_add", **{**data, "methods": [], "slow_ms": "0"})
    row = EndpointLimit.objects.get(name="slow-requests")
    assert (row.path, row.slow_ms, row.mode) == ("/", 0, "enforce")
    assert address().endswith(f"/{row.pk}/change/")
    page = kim.get("endpointlimit_changelist").content.decode()
    assert "No line for what is slow." in page
    assert "none is slow" in page
    assert published() == ("/", 0, "enforce")
    kim.act("endpointlimit", "switch_off", row)
    assert published() == ("/", 0, "off")


def test_who_may_only_look_is_led_to_no_form(clerk, kim):
    tools = dict(clerk.get("endpointlimit_changelist").context["pulse_tools"])
    assert "What is slow" not in tools
    EndpointLimit.objects.create(name="slow", path="/", slow_ms=5)
    tools = dict(clerk.get("endpointlimit_changelist").context["pulse_tools"])
    assert tools["What is slow"].endswith("/change/")
