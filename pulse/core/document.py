"""The policy document as plain values: its canonical text, and the difference of two."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pulse.core.effects import effect_of

VERSION: Final = 1

Item = Mapping[str, Any]
Document = Mapping[str, Any]
Change = dict[str, Any]


def canonical(value: object) -> str:
    """Write a value as JSON in the one form that its hash is taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def chain_hash(previous: str, content: Mapping[str, object]) -> str:
    """Return the SHA-256 that binds a revision to the one before."""
    return hashlib.sha256(f"{previous}\n{canonical(content)}".encode()).hexdigest()


def key_of(item: Item, names: Sequence[str]) -> dict[str, Any]:
    """Return the natural key of an item: those of its key fields that it has."""
    return {name: item[name] for name in names if item.get(name) not in (None, "")}


def difference(
    before: Document, after: Document, keys: Mapping[str, Sequence[str]]
) -> list[Change]:
    """List what leads from one document to another.

    Args:
        before: A whole document, defaults written out.
        after: Another.
        keys: The natural key fields of each kind, in the order of the report.

    Returns:
        One change an item: ``kind``, ``key``, ``action`` (``create``, ``update``,
        ``delete``), ``effect`` (see ``core.effects``) and ``fields`` with ``before`` and
        ``after`` of those that differ.
    """
    changes: list[Change] = []
    for kind, names in keys.items():
        old = {canonical(key_of(item, names)): item for item in before.get(kind, ())}
        new = {canonical(key_of(item, names)): item for item in after.get(kind, ())}
        for key in sorted(old.keys() | new.keys()):
            one, other = old.get(key), new.get(key)
            if one == other:
                continue
            action = "create" if one is None else "delete" if other is None else "update"
            item = other if other is not None else one
            changes.append(
                {
                    "kind": kind,
                    "key": key_of(item or {}, names),
                    "action": action,
                    "effect": effect_of(kind, one, other).value,
                    "fields": _fields(one or {}, other or {}),
                }
            )
    return changes


def take_back(
    document: Document, made: Document, before: Document, keys: Mapping[str, Sequence[str]]
) -> Document:
    """Return a document without what one edit made of it; what was changed since then stays.

    A field goes back to what it was unless it is something else by now; a row that the edit
    deleted comes back unless there is one of its key; one that it added goes unless it was changed
    since, its description apart.

    Args:
        document: A later document, or the one that was made.
        made: What the edit made of ``before``.
        before: The document before the edit.
        keys: The natural key fields of each kind.
    """
    kept = dict(document)
    for kind, names in keys.items():
        was, new, now = (
            {canonical(key_of(item, names)): item for item in whole.get(kind, ())}
            for whole in (before, made, document)
        )
        touched = [key for key in was.keys() | new.keys() if was.get(key) != new.get(key)]
        for key in touched:
            if key not in was:
                if key in now and _but_for_words(now[key]) == _but_for_words(new[key]):
                    del now[key]
            elif key not in new:
                now.setdefault(key, was[key])
            elif key in now:
                now[key] = _taken_back(now[key], was[key], new[key])
        if touched:
            kept[kind] = [now[key] for key in sorted(now)]
    return kept


def _taken_back(now: Item, was: Item, new: Item) -> Item:
    """Give each field that an edit changed, added or cleared what it was, unless it was since."""
    names = dict.fromkeys([*now, *was])  # An item leaves out what is empty.
    untouched = {name for name in names if now.get(name) == new.get(name)}
    found = {name: (was if name in untouched else now).get(name) for name in names}
    return {name: value for name, value in found.items() if value is not None or name in was}


def _but_for_words(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "description"}


def _fields(before: Item, after: Item) -> dict[str, dict[str, Any]]:
    return {
        name: {"before": before.get(name), "after": after.get(name)}
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name) != after.get(name)
    }
