"""The policy document at its doors: read from YAML or JSON, applied whole, written out."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from django.db import IntegrityError, models
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from pulse.core.document import VERSION, Change, Document, canonical, difference, key_of
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds, publisher
from pulse.policies.kinds import Errors, Item, Kind, add_error, collect_errors, read_limits
from pulse.policies.models import Limit, Policy, RateTier

#: Far above what an operator writes by hand, far below what would hurt to parse.
MAX_TEXT: Final = 32 * 1024 * 1024


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
        found = json.loads(text) if text.lstrip().startswith("{") else _load_yaml(text)
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
            _Application(document, using).run(prune=prune)
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


def _load_yaml(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506 - one of the two safe loaders


def _revision(using: str) -> int:
    return publisher.lock(using).revision


class _Application:
    """One document on its way into the rows."""

    def __init__(self, document: Document, using: str) -> None:
        self._document = document
        self._using = using
        self._errors: Errors = {}
        self._named: dict[type[models.Model], dict[str, Any]] = {}

    def run(self, *, prune: bool) -> None:
        self._check_top()
        unnamed: list[tuple[Kind, list[Policy]]] = []
        for kind in kinds.all_kinds():
            items = self._document.get(kind.name, ())
            rows = {canonical(key_of(kind.to_item(row), kind.key)): row for row in kind.rows(self._using)}
            for key in self._apply_kind(kind, items, rows):
                rows.pop(key, None)
            unnamed.append((kind, list(rows.values())))
        if self._errors:
            raise InvalidDocument(self._errors)
        if prune:
            # What names others goes before what is named.
            for kind, gone in reversed(unnamed):
                for row in gone:
                    row.delete(using=self._using)

    def _check_top(self) -> None:
        known = {"version", *(kind.name for kind in kinds.all_kinds())}
        if self._document.get("version", VERSION) != VERSION:
            add_error(self._errors, "version", _("Only version 1 is known."))
        for name in self._document:
            if name not in known:
                add_error(self._errors, str(name), _("Unknown kind. Known are: %s.") % ", ".join(sorted(known)))
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
        for place, item in enumerate(items):
            here = f"{kind.name}.{place}"
            item = self._long_form(kind, item, here)
            if item is None:
                continue
            key = canonical(self._key(kind, item))
            if key in seen:
                add_error(self._errors, here, _("The document names this twice."))
                continue
            seen.add(key)
            row, limits = self._read(kind, item, rows.get(key), here)
            prepared.append((row, limits))
        if not self._errors:
            self._save(kind, prepared, rows)
        return seen

    def _long_form(self, kind: Kind, item: Any, place: str) -> Item | None:
        if isinstance(item, str) and kind.short:
            path = item.startswith("/") or "network" not in kind.short
            return {("path" if path and "path" in kind.short else "network"): item}
        if isinstance(item, Mapping):
            return item
        add_error(self._errors, place, _("Write a mapping of fields."))
        return None

    @staticmethod
    def _key(kind: Kind, item: Item) -> dict[str, Any]:
        # As the row will have it: surrounding blanks are not part of a name.
        return key_of(
            {name: value.strip() if isinstance(value, str) else value for name, value in item.items()},
            kind.key,
        )

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
            limits = read_limits(
                model, item.get("limits", []), self._errors, f"{place}.limits", getattr(row, "cost", 1)
            )
            self._check_limits_named(kind, item, row, limits, place)
        return row, limits

    def _check_limits_named(
        self, kind: Kind, item: Item, row: Policy, limits: list[Limit], place: str
    ) -> None:
        text = missing_limits(row, bool(limits))
        if text and f"{place}.limits" not in self._errors and not any(
            where.startswith(f"{place}.limits.") for where in self._errors
        ):
            add_error(self._errors, f"{place}.limits", text)

    def _find(self, kind: Kind, field: str, value: str | None, place: str) -> Any:
        if value is None:
            column: Any = kind.model._meta.get_field(field)
            if not column.null:
                add_error(self._errors, place, _("This is required."))
            return None
        named = kind.names[field]
        if named.model not in self._named:
            found = named.model._default_manager.using(self._using).all()
            self._named[named.model] = {getattr(row, named.by): row for row in found}
        row = self._named[named.model].get(value)
        if row is None:
            name = named.model._meta.verbose_name
            add_error(self._errors, place, _("There is no %(kind)s “%(name)s”.") % {"kind": name, "name": value})
        return row

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
        if kind.model in self._named or any(kind.model is n.model for k in kinds.all_kinds() for n in k.names.values()):
            self._named.pop(kind.model, None)


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
