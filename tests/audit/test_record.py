"""Entries: what is written of a deed, and that it stays as it was written."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from pulse.audit.models import Action, AuditEntry
from pulse.audit.record import MAX_VALUE, record
from pulse.policies.publisher import Actor
from tests.factories import KIM

pytestmark = pytest.mark.django_db


def newest() -> AuditEntry:
    return AuditEntry.objects.latest("pk")


def after(value: object) -> dict[str, object]:
    return {"before": None, "after": value}


def test_an_entry_tells_who_did_what_to_what_from_where() -> None:
    actor = Actor("user", "kim", "203.0.113.9")
    record(
        "policy.update",
        actor,
        kind="endpoint_limits",
        key={"name": "login"},
        revision=7,
        request_id="r1",
        fields={"cost": {"before": 1, "after": 2}},
    )
    entry = newest()
    assert (entry.actor_type, entry.actor_name, entry.address) == ("user", "kim", "203.0.113.9")
    assert (entry.action, entry.outcome, entry.kind) == (
        Action.POLICY_UPDATE,
        "success",
        "endpoint_limits",
    )
    assert (entry.key, entry.revision, entry.request_id) == ({"name": "login"}, 7, "r1")
    assert entry.fields == {"cost": {"before": 1, "after": 2}}


def test_an_action_that_nobody_knows_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"policy\.eat"):
        record("policy.eat", KIM)
    with pytest.raises(ValueError, match="maybe"):
        record("auth.login", KIM, outcome="maybe")


def test_secrets_are_taken_out_by_form_and_by_name_but_fields_of_policies_are_shown() -> None:
    """The fields ``key`` and ``credentials`` of policies hold no secret, whatever their names."""
    token = "pulse_k3v9x2ab_" + "s" * 43
    record(
        "policy.create",
        KIM,
        fields={
            "key": after(["client", "header:X-Plan"]),
            "credentials": after(value=True),
            "description": after(f"made with {token}"),
            "secret_headers": after({"Authorization": "Bearer abc"}),
            "url": after("https://kim:hunter2@a.test/"),
        },
    )
    fields = newest().fields
    assert fields["key"]["after"] == ["client", "header:X-Plan"]
    assert fields["credentials"]["after"] is True
    assert fields["description"]["after"] == "made with pulse_k3v9x2ab_***"
    assert fields["secret_headers"]["after"] == {"Authorization": "***"}
    assert fields["url"]["after"] == "https://***@a.test/"


def test_what_is_too_large_is_cut_and_no_nul_comes_through() -> None:
    record(
        "auth.failed",
        Actor("user", "a\0b" + "x" * 500, "1" * 100),
        fields={"body": after(["y" * 20_000]), "text": after("z\0"), "list": after(["\0"])},
    )
    entry = newest()
    assert entry.actor_name == ("ab" + "x" * 500)[:150]
    assert len(entry.fields["body"]["after"]) == MAX_VALUE
    assert entry.fields["text"]["after"] == "z"
    assert entry.fields["list"]["after"] == '[""]'


def test_no_entry_is_changed_or_deleted() -> None:
    entry = record("auth.login", KIM)
    entry.actor_name = "nobody"
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor_name="nobody"),
        lambda: AuditEntry.objects.bulk_update([entry], ["actor_name"]),
    ):
        with pytest.raises(ValidationError), transaction.atomic():
            change()
    assert newest().actor_name == "kim"


def test_a_span_of_time_is_one_of_keys_too() -> None:
    """Also where two transactions wrote in another order than their times."""
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    for hours in (1, 3, 2, 4):
        at = begin + timedelta(hours=hours)
        AuditEntry.objects.create(action="auth.login", created_at=at, actor_name=str(hours))

    def named(first: float | None, last: float | None) -> set[str]:
        span = [
            None if hours is None else begin + timedelta(hours=hours) for hours in (first, last)
        ]
        rows = AuditEntry.objects.between(*span).filter(action="auth.login")
        return set(rows.values_list("actor_name", flat=True))

    assert named(2, 4) == {"2", "3"}
    assert named(3, None) == {"3", "4"}
    assert named(None, 3) == {"1", "2"}
    assert named(5, None) == named(None, 1) == set()


def test_nothing_is_written_in_the_place_of_an_entry() -> None:
    record("policy.update", KIM)
    kept = newest()
    forged = AuditEntry(pk=kept.pk, action="auth.login", created_at=kept.created_at)
    with pytest.raises(IntegrityError), transaction.atomic():
        forged.save()
    with pytest.raises(ValidationError):
        AuditEntry.objects.bulk_create(
            [forged], update_conflicts=True, unique_fields=["id"], update_fields=["action"]
        )
    assert newest().action == "policy.update"
