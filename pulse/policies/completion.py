"""A document written out without rows: checked as ``apply`` checks it, every default in place."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pulse.core.document import VERSION, Document, Item, canonical, key_of
from pulse.core.snapshot import ENDPOINTS
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds
from pulse.policies.application import Application, Prepared
from pulse.policies.bases import Limit, Policy
from pulse.policies.consistency import check_limits
from pulse.policies.kinds import Kind, add_error, limit_to_item
from pulse.policies.models import EndpointLimit, RateTier


def complete(document: Document) -> Document:
    """Return the document that ``apply`` to an empty database would publish. Queries nothing.

    What the document names of its own (a tier) must be in it; what it names of others (a user,
    a group) is taken as given.

    Raises:
        InvalidDocument: Something in it cannot be; every error by its place.
    """
    return _Completion(document).complete()


class _Completion(Application):
    """One document on its way past the rows."""

    def __init__(self, document: Document) -> None:
        super().__init__(document, using="")
        self._items: dict[str, list[dict[str, Any]]] = {}
        self._limits_of: dict[str, list[Limit]] = {}

    def complete(self) -> Document:
        self._check_top()
        for kind in kinds.all_kinds():
            self._apply_kind(kind, self._document.get(kind.name, ()), {})
        if self.errors:
            raise InvalidDocument(self.errors)
        whole = {"version": VERSION, **self._items}
        self.check(whole)
        return whole

    def look_up(self, kind: Kind, items: Iterable[Item]) -> None:
        """Make an unsaved row for each name, where there can be one."""
        self._named = {}
        for field, named in kind.names.items():
            values = {item[field] for item in items if isinstance(item.get(field), str)}
            own = any(other.model is named.model for other in kinds.all_kinds())
            if own:
                values &= self._defined(named)
            rows: dict[str, Any] = {value: named.model(**{named.by: value}) for value in values}
            for row in rows.values():
                # What is not saved has no key, and a rule would take it for nobody.
                row.pk = row.pk or 1
            self._named[named] = rows

    def _save(self, kind: Kind, prepared: list[Prepared]) -> None:
        """Write the rows down as items, in the order in which revisions keep them."""
        items = [_to_item(kind, row, limits) for row, limits, _was in prepared]
        self._items[kind.name] = sorted(items, key=lambda item: canonical(key_of(item, kind.key)))
        for place, (row, limits, _was) in enumerate(prepared):
            if isinstance(row, RateTier):
                self._limits_of[row.name] = limits or []
            elif isinstance(row, EndpointLimit) and row.tier is not None:
                for _place, _field, text in check_limits(self._limits_of[row.tier.name], row.cost):
                    add_error(self.errors, f"{ENDPOINTS}.{place}.cost", text)


def _to_item(kind: Kind, row: Policy, limits: Iterable[Limit] | None) -> dict[str, Any]:
    # An unsaved row has no relations to read the limits from.
    item = replace(kind, limits=None).to_item(row)
    if limits is None:
        return item
    return {**item, "limits": [limit_to_item(limit) for limit in limits]}
