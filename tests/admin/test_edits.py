"""One writing request is one revision, or none and a reason."""

import pytest
from django.contrib.admin.models import LogEntry

from pulse.policies import document, publisher
from pulse.policies.bases import ModeChoices
from pulse.policies.models import EndpointLimit, PolicyRevision, RateTier, TierAssignment
from tests.admin.conftest import errors, form_data, revision, told, url

LIMITS = {
    "limits-TOTAL_FORMS": "1",
    "limits-INITIAL_FORMS": "0",
    "limits-0-rate": "5/m",
    "limits-0-burst": "",
    "limits-0-algorithm": "token_bucket",
}


def add(kim, **changed):
    data = {
        "name": "flaky",
        "url_name": "flaky",
        "key": "ip",
        "cost": "1",
        "mode": "enforce",
        "percent": "100",
        "on_store_error": "local",
        **LIMITS,
        **changed,
    }
    return kim.post("endpointlimit_add", **data)


def test_a_save_with_its_limits_is_one_revision(kim, default):
    """Row, limits, who, why and from where, in one."""
    before = revision()
    response = kim.save(
        "ratetier_change",
        default.pk,
        **{"limits-0-rate": "90/s", "limits-0-burst": "150", "percent": "50", "reason": "calmer"},
    )
    assert response.status_code == 302
    made = PolicyRevision.objects.get(number=before + 1)
    assert (made.actor_type, made.actor_name, made.source, made.reason) == (
        "user",
        "kim",
        "admin",
        "calmer",
    )
    assert made.request_id
    assert revision() == before + 1
    fields = made.changes[0]["fields"]
    assert set(fields) == {"percent", "limits"}
    page = kim.client.get(response.url)
    assert f"Revision {before + 1} is in force." in told(page)
    assert url("policyrevision_change", made.pk) in page.content.decode()


def test_a_save_that_changes_nothing_makes_no_revision(kim, default):
    before = revision()
    response = kim.client.get(kim.save("ratetier_change", default.pk).url)
    assert revision() == before
    assert "the policy in force stays" in told(response)


def test_adding_and_deleting_are_one_revision_each(kim):
    before = revision()
    assert add(kim, methods=["POST", "GET"]).status_code == 302
    row = EndpointLimit.objects.get(name="flaky")
    assert (row.methods, row.key) == (["GET", "POST"], ["ip"])
    assert kim.post("endpointlimit_delete", row.pk, post="yes").status_code == 302
    assert revision() == before + 2
    assert not EndpointLimit.objects.filter(name="flaky").exists()


def test_what_another_changed_since_it_was_shown_is_not_deleted(kim, search):
    """A page says which state it shows, and is opened anew to show another."""
    asked = kim.get("endpointlimit_delete", search.pk, _popup="1")
    shown = kim.client.get(asked.url)
    assert shown.status_code == 200
    kim.save("endpointlimit_change", search.pk, **{"limits-0-rate": "1/h"})
    before = revision()
    page = kim.client.post(asked.url, {"post": "yes"}, follow=True)
    assert (revision(), EndpointLimit.objects.filter(pk=search.pk).exists()) == (before, True)
    assert "Nothing was changed. kim changed it at" in told(page)
    anew = kim.client.get(asked.url)
    assert anew.url != asked.url
    assert "_popup=1" in anew.url
    assert kim.client.post(anew.url, {"post": "yes"}).status_code in {200, 302}
    assert not EndpointLimit.objects.filter(pk=search.pk).exists()


