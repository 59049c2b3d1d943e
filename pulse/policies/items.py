"""One item made into a row: its values read and checked, what it names looked up, saved whole."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.core.document import Item
from pulse.policies import kinds
from pulse.policies.bases import Limit, Policy
from pulse.policies.consistency import check_limits, missing_limits
from pulse.policies.kinds import Errors, Kind, Named, add_error, collect_errors, read_limits
from pulse.policies.models import EndpointLimit

#: How many names are looked up in one query.
BATCH: Final = 500


class ItemReader:
    """Reads items as unsaved rows.

    Attributes:
        errors: What is wrong with them, by place.
    """

    def __init__(self, using: str) -> None:
        self.errors: Errors = {}
        self._using = using
        self._named: dict[Named, dict[str, Any]] = {}

    def read(
        self, kind: Kind, item: Item, row: Policy | None, place: str
    ) -> tuple[Policy, list[Limit] | None]:
        """Read an item over a row, or a new one; what it names was looked up before.

        Args:
            kind: The item's.
            item: What was written; a field that it does not name gets its default.
            row: The one that it is about; None for a new one.
            place: Where the item stands, for the errors.

        Returns:
            The row, and its limits where the kind has some; neither is saved.
        """
        values = kind.values(item, self.errors, place)
        row = row if row is not None else kind.model()
        for name in (*kind.fields, *kinds.SHARED):
            value = values.get(name, kind.column(name).get_default())
            if name in kind.names:
                value = self._find(kind, name, value, f"{place}.{name}")
            elif isinstance(value, str):
                value = value.strip()
            setattr(row, name, value)
        collect_errors(row, kind.names, self.errors, place)
        limits: list[Limit] | None = None
        if kind.limits:
            cost = getattr(row, "cost", 1)
            items = item.get("limits", [])
            limits = read_limits(kind.limits, items, self.errors, f"{place}.limits", cost)
            if getattr(row, "tier_id", None) is not None or not item.get("tier"):
                self._check_limits_named(row, limits, place)
        return row, limits

    def _check_limits_named(self, row: Policy, limits: list[Limit], place: str) -> None:
        text = missing_limits(row, has_limits=bool(limits))
        if (
            text
            and f"{place}.limits" not in self.errors
            and not any(where.startswith(f"{place}.limits.") for where in self.errors)
        ):
            add_error(self.errors, f"{place}.limits", text)

    def _find(self, kind: Kind, field: str, value: str | None, place: str) -> Any:
        if value is None:
            if not kind.column(field).null:
                add_error(self.errors, place, _("This is required."))
            return None
        named = kind.names[field]
        row = self._named[named].get(value)
        if row is None and not (self.errors and value in self._defined(named)):
            parts = {"kind": named.model._meta.verbose_name, "name": value}
            add_error(self.errors, place, _("There is no %(kind)s “%(name)s”.") % parts)
        return row

    def look_up(self, kind: Kind, items: Iterable[Item]) -> None:
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

    def _defined(self, named: Named) -> set[str]:  # noqa: ARG002 - for those who know of some
        """Return the names that will be given to rows, which an error kept from being saved."""
        return set()


def is_same(kind: Kind, row: Policy, limits: list[Limit] | None, was: Item) -> bool:
    """Whether a row that was read is what was there before."""
    item = {name: value for name, value in kind.to_item(row).items() if name != "limits"}
    if item != {name: value for name, value in was.items() if name != "limits"}:
        return False
    return limits is None or [kinds.limit_to_item(limit) for limit in limits] == was["limits"]


def save(row: Policy, limits: list[Limit] | None, using: str) -> None:
    """Save a row that was read, with its limits."""
    had_limits = not row._state.adding
    row.save(using=using)
    if limits is None:
        return
    related: Any = row.limits  # type: ignore[attr-defined]  # of those kinds that have limits
    if had_limits:
        related.all().using(using).delete()
    for limit in limits:
        setattr(limit, related.field.name, row)
    related.model.objects.using(using).bulk_create(limits)


def too_costly(using: str) -> Iterator[tuple[EndpointLimit, str]]:
    """Find rules that cost more than the tier that they take their limits from ever holds."""
    rules = EndpointLimit.objects.using(using).filter(tier__isnull=False, cost__gt=1)
    for rule in rules.select_related("tier").prefetch_related("tier__limits"):
        if rule.tier is not None:
            for _place, _field, text in check_limits(rule.tier.limits.all(), rule.cost):
                yield rule, text
