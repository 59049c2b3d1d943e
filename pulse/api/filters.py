"""Filters by any scalar column, a search, and an order; read as strictly as other parameters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from django.db import models
from django.db.models import F, Model, Q, QuerySet
from django.db.models.expressions import OrderBy
from django.utils.translation import gettext as _

from pulse.api import parameters
from pulse.api.parameters import Parameter

#: Columns whose values can be compared with a text, a number or a time.
TEXTS: Final = (models.CharField, models.TextField)
WHOLES: Final = (models.IntegerField,)
NUMBERS: Final = (models.FloatField, models.DecimalField)
MOST: Final = {"PositiveSmallIntegerField": 32767, "SmallIntegerField": 32767}
MOST_BIG: Final = 2**63 - 1
MOST_ORDERS: Final = 5


@dataclass(frozen=True)
class Filters:
    """What a list can be narrowed and ordered by.

    Attributes:
        lookups: Of Django, by the name of the parameter.
        parameters: Those that a query may have.
        searched: In which columns ``search`` looks.
        orders: Columns by the names that ``ordering`` knows.
    """

    lookups: Mapping[str, str]
    parameters: Sequence[Parameter]
    searched: Sequence[str]
    orders: Mapping[str, str]

    def apply(self, rows: QuerySet[Any], query: Mapping[str, Any]) -> QuerySet[Any]:
        """Narrow rows down, and order them totally where a query says how."""
        found = {
            lookup: query[name]
            for name, lookup in self.lookups.items()
            if query.get(name) is not None
        }
        rows = rows.filter(**found)
        if query.get("search"):
            either = Q()
            for column in self.searched:
                either |= Q(**{f"{column}__icontains": query["search"]})
            rows = rows.filter(either)
        if query.get("ordering"):
            rows = rows.order_by(*map(_order, query["ordering"]), "pk")
        return rows


@lru_cache(maxsize=64)
def filters_of(
    model: type[Model],
    names: tuple[str, ...],
    named: tuple[tuple[str, str], ...] = (),
    searched: tuple[str, ...] = (),
    *,
    ordered: bool = True,
) -> Filters:
    """Make the filters of a model.

    Args:
        model: Whose columns.
        names: Of the columns that may be asked for; those that hold no scalar are left out.
        named: Columns that name another row, and the lookup of its natural key, such as
            ``("tier", "tier__name")``.
        searched: The columns of ``search``; none: there is no search.
        ordered: Whether the order can be chosen; a list by cursor has one order.
    """
    lookups: dict[str, str] = {}
    found: list[Parameter] = []
    orders: dict[str, str] = {}
    naming = dict(named)
    for name in names:
        lookup = naming.get(name, name)
        column = _column(model, lookup)
        made = _of_column(name, column)
        if not made:
            continue
        orders[name] = lookup
        for parameter, suffix in made:
            lookups[parameter.name] = f"{lookup}{suffix}"
            found.append(parameter)
    if searched:
        found.append(parameters.text("search", "Words that a row has in its texts."))
    if ordered:
        found.append(_ordering(orders))
    return Filters(lookups, tuple(found), searched, orders)


def _of_column(name: str, column: "models.Field[Any, Any]") -> Iterable[tuple[Parameter, str]]:
    if isinstance(column, models.DateTimeField):
        return [
            (parameters.moment(name, f"Rows whose {name} is this."), ""),
            (parameters.moment(f"{name}_after", f"Rows whose {name} is later."), "__gt"),
            (parameters.moment(f"{name}_before", f"Rows whose {name} is earlier."), "__lt"),
        ]
    one = _of_scalar(name, column, f"Rows whose {name} is this.")
    return [] if one is None else [(one, "")]


def _of_scalar(name: str, column: "models.Field[Any, Any]", about: str) -> Parameter | None:
    kind = column.get_internal_type()
    found = None
    if isinstance(column, models.BooleanField):
        found = replace(parameters.flag(name, about), default=None)
    elif column.choices:
        known = [str(value) for value, _label in column.flatchoices if value not in (None, "")]
        found = parameters.choice(name, about, known)
    elif isinstance(column, WHOLES):
        most = MOST_BIG if "Big" in kind else MOST.get(kind, parameters.MAX_WHOLE)
        found = parameters.whole(name, about, 0 if kind.startswith("Positive") else -most, most)
    elif isinstance(column, NUMBERS):
        found = parameters.number(name, about)
    elif isinstance(column, TEXTS):
        found = parameters.text(name, about)
    return found


def _order(name: str) -> OrderBy:
    """Order by a column; what has no value is the least, in every database."""
    if name.startswith("-"):
        return F(name[1:]).desc(nulls_last=True)
    return F(name).asc(nulls_first=True)


def _ordering(orders: Mapping[str, str]) -> Parameter:
    def read(value: str) -> list[str]:
        found = []
        for part in value.split(","):
            name = part.removeprefix("-")
            if name not in orders:
                raise ValueError(_("Order by some of: %s.") % ", ".join(orders))
            found.append(part.replace(name, orders[name]))
        if len(found) > MOST_ORDERS:
            raise ValueError(_("Order by at most %d.") % MOST_ORDERS)
        return found

    either = "|".join(orders)
    one = f"-?({either})"
    return Parameter(
        "ordering",
        "By which fields, separated by commas; with a hyphen from the greatest down.",
        {"type": "string", "pattern": f"^{one}(,{one}){{0,{MOST_ORDERS - 1}}}$"},
        read,
    )


def _column(model: type[Model], lookup: str) -> Any:
    column: Any = None
    for part in lookup.split("__"):
        column = model._meta.get_field(part)
        if column.is_relation:
            model = column.related_model
    return column