@pytest.mark.parametrize(
    ("changed", "place", "text"),
    [
        (
            {"limits-0-rate": "many"},
            "limits.0.rate",
            '"many" is not a rate. Write a count and a unit, such as 10/s.',
        ),
        (
            {"cost": "6"},
            "limits.0.rate",
            "One request costs 6 and this limit never holds more than 5: nothing would ever pass.",
        ),
        ({"url_name": "serch"}, "url_name", "No route of this site has it. Did you mean search?"),
        (
            {"limits-0-burst": "3", "limits-0-algorithm": "fixed_window"},
            "limits.0.burst",
            "A fixed window has no burst. Leave it empty, or take a token bucket.",
        ),
        (
            {"limits-0-burst": "2000000000"},
            "limits.0.burst",
            '"2000000000" is not a burst. Write a number from 1 to 1000000000.',
        ),
        ({"path": "/api/"}, "path", "Name endpoints in one way only: URL name is set already."),
        (
            {"url_name": ""},
            "__all__",
            "Say which endpoints: a route, a URL name, a view or a path prefix.",
        ),
        ({"limits-0-rate": ""}, "limits", "It limits nothing: give it limits, or name a tier."),
        (
            {"key": "ip, moon"},
            "key",
            "“moon” cannot be counted. Use client, ip, user, api_key, global or header:NAME.",
        ),
        (
            {"name": "Bad Name"},
            "name",
            "Use small letters, digits, hyphens and underscores, such as login-post.",
        ),
        ({"percent": "101"}, "percent", "Ensure this value is less than or equal to 100."),
        (
            {
                "ends_at_0": "2026-01-01",
                "ends_at_1": "00:00",
                "starts_at_0": "2027-01-01",
                "starts_at_1": "00:00",
            },
            "ends_at",
            "It ends before it starts.",
        ),
        (
            {"limits-0-rate": "9" * 1_000_000 + "/s"},
            "limits.0.rate",
            "Ensure this value has at most 40 characters (it has 1000002).",
        ),
        ({"name": "a\0b"}, "name", "Null characters are not allowed."),
        ({"reason": "a\0b"}, "reason", "Null characters are not allowed."),
        ({"key": "ip\0"}, "key", "Null characters are not allowed."),
        (
            {"methods": ["FETCH"]},
            "methods",
            "Select a valid choice. FETCH is not one of the available choices.",
        ),
    ],
)
def test_what_cannot_be_is_told_at_its_field(kim, changed, place, text):
    before = revision()
    response = add(kim, **changed)
    assert text in errors(response)[place]
    assert revision() == before
    assert not EndpointLimit.objects.exclude(name="search").exists()


def test_a_day_below_its_minute_is_told_at_the_day(kim):
    response = add(
        kim,
        **{
            "limits-TOTAL_FORMS": "2",
            "limits-1-rate": "3/d",
            "limits-1-algorithm": "token_bucket",
        },
    )
    assert errors(response) == {
        "limits.1.rate": [
            "3/d allows less than 5/m in a longer time, so 5/m could never be used up."
        ]
    }


def test_limits_of_its_own_and_of_a_tier_are_refused(kim):
    response = add(kim, tier=str(RateTier.objects.get(name="paid").pk))
    assert errors(response)["limits"] == ["Either limits of its own or those of a tier."]


def test_nothing_is_lost_of_a_form_that_comes_back(kim):
    data = form_data(
        add(kim, key="ip, header:X-Tenant", methods=["POST"], percent="101", description="why")
    )
    assert data["key"] == "ip, header:X-Tenant"
    assert data["methods"] == ["POST"]
    assert data["limits-0-rate"] == "5/m"
    assert data["description"] == "why"


def test_deleting_every_limit_of_a_tier_is_refused(kim, default):
    response = kim.save("ratetier_change", default.pk, **{"limits-0-DELETE": "on"})
    assert errors(response)["limits"] == ["A tier has at least one limit, such as 10/s."]


def test_a_second_default_is_refused(kim):
    paid = RateTier.objects.get(name="paid")
    response = kim.save("ratetier_change", paid.pk, default="on")
    assert "Another tier is the default. Unmark that one first." in errors(response)["__all__"]


def test_an_edit_over_another_is_refused_once(kim, default):
    """Nothing is lost and nothing overwritten; saving again is a decision."""
    data = kim.form("ratetier_change", default.pk)
    tier = document.apply(
        {
            "version": 1,
            "rate_tiers": [
                {
                    "name": "default",
                    "default": True,
                    "description": "theirs",
                    "limits": [{"rate": "100/s", "burst": 200}],
                }
            ],
        },
        publisher.Actor("user", "lee"),
    )
    response = kim.post("ratetier_change", default.pk, **{**data, "description": "mine"})
    [text] = errors(response)["__all__"]
    assert text.startswith("lee changed this at ")
    assert f"Revision {tier.revision}" in text
    assert "your input is below" in text
    assert RateTier.objects.get(pk=default.pk).description == "theirs"
    again = form_data(response)
    assert again["description"] == "mine"
    assert kim.post("ratetier_change", default.pk, **again).status_code == 302
    assert RateTier.objects.get(pk=default.pk).description == "mine"


def test_html_in_what_operators_write_is_text(kim, search):
    evil = "<script>alert(1)</script>"
    response = kim.save(
        "endpointlimit_change",
        search.pk,
        description=evil,
        reason=evil,
        route="",
        url_name="",
        path='/"><b>/',
    )
    assert response.status_code == 302
    made = PolicyRevision.objects.first()
    for page in (
        kim.get("endpointlimit_changelist"),
        kim.get("endpointlimit_change", search.pk),
        kim.get("policyrevision_changelist"),
        kim.get("policyrevision_change", made.pk),
    ):
        text = page.content.decode()
        assert evil not in text
        assert '/"><b>' not in text


