"""Query parameters, read strictly: what is unknown, empty, doubled or out of range is refused."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import QueryDict
from django.utils.translation import gettext as _

from pulse.exceptions import InvalidDocument
from pulse.policies.kinds import Errors, add_error, read_time
from pulse.policies.reading import is_storable

MAX_TEXT: Final = 500
#: No value of a parameter is longer, and no conditional header.
LONGEST: Final = 2000
MAX_WHOLE: Final = 2**31 - 1
FLAGS: Final = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Parameter:
    """One query parameter.

    Attributes:
        name: As it stands in the query.
        text: What it does, in words.
        schema: Its JSON Schema.
        read: Makes a value of the text.

    Raises:
                ValueError: It is none, and why.
        default: The value where the query does not have it.
    """

    name: str
    text: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any] = field(compare=False)
    default: Any = None


def flag(name: str, text: str) -> Parameter:
    """A parameter that is on or off: ``1`` or ``true``, ``0`` or ``false``."""

    def read(value: str) -> bool:
        if value not in FLAGS:
            raise ValueError(_("Write 1 or 0."))
        return FLAGS[value]

    return Parameter(name, text, {"type": "string", "enum": list(FLAGS)}, read, default=False)


def whole(
    name: str, text: str, least: int = 0, most: int = MAX_WHOLE, default: int | None = None
) -> Parameter:
    """A whole number within bounds."""

    def read(value: str) -> int:
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(MAX_WHOLE)) + 9:
            number = int(value)
            if least <= number <= most:
                return number
        raise ValueError(
            _("Write a whole number from %(least)d to %(most)d.") % {"least": least, "most": most}
        )

    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    return Parameter(name, text, schema, read, default)


def number(name: str, text: str) -> Parameter:
    """A number that has an end."""

    def read(value: str) -> float:
        try:
            found = float(value) if value.isascii() and len(value) <= MAX_TEXT else math.nan
        except ValueError:
            found = math.nan
        if not math.isfinite(found) or "_" in value:
            raise ValueError(_("Write a number."))
        return found

    return Parameter(name, text, {"type": "number"}, read)


def text(name: str, text: str, longest: int = MAX_TEXT) -> Parameter:
    """Some words."""

    def read(value: str) -> str:
        if len(value) > longest:
            raise ValueError(_("Write at most %d characters.") % longest)
        if not is_storable(value):
            raise ValueError(_("It has a character that cannot be stored."))
        return value

    return Parameter(name, text, {"type": "string", "minLength": 1, "maxLength": longest}, read)


def choice(name: str, text: str, values: Iterable[str], default: str | None = None) -> Parameter:
    """One of a few words."""
    known = list(values)

    def read(value: str) -> str:
        if value not in known:
            raise ValueError(_("Write one of: %s.") % ", ".join(known))
        return value

    schema: dict[str, Any] = {"type": "string", "enum": known}
    if default is not None:
        schema["default"] = default
    return Parameter(name, text, schema, read, default)


def moment(name: str, text: str) -> Parameter:
    """A time with its zone, as RFC 3339 has it."""

    def read(value: str) -> Any:
        # In a query a plus that nobody escaped is a blank.
        errors: Errors = {}
        found = read_time(value.replace(" ", "+") if value[10:11] == "T" else value, errors, name)
        if errors:
            raise ValueError(errors[name][0])
        return found

    return Parameter(name, text, {"type": "string", "format": "date-time"}, read)


def read_query(query: QueryDict, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return every parameter's value by its name, defaults for those that the query has not.

    Raises:
        InvalidDocument: The query has others, or values that are none.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {parameter.name: parameter.default for parameter in parameters}
    errors: Errors = {}
    for name, written in query.lists():
        parameter = known.get(name)
        if parameter is None:
            names = ", ".join(sorted(known)) or "-"
            add_error(errors, name[:MAX_TEXT], _("Unknown parameter. Known are: %s.") % names)
        elif len(written) != 1:
            add_error(errors, name, _("Write it once."))
        elif len(written[0]) > LONGEST:
            add_error(errors, name, _("Write at most %d characters.") % LONGEST)
        elif not written[0]:
            add_error(errors, name, _("Write a value, or leave the parameter out."))
        else:
            try:
                values[name] = parameter.read(written[0])
            except ValueError as error:
                add_error(errors, name, str(error))
    if errors:
        raise InvalidDocument(errors)
    return values
