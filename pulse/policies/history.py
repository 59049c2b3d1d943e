"""Earlier revisions: reading and comparing them, checking their chain, going back to one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pulse.core.document import Change, chain_hash, difference
from pulse.policies import kinds
from pulse.policies.document import Applied, apply
from pulse.policies.guarded import Guard
from pulse.policies.models import PolicyRevision, PolicyState
from pulse.policies.publisher import Actor, Check, database, sealed

#: Told how many revisions were looked at, and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Chain:
    """What looking along the hash chain found.

    Attributes:
        checked: How many revisions hang together, from the first on.
        broken: The first that does not; None where all do.
        reason: Why, in words.
    """

    checked: int
    broken: int | None = None
    reason: str = ""


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


def as_of(moment: datetime) -> PolicyRevision | None:
    """Return the revision that was the newest at a moment; None before the first."""
    revisions = PolicyRevision.objects.using(database())
    return revisions.filter(created_at__lte=moment).order_by("-number").first()


def compare(number: int, other: int) -> list[Change]:
    """List what leads from one revision to another, also backwards.

    Raises:
        PolicyRevision.DoesNotExist: There is no such revision.
    """
    revisions = PolicyRevision.objects.using(database())
    before, after = (
        revisions.values_list("document", flat=True).get(number=n) for n in (number, other)
    )
    return difference(before, after, kinds.keys())


def check_chain(progress: Progress = lambda *_: None) -> Chain:
    """Look whether each revision follows from the one before, and whether the newest is there."""
    using = database()
    revisions = PolicyRevision.objects.using(using).order_by("number")
    total, checked, previous = revisions.count(), 0, ""
    for revision in revisions.iterator(100):
        reason = _break(revision, previous)
        if reason:
            return Chain(checked, revision.number, reason)
        previous = revision.hash
        checked += 1
        progress(checked, max(total, checked))
    state = PolicyState.objects.using(using).filter(pk=1).values_list("revision", flat=True).first()
    newest = revisions.values_list("number", flat=True).last() or 0
    if state and newest < state:
        return Chain(checked, newest + 1, "It is missing, though it was in force.")
    return Chain(checked)


def link_of(revision: PolicyRevision) -> str:
    """Say why one revision does not follow from the one before; empty where it does."""
    before = PolicyRevision.objects.using(database()).filter(number__lt=revision.number)
    previous: str | None = before.order_by("-number").values_list("hash", flat=True).first()
    return _break(revision, previous or "")


def _break(revision: PolicyRevision, previous: str) -> str:
    if revision.previous_hash != previous:
        return "The revision before it is missing, or another than it was made from."
    if chain_hash(previous, sealed(revision)) != revision.hash:
        return "It was changed after it was made."
    return ""
