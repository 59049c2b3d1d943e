"""A guard begins with its revision, or not at all."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pulse.exceptions import InvalidDocument, LockOut
from pulse.policies import document, guarded, history, publisher
from pulse.policies.guarded import Guard, read_guard
from pulse.policies.models import PolicyRevision, PolicyState, RateTier
from pulse.policies.state import PolicyGuard

TIER = {"name": "default", "default": True, "limits": [{"rate": "10/s"}]}


def apply(rate: str, **options: Any) -> document.Applied:
    tier = {**TIER, "limits": [{"rate": rate}]}
    return document.apply({"version": 1, "rate_tiers": [tier]}, publisher.SYSTEM, **options)


@pytest.mark.parametrize(
    ("refusals", "minutes", "guard"),
    [
        (None, None, None),
        ("", "", None),
        ("100", "", Guard(100, 10)),
        (" 100 ", "5", Guard(100, 5)),
        (1, 1440, Guard(1, 1440)),
    ],
)
def test_a_guard_is_read_as_it_is_written(refusals: Any, minutes: Any, guard: Any) -> None:
    assert read_guard(refusals, minutes) == guard


@pytest.mark.parametrize(
    ("refusals", "minutes", "wrong"),
    [
        ("", "10", {"guard_refusals"}),
        ("0", "10", {"guard_refusals"}),
        ("-1", "10", {"guard_refusals"}),
        ("many", "10", {"guard_refusals"}),
        ("1" * 400, "10", {"guard_refusals"}),
        ("٣", "10", {"guard_refusals"}),
        ("1", "0", {"guard_minutes"}),
        ("1", "1441", {"guard_minutes"}),
        ("1.5", "x", {"guard_refusals", "guard_minutes"}),
    ],
)
def test_what_is_no_guard_is_told_by_its_field(refusals: str, minutes: str, wrong: set) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        read_guard(refusals, minutes)
    assert set(refusal.value.errors) == wrong


@pytest.mark.django_db
def test_a_guard_begins_in_the_transaction_of_its_revision() -> None:
    applied = apply("20/s", guard=Guard(100, 5))
    guard = PolicyGuard.objects.get()
    assert guard.revision.number == applied.revision
    assert abs(guard.until_at - timezone.now() - timedelta(minutes=5)) < timedelta(seconds=30)
    revision = PolicyRevision.objects.select_related("guard").get(number=applied.revision)
    assert guarded.as_dict(guarded.guard_of(revision)) == {
        "refusals": 100,
        "minutes": 5,
        "until_at": guard.until_at,
        "seen": 0,
        "state": "watching",
    }


@pytest.mark.django_db
def test_without_a_revision_there_is_no_guard() -> None:
    """Neither where nothing differs, nor on a dry run, nor where the edit fails."""
    apply("20/s")
    apply("20/s", guard=Guard(100))
    apply("30/s", guard=Guard(100), dry_run=True)
    with pytest.raises(InvalidDocument):
        apply("no rate", guard=Guard(100))
    assert not PolicyGuard.objects.exists()


@pytest.mark.django_db
def test_a_rollback_and_a_publication_are_guarded_too(settings: Any) -> None:
    first, _second = apply("20/s"), apply("30/s")
    back = history.rollback(first.revision, publisher.SYSTEM, guard=Guard(7))
    settings.PULSE = {"PUBLISH": "manual"}
    apply("40/s")
    published = publisher.publish(publisher.SYSTEM, guard=Guard(8))
    assert published is not None
    numbers = PolicyGuard.objects.values_list("revision__number", "refusals")
    assert set(numbers) == {(back.revision, 7), (published.number, 8)}


@pytest.mark.django_db
def test_a_draft_cannot_be_guarded(settings: Any) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    with pytest.raises(InvalidDocument) as refusal:
        apply("40/s", guard=Guard(7))
    assert set(refusal.value.errors) == {"guard_refusals"}
    assert not RateTier.objects.filter(limits__rate="40/s").exists()


@pytest.mark.django_db
def test_a_check_sees_both_policies_and_undoes_the_edit() -> None:
    apply("20/s")
    seen = []

    def check(before: Any, after: Any) -> None:
        seen.extend(policy["rate_tiers"][0]["limits"][0]["rate"] for policy in (before, after))
        raise LockOut(["no"])

    with pytest.raises(LockOut):
        apply("30/s", check=check)
    assert seen == ["20/s", "30/s"]
    assert not RateTier.objects.filter(limits__rate="30/s").exists()


@pytest.mark.django_db
def test_a_draft_tells_who_edited_it_until_it_is_published(settings: Any) -> None:
    apply("20/s")
    settings.PULSE = {"PUBLISH": "manual"}
    for name, rate in (("kim", "40/s"), ("kim", "40/s"), ("lee", "50/s")):
        tier = {**TIER, "limits": [{"rate": rate}]}
        document.apply(
            {"version": 1, "rate_tiers": [tier]}, publisher.Actor("user", name), reason=rate
        )
    edits = PolicyState.objects.get().draft_edits
    assert [(edit["actor_name"], edit["reason"]) for edit in edits] == [
        ("kim", "40/s"),
        ("lee", "50/s"),
    ]
    publisher.publish(publisher.SYSTEM)
    assert PolicyState.objects.get().draft_edits == []


@pytest.mark.django_db
def test_what_is_scheduled_is_watched_from_its_start() -> None:
    """A guard that had passed before the limit holds would have seen nothing."""
    starts = timezone.now() + timedelta(hours=2)
    document.apply(
        {
            "version": 1,
            "access_rules": [
                {"network": "203.0.113.0/24", "action": "deny", "starts_at": starts.isoformat()},
                {"network": "198.51.100.0/24", "action": "deny"},
            ],
        },
        publisher.SYSTEM,
        guard=Guard(1, 5),
    )
    until = PolicyGuard.objects.get().until_at
    assert abs(until - starts - timedelta(minutes=5)) < timedelta(seconds=1)
