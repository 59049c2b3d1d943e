"""One document made into rows: each item found by its natural key, checked, and saved whole."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.core.document import VERSION, Document, Item, canonical, key_of
from pulse.core.snapshot import ENDPOINTS
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds
from pulse.policies.bases import Limit, Policy
from pulse.policies.consistency import check_limits, missing_limits
from pulse.policies.kinds import Errors, Kind, Named, add_error, collect_errors, read_limits
from pulse.policies.models import EndpointLimit, RateTier
from pulse.policies.reading import check_storable

#: How many names are looked up in one query.
BATCH: Final = 500


class Application:
    """One document on its way into the rows."""

    def __init__(self, document: Document, using: str) -> None:
        self._document = document
        self._using = using
        self._errors: Errors = {}
        self._prune = False
        self._named: dict[Named, dict[str, Any]] = {}
        self._places: dict[str, dict[str, int]] = {}

    def run(self, *, prune: bool) -> None:
        """Save every item that differs; with ``prune``, delete what the document does not name.

        Raises:
            InvalidDocument: Something in it cannot be; rows may have been written by then.
        """
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

    def check(self, whole: Document) -> None:
        """Look over what came of it, told by the places of the document that was written.

        Raises:
            InvalidDocument: Items do not go together.
        """
        errors = kinds.problems_of(whole, self._places)
        if errors:
            raise InvalidDocument(errors)

    def _check_top(self) -> None:
        if not isinstance(self._document, Mapping):
            raise InvalidDocument({"document": [_("Write a mapping that begins with version: 1.")]})
        check_storable(self._document)
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
        seen: dict[str, int] = {}
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
            seen[key] = place
            row, limits = self._read(kind, item, rows.get(key), here)
            prepared.append((row, limits))
        if kind.model is RateTier:
            unnamed = [row for key, row in rows.items() if key not in seen]
            self._give_default(kind, [row for row, _limits in prepared], unnamed)
        if not self._errors:
            self._save(kind, prepared, rows)
        self._places[kind.name] = seen
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
            for name, value in kind.key_of(item).items()
        }

    def _read(
        self, kind: Kind, item: Item, row: Policy | None, place: str
    ) -> tuple[Policy, list[Limit] | None]:
        values = kind.values(item, self._errors, place)
        row = row if row is not None else kind.model()
        for name in (*kind.fields, *kinds.SHARED):
            value = values.get(name, kind.column(name).get_default())
            if name in kind.names:
                value = self._find(kind, name, value, f"{place}.{name}")
            elif isinstance(value, str):
                value = value.strip()
            setattr(row, name, value)
        collect_errors(row, kind.names, self._errors, place)
        limits: list[Limit] | None = None
        if kind.limits:
            cost = getattr(row, "cost", 1)
            items = item.get("limits", [])
            limits = read_limits(kind.limits, items, self._errors, f"{place}.limits", cost)
            if getattr(row, "tier_id", None) is not None or not item.get("tier"):
                self._check_limits_named(row, limits, place)
        return row, limits

    def _check_limits_named(self, row: Policy, limits: list[Limit], place: str) -> None:
        text = missing_limits(row, has_limits=bool(limits))
        if (
            text
            and f"{place}.limits" not in self._errors
            and not any(where.startswith(f"{place}.limits.") for where in self._errors)
        ):
            add_error(self._errors, f"{place}.limits", text)

    def _find(self, kind: Kind, field: str, value: str | None, place: str) -> Any:
        if value is None:
            if not kind.column(field).null:
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
                _replace_limits(row, limits, self._using)


def _same(kind: Kind, row: Policy, limits: list[Limit] | None, was: Item) -> bool:
    item = {name: value for name, value in kind.to_item(row).items() if name != "limits"}
    if item != {name: value for name, value in was.items() if name != "limits"}:
        return False
    return limits is None or [kinds.limit_to_item(limit) for limit in limits] == was["limits"]


def _replace_limits(row: Any, limits: list[Limit], using: str) -> None:
    related = row.limits
    related.all().using(using).delete()
    for limit in limits:
        setattr(limit, related.field.name, row)
    related.model.objects.using(using).bulk_create(limits)
