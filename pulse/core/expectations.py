"""What is expected of an answer, as operators write it; ``judging`` holds answers against it."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pulse.exceptions import InvalidExpectation

#: Statuses that are well where none are named.
DEFAULT_STATUS: Final = "200-399"
MAX_ITEMS: Final = 50
MAX_LATENCY_MS: Final = 600_000
MAX_CERTIFICATE_DAYS: Final = 3650
MAX_TEXT: Final = 1000
#: The size of one expected JSON value, and how deep it may be.
MAX_JSON: Final = 2000
MAX_JSON_DEPTH: Final = 8
MAX_PATH: Final = 200
MAX_STEPS: Final = 16

STATUS: Final = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:\s*-\s*([1-5][0-9]{2}))?", re.ASCII)
HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
#: A step of a path: a name or a number after a full stop, a number or a quoted name in brackets.
STEP: Final = re.compile(
    r"""(?:\A|\.)([^.\[\]"'$]+)|\[([0-9]{1,6})\]|\["([^"]+)"\]|\['([^']+)'\]"""
)


class JsonPath(NamedTuple):
    """A way into a JSON value, by names and positions from its root.

    Attributes:
        text: As the operator wrote it.
        steps: A number is a position in a list, or the name of it in an object.
    """

    text: str
    steps: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Expectations:
    """What is expected of an answer.

    Attributes:
        status: The first and last of each range of statuses.
        status_as_written: For people, as ``expected`` of the check.
        headers: Names in small letters, and the text that each contains, whatever its case.
        contains: A text within the body.
        json: What stands at places of the body.
        certificate_days: For how long the certificate is still good, at least.
        schema: The body is as the endpoint's schema says.
    """

    status: tuple[tuple[int, int], ...] = ((200, 399),)
    status_as_written: tuple[int | str, ...] = (DEFAULT_STATUS,)
    max_latency_ms: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    contains: str | None = None
    json: tuple[tuple[JsonPath, object], ...] = ()
    certificate_days: float | None = None
    schema: bool = False


def merge(schedule: Mapping[str, object], target: Mapping[str, object]) -> dict[str, object]:
    """Combine what a schedule expects of all its targets with what a target expects of itself.

    Each key comes whole from the target where it names it, from the schedule otherwise: a target
    that answers 401 is not made to fail by a schedule that expects 200 of the others.
    """
    return {**schedule, **target}


def parse_expectations(expect: object) -> Expectations:
    """Read the ``expect`` of a target or schedule.

    Raises:
        InvalidExpectation: A key is unknown, or its value cannot be expected.
    """
    if not isinstance(expect, Mapping):
        raise InvalidExpectation(_short(expect), "is no mapping of expectations.")
    found: dict[str, object] = {}
    for name, value in expect.items():
        parse = PARSERS.get(name)
        if parse is None:
            raise InvalidExpectation(
                _short(name), f"is no expectation. There are {', '.join(PARSERS)}."
            )
        if value is not None:
            found |= parse(value)
    # Each parser has checked what it gives.
    return Expectations(**found)  # type: ignore[arg-type]


def parse_path(text: str) -> JsonPath:
    """Read a path into JSON, such as ``a.b.0.c``, ``$.a[0].b`` or ``a["b.c"]``.

    Raises:
        InvalidExpectation: It is none.
    """
    rest = text.removeprefix("$.") if text.startswith("$.") else text.removeprefix("$")
    steps: list[str | int] = []
    at = 0
    while not rest.startswith(".") and (step := STEP.match(rest, at)):
        name, position, *quoted = step.groups()
        steps.append(int(position) if position else name or quoted[0] or quoted[1])
        at = step.end()
    if not text or len(text) > MAX_PATH or len(steps) > MAX_STEPS or at < len(rest):
        raise InvalidExpectation(_short(text), "is no path into JSON, such as items.0.id.")
    return JsonPath(text, tuple(steps))


def _parse_status(value: object) -> dict[str, object]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_ITEMS:
        raise InvalidExpectation("status", f"needs a list of at most {MAX_ITEMS} statuses.")
    ranges = tuple(_status_range(item) for item in value)
    return {"status": ranges, "status_as_written": tuple(value)}


def _status_range(item: object) -> tuple[int, int]:
    found = None
    if isinstance(item, int | str) and not isinstance(item, bool):
        found = STATUS.fullmatch(str(item).strip().lower())
    if found is None:
        raise InvalidExpectation(_short(item), "is no status. Write 200, 2xx or 200-299.")
    hundred, first, last = found.groups()
    if hundred:
        return int(hundred) * 100, int(hundred) * 100 + 99
    if last and last < first:
        raise InvalidExpectation(_short(item), "ends before it begins.")
    return int(first), int(last or first)


def _parse_latency(value: object) -> dict[str, object]:
    return {"max_latency_ms": _number("max_latency_ms", value, MAX_LATENCY_MS)}


def _parse_certificate(value: object) -> dict[str, object]:
    return {"certificate_days": _number("certificate_days", value, MAX_CERTIFICATE_DAYS)}


def _number(name: str, value: object, most: int) -> float:
    # Written so that NaN, which is neither more nor less, is refused.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise InvalidExpectation(name, f"needs a number above 0, at most {most}.")
    return value


def _parse_headers(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
        raise InvalidExpectation("headers", f"needs at most {MAX_ITEMS} headers and their texts.")
    for name, text in value.items():
        if not isinstance(name, str) or not HEADER.fullmatch(name):
            raise InvalidExpectation(_short(name), "is no name of a header.")
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise InvalidExpectation(name, f"needs a text of at most {MAX_TEXT} characters.")
    return {"headers": {name.lower(): text for name, text in value.items()}}


def _parse_contains(value: object) -> dict[str, object]:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise InvalidExpectation("contains", f"needs a text of at most {MAX_TEXT} characters.")
    return {"contains": value}


def _parse_json(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
        raise InvalidExpectation("json", f"needs at most {MAX_ITEMS} paths and their values.")
    for path, expected in value.items():
        if not isinstance(path, str):
            raise InvalidExpectation(_short(path), "is no path into JSON.")
        if not _is_small(expected):
            raise InvalidExpectation(path, "is expected to be more than JSON of 2 KB, or too deep.")
    return {"json": tuple((parse_path(path), expected) for path, expected in value.items())}


def _parse_schema(value: object) -> dict[str, object]:
    if not isinstance(value, bool):
        raise InvalidExpectation("schema", "needs true or false.")
    return {"schema": value}


def _is_small(value: object) -> bool:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= MAX_JSON and _depth(value) <= MAX_JSON_DEPTH


def _depth(value: object) -> int:
    inner: Sequence[object] = ()
    if isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = value
    return 1 + max(map(_depth, inner)) if inner else 0


def _short(value: object) -> str:
    """Tell a value that is refused, of whatever kind and length."""
    return str(value)[:100]


PARSERS: Final[Mapping[str, Callable[[object], dict[str, object]]]] = {
    "status": _parse_status,
    "max_latency_ms": _parse_latency,
    "headers": _parse_headers,
    "contains": _parse_contains,
    "json": _parse_json,
    "certificate_days": _parse_certificate,
    "schema": _parse_schema,
}
