"""What is written of keys: what they may do, never what they open with."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from pulse.audit import keys
from pulse.audit.models import AuditEntry
from tests.factories import KIM

pytestmark = pytest.mark.django_db


def key(**fields: Any) -> Any:
    return SimpleNamespace(
        **{
            "prefix": "k3v9x2ab",
            "name": "ci",
            "scopes": ["view"],
            "expires_at": None,
            "tier": None,
            "hash": "f" * 64,
            **fields,
        }
    )


def newest() -> AuditEntry:
    return AuditEntry.objects.latest("pk")


def test_a_key_is_named_by_its_prefix() -> None:
    keys.key_made(key=key(expires_at=datetime(2027, 1, 1, tzinfo=UTC)), actor=KIM, using="default")
    entry = newest()
    assert (entry.action, entry.kind, entry.key) == (
        "key.create",
        "api_keys",
        {"prefix": "k3v9x2ab"},
    )
    assert entry.fields["scopes"] == {"before": None, "after": ["view"]}
    assert entry.fields["expires_at"]["after"] == "2027-01-01T00:00:00Z"
    assert "f" * 64 not in str(entry.fields)


def test_rotation_names_both_and_change_and_revocation_tell_what_they_did() -> None:
    keys.key_rotated(key=key(), successor=key(prefix="newer234"), actor=KIM, using="default")
    assert newest().fields["prefix"] == {"before": "k3v9x2ab", "after": "newer234"}
    change = {"scopes": {"before": ["view"], "after": ["administer"]}}
    keys.key_changed(key=key(), actor=KIM, using="default", fields=change)
    assert (newest().action, newest().fields) == ("key.update", change)
    keys.key_revoked(key=key(), actor=KIM, using="default", deleted=True)
    assert newest().action == "key.revoke"
