"""Lists, revisions, presets, the great switch, and who may do what."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.policies import document, history, publisher
from pulse.policies.models import (
    EndpointLimit,
    PolicyRevision,
    PolicyState,
    RateTier,
    TierAssignment,
)
from pulse.store import buckets, peaks
from tests.admin.conftest import revision, told, url
from tests.factories import KIM
from tests.servers import free_port
from tests.store.conftest import cache_of

LISTS = (
    "ratetier",
    "tierassignment",
    "endpointlimit",
    "exemption",
    "trustedproxy",
    "accessrule",
    "corsorigin",
    "headerpolicy",
    "probetarget",
    "probeschedule",
    "probepayload",
    "probebudget",
    "maintenancewindow",
    "alertrule",
    "alertchannel",
    "apikey",
    "policyrevision",
)
PAGES = [f"{name}_changelist" for name in LISTS] + [f"{name}_add" for name in LISTS[:-1]]


@pytest.mark.parametrize("page", PAGES)
def test_every_screen_opens(kim, page):
    response = kim.get(page)
    assert response.status_code == 200
    assert "pulse/admin/pulse.css" in response.content.decode()


@pytest.mark.parametrize(
    "name",
    [
        "tierassignment",
        "trustedproxy",
        "probetarget",
        "probeschedule",
        "probepayload",
        "maintenancewindow",
        "alertrule",
        "alertchannel",
    ],
)
def test_an_empty_list_says_what_to_do(kim, name):
    assert "pulse-empty" in kim.get(f"{name}_changelist").content.decode()
    assert "pulse-empty" not in kim.get(f"{name}_changelist", mode__exact="off").content.decode()


@pytest.mark.parametrize(
    ("name", "key", "value", "found"),
    [
        ("endpointlimit", "counted", "ip", ["search"]),
        ("endpointlimit", "counted", "header", ["tenant"]),
        ("endpointlimit", "counted", "client", ["later", "past"]),
        ("endpointlimit", "time", "now", ["search", "tenant"]),
        ("endpointlimit", "time", "later", ["later"]),
        ("endpointlimit", "time", "past", ["past"]),
        ("endpointlimit", "q", "api/exp", ["past"]),
        ("endpointlimit", "mode__exact", "shadow", ["tenant"]),
        ("endpointlimit", "counted", "'; drop", ["later", "past", "search", "tenant"]),
    ],
)
def test_filters_find(kim, name, key, value, found):
    now = timezone.now()
    document.apply(
        {
            "version": 1,
            "endpoint_limits": [
                {
                    "name": "tenant",
                    "url_name": "echo",
                    "key": ["user", "header:X-Tenant"],
                    "limits": ["5/m"],
                    "mode": "shadow",
                },
                {
                    "name": "later",
                    "url_name": "echo",
                    "limits": ["50/m"],
                    "starts_at": (now + timedelta(days=1)).isoformat(),
                },
                {
                    "name": "past",
                    "route": "api/export/",
                    "limits": ["50/m"],
                    "ends_at": (now - timedelta(days=1)).isoformat(),
                },
            ],
        },
        publisher.SYSTEM,
    )
    response = kim.get(f"{name}_changelist", **{key: value})
    assert sorted(row.name for row in response.context["cl"].result_list) == found


def test_a_list_queries_the_same_for_one_row_and_for_many(kim):
    kim.get("endpointlimit_changelist")  # What Django remembers for good.
    with CaptureQueriesContext(connection) as one:
        kim.get("endpointlimit_changelist")
    document.apply(
        {
            "version": 1,
            "endpoint_limits": [
                {
                    "name": f"n{number}",
                    "url_name": "echo",
                    **({"tier": "paid"} if number % 2 else {"limits": ["5/m", "50/h"]}),
                }
                for number in range(20)
            ],
        },
        publisher.SYSTEM,
    )
    with CaptureQueriesContext(connection) as many:
        kim.get("endpointlimit_changelist")
    assert len(many) == len(one)


def test_the_list_tells_what_was_refused_by_one_reading(kim, monkeypatch):
    readings = []
    real = buckets.last_day
    monkeypatch.setattr(buckets, "last_day", lambda: readings.append(1) or real())
    buckets.add(buckets.REFUSED, "endpoint_limits:search", 1234)
    buckets.add(buckets.WOULD_REFUSE, "endpoint_limits:search", 5)
    page = kim.get("endpointlimit_changelist").content.decode()
    assert "1,234 refused" in page
    assert "5 would refuse" in page
    assert len(readings) == 1


def test_the_list_tells_how_close_clients_came(kim, monkeypatch):
    monkeypatch.setattr(peaks, "last_day", lambda: {"endpoint_limits:search": 0.454})
    page = kim.get("endpointlimit_changelist").content.decode()
    assert "peak 45 %" in page
    assert "peak" not in kim.get("ratetier_changelist").content.decode()


def test_the_list_stands_without_its_counters(kim, settings):
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    buckets.add(buckets.REFUSED, "endpoint_limits:search", 1234)
    page = kim.get("endpointlimit_changelist")
    assert page.status_code == 200
    assert "not known" in page.content.decode()
    assert "1,234" not in page.content.decode()


def test_modes_are_told_in_shape_and_word(kim):
    page = kim.get("endpointlimit_changelist").content.decode()
    assert '<span aria-hidden="true">●</span> Enforce' in page
    assert "Each address may do 60 a minute, up to 60 at once. Enforced for everybody." in page


def test_a_revision_shows_its_difference_and_leads_back(kim, search):
    kim.save("endpointlimit_change", search.pk, percent="50")
    made = PolicyRevision.objects.first()
    page = kim.get("policyrevision_change", made.pk).content.decode()
    assert "Changed: Endpoint limit search" in page
    assert '<td class="pulse-before" data-label="Before">100</td>' in page
    assert '<td class="pulse-after" data-label="After">50</td>' in page
    before = PolicyRevision.objects.get(number=made.number - 1)
    assert "Roll back to revision" in kim.get("policyrevision_rollback", before.pk).content.decode()
    page = kim.client.get(kim.post("policyrevision_rollback", before.pk, reason="too little").url)
    assert f"Revision {made.number + 1} is in force." in told(page)
    newest = PolicyRevision.objects.first()
    assert (newest.source, newest.reason, newest.actor_name) == ("rollback", "too little", "kim")
    search.refresh_from_db()
    assert search.percent == 100


def test_a_rollback_is_of_what_was_read(kim, search):
    """What somebody else edits meanwhile is not undone by who has not seen it."""
    first = PolicyRevision.objects.first()
    kim.save("endpointlimit_change", search.pk, percent="50")
    page = kim.get("policyrevision_rollback", first.pk)
    read = page.context_data["read"]
    assert read in page.content.decode()
    kim.save("endpointlimit_change", search.pk, cost="2")
    before = revision()
    page = kim.post("policyrevision_rollback", first.pk, read=read).content.decode()
    assert "Someone edited the policy since you read this page." in page
    assert revision() == before
    again = kim.get("policyrevision_rollback", first.pk).context_data["read"]
    assert kim.post("policyrevision_rollback", first.pk, read=again).status_code == 302
    assert revision() == before + 1


def test_a_rollback_tells_of_the_draft_that_it_replaces(kim, search, settings):
    first = PolicyRevision.objects.first()
    kim.save("endpointlimit_change", search.pk, percent="50")
    settings.PULSE = {"PUBLISH": "manual"}
    page = kim.get("policyrevision_rollback", first.pk).content.decode()
    assert "waits to be published" in page
    assert "Who edited it" not in page
    kim.save("endpointlimit_change", search.pk, cost="2", reason="dearer")
    page = kim.get("policyrevision_rollback", first.pk).content.decode()
    assert "What others edited, and nobody has published yet, is replaced by it." in page
    assert "Who edited it" in page
    assert "dearer" in page
    kim.post("policyrevision_rollback", first.pk)
    search.refresh_from_db()
    assert (search.percent, search.cost, revision()) == (100, 1, first.number + 1)


def test_a_rollback_that_cannot_be_says_why(kim):
    document.apply(
        {"version": 1, "tier_assignments": [{"user": "kim", "tier": "paid"}]}, publisher.SYSTEM
    )
    having = PolicyRevision.objects.first()
    TierAssignment.objects.all().delete()
    publisher.publish_pending()
    kim.user.username = "kimberly"
    kim.user.save()
    page = kim.get("policyrevision_rollback", having.pk).content.decode()
    assert "There is no user “kim”." in page
    assert "Yes, roll back" not in page
    assert kim.post("policyrevision_rollback", having.pk).status_code == 200
    assert not TierAssignment.objects.exists()


def test_rolling_back_to_what_is_offers_no_button(kim):
    page = kim.get("policyrevision_rollback", PolicyRevision.objects.first().pk).content.decode()
    assert "Nothing differs." in page
    assert "Yes, roll back" not in page


@override_settings(PULSE={"PUBLISH": "manual"})
def test_a_draft_is_published_by_its_page(kim, search):
    before = revision()
    page = kim.client.get(kim.save("endpointlimit_change", search.pk, percent="50").url)
    assert "Saved as a draft, which is not in force yet. Publish the draft" in told(page)
    assert revision() == before
    page = kim.get("policyrevision_publish").content.decode()
    assert '<td class="pulse-after" data-label="After">50</td>' in page
    page = kim.client.get(kim.post("policyrevision_publish", reason="agreed").url)
    assert f"Revision {before + 1} is in force." in told(page)
    assert PolicyRevision.objects.first().reason == "agreed"
    assert PolicyState.objects.get(pk=1).revision == before + 1
    assert "Yes, publish" not in kim.get("policyrevision_publish").content.decode()


def test_everything_to_shadow_is_one_revision_that_can_be_undone(kim):
    assert url("everything_to_shadow") in kim.get("exemption_changelist").content.decode()
    before = PolicyRevision.objects.first()
    assert "2 rate tiers, 1 endpoint limit" in kim.get("everything_to_shadow").content.decode()
    page = kim.client.get(kim.post("everything_to_shadow", reason="shop is down").url)
    assert set(RateTier.objects.values_list("mode", flat=True)) == {"shadow"}
    assert set(EndpointLimit.objects.values_list("mode", flat=True)) == {"shadow"}
    newest = PolicyRevision.objects.first()
    assert (newest.number, newest.reason, newest.actor_name) == (
        before.number + 1,
        "shop is down",
        "kim",
    )
    assert "3 rules count and report only now" in told(page)
    assert url("policyrevision_rollback", before.pk) in page.content.decode()
    assert "Nothing is enforced" in kim.post("everything_to_shadow").content.decode()
    kim.post("policyrevision_rollback", before.pk)
    assert set(RateTier.objects.values_list("mode", flat=True)) == {"enforce"}


def test_everything_to_shadow_is_so_also_where_a_row_makes_no_policy(kim, search):
    """The policy in force changes alone; the broken row is left for somebody to mend."""
    search.limits.update(rate="nonsense")
    kim.post("everything_to_shadow", reason="shop is down")
    newest = PolicyRevision.objects.first()
    assert newest.reason == "shop is down"
    assert {tier["mode"] for tier in newest.document["rate_tiers"]} == {"shadow"}
    assert search.limits.get().rate == "nonsense"


def test_a_time_that_no_zone_can_show_is_refused(kim, search, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    for day in ("0001-01-01", "9999-12-31"):
        page = kim.save("endpointlimit_change", search.pk, starts_at_0=day, starts_at_1="00:00:00")
        assert "Write a year from 1970 to 9998." in page.content.decode()


def test_a_preset_makes_its_rules_as_one_revision(kim):
    before = revision()
    page = kim.get("endpointlimit_presets").content.decode()
    assert "POST, each address: 5 a minute, up to 5 at once" in page
    assert 'value="url_name:admin:login"' in page
    assert "tokenproxy/" not in page.partition('id="content"')[2]
    response = kim.post(
        "endpointlimit_presets", preset="auth-login", **{"auth-login-targets": ["url_name:login"]}
    )
    assert "auth-login-post, auth-login-get" in told(kim.client.get(response.url))
    assert revision() == before + 1
    assert PolicyRevision.objects.first().reason == "Preset auth-login"
    rows = EndpointLimit.objects.filter(name__startswith="auth-login").order_by("name")
    assert [
        (row.name, row.url_name, row.methods, row.key, row.on_store_error, row.limits.get().rate)
        for row in rows
    ] == [
        ("auth-login-get", "login", ["GET"], ["ip"], "closed", "20/m"),
        ("auth-login-post", "login", ["POST"], ["ip"], "closed", "5/m"),
    ]
    assert "These have it already: login" in kim.get("endpointlimit_presets").content.decode()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "Choose a route, or name one."),
        ({"export-other": "exprt"}, "No route of this site has it. Did you mean export?"),
        ({"export-other": "a\0"}, "Null characters are not allowed."),
        ({"export-targets": ["url_name:nothing"]}, "is not one of the available choices"),
    ],
)
def test_a_preset_without_a_route_is_told(kim, data, text):
    before = revision()
    page = kim.post("endpointlimit_presets", preset="export", **data)
    assert text in page.content.decode()
    assert revision() == before


def test_a_preset_is_for_any_route_once(kim):
    kim.post("endpointlimit_presets", preset="download", **{"download-other": "api/export/"})
    row = EndpointLimit.objects.get(name="download-api-export")
    assert (row.route, row.limits.get().rate) == ("api/export/", "30/m")
    page = kim.post("endpointlimit_presets", preset="download", **{"download-other": "api/export/"})
    assert "It has this preset already." in page.content.decode()


def test_revisions_are_only_read(kim):
    row = PolicyRevision.objects.first()
    assert kim.get("policyrevision_add").status_code == 403
    assert kim.post("policyrevision_change", row.pk, reason="x").status_code == 403
    assert kim.post("policyrevision_delete", row.pk, post="yes").status_code == 403


def test_who_may_only_look_changes_nothing(clerk, search, default):
    before, row = revision(), PolicyRevision.objects.first()
    for name in LISTS:
        # Keys are for who administers.
        shown = 403 if name == "apikey" else 200
        assert clerk.get(f"{name}_changelist").status_code == shown
    assert clerk.get("endpointlimit_change", search.pk).status_code == 200
    assert clerk.get("policyrevision_change", row.pk).status_code == 200
    for refused in (
        clerk.post("endpointlimit_change", search.pk, percent="1"),
        clerk.post("endpointlimit_add", name="x"),
        clerk.post("endpointlimit_delete", search.pk, post="yes"),
        clerk.get("endpointlimit_presets"),
        clerk.post("endpointlimit_presets", preset="export", **{"export-other": "export"}),
        clerk.get("everything_to_shadow"),
        clerk.post("everything_to_shadow"),
        clerk.get("policyrevision_rollback", row.pk),
        clerk.post("policyrevision_rollback", row.pk),
        clerk.get("policyrevision_publish"),
        clerk.post("policyrevision_publish"),
    ):
        assert refused.status_code == 403
    clerk.act("ratetier", "switch_off", default)
    default.refresh_from_db()
    assert default.mode == "enforce"
    assert revision() == before
    assert url("everything_to_shadow") not in clerk.get("ratetier_changelist").content.decode()


def test_a_stranger_is_sent_to_the_login(client, policy):
    for name in ("everything_to_shadow", "endpointlimit_presets", "policyrevision_publish"):
        assert client.post(url(name)).status_code == 302


def test_what_is_not_there_is_not_found(kim):
    assert kim.get("policyrevision_rollback", 999).status_code == 404
    assert kim.client.get("/admin/pulse/ratetier/999/change/").status_code == 302
    assert kim.client.get("/admin/pulse/endpointlimit/", {"q": "a\0b"}).status_code == 200


def test_a_long_list_is_searched_and_a_short_one_shown(kim):
    """What a list shows whole needs no script."""
    assert "admin-autocomplete" not in kim.get("endpointlimit_add").content.decode()
    document.apply(
        {
            "version": 1,
            "rate_tiers": [{"name": f"t{number}", "limits": ["5/m"]} for number in range(60)],
        },
        publisher.SYSTEM,
    )
    assert "admin-autocomplete" in kim.get("endpointlimit_add").content.decode()
    query = {
        "app_label": "pulse",
        "model_name": "endpointlimit",
        "field_name": "tier",
        "term": "t59",
    }
    assert [
        row["text"] for row in kim.client.get("/admin/autocomplete/", query).json()["results"]
    ] == ["t59"]


def test_what_comes_while_a_page_is_made_is_not_taken_for_read(kim, search, monkeypatch):
    """The digest is of what is shown, or of less: never of what nobody has seen."""
    first = PolicyRevision.objects.order_by("number").first()
    real = history.rollback

    def slow(*arguments, **options):
        found = real(*arguments, **options)
        monkeypatch.setattr(history, "rollback", real)
        document.apply({"rate_tiers": [{"name": "unseen", "limits": ["1/s"]}]}, KIM)
        return found

    monkeypatch.setattr(history, "rollback", slow)
    read = kim.get("policyrevision_rollback", first.pk).context_data["read"]
    assert kim.post("policyrevision_rollback", first.pk, read=read).status_code == 200
    assert RateTier.objects.filter(name="unseen").exists()


@pytest.mark.parametrize(
    "query",
    [
        {"created_at__year": "0"},
        {"created_at__iso_year": "0"},
        {"name__regex": "("},
        {"name__iregex": "(a+)+b"},
        {"version__range": "1"},
        {"created_at__month": "99999999999999999999"},
    ],
)
@pytest.mark.parametrize("name", ["ratetier", "endpointlimit", "apikey"])
def test_an_address_asks_for_nothing_that_a_list_does_not_offer(kim, name, query):
    assert kim.get(f"{name}_changelist", **query).status_code in {302, 400}
