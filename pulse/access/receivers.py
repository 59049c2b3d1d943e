"""What becomes of keys goes into the audit, by the signals that tell of it.

A key is named by its prefix; what it opens with is never here.
"""

from collections.abc import Mapping
from typing import Any, Final

from pulse.access.signals import key_changed, key_failed, key_made, key_revoked, key_rotated
from pulse.audit import failures
from pulse.audit.authentication import current_request_id, forgiving
from pulse.audit.models import Action
from pulse.audit.record import record
from pulse.policies.publisher import Actor

KIND: Final = "api_keys"
#: What is told of a key that was made.
TOLD: Final = ("name", "scopes", "expires_at")


def connect() -> None:
    """Listen to what becomes of keys."""
    for signal, receiver in (
        (key_made, made),
        (key_rotated, rotated),
        (key_changed, changed),
        (key_revoked, revoked),
        (key_failed, failed),
    ):
        signal.connect(receiver, dispatch_uid="pulse.audit")


def made(*, key: Any, actor: Actor, using: str, **_: Any) -> None:
    """Write that a key was made, and what it may do.

    Raises:
        DatabaseError: It cannot be written: then the key is not made either. So do all but the
            last.
    """
    _record(Action.KEY_CREATE, key, actor, using, _told(key))


def rotated(*, key: Any, successor: Any, actor: Actor, using: str, **_: Any) -> None:
    """Write that a key has a successor."""
    fields = {**_told(successor), "prefix": {"before": key.prefix, "after": successor.prefix}}
    _record(Action.KEY_ROTATE, key, actor, using, fields)


def changed(
    *, key: Any, actor: Actor, using: str, fields: Mapping[str, Mapping[str, Any]], **_: Any
) -> None:
    """Write what was changed of a key."""
    _record(Action.KEY_UPDATE, key, actor, using, fields)


def revoked(*, key: Any, actor: Actor, using: str, deleted: bool = False, **_: Any) -> None:
    """Write that a key counts no more."""
    _record(Action.KEY_REVOKE, key, actor, using, {"deleted": {"before": False, "after": deleted}})


@forgiving
def failed(*, prefix: str, reason: str, actor: Actor, **_: Any) -> None:
    """Write that a key was sent which does not count; bounded, as whoever likes may send one."""
    failures.note(
        Action.KEY_FAILED,
        Actor(actor.type, prefix, actor.address),
        request_id=current_request_id(),
        fields={"reason": {"before": None, "after": reason}},
    )


def _record(
    action: Action,
    key: Any,
    actor: Actor,
    using: str,
    fields: Mapping[str, Mapping[str, Any]],
) -> None:
    record(
        action,
        actor,
        kind=KIND,
        key={"prefix": key.prefix},
        request_id=current_request_id(),
        fields=fields,
        using=using,
    )


def _told(key: Any) -> dict[str, dict[str, Any]]:
    """Tell of a new key what it may do."""
    told = {name: getattr(key, name) for name in TOLD} | {"tier": _name(key.tier)}
    return {name: {"before": None, "after": value} for name, value in told.items()}


def _name(tier: Any) -> str | None:
    return None if tier is None else str(tier.name)
