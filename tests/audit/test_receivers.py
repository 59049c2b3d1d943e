"""What is written by itself of edits: all of it with the revision, or neither."""

from typing import Any

import pytest
from django.db import DatabaseError

from pulse.audit.models import AuditEntry
from pulse.policies import history, publisher, switches
from pulse.policies.document import apply
from pulse.policies.models import Exemption, PolicyRevision, RateTier
from pulse.policies.publisher import Actor
from pulse.policies.signals import revision_made
from tests.factories import KIM
from tests.factories import document as doc

#: The road ends after commit, so these tests commit.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def policy() -> int:
    """What ``migrate`` seeds; gives the number of its revision."""
    publisher.finish_leftovers()
    return PolicyRevision.objects.latest("number").number


def entries(revision: int | None = None) -> list[AuditEntry]:
    number = revision or PolicyRevision.objects.latest("number").number
    return list(AuditEntry.objects.filter(revision=number).order_by("pk"))


def test_each_change_is_an_entry_of_its_revision() -> None:
    actor = Actor("user", "kim", "203.0.113.9")
    with publisher.edit(actor, source="admin", request_id="r1"):
        Exemption.objects.create(path="/new/")
        tier = RateTier.objects.get(name="default")
        tier.description = "for all"
        tier.save()
        Exemption.objects.get(path="/healthz").delete()
    written = {entry.action: entry for entry in entries()}
    assert set(written) == {"policy.create", "policy.update", "policy.delete"}
    update = written["policy.update"]
    assert (update.kind, update.key) == ("rate_tiers", {"name": "default"})
    assert update.fields == {"description": {"before": "", "after": "for all"}}
    assert {(entry.actor_name, entry.address, entry.request_id) for entry in written.values()} == {
        ("kim", "203.0.113.9", "r1")
    }


@pytest.mark.parametrize(
    ("act", "whole"),
    [
        (lambda: apply(doc(exemptions=["/a/"]), KIM), "policy.apply"),
        (lambda: history.rollback(1, KIM), "policy.rollback"),
        (lambda: switches.everything_to_shadow(KIM, source="admin"), "policy.shadow_all"),
    ],
)
def test_an_edit_as_a_whole_has_its_name(act: Any, whole: str) -> None:
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/before/")
        RateTier.objects.update(mode="enforce")
    act()
    *changes, last = entries()
    assert last.action == whole
    assert last.fields["changes"]["after"] == len(changes) > 0
    assert all(entry.action != whole for entry in changes)


def test_publishing_a_draft_has_its_name(settings: Any) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    for path in ("/draft/", "/other/"):
        with publisher.edit(Actor("user", "ann"), source="admin", request_id=path):
            Exemption.objects.create(path=path)
    drafted = AuditEntry.objects.filter(actor_name="ann").order_by("pk")
    told = ("action", "key", "revision", "request_id")
    # Each edit of the draft is told by itself, and of no revision.
    assert list(drafted.values_list(*told)) == [
        ("policy.create", {"path": path}, None, path) for path in ("/draft/", "/other/")
    ]
    Exemption.objects.filter(path="/other/").delete()
    publisher.publish(KIM, reason="Friday")
    created, published = entries()
    assert (created.action, published.action) == ("policy.create", "policy.publish")
    assert published.fields["reason"]["after"] == "Friday"


def test_an_edit_whose_entries_cannot_be_written_is_undone(policy: int) -> None:
    """A receiver that raises, after the audit's own or instead of it, leaves nothing behind."""

    def refuse(**_: Any) -> None:
        raise DatabaseError("no room")

    before = AuditEntry.objects.count()
    revision_made.connect(refuse)
    try:
        with pytest.raises(DatabaseError), publisher.edit(KIM, source="admin"):
            Exemption.objects.create(path="/undone/")
    finally:
        revision_made.disconnect(refuse)
    assert PolicyRevision.objects.latest("number").number == policy
    assert not Exemption.objects.filter(path="/undone/").exists()
    assert AuditEntry.objects.count() == before
