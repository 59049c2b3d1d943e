"""One document made into rows: each item found by its natural key, checked, and saved whole."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from pulse.core.document import VERSION, Document, Item, canonical, key_of
from pulse.core.snapshot import ENDPOINTS
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds
from pulse.policies.bases import Limit, Policy
from pulse.policies.items import ItemReader, is_same, save, too_costly
from pulse.policies.kinds import Kind, Named, add_error
from pulse.policies.models import RateTier
from pulse.policies.reading import check_storable

#: A row, and what it says.
Stored = tuple[Policy, Item]
#: A row that was read, its limits where it has some, and what it said before; None for a new one.
Prepared = tuple[Policy, list[Limit] | None, Item | None]


class Application(ItemReader):
    """One document on its way into the rows."""

    def __init__(self, document: Document, using: str) -> None:
        super().__init__(using)
        self._document = document
        self._prune = False
        self._places: dict[str, dict[str, int]] = {}
        #: What whoever applies it should know of the rows that it saved.
        self.notices: list[str] = []

    def run(self, before: Document, *, prune: bool) -> None:
        """Save every item that differs; with ``prune``, delete what the document does not name.

        Args:
            before: What the rows say; nobody else edits them meanwhile.
            prune: Delete what is not named.

        Raises:
            InvalidDocument: Something in it cannot be; rows may have been written by then.
        """
        self._prune = prune
        self._check_top()
        unnamed: list[tuple[Kind, list[Policy]]] = []
        for kind in kinds.all_kinds():
            items = self._document.get(kind.name, ())
            is_concerned = bool(before[kind.name] and (items or prune))
            rows = self._rows_of(kind) if is_concerned else {}
            for key in self._apply_kind(kind, items, rows):
                rows.pop(key, None)
            unnamed.append((kind, [row for row, _item in rows.values()]))
        if not self.errors:
            self._check_costs()
        if self.errors:
            raise InvalidDocument(self.errors)
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
            add_error(self.errors, "version", _("Only version 1 is known."))
        for name in self._document:
            if name not in known:
                text = _("Unknown kind. Known are: %s.") % ", ".join(sorted(known))
                add_error(self.errors, str(name), text)
        for kind in kinds.all_kinds():
            if not isinstance(self._document.get(kind.name, []), list):
                add_error(self.errors, kind.name, _("Write a list."))
        if self.errors:
            raise InvalidDocument(self.errors)

    def _rows_of(self, kind: Kind) -> dict[str, Stored]:
        found = ((row, kind.to_item(row)) for row in kind.rows(self._using))
        return {canonical(key_of(was, kind.key)): (row, was) for row, was in found}

    def _apply_kind(
        self, kind: Kind, items: Iterable[Any], rows: Mapping[str, Stored]
    ) -> Iterable[str]:
        seen: dict[str, int] = {}
        prepared: list[Prepared] = []
        read = [self._long_form(kind, item, f"{kind.name}.{n}") for n, item in enumerate(items)]
        self.look_up(kind, [item for item in read if item is not None])
        for place, item in enumerate(read):
            here = f"{kind.name}.{place}"
            if item is None:
                continue
            key = canonical(self._key(kind, item))
            if key in seen:
                add_error(self.errors, here, _("The document names this twice."))
                continue
            seen[key] = place
            there, was = rows.get(key, (None, None))
            prepared.append((*self.read(kind, item, there, here), was))
        if kind.model is RateTier:
            unnamed = [row for key, (row, _was) in rows.items() if key not in seen]
            self._give_default(kind, [row for row, *_rest in prepared], unnamed)
        if not self.errors:
            self._save(kind, prepared)
        self._places[kind.name] = seen
        return seen

    def _long_form(self, kind: Kind, item: Any, place: str) -> Item | None:
        if isinstance(item, str) and kind.short:
            path = item.strip().startswith("/") or "network" not in kind.short
            return {("path" if path and "path" in kind.short else "network"): item}
        if isinstance(item, Mapping):
            return item
        add_error(self.errors, place, _("Write a mapping of fields."))
        return None

    @staticmethod
    def _key(kind: Kind, item: Item) -> dict[str, Any]:
        # As the row will have it: surrounding blanks are not part of a name that is ours.
        return {
            name: value.strip() if isinstance(value, str) and name not in kind.names else str(value)
            for name, value in kind.key_of(item).items()
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
            if not self.errors:
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
            add_error(self.errors, f"{kind.name}.{place}.default", text % others[0])

    def _check_costs(self) -> None:
        places = {
            str(item.get("name")).strip(): number
            for number, item in enumerate(self._document.get(ENDPOINTS, ()))
            if isinstance(item, Mapping)
        }
        for rule, text in too_costly(self._using):
            if not self._prune or rule.name in places:
                place = f"{ENDPOINTS}.{places.get(rule.name, rule.name)}.cost"
                add_error(self.errors, place, text)

    def _save(self, kind: Kind, prepared: list[Prepared]) -> None:
        # The old default gives the mark away before the new one takes it.
        prepared.sort(key=lambda each: bool(getattr(each[0], "default", False)))
        for row, limits, was in prepared:
            if was is None or not is_same(kind, row, limits, was):
                save(row, limits, self._using)
                self.notices += [row.notice] if row.notice else []
