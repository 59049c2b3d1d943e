"""What was edited and is not in force: who did so, and the way back."""

from typing import Any

from pulse.core.document import Change, Document, chain_hash, difference
from pulse.policies import document as documents
from pulse.policies import kinds, publisher
from pulse.policies.models import PolicyRevision, PolicyState


def edits() -> list[dict[str, Any]]:
    """Return who edited the draft, newest last: ``at``, the actor, ``source`` and ``reason``."""
    states = PolicyState.objects.using(publisher.database()).filter(pk=1)
    found: list[dict[str, Any]] | None = states.values_list("draft_edits", flat=True).first()
    return found or []


def changes_of_discarding() -> list[Change]:
    """List what discarding the draft would change in the rows."""
    return difference(publisher.document_of_rows(), publisher.newest_document(), kinds.keys())


def digest(rows: Document | None = None) -> str:
    """Name the draft as it is, or as it was read, so that another can be told from it."""
    return chain_hash("", publisher.document_of_rows() if rows is None else rows)


def changes_since(number: int) -> list[Change]:
    """List what the rows have, drafts too, that a revision had not."""
    revisions = PolicyRevision.objects.using(publisher.database()).filter(number=number)
    document: Document = revisions.values_list("document", flat=True).first() or {}
    return difference(document, publisher.document_of_rows(), kinds.keys())


def discard(
    actor: publisher.Actor, *, source: str, reason: str = "", request_id: str = ""
) -> documents.Applied:
    """Make the rows what is in force; there is no draft then, and nothing to go back to.

    Raises:
        InvalidDocument: What is in force names what is gone, such as a user.
    """
    return documents.apply(
        publisher.newest_document,
        actor,
        source=source,
        reason=reason,
        request_id=request_id,
        prune=True,
    )
