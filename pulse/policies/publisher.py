"""The edit road: rows become a document, a document a revision, in one transaction.

An edit locks the one state row first, so that edits are ordered; at its end the rows are compiled
and the revision is inserted. What saves policies without ``edit()`` (a shell, a fixture, a host's
own code) leaves a mark in its transaction, and is compiled after commit.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import connections, router, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.announcement import Announcement
from pulse.core.document import VERSION, Document, canonical, chain_hash, difference, key_of
from pulse.core.snapshot import Snapshot
from pulse.exceptions import InvalidDocument, PulseError, StoreUnavailable
from pulse.policies import current, guarded, kinds
from pulse.policies.compiler import compile_document, prove
from pulse.policies.guarded import Guard
from pulse.policies.models import PolicyRevision, PolicyState
from pulse.policies.signals import draft_saved, revision_made, revision_published
from pulse.store import announcement as store

logger = logging.getLogger(__name__)

#: Is given the policy before an edit and the one after, and raises what is to undo the edit.
Check = Callable[[Document, Document], None]

#: Of a draft that is edited for weeks, so many of the last edits are told.
MAX_DRAFT_EDITS: Final = 100


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes an edit: a ``user``, an ``api_key``, a ``command`` or the ``system``.

    Attributes:
        name: Of the user or key; for people.
        address: From where, as the limits see it; empty where it did not come over the network.
    """

    type: str
    name: str = ""
    address: str = ""


SYSTEM: Final = Actor("system")
#: What the audit calls the publishing of a draft.
PUBLISHED: Final = "policy.publish"


@dataclass(slots=True)
class Edit:
    """An edit under way.

    Attributes:
        source: By which door: ``admin api document command save schedule rollback guard``.
        reason: Why, in the actor's words.
        deed: What the audit calls the edit as a whole, where its source does not say it.
        revision: The revision that came of it; None until the end, and where nothing changed.
        publish: Whether the end makes a revision, or leaves a draft.
        rows: What the rows were as it began, where it makes a draft; else None.
        document: What the end publishes, if not what the rows say: then these stay a draft.
        guard: The budget of refusals that the revision is watched with.
        check: Asked at the end, before anything is published or kept as a draft.
        is_over: A context copied from within an edit may outlive it; what it saves is its own.
    """

    actor: Actor
    source: str
    reason: str = ""
    request_id: str = ""
    publish: bool = True
    deed: str = ""
    revision: PolicyRevision | None = None
    rows: Document | None = None
    document: Document | None = None
    guard: Guard | None = None
    check: Check | None = None
    is_over: bool = False


_editing: ContextVar[Edit | None] = ContextVar("pulse_editing", default=None)


@contextmanager
def edit(
    actor: Actor,
    *,
    source: str,
    reason: str = "",
    request_id: str = "",
    guard: Guard | None = None,
    check: Check | None = None,
) -> Iterator[Edit]:
    """Make every change of policies within the block one revision, or none of them.

    An edit within an edit is part of it, and what fails in it is undone alone; a guard or check
    that it brings is the whole edit's, unless that has its own. With
    ``PULSE["PUBLISH"] = "manual"`` the rows are saved as a draft and no revision is made.

    Raises:
        InvalidDocument: The rows make no policy, or a draft is to be guarded; everything is
            rolled back.
        LockOut: The check refuses it; as above.
    """
    outer = _under_way()
    using = database()
    if outer is not None:
        _bring(outer, guard, check)
        with transaction.atomic(using=using):
            yield outer
        return
    here = Edit(
        actor,
        source,
        reason,
        request_id,
        publish=conf.PUBLISH == "auto",
        guard=guard,
        check=check,
    )
    with transaction.atomic(using=using):
        state = lock(using)
        if not here.publish:
            here.rows = document_of_rows(using)
        token = _editing.set(here)
        try:
            yield here
        finally:
            here.is_over = True
            _editing.reset(token)
        _finish(state, here, using)


def publish(
    actor: Actor,
    *,
    source: str = "document",
    reason: str = "",
    request_id: str = "",
    guard: Guard | None = None,
    check: Check | None = None,
) -> PolicyRevision | None:
    """Publish the draft that ``manual`` publishing kept; None if nothing differs.

    Within an edit its end publishes, and the revision stands on the edit.

    Raises:
        InvalidDocument: The rows make no policy.
        LockOut: The check refuses it.
    """
    outer = _under_way()
    if outer is not None:
        _bring(outer, guard, check)
        outer.publish, outer.deed = True, PUBLISHED
        return None
    using = database()
    here = Edit(actor, source, reason, request_id, deed=PUBLISHED, guard=guard, check=check)
    with transaction.atomic(using=using):
        _finish(lock(using), here, using)
    return here.revision


