"""Any two revisions compared, the policy as of any moment, and the chain looked along."""

from datetime import timedelta

import pytest

from pulse.policies import history, publisher
from pulse.policies.models import Exemption, PolicyRevision, RateTier
from tests.factories import KIM

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def three() -> list[int]:
    """The numbers of three revisions: a tier enforced, an exemption added, the tier in shadow."""
    publisher.finish_leftovers()
    with publisher.edit(KIM, source="admin"):
        RateTier.objects.filter(name="default").update(mode="enforce")
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/new/")
    with publisher.edit(KIM, source="admin"):
        RateTier.objects.filter(name="default").update(mode="shadow")
    numbers = PolicyRevision.objects.order_by("number").values_list("number", flat=True)
    return list(numbers)[-3:]


def told(changes) -> list[tuple[str, str, str]]:
    return [(change["kind"], change["action"], change["effect"]) for change in changes]


def test_any_two_are_compared_in_either_direction(three) -> None:
    first, second, third = three
    assert told(history.compare(first, second)) == [("exemptions", "create", "loosens")]
    assert told(history.compare(first, third)) == [
        ("rate_tiers", "update", "loosens"),
        ("exemptions", "create", "loosens"),
    ]
    assert told(history.compare(third, first)) == [
        ("rate_tiers", "update", "tightens"),
        ("exemptions", "delete", "tightens"),
    ]
    assert history.compare(second, second) == []
    with pytest.raises(PolicyRevision.DoesNotExist):
        history.compare(first, 999)


def test_revisions_keep_the_effect_of_their_changes(three) -> None:
    changes = [PolicyRevision.objects.get(number=number).changes for number in three]
    assert [change["effect"] for (change,) in changes] == ["tightens", "loosens", "loosens"]


def test_the_policy_as_of_a_moment_is_the_newest_then(three) -> None:
    first, second, _third = (PolicyRevision.objects.get(number=number) for number in three)
    moment = timedelta(microseconds=1)
    assert history.as_of(second.created_at) == second
    assert history.as_of(second.created_at - moment) == first
    oldest = PolicyRevision.objects.earliest("number")
    assert history.as_of(oldest.created_at - moment) is None


def test_a_chain_tells_how_far_it_holds_and_why_it_does_not(three) -> None:
    steps: list[tuple[int, int]] = []
    whole = history.check_chain(lambda *step: steps.append(step))
    total = PolicyRevision.objects.count()
    assert (whole.checked, whole.broken) == (total, None)
    assert steps[-1] == (total, total)
    _first, second, third = three
    PolicyRevision.objects.filter(number=second).update(reason="another")
    broken = history.check_chain()
    assert (broken.broken, broken.checked) == (second, total - 2)
    assert "changed after" in broken.reason
    assert "changed after" in history.link_of(PolicyRevision.objects.get(number=second))
    PolicyRevision.objects.filter(number=second).delete()
    assert history.check_chain().broken == third
    assert "before it is missing" in history.link_of(PolicyRevision.objects.get(number=third))
    assert history.link_of(PolicyRevision.objects.get(number=three[0])) == ""


def test_an_end_that_is_missing_is_told(three) -> None:
    """Nothing hangs on the newest, so the state row bears witness."""
    PolicyRevision.objects.filter(number=three[-1]).delete()
    found = history.check_chain()
    assert (found.broken, found.reason) == (
        three[-1],
        "It is missing, though it was in force.",
    )
