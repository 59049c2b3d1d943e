"""What is written by itself: every revision, change by change, in its own transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from pulse.audit import authentication
from pulse.audit.models import Action
from pulse.audit.record import Deed, record_all
from pulse.core.document import Change
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor, Edit
from pulse.policies.signals import draft_saved, revision_made

#: What an edit as a whole is called, by the door that it came through; others have no name.
WHOLES: Final = {
    "rollback": Action.POLICY_ROLLBACK,
    "guard": Action.GUARD_ROLLED_BACK,
}
CHANGES: Final = {
    "create": Action.POLICY_CREATE,
    "update": Action.POLICY_UPDATE,
    "delete": Action.POLICY_DELETE,
}


def connect() -> None:
    """Listen to the edit road, and to logins."""
    authentication.connect()
    revision_made.connect(record_revision, dispatch_uid="pulse.audit")
    draft_saved.connect(record_draft, dispatch_uid="pulse.audit")


def record_revision(*, revision: PolicyRevision, edit: Edit, using: str, **_: Any) -> None:
    """Write what a revision changed, and what the edit was as a whole.

    Raises:
        DatabaseError: It cannot be written: then there is no revision either.
    """
    deeds = _deeds(revision.changes, edit)
    actor = Actor(revision.actor_type, revision.actor_name, edit.actor.address)
    record_all(deeds, actor, revision=revision.number, request_id=revision.request_id, using=using)


def record_draft(*, edit: Edit, changes: Sequence[Change], using: str, **_: Any) -> None:
    """Write what an edit changed of the draft: of no revision yet.

    Raises:
        DatabaseError: It cannot be written: then the draft is not saved either.
    """
    record_all(_deeds(changes, edit), edit.actor, request_id=edit.request_id, using=using)


def _deeds(changes: Iterable[Change], edit: Edit) -> list[Deed]:
    """Return what was changed, one by one, and what the edit was as a whole."""
    deeds = [
        Deed(
            CHANGES[change["action"]],
            kind=change["kind"],
            key=change["key"],
            fields=change["fields"],
        )
        for change in changes
    ]
    whole = WHOLES.get(edit.source) or edit.deed
    if whole:
        told: dict[str, Any] = {"changes": {"before": None, "after": len(deeds)}}
        if edit.reason:
            told["reason"] = {"before": None, "after": edit.reason}
        deeds.append(Deed(whole, fields=told))
    return deeds
