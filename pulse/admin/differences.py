"""The difference of two policies, as a table that people read."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from pulse.core.effects import Effect
from pulse.policies import kinds, words

NOTHING: Final = "-"
MAX_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Field:
    """One field that differs."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Badge:
    """An effect in a word, beside a shape and a colour."""

    effect: str
    shape: str
    word: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One row of the policy that differs.

    Attributes:
        action: ``create``, ``update`` or ``delete``; ``verb`` says it, ``sign`` shows it.
        words: What a row does that was added or deleted.
        effect: Whether it tightens or loosens; None where that is not known.
    """

    action: str
    verb: str
    sign: str
    title: str
    words: str
    fields: tuple[Field, ...]
    effect: "Badge | None" = None


def differences(changes: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Write changes, as revisions keep them, for people."""
    return [_difference(change) for change in list(changes)[:MAX_SHOWN]]


def effects(changes: Iterable[Mapping[str, Any]]) -> list[tuple[Badge, int]]:
    """Count changes by their effect; what has none known is left out."""
    counts = Counter(change.get("effect") for change in changes)
    found = ((_badge(effect), counts[effect]) for effect in Effect)
    return [(badge, count) for badge, count in found if badge is not None and count]


def kind_name(name: str) -> str:
    """Return what a kind of policy is called; one that there is no more as it was written."""
    kind = kinds.find_kind(name)
    return capfirst(str(kind.model._meta.verbose_name)) if kind else name


def _badge(effect: str | None) -> Badge | None:
    looks = {
        Effect.TIGHTENS: ("▲", _("Tightens")),
        Effect.LOOSENS: ("▽", _("Loosens")),
        Effect.MIXED: ("◆", _("Mixed")),
        Effect.NEUTRAL: ("○", _("Neutral")),
    }
    found = looks.get(Effect(effect)) if effect in tuple(Effect) else None
    return None if found is None else Badge(str(effect), *found)


def _difference(change: Mapping[str, Any]) -> Difference:
    action = change["action"]
    verb, sign = {
        "create": (_("Added"), "+"),
        "delete": (_("Deleted"), "-"),
    }.get(action, (_("Changed"), "±"))
    kind = kinds.find_kind(change["kind"])
    name = kind_name(change["kind"])
    key = ", ".join(str(value) for value in change["key"].values())
    fields = tuple(
        Field(_label(kind, field), _show(field, pair["before"]), _show(field, pair["after"]))
        for field, pair in change["fields"].items()
        if action == "update" or _show(field, pair["before"]) != _show(field, pair["after"])
    )
    effect = _badge(change.get("effect"))
    return Difference(action, verb, sign, f"{name} {key}", _words(change), fields, effect)


def _words(change: Mapping[str, Any]) -> str:
    """Say what a row does, where the change has the whole of it."""
    if change["action"] == "update":
        return ""
    side = "after" if change["action"] == "create" else "before"
    item = {name: pair[side] for name, pair in change["fields"].items()}
    try:
        return words.describe(change["kind"], item)
    except (KeyError, TypeError):  # Kept by an older version, whose items had other fields.
        return ""


def _label(kind: kinds.Kind | None, name: str) -> str:
    if name == "limits" or kind is None:
        return _("limits") if name == "limits" else name
    return str(getattr(kind.model._meta.get_field(name), "verbose_name", name))


def _show(name: str, value: Any) -> str:
    if value is None or value in ("", []):
        return NOTHING
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if name == "limits":
        return "; ".join(_show_limit(limit) for limit in value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _show_limit(limit: Mapping[str, Any]) -> str:
    if limit["algorithm"] == "fixed_window":
        return _("%(rate)s window") % dict(limit)
    return _("%(rate)s, %(burst)s at once") % dict(limit)
