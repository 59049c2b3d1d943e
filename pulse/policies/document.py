"""The policy document at its doors: read from YAML or JSON, applied whole, written out."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import yaml
from django.db import IntegrityError
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from pulse.core.document import VERSION, Change, Document, canonical, difference, key_of
from pulse.core.snapshot import ENDPOINTS
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds, publisher
from pulse.policies.kinds import Errors, Item, Kind, Named, add_error, collect_errors, read_limits
from pulse.policies.models import EndpointLimit, Limit, Policy, RateTier, check_limits

#: Far above what an operator writes by hand, far below what would hurt to parse.
MAX_TEXT: Final = 32 * 1024 * 1024
#: How many names are looked up in one query.
BATCH: Final = 500
#: Ten thousand rules have some 200,000 values.
MAX_VALUES: Final = 5_000_000
MAX_DEPTH: Final = 10
MAX_INT: Final = 2**63 - 1


@dataclass(slots=True)
class Applied:
    """What applying a document did, or would do.

    Attributes:
        revision: The revision in force afterwards; on a dry run the one compared with.
        changed: Whether anything differs.
    """

    revision: int
    changed: bool
    dry_run: bool
    changes: list[Change] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer of the API and of ``--format json``."""
        return {
            "revision": self.revision,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "changes": self.changes,
        }


class _DryRun(Exception):  # noqa: N818
    """Leaves the transaction of a dry run, so that it is rolled back."""


