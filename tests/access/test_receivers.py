"""What the audit has of keys: what they may do, never what they open with."""

import pytest
from django.db import DatabaseError
from django.test import RequestFactory

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.principals import principal_of
from pulse.access.scopes import Scope
from pulse.audit.models import AuditEntry
from pulse.exceptions import KeyRefused
from pulse.policies.kinds import time_to_text
from pulse.policies.publisher import Actor

pytestmark = pytest.mark.django_db(transaction=True)
KIM = Actor("user", "kim", "203.0.113.9")


def newest() -> AuditEntry:
    return AuditEntry.objects.latest("pk")


def test_what_becomes_of_a_key_is_told_by_its_prefix() -> None:
    made = keys.make("ci", actor=KIM)
    prefix = made.row.prefix
    entry = newest()
    assert (entry.action, entry.kind, entry.key) == ("key.create", "api_keys", {"prefix": prefix})
    assert (entry.actor_name, entry.address) == ("kim", "203.0.113.9")
    assert entry.fields["scopes"] == {"before": None, "after": ["view"]}
    assert entry.fields["expires_at"]["after"] == time_to_text(made.row.expires_at)
    successor = keys.rotate(made.row, actor=KIM).row
    assert newest().action == "key.rotate"
    assert newest().fields["prefix"] == {"before": prefix, "after": successor.prefix}
    keys.change(successor, actor=KIM, scopes=[Scope.ADMINISTER.value])
    assert newest().action == "key.update"
    assert newest().fields == {"scopes": {"before": ["view"], "after": ["administer"]}}
    keys.revoke(made.row, actor=KIM)
    assert (newest().action, newest().key) == ("key.revoke", {"prefix": prefix})
    told = str(list(AuditEntry.objects.filter(action__startswith="key.").values()))
    assert prefix in told
    assert made.text not in told
    assert made.row.hash not in told


def test_of_refused_keys_of_an_address_one_a_minute_is_written() -> None:
    live, gone = (keys.make("ci", actor=KIM) for _ in range(2))
    keys.revoke(gone.row, actor=KIM)
    for text in (gone.text, f"{live.text[:-4]}abcd", "pulse_nothing"):
        request = RequestFactory().get("/", headers={"Authorization": f"Bearer {text}"})
        with pytest.raises(KeyRefused):
            principal_of(request)
    failed = AuditEntry.objects.get(action="key.failed")
    assert (failed.actor_type, failed.actor_name) == ("api_key", gone.row.prefix)
    assert (failed.address, failed.outcome) == ("127.0.0.1", "failure")
    assert failed.fields["reason"]["after"] == "revoked"


def test_an_entry_that_cannot_be_written_keeps_the_key_from_being_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DatabaseError("no room")

    monkeypatch.setattr("pulse.access.receivers.record", refuse)
    with pytest.raises(DatabaseError):
        keys.make("ci", actor=KIM)
    assert not ApiKey.objects.exists()
