"""``Name: value``, one to a line: how people write headers, parameters and what they expect.

What such a line cannot hold (a line's end, blanks at an end, a colon in a name) stands in quotes,
as JSON has it, so that everything that is stored can be shown, and what is shown is read back.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

#: A text in quotes, to its end, as JSON has it.
QUOTED: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
#: What a browser ends a line with; Python knows more ends, which stand in texts.
LINE_END: Final = re.compile(r"\r\n|\r|\n")
#: NUL, as JSON writes it; not the text of a backslash and what follows it.
NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def write_lines(values: Mapping[str, Any], write: Callable[[Any], str] | None = None) -> str:
    """Write a mapping, one item to a line.

    Args:
        values: By name.
        write: Writes a value; texts and numbers as they are where it is None.
    """
    write = write or write_text
    return "\n".join(f"{_write_name(name)}: {write(value)}" for name, value in values.items())


def read_lines(text: str, read: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Read what ``write_lines`` wrote, or a person.

    Args:
        text: Empty lines count for nothing.
        read: Reads a value; as a text where it is None.

    Raises:
        ValidationError: A line is no item, or names what another has named; each is told.
    """
    read = read or read_text
    found: dict[str, Any] = {}
    problems = []
    for number, line in enumerate(LINE_END.split(text), 1):
        if not line.strip():
            continue
        try:
            name, written = _split(line, found)
            found[name] = read(written)
        except ValidationError as error:
            problems += [
                _("Line %(number)d: %(problem)s") % {"number": number, "problem": problem}
                for problem in error.messages
            ]
    if problems:
        raise ValidationError(problems)
    return found


def write_text(value: Any) -> str:
    """Write a text or a number; in quotes where it would not be read back as it is."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value if _stands(value) else json.dumps(value, ensure_ascii=False)


def read_text(written: str) -> str:
    """Read a text, in quotes or without."""
    if not QUOTED.fullmatch(written):
        return written
    return str(read_json(written))


def write_json(value: Any) -> str:
    """Write a JSON value; a text without quotes where it is no JSON by itself."""
    if isinstance(value, str) and _stands(value) and not is_json(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def read_value(written: str) -> Any:
    """Read a JSON value; what is none is a text."""
    return read_json(written) if is_json(written) else written


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    try:
        read_json(text)
    except ValidationError:
        return False
    return True


def read_json(text: str) -> Any:
    """Read JSON as it is stored: finite numbers, and texts that a database can hold.

    Raises:
        ValidationError: It is none; the place is told.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        told = _("%(problem)s in line %(line)d, column %(column)d.")
        parts = {"problem": error.msg, "line": error.lineno, "column": error.colno}
        raise ValidationError(told % parts) from error
    except UnicodeEncodeError as error:
        raise ValidationError(_("Half a character cannot be stored.")) from error
    except (ValueError, RecursionError) as error:
        raise ValidationError(_("That is no JSON that can be stored.")) from error
    if NUL.search(json.dumps(value)):
        raise ValidationError(_("Null characters are not allowed."))
    return value


def keep_kinds(values: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they were before where they are written alike: a number stays a number."""
    return {
        name: before[name] if name in before and write_text(before[name]) == value else value
        for name, value in values.items()
    }


def _split(line: str, found: Mapping[str, Any]) -> tuple[str, str]:
    line = line.strip()
    quoted = QUOTED.match(line)
    end = quoted.end() if quoted and line[quoted.end() :].lstrip().startswith(":") else 0
    before, colon, rest = line[end:].partition(":")
    name = read_text(line[:end]) if end else before.strip()
    if not colon or not name:
        text = _("“%s” is no “Name: value”.")
        raise ValidationError(text % (line if len(line) <= 40 else f"{line[:40]}…"))
    if name in found:
        raise ValidationError(_("%s is named twice.") % name)
    return name, rest.strip()


def _write_name(name: str) -> str:
    plain = name and _stands(name) and ":" not in name and not name.startswith('"')
    return name if plain else json.dumps(name, ensure_ascii=False)


def _stands(text: str) -> bool:
    """Whether a text is read back from a line as it is."""
    return text == text.strip() and not LINE_END.search(text) and not QUOTED.fullmatch(text)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