def publish_pending(using: str | None = None) -> None:
    """Publish what was saved without ``edit()``, if a mark says that something was.

    Never raises: who saved the rows has done so. What cannot be published stays marked, and
    is logged.
    """
    using = using or database()
    try:
        with transaction.atomic(using=using):
            state = lock(using)
            if state.dirty and conf.PUBLISH == "auto":
                _finish(state, Edit(SYSTEM, "save"), using)
    except (PulseError, DatabaseError) as error:
        logger.error("Saved policies cannot be published; the last revision stays: %s", error)


def finish_leftovers() -> None:
    """Publish what a process saved and did not live to publish; the heartbeat calls this."""
    using = database()
    try:
        states = PolicyState.objects.using(using).filter(pk=1, dirty=True)
        edits = states.values_list("draft_edits", flat=True).first()
        # What somebody saved as a draft is published by who has read it, whatever holds now.
        if conf.PUBLISH == "auto" and edits == []:
            publish_pending(using)
    except DatabaseError:
        return


def newest_number() -> int:
    """Return the number of the newest revision; 0 before the first."""
    rows = PolicyState.objects.using(database()).filter(pk=1)
    return rows.values_list("revision", flat=True).first() or 0


def has_unpublished() -> bool:
    """Whether rows were saved that no revision has."""
    return PolicyState.objects.using(database()).filter(dirty=True).exists()


def problems_of_rows() -> list[str]:
    """Say why the rows cannot be published; nothing if they can."""
    document = document_of_rows()
    errors = kinds.problems_of(document)
    try:
        prove(document)
    except InvalidDocument as error:
        errors = error.errors
    return [f"{place}: {' '.join(texts)}" for place, texts in errors.items()]


def draft_changes() -> list[dict[str, Any]]:
    """List what publishing the rows would change."""
    using = database()
    return difference(newest_document(using), document_of_rows(using), kinds.keys())


def document_of_rows(using: str | None = None) -> Document:
    """Write every policy row as one canonical document, whatever is published."""
    using = using or database()
    document: dict[str, Any] = {"version": VERSION}
    in_use = kinds.in_use(using)
    for kind in kinds.all_kinds():
        rows = kind.rows(using) if kind.name in in_use else ()
        items = [kind.to_item(row) for row in rows]
        document[kind.name] = sorted(items, key=lambda item: canonical(key_of(item, kind.key)))
    return document


def newest_document(using: str | None = None) -> Document:
    """Return the document of the newest revision; the empty one before the first."""
    revisions = PolicyRevision.objects.using(using or database()).order_by("-number")
    document: Document | None = revisions.values_list("document", flat=True).first()
    return document or {"version": VERSION}


def database() -> str:
    """Return the alias of the database that policies are written to."""
    return router.db_for_write(PolicyState) or "default"


def is_migrated(using: str) -> bool:
    """Whether a database has the tables of policies."""
    return PolicyState._meta.db_table in connections[using].introspection.table_names()


def lock(using: str) -> PolicyState:
    """Lock the state row, making it where it is missing, until the transaction ends.

    Begins with an UPDATE: on SQLite a read that later turns into a write fails at once.
    """
    states = PolicyState.objects.using(using)
    if not states.filter(pk=1).update(locked_at=timezone.now()):
        newest = PolicyRevision.objects.using(using).aggregate(newest=Max("number"))["newest"]
        states.get_or_create(pk=1, defaults={"revision": newest or 0})
    return states.select_for_update().get(pk=1)


def mark_changed(using: str | None = None, **_kwargs: object) -> None:
    """Note that a policy row will change; receives the signals of models and querysets.

    Sent before the row is written: an edit locks the state row first and then the rows, and who
    went the other way about would meet it in a deadlock. The callback is registered on every
    change, as a savepoint that is rolled back takes its own with it, and deduplicated when it
    runs.
    """
    if _under_way() is not None:
        return
    using = using or database()
    states = PolicyState.objects.using(using).filter(pk=1)
    if not states.update(dirty=True):
        lock(using)
        states.update(dirty=True)
    # A function of its own, not a partial: Django reports failures by their __qualname__.
    transaction.on_commit(lambda: publish_pending(using), using=using, robust=True)


def _under_way() -> Edit | None:
    edit = _editing.get()
    return None if edit is None or edit.is_over else edit


def _bring(outer: Edit, guard: Guard | None, check: Check | None) -> None:
    outer.guard = outer.guard or guard
    outer.check = outer.check or check