@pytest.mark.parametrize(
    ("action", "mode"), [("shadow", "shadow"), ("switch_off", "off"), ("enforce", "enforce")]
)
def test_a_bulk_action_is_one_revision(kim, action, mode):
    RateTier.objects.filter(name="paid").update(mode="shadow" if mode != "shadow" else "off")
    publisher.publish_pending()
    before = revision()
    page = kim.act("ratetier", action, *RateTier.objects.all(), reason="all of them")
    assert set(RateTier.objects.values_list("mode", flat=True)) == {mode}
    assert revision() == before + 1
    assert PolicyRevision.objects.first().reason == "all of them"
    count = {"enforce": "1 rule has"}.get(action, "2 rules have")
    assert f"{count} the mode {ModeChoices(mode).label} now." in told(page)
    assert LogEntry.objects.exists()


def test_deleting_a_tier_in_use_says_by_whom(kim, default):
    paid = RateTier.objects.get(name="paid")
    TierAssignment.objects.create(network="198.51.100.0/24", tier=paid)
    publisher.publish_pending()
    before = revision()
    page = kim.post("ratetier_delete", paid.pk, post="yes")
    assert page.status_code == 200
    assert "198.51.100.0/24" in page.content.decode()
    page = kim.act("ratetier", "delete_selected", paid, post="yes")
    assert RateTier.objects.filter(pk=paid.pk).exists()
    assert revision() == before


def test_rows_that_make_no_policy_are_rolled_back_and_told(kim, default):
    """Whatever wrote such a row, the screen says so instead of failing."""
    EndpointLimit.objects.get(name="search").limits.update(rate="nonsense")
    response = kim.save("ratetier_change", default.pk, percent="50")
    assert any("nonsense" in text for text in errors(response)["__all__"])
    default.refresh_from_db()
    assert default.percent == 100


@pytest.mark.django_db(transaction=True)
def test_the_next_request_is_judged_by_what_was_saved(kim, search, client):
    assert [client.get("/api/search/").status_code for _ in range(3)] == [200, 200, 200]
    kim.save("endpointlimit_change", search.pk, **{"limits-0-rate": "1/h"})
    assert [
        client.get("/api/search/", REMOTE_ADDR="203.0.113.9").status_code for _ in range(2)
    ] == [200, 429]
    kim.act("endpointlimit", "switch_off", search)
    assert client.get("/api/search/", REMOTE_ADDR="203.0.113.9").status_code == 200


def test_input_over_limits_that_were_replaced_is_kept(kim, default):
    """Fewer rows than there are now: the rest is marked to go, and seen before it is saved."""
    data = kim.form("ratetier_change", default.pk)
    document.apply(
        {
            "version": 1,
            "rate_tiers": [
                {"name": "default", "default": True, "limits": ["90/s", "9000/m", "90000/h"]}
            ],
        },
        publisher.SYSTEM,
    )
    again = form_data(kim.post("ratetier_change", default.pk, **{**data, "limits-0-rate": "70/s"}))
    assert (again["limits-0-rate"], again["limits-1-DELETE"], again["limits-2-DELETE"]) == (
        "70/s",
        "on",
        "on",
    )
    assert kim.post("ratetier_change", default.pk, **again).status_code == 302
    assert default.limits.get().rate == "70/s"


def test_a_ninth_limit_is_refused(kim):
    """As a document would refuse it: what is saved here can be exported and applied again."""
    rows = {"limits-TOTAL_FORMS": "9"}
    for place in range(9):
        rows[f"limits-{place}-rate"] = f"{place + 1}00/h"
        rows[f"limits-{place}-algorithm"] = "token_bucket"
    assert "submit at most 8" in add(kim, **rows).content.decode()
    assert not EndpointLimit.objects.filter(name="flaky").exists()


@pytest.mark.django_db(transaction=True)
def test_rows_that_are_not_in_force_are_told_on_every_list(kim, default):
    """Written past the admin, they make no policy; an operator must not believe what they say."""
    default.limits.update(rate="garbage")
    assert "Saved changes are not in force" in kim.get("exemption_changelist").content.decode()
    default.limits.update(rate="10/s")
    assert "Saved changes are not in force" not in kim.get("exemption_changelist").content.decode()
