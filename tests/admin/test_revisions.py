"""The record of policies in the admin: compared, verified, and told where it has arrived."""

import pytest
from django.test import Client

from pulse.policies import publisher
from pulse.policies.models import Exemption, PolicyRevision, RateTier
from tests.admin.conftest import url
from tests.factories import KIM

pytestmark = pytest.mark.django_db


@pytest.fixture
def two() -> list[PolicyRevision]:
    """A tier enforced, then an exemption added."""
    with publisher.edit(KIM, source="admin", reason="Monday"):
        RateTier.objects.filter(name="default").update(mode="enforce")
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/new/")
    return list(PolicyRevision.objects.order_by("-number")[:2][::-1])


def text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_tells_effects_and_which_processes_have_it(admin_client: Client, two) -> None:
    page = text(admin_client.get(url("policyrevision_changelist")))
    assert 'pulse-effect-tightens"><span aria-hidden="true">▲</span> Tightens: 1' in page
    assert 'pulse-effect-loosens"><span aria-hidden="true">▽</span> Loosens: 1' in page
    number = two[-1].number
    assert f"1 of 1 process on revision {number}" in page
    assert "this process alone" in page


def test_a_revision_tells_its_effect_and_that_the_chain_is_whole(admin_client, two) -> None:
    page = text(admin_client.get(url("policyrevision_change", two[0].pk)))
    assert "Tightens" in page
    assert "Chain whole" in page
    PolicyRevision.objects.filter(pk=two[0].pk).update(reason="another")
    page = text(admin_client.get(url("policyrevision_change", two[0].pk)))
    assert "Chain broken" in page
    assert "It was changed after it was made." in page


def test_any_two_are_chosen_and_compared(admin_client: Client, two) -> None:
    first, second = two
    page = text(admin_client.get(url("policyrevision_change", first.pk)))
    compare = url("policyrevision_compare", first.pk)
    assert f'action="{compare}"' in page
    assert f'<option value="{second.number}">' in page
    page = text(admin_client.get(compare, {"with": second.number}))
    assert f"from revision {first.number} to revision {second.number}" in page
    assert "Exemption /new/" in page
    assert "Loosens: 1" in page
    back = url("policyrevision_compare", second.pk)
    assert f'href="{back}?with={first.number}"' in page
    page = text(admin_client.get(back, {"with": first.number}))
    assert "Tightens: 1" in page
    assert url("policyrevision_rollback", first.pk) in page


def test_without_a_choice_it_is_the_newest_and_the_same_differs_in_nothing(
    admin_client: Client, two
) -> None:
    page = text(admin_client.get(url("policyrevision_compare", two[0].pk)))
    assert f"to revision {two[1].number}" in page
    page = text(admin_client.get(url("policyrevision_compare", two[1].pk)))
    assert "Nothing differs: they are the same policy." in page


@pytest.mark.parametrize("asked", ["999", "x", "-1", "", "9" * 30, "\uff11"])
def test_what_is_no_revision_is_not_found(admin_client: Client, two, asked: str) -> None:
    answer = admin_client.get(url("policyrevision_compare", two[0].pk), {"with": asked})
    assert answer.status_code == 404
    assert admin_client.get(url("policyrevision_compare", 999)).status_code == 404


def test_who_may_not_see_revisions_compares_none(client: Client, two, django_user_model) -> None:
    client.force_login(django_user_model.objects.create_user("ann", is_staff=True))
    assert client.get(url("policyrevision_compare", two[0].pk)).status_code == 403