def _finish(state: PolicyState, here: Edit, using: str) -> None:
    """Compile the rows; insert the revision they make, if any; announce it after commit."""
    rows = document_of_rows(using)
    document = rows if here.document is None else here.document
    announcement = Announcement(str(state.lineage), state.revision + 1, state.key_epoch)
    snapshot = compile_document(document, announcement, timezone.now().timestamp())
    if snapshot.valid_until is not None:
        prove(document)
    if errors := kinds.problems_of(document):
        raise InvalidDocument(errors)
    previous = PolicyRevision.objects.using(using).filter(number=state.revision).first()
    before: Document = previous.document if previous else {"version": VERSION}
    changes = difference(before, document, kinds.keys())
    if changes and here.check is not None:
        # What others have in the draft is theirs, and checked again as it is published.
        here.check(before if here.publish else here.rows or before, document)
    if not here.publish:
        mine = difference(here.rows or before, rows, kinds.keys())
        _keep_draft(state, here, rows, mine, is_one=bool(changes), using=using)
        return
    is_new = bool(changes) or previous is None
    state.dirty, state.revision = rows != document, state.revision + is_new
    if not state.dirty:
        state.draft_edits = []
    # Before anybody is told: who saves a policy then leaves a mark of its own.
    _save(state, using)
    if is_new:
        made = here.revision = _insert(
            state.revision, document, changes, previous, here=here, using=using
        )
        if here.guard is not None:
            guarded.begin(made, here.guard, using)
        revision_made.send(sender=PolicyRevision, revision=made, edit=here, using=using)
        transaction.on_commit(
            lambda: _announce(made, snapshot, announcement), using=using, robust=True
        )


def _keep_draft(
    state: PolicyState,
    here: Edit,
    rows: Document,
    mine: list[dict[str, Any]],
    *,
    is_one: bool,
    using: str,
) -> None:
    """Note who edited the draft, if there is one still, and tell what they changed."""
    if here.guard is not None:
        text = _("A draft refuses nobody: give the guard when it is published.")
        raise InvalidDocument({guarded.REFUSALS: [text]})
    state.dirty = is_one
    state.draft_edits = _noted(state.draft_edits, here, rows) if is_one else []
    _save(state, using)
    if mine:
        draft_saved.send(sender=PolicyState, edit=here, changes=mine, using=using)


def _save(state: PolicyState, using: str) -> None:
    """Save what an edit changes; the key epoch may have been counted up within it."""
    state.save(using=using, update_fields=["revision", "dirty", "draft_edits", "locked_at"])


def _noted(edits: list[dict[str, Any]], here: Edit, rows: Document) -> list[dict[str, Any]]:
    """Add who edited the draft, if they changed it, to who did so before."""
    digest = chain_hash("", rows)
    if edits and edits[-1]["digest"] == digest:
        return edits
    edit = {
        "at": kinds.time_to_text(timezone.now()),
        "actor_type": here.actor.type,
        "actor_name": here.actor.name[:150],
        "source": here.source,
        "reason": here.reason,
        "digest": digest,
    }
    return [*edits, edit][-MAX_DRAFT_EDITS:]


def _insert(
    number: int,
    document: Document,
    changes: list[dict[str, Any]],
    previous: PolicyRevision | None,
    *,
    here: Edit,
    using: str,
) -> PolicyRevision:
    revision = PolicyRevision(
        number=number,
        created_at=timezone.now(),
        actor_type=here.actor.type,
        actor_name=here.actor.name[:150],
        source=here.source,
        reason=here.reason,
        request_id=here.request_id[:128],
        document=document,
        changes=changes,
        previous_hash=previous.hash if previous else "",
    )
    revision.hash = chain_hash(revision.previous_hash, sealed(revision))
    revision.save(using=using)
    return revision


def sealed(revision: PolicyRevision) -> dict[str, object]:
    """Return what a revision's hash is taken of."""
    return {
        "number": revision.number,
        "created_at": kinds.time_to_text(revision.created_at),
        "actor": [revision.actor_type, revision.actor_name],
        "source": revision.source,
        "reason": revision.reason,
        "request_id": revision.request_id,
        "document": revision.document,
        "changes": revision.changes,
    }


def _announce(revision: PolicyRevision, snapshot: Snapshot, announcement: Announcement) -> None:
    logger.info(
        "Policy revision %d published by %s %s, changes: %d",
        revision.number,
        revision.actor_type,
        revision.actor_name,
        len(revision.changes),
    )
    try:
        store.announce(announcement)
    except StoreUnavailable as error:
        logger.info(
            "Revision %d is not announced, others will look for it: %s", revision.number, error
        )
    current.adopt(revision.document, snapshot)
    revision_published.send_robust(sender=PolicyRevision, number=revision.number)
