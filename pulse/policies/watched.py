"""Which rules a guard watches: those that its revision changed, and nobody has changed again."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pulse.core.access import ACCESS
from pulse.core.document import Change, Document, difference, key_of, take_back
from pulse.core.snapshot import ENDPOINTS, TIERS
from pulse.policies import kinds

RULES: Final = (TIERS, ENDPOINTS, ACCESS)
#: What refuses nobody itself, and sends clients to other rules: those are watched in its stead.
STEERING: Final[Mapping[str, tuple[str, ...]]] = {
    "tier_assignments": (TIERS,),
    "exemptions": (TIERS, ENDPOINTS),
    "trusted_proxies": RULES,
}
#: Changes of other kinds make no request be refused.
KINDS: Final = frozenset({*RULES, *STEERING})


def rules_watched(document: Document, made: Document, before: Document) -> frozenset[str]:
    """Name the rules whose refusals under ``document`` are those of an earlier edit.

    Args:
        document: What was decided by: ``made`` or a later one.
        made: What the edit made of ``before``.
        before: The document before the edit.
    """
    without = take_back(document, made, before, kinds.keys())
    return rules_touched(difference(without, document, kinds.keys()), document)


def rules_touched(changes: Iterable[Change], document: Document) -> frozenset[str]:
    """Name the rules of a document that changes touch, as refusals are counted by them."""
    found: set[str] = set()
    for change in changes:
        kind = change["kind"]
        if kind in RULES:
            found.add(_name(kind, change["key"]))
        if kind == TIERS:
            tier = change["key"].get("name")
            found.update(
                _name(ENDPOINTS, item)
                for item in document.get(ENDPOINTS, ())
                if item.get("tier") == tier
            )
        for steered in STEERING.get(kind, ()):
            found.update(_name(steered, item) for item in document.get(steered, ()))
    return frozenset(found)


def _name(kind: str, item: Mapping[str, Any]) -> str:
    known = kinds.find_kind(kind)
    key = key_of(item, known.key if known else ())
    return f"{kind}:{' '.join(map(str, key.values()))}"
