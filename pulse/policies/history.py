"""Earlier revisions: reading them, checking their chain, going back to one."""

from pulse.core.document import chain_hash
from pulse.policies.document import Applied, apply
from pulse.policies.guarded import Guard
from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor, Check, database, sealed


def rollback(
    number: int,
    actor: Actor,
    *,
    reason: str = "",
    request_id: str = "",
    dry_run: bool = False,
    guard: Guard | None = None,
    check: Check | None = None,
) -> Applied:
    """Make the rows what revision ``number`` says, as a new revision.

    Raises:
        PolicyRevision.DoesNotExist: There is no such revision.
        InvalidDocument: What it names is gone, such as a user or a route.
        LockOut: The check refuses it.
    """
    revision = PolicyRevision.objects.using(database()).get(number=number)
    return apply(
        revision.document,
        actor,
        source="rollback",
        reason=reason or f"Roll back to revision {number}",
        request_id=request_id,
        prune=True,
        dry_run=dry_run,
        guard=guard,
        check=check,
    )


def broken_link() -> int | None:
    """Return the first revision whose hash does not follow from the one before, None if all do."""
    previous = ""
    for revision in PolicyRevision.objects.using(database()).order_by("number").iterator(100):
        if revision.previous_hash != previous:
            return revision.number
        if chain_hash(previous, sealed(revision)) != revision.hash:
            return revision.number
        previous = revision.hash
    return None
