"""Taking back what a revision did, as its guard does: once, whatever was edited since.

What was changed again after the revision stays. Where no policy can be made of the rest, all of it
goes, and where even that cannot be had, its rules count and report only.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

from django.db import transaction

from pulse.conf import conf
from pulse.core.document import VERSION, Document, difference, key_of, take_back
from pulse.core.snapshot import Mode
from pulse.exceptions import InvalidDocument
from pulse.logging import say
from pulse.policies import document as documents
from pulse.policies import kinds, publisher, switches
from pulse.policies.models import PolicyRevision
from pulse.policies.signals import guard_rolled_back
from pulse.policies.state import GuardState, PolicyGuard

logger = logging.getLogger(__name__)

#: The source of a revision that a guard made.
SOURCE: Final = "guard"
#: So many of the rules that refused are named in the reason.
MAX_NAMED: Final = 3

Way = Callable[[Document], Document]


class _Ended(Exception):
    """Leaves the transaction: another process was first."""


def undo(guard: PolicyGuard, by_rule: Mapping[str, int], using: str) -> PolicyRevision | None:
    """Undo the revision of a guard that is over its budget.

    Of many processes that call this one does it: the guard is taken under the lock of edits.

    Args:
        guard: With its revision.
        by_rule: The refusals, by rule, the most first.
        using: The database.

    Returns:
        The revision that undid it; None where there was nothing left to undo, or another process
        has done it.

    Raises:
        DatabaseError: Nothing was done.
    """
    number = guard.revision.number
    made, before = (document_of(each, using) for each in (number, number - 1))
    back = partial(take_back, made=made, before=before, keys=kinds.keys())
    ways: tuple[tuple[Way, str], ...] = (
        (back, "What was changed since then stays."),
        (lambda _document: before, f"All since revision {number - 1} builds on it and goes too."),
        (
            partial(_in_shadow, made=made, before=before),
            "What was before cannot be restored: its rules count and report only.",
        ),
    )
    for way, told in ways:
        try:
            return _undo(guard, by_rule, way, told, using)
        except _Ended:
            return None
        except InvalidDocument as error:
            say(
                logger,
                logging.WARNING,
                "The guard of revision %d looks for another way to undo it: %s",
                number,
                error,
            )
    say(logger, logging.ERROR, "The guard of revision %d cannot undo it", number)
    return None


def _undo(
    guard: PolicyGuard, by_rule: Mapping[str, int], way: Way, told: str, using: str
) -> PolicyRevision | None:
    seen, number = sum(by_rule.values()), guard.revision.number
    reason = _reason(guard, by_rule, seen)
    watching = PolicyGuard.objects.using(using).filter(pk=guard.pk, state=GuardState.WATCHING)
    with transaction.atomic(using=using):
        with publisher.edit(publisher.SYSTEM, source=SOURCE, reason=reason) as edit:
            newest, rows = publisher.newest_document(using), publisher.document_of_rows(using)
            if publisher.newest_number() > number:
                edit.reason = f"{reason} {told}"
            target = way(newest)
            is_left = bool(difference(newest, target, kinds.keys()))
            state = GuardState.ROLLED_BACK if is_left else GuardState.PASSED
            if not watching.update(state=state, seen=seen, by_rule=dict(by_rule)):
                raise _Ended
            guard.counts.using(using).delete()
            if is_left:
                _change_rows(rows, newest, target)
                edit.publish = True
                if rows != newest:
                    edit.document = target
        if edit.revision is None:
            say(logger, logging.INFO, "Of revision %d nothing is left for its guard", number)
            return None
        undone_by = edit.revision
        PolicyGuard.objects.using(using).filter(pk=guard.pk).update(undone_by=undone_by)
        transaction.on_commit(lambda: _tell(guard, undone_by), using=using, robust=True)
    return undone_by


def _change_rows(rows: Document, newest: Document, target: Document) -> None:
    """Do to the rows what leads from the newest policy to another; a draft keeps the rest of it.

    A draft that makes no policy then is left as it is.
    """
    is_draft = rows != newest
    wanted = take_back(rows, newest, target, kinds.keys()) if is_draft else target
    try:
        documents.apply(wanted, publisher.SYSTEM, source=SOURCE, prune=True)
    except InvalidDocument:
        if not (is_draft and conf.PUBLISH == "manual"):
            raise


def _in_shadow(document: Document, made: Document, before: Document) -> Document:
    """Let the rules that an edit added or changed refuse nobody."""
    touched = {
        (change["kind"], frozenset(change["key"].items()))
        for change in difference(before, made, kinds.keys())
    }
    names = {kind.name for model in switches.RULES if (kind := kinds.kind_of(model))}
    return {
        kind: [
            {**item, "mode": Mode.SHADOW.value}
            if (kind, _key(kind, item)) in touched and item["mode"] == Mode.ENFORCE
            else item
            for item in items
        ]
        if kind in names
        else items
        for kind, items in document.items()
    }


def _key(kind: str, item: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    known = kinds.find_kind(kind)
    return frozenset(key_of(item, known.key if known else ()).items())


def _reason(guard: PolicyGuard, by_rule: Mapping[str, int], seen: int) -> str:
    named = ", ".join(f"{rule} {amount}" for rule, amount in islice(by_rule.items(), MAX_NAMED))
    more = f" and {len(by_rule) - MAX_NAMED} more" if len(by_rule) > MAX_NAMED else ""
    minutes = "1 minute" if guard.minutes == 1 else f"{guard.minutes} minutes"
    return (
        f"The guard of revision {guard.revision.number} saw {seen} refusals "
        f"({named}{more}); {guard.refusals} within {minutes} were its budget."
    )


def document_of(number: int, using: str) -> Document:
    """Return the document of a revision; the empty one where there is none."""
    revisions = PolicyRevision.objects.using(using).filter(number=number)
    document: Document | None = revisions.values_list("document", flat=True).first()
    return document or {"version": VERSION}


def _tell(guard: PolicyGuard, undone_by: PolicyRevision) -> None:
    number = guard.revision.number
    say(
        logger,
        logging.WARNING,
        "Revision %d is rolled back, by revision %d: %s",
        number,
        undone_by.number,
        undone_by.reason,
    )
    guard_rolled_back.send_robust(
        sender=PolicyGuard, guard=guard, revision=number, undone_by=undone_by.number
    )