def parse(text: str) -> Document:
    """Read a document from YAML, of which JSON is a part.

    Raises:
        InvalidDocument: The text is not one mapping.
    """
    if len(text) > MAX_TEXT:
        raise InvalidDocument({"document": [_("The document is larger than 32 MB.")]})
    try:
        found = _load_json(text) if text.lstrip().startswith("{") else _load_yaml(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InvalidDocument({"document": [_("It cannot be read: %s") % error]}) from error
    if not isinstance(found, dict):
        raise InvalidDocument({"document": [_("Write a mapping that begins with version: 1.")]})
    return found


def to_yaml(document: Document) -> str:
    """Write a document as YAML, in the order of its kinds."""
    return yaml.safe_dump(
        dict(document), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def apply(
    document: Document,
    actor: publisher.Actor,
    *,
    source: str = "document",
    reason: str = "",
    request_id: str = "",
    prune: bool = False,
    dry_run: bool = False,
) -> Applied:
    """Make the rows what a document says: all of it, or nothing.

    Items are found by natural key and taken whole: a field that an item does not name gets its
    default. What the document does not name stays, unless ``prune`` is set.

    Raises:
        InvalidDocument: Something in it cannot be; every error by its place.
    """
    result: Applied | None = None
    try:
        with publisher.edit(actor, source=source, reason=reason, request_id=request_id) as edit:
            using = publisher.database()
            before = publisher.document_of_rows(using)
            Application(document, using).run(prune=prune)
            after = publisher.document_of_rows(using)
            changes = difference(before, after, kinds.keys())
            result = Applied(_revision(using), bool(changes), dry_run, changes)
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    except (IntegrityError, ProtectedError) as error:
        raise InvalidDocument({"document": [_("It contradicts itself: %s") % error]}) from error
    assert result is not None  # noqa: S101 - set on every way that arrives here
    if edit.revision is not None:
        result.revision = edit.revision.number
    return result


_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """YAML as its readers mean it: ``off`` is a mode and no ``false``, and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Refuse a key that is written twice: of two lists, one would be lost in silence."""
        seen: set[str] = set()
        for key, _value in getattr(node, "value", ()):
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = _("“%s” is written twice") % key.value
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# The booleans of YAML 1.2. In 1.1 yes, no, on and off are booleans too.
_BOOL: Final = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")


def _load_yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            # libyaml's composer recurses in C: 100,000 brackets end the process.
            raise ValueError(_("it is nested too deeply"))
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def _load_json(text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _value in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(_("“%s” is written twice") % twice)
        return found

    return json.loads(text, object_pairs_hook=unique)


def _revision(using: str) -> int:
    return publisher.lock(using).revision


class Application:
    """One document on its way into the rows."""

    def __init__(self, document: Document, using: str) -> None:
        self._document = document
        self._using = using
        self._errors: Errors = {}
        self._prune = False
        self._named: dict[Named, dict[str, Any]] = {}

    def run(self, *, prune: bool) -> None:
        self._prune = prune
        self._check_top()
        unnamed: list[tuple[Kind, list[Policy]]] = []
        for kind in kinds.all_kinds():
            items = self._document.get(kind.name, ())
            rows = {
                canonical(key_of(kind.to_item(row), kind.key)): row
                for row in kind.rows(self._using)
            }
            for key in self._apply_kind(kind, items, rows):
                rows.pop(key, None)
            unnamed.append((kind, list(rows.values())))
        if not self._errors:
            self._check_costs()
        if self._errors:
            raise InvalidDocument(self._errors)
        if prune:
            # What names others goes before what is named.
            for _kind, gone in reversed(unnamed):
                for row in gone:
                    row.delete(using=self._using)

    def _check_top(self) -> None:
        _Storable().check(self._document)
        known = {"version", *(kind.name for kind in kinds.all_kinds())}
        version = self._document.get("version", VERSION)
        if version != VERSION or not isinstance(version, int) or isinstance(version, bool):
            add_error(self._errors, "version", _("Only version 1 is known."))
        for name in self._document:
            if name not in known:
                text = _("Unknown kind. Known are: %s.") % ", ".join(sorted(known))
                add_error(self._errors, str(name), text)
        for kind in kinds.all_kinds():
            if not isinstance(self._document.get(kind.name, []), list):
                add_error(self._errors, kind.name, _("Write a list."))
        if self._errors:
            raise InvalidDocument(self._errors)

    def _apply_kind(
        self, kind: Kind, items: Iterable[Any], rows: Mapping[str, Policy]
    ) -> Iterable[str]:
        seen: set[str] = set()
        prepared: list[tuple[Policy, list[Limit] | None]] = []
        read = [self._long_form(kind, item, f"{kind.name}.{n}") for n, item in enumerate(items)]
        self._look_up(kind, [item for item in read if item is not None])
        for place, item in enumerate(read):
            here = f"{kind.name}.{place}"
            if item is None:
                continue
            key = canonical(self._key(kind, item))
            if key in seen:
                add_error(self._errors, here, _("The document names this twice."))
                continue
            seen.add(key)
            row, limits = self._read(kind, item, rows.get(key), here)
            prepared.append((row, limits))
        if kind.model is RateTier:
            unnamed = [row for key, row in rows.items() if key not in seen]
            self._give_default(kind, [row for row, _limits in prepared], unnamed)
        if not self._errors:
            self._save(kind, prepared, rows)
        return seen

    def _long_form(self, kind: Kind, item: Any, place: str) -> Item | None:
        if isinstance(item, str) and kind.short:
            path = item.strip().startswith("/") or "network" not in kind.short
            return {("path" if path and "path" in kind.short else "network"): item}
        if isinstance(item, Mapping):
            return item
        add_error(self._errors, place, _("Write a mapping of fields."))
        return None

    @staticmethod
    def _key(kind: Kind, item: Item) -> dict[str, Any]:
        # As the row will have it: surrounding blanks are not part of a name that is ours.
        return {
            name: value.strip() if isinstance(value, str) and name not in kind.names else str(value)
            for name, value in key_of(item, kind.key).items()
        }

    def _read(
        self, kind: Kind, item: Item, row: Policy | None, place: str
    ) -> tuple[Policy, list[Limit] | None]:
        values = kind.values(item, self._errors, place)
        row = row if row is not None else kind.model()
        for name in (*kind.fields, *kinds.SHARED):
            column: Any = kind.model._meta.get_field(name)
            value = values.get(name, column.get_default())
            if name in kind.names:
                value = self._find(kind, name, value, f"{place}.{name}")
            elif isinstance(value, str):
                value = value.strip()
            setattr(row, name, value)
        collect_errors(row, kind.names, self._errors, place)
        limits: list[Limit] | None = None
        if kind.limits:
            model: Any = kind.model._meta.get_field("limits").related_model
            cost = getattr(row, "cost", 1)
            items = item.get("limits", [])
            limits = read_limits(model, items, self._errors, f"{place}.limits", cost)
            if getattr(row, "tier_id", None) is not None or not item.get("tier"):
                self._check_limits_named(row, limits, place)
        return row, limits

    def _check_limits_named(self, row: Policy, limits: list[Limit], place: str) -> None:
        text = missing_limits(row, bool(limits))
        if (
            text
            and f"{place}.limits" not in self._errors
            and not any(where.startswith(f"{place}.limits.") for where in self._errors)
        ):
            add_error(self._errors, f"{place}.limits", text)

    def _find(self, kind: Kind, field: str, value: str | None, place: str) -> Any:
        if value is None:
            column: Any = kind.model._meta.get_field(field)
            if not column.null:
                add_error(self._errors, place, _("This is required."))
            return None
        named = kind.names[field]
        row = self._named[named].get(value)
        if row is None and not (self._errors and value in self._defined(named)):
            parts = {"kind": named.model._meta.verbose_name, "name": value}
            add_error(self._errors, place, _("There is no %(kind)s “%(name)s”.") % parts)
        return row

    def _look_up(self, kind: Kind, items: Iterable[Item]) -> None:
        """Find all rows that the items of a kind name, and no others: users may be many."""
        self._named = {}
        for name, named in kind.names.items():
            values = sorted({item[name] for item in items if isinstance(item.get(name), str)})
            manager = named.model._default_manager.using(self._using)
            self._named[named] = {
                getattr(row, named.by): row
                for start in range(0, len(values), BATCH)
                for row in manager.filter(**{f"{named.by}__in": values[start : start + BATCH]})
            }

    def _defined(self, named: Named) -> set[str]:
        """Return the names that the document itself gives, which an error kept from being saved."""
        kind = kinds.kind_of(named.model)
        items = self._document.get(kind.name, ()) if kind else ()
        return {
            name.strip()
            for item in items
            if isinstance(item, Mapping) and isinstance(name := item.get(named.by), str)
        }

    def _give_default(self, kind: Kind, rows: list[Any], unnamed: list[Any]) -> None:
        """See that one tier at most is the default, and that it can take the mark."""
        marked = [row.name for row in rows if row.default is True]
        if not marked:
            return
        others = marked[1:]
        if self._prune:
            pks = [row.pk for row in unnamed]
            if not self._errors:
                tiers = RateTier.objects.using(self._using)
                tiers.filter(pk__in=pks, default=True).update(default=False)
        else:
            others += [row.name for row in unnamed if row.default]
        if others:
            text = _("Another tier is the default. Write “%s” with default: false.")
            place = next(
                number
                for number, item in enumerate(self._document[kind.name])
                if isinstance(item, Mapping) and item.get("default") is True
            )
            add_error(self._errors, f"{kind.name}.{place}.default", text % others[0])

    def _check_costs(self) -> None:
        """Refuse what costs more than the tier that it takes its limits from ever holds."""
        places = {
            str(item.get("name")).strip(): number
            for number, item in enumerate(self._document.get(ENDPOINTS, ()))
            if isinstance(item, Mapping)
        }
        rules = EndpointLimit.objects.using(self._using).filter(tier__isnull=False, cost__gt=1)
        for rule in rules.select_related("tier").prefetch_related("tier__limits"):
            if rule.tier is None or (self._prune and rule.name not in places):
                continue
            for _place, _field, text in check_limits(rule.tier.limits.all(), rule.cost):
                place = f"{ENDPOINTS}.{places.get(rule.name, rule.name)}.cost"
                add_error(self._errors, place, text)

    def _save(
        self,
        kind: Kind,
        prepared: list[tuple[Policy, list[Limit] | None]],
        rows: Mapping[str, Policy],
    ) -> None:
        before = {row.pk: kind.to_item(row) for row in kind.rows(self._using)} if rows else {}
        # The old default gives the mark away before the new one takes it.
        prepared.sort(key=lambda pair: bool(getattr(pair[0], "default", False)))
        for row, limits in prepared:
            was = before.get(row.pk)
            if was is not None and _same(kind, row, limits, was):
                continue
            row.save(using=self._using)
            if limits is not None:
                _replace_limits(kind, row, limits, self._using)


class _Storable:
    """Looks a document over for what no row and no JSON can hold.

    What YAML has beside texts, numbers, lists and mappings is refused, and so is a document that
    its aliases make larger than anybody writes.
    """

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def check(self, value: object, place: str = "", depth: int = 0) -> None:
        """Raise ``InvalidDocument`` at the first such value."""
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InvalidDocument({"document": [_("It has too many values, or too deep ones.")]})
        if isinstance(value, Mapping):
            for name, inner in value.items():
                where = f"{place}.{name}" if place else str(name)
                if not isinstance(name, str) or not _is_storable(name):
                    text = _("%s is no name of a field.") % ascii(name)[:40]
                    raise InvalidDocument({place or "document": [text]})
                self.check(inner, where, depth + 1)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                self.check(inner, f"{place}.{number}", depth + 1)
        elif not _is_storable(value):
            raise InvalidDocument({place or "document": [_("It cannot be stored.")]})


def _is_storable(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= mark <= "\udfff" for mark in value)
    if isinstance(value, int):
        return abs(value) <= MAX_INT
    return value is None or isinstance(value, float | date)


def missing_limits(row: Policy, has_limits: bool) -> str | None:
    """Say what a rule lacks that has no limits, or has them twice; None if it is whole."""
    if isinstance(row, RateTier):
        return None if has_limits else _("A tier has at least one limit, such as {rate: 10/s}.")
    tier = getattr(row, "tier_id", None)
    if has_limits and tier is not None:
        return _("Either limits of its own or those of a tier.")
    if not has_limits and tier is None and not getattr(row, "replaces_tier", False):
        return _("It limits nothing: give it limits, or name a tier.")
    return None


def _same(kind: Kind, row: Policy, limits: list[Limit] | None, was: Item) -> bool:
    item = {name: value for name, value in kind.to_item(row).items() if name != "limits"}
    if item != {name: value for name, value in was.items() if name != "limits"}:
        return False
    return limits is None or [kinds.limit_to_item(limit) for limit in limits] == was["limits"]


def _replace_limits(kind: Kind, row: Any, limits: list[Limit], using: str) -> None:
    row.limits.all().using(using).delete()
    column = kind.model._meta.get_field("limits").field.name  # type: ignore[union-attr]
    for limit in limits:
        setattr(limit, column, row)
    type(row).limits.rel.related_model.objects.using(using).bulk_create(limits)
