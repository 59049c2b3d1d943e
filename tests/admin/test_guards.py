"""Guards and drafts, as an operator meets them in the admin."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from pulse.policies import current, publisher, watching
from pulse.policies.models import EndpointLimit, PolicyRevision, PolicyState
from pulse.policies.state import PolicyGuard
from pulse.store import refusals
from tests.admin.conftest import Operator, errors, form_data, revision, told, url

RATE = "limits-0-rate"


@pytest.fixture
def manual(settings: Any) -> None:
    settings.PULSE = {"PUBLISH": "manual"}


def save(kim: Operator, search: EndpointLimit, **fields: Any) -> Any:
    return kim.save("endpointlimit_change", search.pk, **fields)


def page(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_change_is_saved_with_a_guard(kim: Operator, search: EndpointLimit) -> None:
    """And the page says what the guard will do."""
    response = save(kim, search, **{RATE: "1/h"}, guard_refusals="100", guard_minutes="5")
    guard = PolicyGuard.objects.get()
    assert (guard.revision.number, guard.refusals, guard.minutes) == (revision(), 100, 5)
    followed = kim.client.get(response.url)
    assert "It is guarded: if what it changed refuses more than 100 requests within 5" in told(
        followed
    )
    assert f"Revision {revision()} is guarded: 0 of 100 refusals so far." in told(followed)


def test_without_minutes_they_are_ten_and_without_both_there_is_no_guard(
    kim: Operator, search: EndpointLimit
) -> None:
    save(kim, search, **{RATE: "50/m"})
    assert not PolicyGuard.objects.exists()
    save(kim, search, **{RATE: "40/m"}, guard_refusals="7")
    assert PolicyGuard.objects.get().minutes == 10


@pytest.mark.parametrize(
    ("guard", "wrong"),
    [
        ({"guard_refusals": "0"}, "guard_refusals"),
        ({"guard_refusals": "many"}, "guard_refusals"),
        ({"guard_refusals": "1", "guard_minutes": "1441"}, "guard_minutes"),
        ({"guard_minutes": "5"}, "__all__"),
    ],
)
def test_a_wrong_guard_is_told_at_its_field_and_nothing_is_saved(
    kim: Operator, search: EndpointLimit, guard: dict[str, str], wrong: str
) -> None:
    before = revision()
    response = save(kim, search, **{RATE: "1/h"}, **guard)
    assert set(errors(response)) == {wrong}
    assert revision() == before
    assert not PolicyGuard.objects.exists()


def test_only_what_can_refuse_is_offered_a_guard(kim: Operator) -> None:
    for name in ("ratetier", "endpointlimit", "accessrule", "exemption", "trustedproxy"):
        assert 'name="guard_refusals"' in page(kim.get(f"{name}_add")), name
    for name in ("headerpolicy", "corsorigin", "probetarget"):
        assert 'name="guard_refusals"' not in page(kim.get(f"{name}_add")), name


def test_a_rollback_is_guarded_too(kim: Operator, search: EndpointLimit) -> None:
    first = PolicyRevision.objects.get(number=revision())
    save(kim, search, **{RATE: "50/m"})
    assert 'name="guard_minutes"' in page(kim.get("policyrevision_rollback", first.pk))
    kim.post("policyrevision_rollback", first.pk, guard_refusals="9", guard_minutes="x")
    assert not PolicyGuard.objects.exists()
    kim.post("policyrevision_rollback", first.pk, guard_refusals="9", guard_minutes="1")
    assert PolicyGuard.objects.get().revision.number == revision()


def test_what_a_guard_did_is_told_on_lists_and_on_its_revision(
    kim: Operator, search: EndpointLimit
) -> None:
    save(kim, search, **{RATE: "1/h"}, guard_refusals="2", guard_minutes="5")
    guarded = PolicyRevision.objects.get(number=revision())
    current.look_at_database()
    for _ in range(3):
        refusals.add(current.current_snapshot().stamp, "endpoint_limits:search")
    shown = page(kim.get("policyrevision_change", guarded.pk))
    assert "Watching." in shown
    assert "Watching: 0 of 2" in page(kim.get("policyrevision_changelist"))
    watching.look()
    assert "Rolled back: 3 of 2" in page(kim.get("policyrevision_changelist"))
    lists = [kim.get(name) for name in ("policyrevision_changelist", "ratetier_changelist")]
    for response in lists:
        assert f"Revision {revision()} took back by itself what had been published" in told(
            response
        )
        assert "saw 3 refusals (endpoint_limits:search 3)" in told(response)
    shown = page(kim.get("policyrevision_change", guarded.pk))
    assert "Rolled back." in shown
    assert f"Revision {revision()}</a> took it back" in shown
    assert '<th scope="row">endpoint_limits:search</th><td>3</td>' in shown


def test_a_guard_of_what_was_undone_by_hand_is_told_no_more(
    kim: Operator, search: EndpointLimit
) -> None:
    before = PolicyRevision.objects.get(number=revision())
    save(kim, search, **{RATE: "1/h"}, guard_refusals="2")
    assert "is guarded" in told(kim.get("ratetier_changelist"))
    kim.post("policyrevision_rollback", before.pk)
    assert "is guarded" not in told(kim.get("ratetier_changelist"))


# Manual publishing


def test_a_draft_is_reviewed_and_published_with_a_reason_and_a_guard(
    kim: Operator, search: EndpointLimit, manual: None
) -> None:
    """The page shows the difference and who edited; in force it is when someone says why."""
    before = revision()
    assert 'name="guard_refusals"' not in page(kim.get("endpointlimit_change", search.pk))
    response = save(kim, search, **{RATE: "50/m"}, reason="Searches are cheap now")
    assert "Saved as a draft" in told(kim.client.get(response.url))
    shown = page(kim.get("policyrevision_publish"))
    for text in ("60/m", "50/m", "<strong>kim</strong>", "Searches are cheap now"):
        assert text in shown, text
    shown = page(kim.post("policyrevision_publish", guard_refusals="5"))
    assert "This field is required." in shown
    assert revision() == before
    response = kim.post("policyrevision_publish", reason="Reviewed by lee", guard_refusals="5")
    made = PolicyRevision.objects.get(number=before + 1)
    assert (made.reason, made.source, made.actor_name) == ("Reviewed by lee", "admin", "kim")
    assert PolicyGuard.objects.get().revision == made
    assert not publisher.has_unpublished()
    assert "There is no draft" in page(kim.get("policyrevision_publish"))
    assert response.status_code == 302


def test_a_draft_is_discarded_after_a_question(
    kim: Operator, search: EndpointLimit, manual: None
) -> None:
    before = revision()
    save(kim, search, **{RATE: "50/m"})
    assert url("policyrevision_discard") in page(kim.get("policyrevision_publish"))
    assert "50/m" in page(kim.get("policyrevision_discard"))
    assert [limit.rate for limit in search.limits.all()] == ["50/m"]
    response = kim.post("policyrevision_discard")
    assert "The draft is discarded" in told(kim.client.get(response.url))
    assert [limit.rate for limit in search.limits.all()] == ["60/m"]
    state = PolicyState.objects.get()
    assert (state.dirty, state.draft_edits, state.revision) == (False, [], before)
    assert "There is no draft" in page(kim.get("policyrevision_discard"))


def test_a_draft_that_would_lock_its_publisher_out_is_warned_of_before(
    kim: Operator, search: EndpointLimit, manual: None
) -> None:
    before = revision()
    kim.save(
        "accessrule_add",
        network="127.0.0.1/32",
        action="deny",
        path="/",
        reason_text="x",
        save_anyway="on",
    )
    assert publisher.has_unpublished()
    assert "it refuses your address 127.0.0.1" in page(kim.get("policyrevision_publish"))
    assert "This could lock you out" in page(kim.post("policyrevision_publish", reason="x"))
    assert revision() == before
    kim.post("policyrevision_publish", reason="x", save_anyway="on")
    assert revision() == before + 1


def test_a_clerk_neither_publishes_nor_discards(clerk: Operator, manual: None) -> None:
    for name in ("policyrevision_publish", "policyrevision_discard"):
        assert clerk.get(name).status_code == 403
        assert clerk.post(name, reason="x").status_code == 403


def test_who_was_overtaken_in_a_draft_is_told_by_whom(
    kim: Operator, search: EndpointLimit, manual: None
) -> None:
    """Nothing was published, so the draft says who; and what they changed is shown."""
    lee = Operator(get_user_model().objects.create_superuser("lee", "", "secret"))
    data = kim.form("endpointlimit_change", search.pk)
    save(lee, search, **{RATE: "50/m"})
    response = kim.post("endpointlimit_change", search.pk, **{**data, RATE: "70/m"})
    (text,) = errors(response)["__all__"]
    assert text.startswith("lee changed this at ")
    assert "50/m" in page(response)
    assert form_data(response)[RATE] == "70/m"
    assert [limit.rate for limit in search.limits.all()] == ["50/m"]


@pytest.mark.parametrize("name", ["policyrevision_publish", "policyrevision_discard"])
def test_what_was_edited_after_the_draft_was_read_is_not_done_with_it(
    kim: Operator, search: EndpointLimit, manual: None, name: str
) -> None:
    """The page comes back, with the draft as it is by now, and does it from there."""
    before = revision()
    save(kim, search, **{RATE: "50/m"})
    read = kim.get(name).context["read"]
    save(kim, search, **{RATE: "1/h"})
    response = kim.post(name, reason="agreed", read=read)
    assert "Someone edited the policy since you read this page." in page(response)
    assert "1/h" in page(response)
    assert (revision(), publisher.has_unpublished()) == (before, True)
    response = kim.post(name, reason="agreed", read=response.context["read"])
    assert response.status_code == 302
    assert not publisher.has_unpublished()
