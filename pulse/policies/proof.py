"""Which policy rows make no policy, and why: what was written past every validator.

A publication takes all rows or none, so that one of them keeps every later edit from being
published, and only the whole is told of then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pulse.core.document import VERSION, Document, Item, key_of
from pulse.core.snapshot import TIERS
from pulse.exceptions import InvalidDocument, PolicyError
from pulse.policies import kinds
from pulse.policies.compiler import prove
from pulse.policies.kinds import Kind


@dataclass(frozen=True, slots=True)
class Fault:
    """What makes no policy.

    Attributes:
        kind: Its kind in the document; empty where it is none of the rows by itself.
        name: Its natural key in words.
        reason: What is wrong with it.
    """

    kind: str
    name: str
    reason: str

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"the row {self.name} of {self.kind}" if self.kind else "all rows together"


def faults(using: str) -> Iterator[Fault]:
    """Find the rows that cannot be read or compiled; none where all can be published.

    One query a kind and one compilation; where these fail, one for each row.

    Raises:
        django.db.DatabaseError: The rows cannot be asked for.
    """
    document: dict[str, Any] = {"version": VERSION}
    broken = False
    for kind in kinds.all_kinds():
        items, unread = _items(kind, using)
        document[kind.name] = items
        broken = broken or bool(unread)
        yield from unread
    try:
        prove(document)
    except InvalidDocument as error:
        found = list(_uncompiled(document))
        if not found and not broken:
            found = [Fault("", "", _words(error))]
        yield from found


def _items(kind: Kind, using: str) -> tuple[list[Item], list[Fault]]:
    """Read the rows of a kind, each by itself where all at once cannot be read."""
    try:
        return [kind.to_item(row) for row in kind.rows(using)], []
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        pass  # As of JSON or a time that is none, which SQLite keeps all the same.
    items: list[Item] = []
    unread: list[Fault] = []
    rows = kind.model._default_manager.using(using)
    for pk in rows.order_by("pk").values_list("pk", flat=True):
        try:
            items.append(kind.to_item(rows.get(pk=pk)))
        except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
            unread.append(Fault(kind.name, f"id {pk}", f"{type(error).__name__}: {error}"))
    return items, unread


def _uncompiled(document: Document) -> Iterator[Fault]:
    """Compile each item alone, with the tier that it names if that can be compiled."""
    tiers: dict[str, Item] = {}
    for kind in kinds.all_kinds():
        for item in document[kind.name]:
            tier = item.get("tier")
            if tier is not None and tier not in tiers:
                continue  # What is wrong is said of the tier.
            named = [] if tier is None else [tiers[tier]]
            try:
                prove({"version": VERSION, TIERS: named, kind.name: [item]})
            except InvalidDocument as error:
                key = key_of(item, kind.key)
                yield Fault(kind.name, " ".join(map(str, key.values())), _words(error))
            else:
                if kind.name == TIERS:
                    tiers[item["name"]] = item


def _words(error: InvalidDocument) -> str:
    """Say what is wrong as whoever found it does."""
    cause = error.__cause__
    if isinstance(cause, PolicyError):
        return str(cause)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}"
    return " ".join(text for texts in error.errors.values() for text in texts)
