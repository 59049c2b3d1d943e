"""The warning before an edit that would refuse its own author."""

import pytest

from pulse.policies import document, publisher
from pulse.policies.models import EndpointLimit, PolicyRevision, RateTier
from tests.admin.conftest import errors, form_data, revision, told

TIGHT = {"limits-0-rate": "2/m", "limits-0-burst": "2"}


def test_a_tier_too_tight_for_the_admin_comes_back_with_a_box(kim, default):
    before = revision()
    response = kim.save("ratetier_change", default.pk, **TIGHT)
    [text] = errors(response)["__all__"]
    assert text.startswith("Nothing is saved yet")
    page = response.content.decode()
    assert "The tier default holds for GET /admin/: 2 a minute, up to 2 at once." in page
    assert 'name="save_anyway"' in page
    assert revision() == before
    data = form_data(response)
    assert data["limits-0-rate"] == "2/m"
    assert kim.post("ratetier_change", default.pk, **data, save_anyway="on").status_code == 302
    assert revision() == before + 1


def test_the_box_is_shown_only_where_one_is_warned(kim, default):
    assert "save_anyway" not in kim.get("ratetier_change", default.pk).content.decode()
    assert (
        "save_anyway" not in kim.save("ratetier_change", default.pk, percent="101").content.decode()
    )


@pytest.mark.parametrize(
    "matcher",
    [
        {"path": "/"},
        {"path": "/admin/"},
        {"url_name": "admin:index"},
        {"url_name": "admin:pulse_ratetier_change"},
    ],
)
def test_an_endpoint_limit_over_the_admin_is_warned_of(kim, matcher):
    response = kim.post(
        "endpointlimit_add",
        name="tight",
        key="ip",
        cost="1",
        mode="enforce",
        percent="10",
        on_store_error="local",
        **matcher,
        **{
            "limits-TOTAL_FORMS": "1",
            "limits-INITIAL_FORMS": "0",
            "limits-0-rate": "3/m",
            "limits-0-algorithm": "token_bucket",
        },
    )
    assert "The endpoint limit tight holds for" in response.content.decode()
    assert not EndpointLimit.objects.filter(name="tight").exists()


def test_a_limit_that_all_share_needs_more_room(kim, search):
    """A hundred a minute is plenty for one, not for everybody together."""
    changed = {"url_name": "", "path": "/", "limits-0-rate": "50/m"}
    assert kim.save("endpointlimit_change", search.pk, **changed, key="ip").status_code == 302
    response = kim.save("endpointlimit_change", search.pk, key="global")
    assert (
        "for all clients together, so that others can use up what you need"
        in response.content.decode()
    )


def test_refusing_all_without_redis_is_warned_of(kim, search):
    response = kim.save(
        "endpointlimit_change",
        search.pk,
        url_name="",
        path="/admin/",
        on_store_error="closed",
        **{"limits-0-rate": "600/m"},
    )
    assert "everything is refused while Redis cannot be reached" in response.content.decode()


def test_what_was_so_before_is_not_warned_of_again(kim, default):
    data = form_data(kim.save("ratetier_change", default.pk, **TIGHT))
    kim.post("ratetier_change", default.pk, **data, save_anyway="on")
    kim.client.cookies.clear()
    publisher_edit = document.apply(
        {"version": 1, "exemptions": [{"path": "/admin/"}]}, publisher.SYSTEM
    )
    assert publisher_edit.changed
    kim.client.force_login(kim.user)
    assert kim.save("ratetier_change", default.pk, description="noted").status_code == 302


def test_a_share_of_clients_may_leave_the_author_out(kim, default):
    """The author's own tier holds for a share only: the default may hold tomorrow."""
    document.apply(
        {
            "version": 1,
            "rate_tiers": [{"name": "paid", "percent": 25, "limits": ["500/s"]}],
            "tier_assignments": [{"user": "kim", "tier": "paid"}],
        },
        publisher.SYSTEM,
    )
    assert (
        "This could lock you out"
        in kim.save("ratetier_change", default.pk, **TIGHT).content.decode()
    )


def test_a_bulk_action_that_would_lock_out_is_not_done(kim, search):
    document.apply(
        {
            "version": 1,
            "endpoint_limits": [
                {"name": "tight", "path": "/", "mode": "shadow", "limits": ["1/m"]}
            ],
        },
        publisher.SYSTEM,
    )
    before = revision()
    page = kim.act("endpointlimit", "enforce", EndpointLimit.objects.get(name="tight"))
    assert "Nothing was changed. The endpoint limit tight holds for" in told(page)
    assert "the mode Enforce now" not in told(page)
    assert revision() == before


def test_deleting_the_exemption_that_lets_one_work_is_not_done(kim, default):
    document.apply(
        {
            "version": 1,
            "exemptions": [{"path": "/admin/"}],
            "rate_tiers": [{"name": "default", "default": True, "limits": ["1/m"]}],
        },
        publisher.SYSTEM,
    )
    from pulse.policies.models import Exemption

    row = Exemption.objects.get(path="/admin/")
    page = kim.client.post(f"/admin/pulse/exemption/{row.pk}/delete/", {"post": "yes"}, follow=True)
    assert "Nothing was changed. The tier default holds for" in told(page)
    assert Exemption.objects.filter(pk=row.pk).exists()


def test_a_rollback_to_a_tight_policy_asks_twice(kim, default):
    document.apply(
        {"version": 1, "rate_tiers": [{"name": "default", "default": True, "limits": ["1/m"]}]},
        publisher.SYSTEM,
    )
    tight = PolicyRevision.objects.first()
    document.apply(
        {"version": 1, "rate_tiers": [{"name": "default", "default": True, "limits": ["100/s"]}]},
        publisher.SYSTEM,
    )
    page = kim.post("policyrevision_rollback", tight.pk)
    assert "The tier default holds for GET /admin/" in page.content.decode()
    assert RateTier.objects.get(name="default").limits.get().rate == "100/s"
    assert kim.post("policyrevision_rollback", tight.pk, save_anyway="on").status_code == 302
    assert RateTier.objects.get(name="default").limits.get().rate == "1/m"
