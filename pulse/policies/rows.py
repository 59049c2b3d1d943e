"""One row written by itself, by the rules of forms and documents alike."""

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _

from pulse.core.document import Item, key_of
from pulse.exceptions import InvalidDocument
from pulse.policies.bases import Policy
from pulse.policies.items import ItemReader, is_same, save, too_costly
from pulse.policies.kinds import Errors, Kind, add_error
from pulse.policies.models import EndpointLimit, RateTier

#: The place of what is wrong with no field in particular.
WHOLE: Final = "non_field_errors"
#: Where the item stands, for the errors of its reading.
_HERE: Final = "item"


def write(kind: Kind, item: Item, row: Policy | None, using: str) -> Policy:
    """Make a row what an item says; save nothing where nothing differs.

    Within an edit that is under way: the state row is locked before what is compared here.

    Args:
        kind: The item's.
        item: Taken whole: a field that it does not name gets its default.
        row: The row to make so, also under another name; None makes a new one.
        using: The database.

    Returns:
        The row as it is now, its limits listed.

    Raises:
        InvalidDocument: It cannot be; every error by its field.
    """
    was = None if row is None else kind.to_item(row)
    reader = ItemReader(using)
    reader.look_up(kind, [item])
    made, limits = reader.read(kind, item, row, _HERE)
    errors = _without_place(reader.errors)
    if not errors:
        errors = _errors_beside_others(kind, made, using)
    if errors:
        raise InvalidDocument(errors)
    if was is None or not is_same(kind, made, limits, was):
        save(made, limits, using)
        _check_costs(made, using)
    if limits is not None:
        made.listed_limits = limits  # type: ignore[attr-defined]  # as Kind.queryset() has it
    return made


def errors_of_row(error: InvalidDocument, kind: Kind, row: Policy) -> Errors:
    """Return the errors of a whole policy, those of one row by their field alone."""
    key = key_of(kind.to_item(row), kind.key)
    place = f"{kind.name}.{' '.join(map(str, key.values()))}"
    return {
        name.removeprefix(f"{place}.") if name.startswith(f"{place}.") else name: texts
        for name, texts in error.errors.items()
    }


def _without_place(errors: Mapping[str, Any]) -> Errors:
    found: Errors = {}
    for place, texts in errors.items():
        found[place.removeprefix(f"{_HERE}.") if place != _HERE else WHOLE] = list(texts)
    return found


def _errors_beside_others(kind: Kind, row: Policy, using: str) -> Errors:
    """Find what is wrong with a row beside those that are there already."""
    errors: Errors = {}
    try:
        row.validate_unique()
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            errors.setdefault(WHOLE if name == NON_FIELD_ERRORS else name, []).extend(texts)
    for model, constraints in row.get_constraints():
        for constraint in constraints:
            try:
                constraint.validate(model, row, using=using)
            except ValidationError as error:
                named: Any = getattr(constraint, "fields", ())
                place = named[0] if len(named) == 1 else WHOLE
                if place not in errors:
                    errors[place] = list(error.messages)
    if kind.alone is not None:
        for name, more in kind.alone(row).items():
            errors.setdefault(name, []).extend(more)
    return errors


def _check_costs(row: Policy, using: str) -> None:
    errors: Errors = {}
    for rule, text in too_costly(using):
        if isinstance(row, EndpointLimit) and rule.pk == row.pk:
            add_error(errors, "cost", text)
        elif isinstance(row, RateTier) and rule.tier_id == row.pk:
            add_error(errors, "limits", _("%(rule)s: %(text)s") % {"rule": rule, "text": text})
    if errors:
        raise InvalidDocument(errors)
