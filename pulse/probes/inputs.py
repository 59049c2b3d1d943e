"""What an operation needs to be called, and a sample of it where one can be made."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Final
from urllib.parse import quote, unquote

from django.urls.converters import get_converters
from django.utils.regex_helper import normalize

from pulse.core.samples import NO_SAMPLE, sample_of
from pulse.core.targets import PARAMETER, UNQUOTED, fill_route, is_regex, parameters_of
from pulse.exceptions import InvalidPathParams
from pulse.policies import routes
from pulse.probes import serializers
from pulse.probes.openapi import Described, json_content, parameter_schema
from pulse.probes.operations import Operation

UUID: Final = "00000000-0000-4000-8000-000000000000"
#: What is tried for a path parameter, in order: the first that its route lets through is taken.
GUESSES: Final = ("probe", "1", UUID, "2024-01-01", "2024", "a")
#: Keys are numbers more often than not.
KEY: Final = re.compile(r"(?:.*_)?(?:id|pk)", re.ASCII)
KEY_GUESSES: Final = ("1", UUID, "probe")
#: So many combinations of guesses are tried for a route of a regular expression.
MAX_TRIED: Final = 100
#: A parameter of ``path`` beside groups of ``re_path``, which also have a name in brackets.
BESIDE_GROUPS: Final = re.compile(r"(?<!\?P)<(?:([^<>:]+):)?([^<>:]+)>")
#: With these a view that says nothing of its body needs one that nobody knows.
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Input:
    """What an operation needs.

    Attributes:
        required: Something has to be given that the route alone does not tell: a query, a body,
            or a path parameter of which no sample can be made.
        sample: ``path_params``, ``query``, ``headers``, ``body``, ``media_type`` and, where no
            path follows from the route, ``path``; each only where there is one. None where
            something is needed that nobody can guess.
    """

    required: bool
    sample: Mapping[str, Any] | None


def input_of(operation: Operation, described: Described | None) -> Input:
    """Say what an operation needs; asks the host's routes and serializers, queries nothing.

    Args:
        operation: Which.
        described: What the host's OpenAPI document says of it.
    """
    sample: dict[str, Any] = {}
    path = _path(operation, described)
    complete = path is not None
    sample |= path or {}
    required = not complete
    for name, place in (("query", "query"), ("headers", "header")):
        needed, values = _values(described, place)
        required = required or needed
        complete = complete and values is not None
        if values:
            sample[name] = values
    needed, body = _body(operation, described)
    required = required or needed
    complete = complete and body is not None
    sample |= body or {}
    return Input(required, sample if complete else None)


def _path(operation: Operation, described: Described | None) -> dict[str, Any] | None:
    """Return path parameters with which the route is met; None where none are found."""
    route = operation.match.route
    told = (
        [sample_of(schema, described.document) if schema else NO_SAMPLE for schema in schemas]
        if described is not None and (schemas := described.path_schemas())
        else []
    )
    if is_regex(route):
        return _path_of_regex(route, told)
    names = parameters_of(route)
    values: dict[str, object] = {}
    for place, found in enumerate(PARAMETER.finditer(route)):
        name = names[place]
        value = _first_of(found["converter"] or "str", _guesses(name, told, place))
        if value is None:
            return None
        values[name] = value
    try:
        path = fill_route(route, values)
    except InvalidPathParams:
        return None
    if not _is_met(path, route):
        return None
    return {"path_params": values} if values else {}


def _path_of_regex(route: str, told: Sequence[object]) -> dict[str, Any] | None:
    for template, names in normalize(_as_regex(route)):
        choices = [list(_guesses(name, told, place)) for place, name in enumerate(names)]
        for chosen in islice(product(*choices), MAX_TRIED):
            values = dict(zip(names, chosen, strict=True))
            path = f"/{template % values}"
            if _is_met(path, route):
                return {"path": quote(path, safe=f"/{UNQUOTED}")} | (
                    {"path_params": values} if values else {}
                )
    return None


def _as_regex(route: str) -> str:
    """Write the parameters of ``path`` that stand beside regular expressions as groups."""
    known = get_converters()

    def group(found: re.Match[str]) -> str:
        converter = known.get(found[1] or "str")
        return f"(?P<{found[2]}>{converter.regex if converter else '[^/]+'})"

    return BESIDE_GROUPS.sub(group, route)


def _guesses(name: str, told: Sequence[object], place: int) -> Iterator[str]:
    if place < len(told) and isinstance(told[place], str | int) and told[place] != "":
        yield str(told[place])
    yield from KEY_GUESSES if KEY.fullmatch(name) else ()
    yield from GUESSES


def _first_of(converter_name: str, guesses: Iterator[str]) -> object:
    """Return the first guess that a converter takes; None if it takes none."""
    converter: Any = get_converters().get(converter_name)
    if converter is None:
        return None
    for guess in guesses:
        if not re.fullmatch(converter.regex, guess):
            continue
        try:
            value = converter.to_python(guess)
        except ValueError:
            continue
        return value if isinstance(value, int) and not isinstance(value, bool) else guess
    return None


def _is_met(path: str, route: str) -> bool:
    """Whether Django takes a path to the route, and not to another that stands before it."""
    match = routes.match_path(unquote(path))
    return match is not None and match.route == route


def _values(described: Described | None, place: str) -> tuple[bool, dict[str, Any] | None]:
    """Return whether something is required there, and samples; None where one has none."""
    values: dict[str, Any] = {}
    needed, complete = False, True
    if described is None:
        return False, {}
    for one in described.parameters(place):
        if one.get("required") is not True:
            continue
        needed = True
        value = sample_of(parameter_schema(one), described.document)
        text = _as_text(value)
        complete = complete and text is not None
        values[str(one.get("name"))] = text
    return needed, values if complete else None


def _as_text(value: object) -> object:
    """Write a sample as a query or a header has it; None for what these do not have."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 1:
        return _as_text(value[0])
    return value if isinstance(value, str | int | float) else None


def _body(operation: Operation, described: Described | None) -> tuple[bool, dict[str, Any] | None]:
    method = operation.endpoint.method
    if described is not None:
        return _described_body(described)
    if method not in WITH_BODY:
        return False, {}
    schema = serializers.body_schema(operation.view, method)
    if schema is None:
        return True, None
    return _sampled(schema, {}, required=bool(schema.get("required")))


def _described_body(described: Described) -> tuple[bool, dict[str, Any] | None]:
    body = described.body
    if body is None or body.get("required") is not True:
        return False, {}
    media = json_content(body.get("content"))
    if media is None:
        return True, None
    return _sampled(parameter_schema(media), described.document, required=True)


def _sampled(
    schema: Mapping[str, Any], document: Mapping[str, Any], *, required: bool
) -> tuple[bool, dict[str, Any] | None]:
    value = sample_of(schema, document)
    if value is NO_SAMPLE:
        return True, None
    return required, {"body": value, "media_type": "application/json"}
