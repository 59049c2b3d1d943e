"""The policy document at its doors: read from YAML or JSON, applied whole, written out."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from django.db import IntegrityError
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from pulse.core.document import Change, Document, difference
from pulse.exceptions import InvalidDocument
from pulse.policies import headers, kinds, publisher, reading
from pulse.policies.application import Application
from pulse.policies.consistency import still_used
from pulse.policies.guarded import Guard

logger = logging.getLogger(__name__)

#: What the audit calls it, by whichever door the document came.
APPLIED: Final = "policy.apply"


#: In C where there is libyaml: ten times as fast.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(slots=True)
class Applied:
    """What applying a document did, or would do.

    Attributes:
        revision: The revision in force afterwards; on a dry run the one compared with.
        changed: Whether anything differs.
        draft: It is saved, and in force once someone publishes.
        warnings: What it begins that cannot be taken back, and what it leaves to do.
        document: What the rows say, or would say, afterwards.
    """

    revision: int
    changed: bool
    dry_run: bool
    changes: list[Change] = field(default_factory=list)
    draft: bool = False
    warnings: list[str] = field(default_factory=list)
    document: Document = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer of the API and of ``--format json``."""
        return {
            "revision": self.revision,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "changes": self.changes,
        }


class _DryRun(Exception):
    """Leaves the transaction of a dry run, so that it is rolled back, with what came of it."""

    def __init__(self, applied: Applied) -> None:
        super().__init__()
        self.applied = applied


def parse(text: str) -> Document:
    """Read a document from YAML, of which JSON is a part.

    Raises:
        InvalidDocument: The text is not one mapping.
    """
    found = reading.load(text)
    if not isinstance(found, dict):
        raise InvalidDocument({"document": [_("Write a mapping that begins with version: 1.")]})
    return found


def to_yaml(document: Document) -> str:
    """Write a document as YAML, in the order of its kinds."""
    written: str = yaml.dump(
        dict(document),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return written


def apply(
    document: Document | Callable[[], Document],
    actor: publisher.Actor,
    *,
    source: str = "document",
    reason: str = "",
    request_id: str = "",
    prune: bool = False,
    dry_run: bool = False,
    guard: Guard | None = None,
    check: publisher.Check | None = None,
) -> Applied:
    """Make the rows what a document says: all of it, or nothing.

    Items are found by natural key and taken whole: a field that an item does not name gets its
    default. What the document does not name stays, unless ``prune`` is set.

    Args:
        document: What to apply; or what writes it, by rows that nobody else edits meanwhile.
        actor: Who.
        source: By which door.
        reason: Why.
        request_id: Of which request.
        prune: Delete what the document does not name.
        dry_run: Only tell.
        guard: The budget of refusals that the revision is watched with.
        check: Asked before it is saved, not on a dry run.

    Raises:
        InvalidDocument: Something in it cannot be; every error by its place.
        LockOut: The check refuses it.
    """
    try:
        with publisher.edit(
            actor, source=source, reason=reason, request_id=request_id, guard=guard, check=check
        ) as edit:
            if source == "document":
                edit.deed = edit.deed or APPLIED
            written = document() if callable(document) else document
            if prune and not written:
                # A file that was cut off, or a body that got lost, means nothing of the kind.
                text = _("An empty document would remove everything. Write version: 1 to mean it.")
                raise InvalidDocument({"document": [text]})
            applied = _apply(written, prune=prune, dry_run=dry_run)
    except _DryRun as done:
        return done.applied
    except ProtectedError as error:
        raise InvalidDocument({"document": [still_used(error)]}) from error
    except IntegrityError as error:
        raise InvalidDocument({"document": [_("It contradicts itself: %s") % error]}) from error
    if edit.revision is not None:
        applied.revision = edit.revision.number
    applied.draft = applied.changed and not edit.publish
    return applied


def _apply(document: Document, *, prune: bool, dry_run: bool) -> Applied:
    using = publisher.database()
    before = publisher.document_of_rows(using)
    application = Application(document, using)
    application.run(before, prune=prune)
    after = publisher.document_of_rows(using)
    application.check(after)
    changes = difference(before, after, kinds.keys())
    applied = Applied(publisher.lock(using).revision, bool(changes), dry_run, changes)
    applied.warnings = [*headers.new_holds(before, after), *application.notices]
    applied.document = after
    if dry_run:
        raise _DryRun(applied)
    for notice in application.notices:
        logger.warning(notice)
    return applied
