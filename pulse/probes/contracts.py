"""Whether an answer is as the host's OpenAPI document says: what the expectation ``schema`` asks.

Needs the document, and the library ``jsonschema``, which comes with drf-spectacular. Where either
is missing nothing is known of an endpoint, and what expects its schema misses.
"""

import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from pulse.core.attempts import Answer
from pulse.core.judging import SchemaCheck
from pulse.core.targets import parse_endpoint_id
from pulse.exceptions import InvalidEndpointId
from pulse.probes import openapi
from pulse.probes.openapi import Described, Schema

#: As ``judge`` has it where there is no check.
NOTHING_KNOWN: Final = "none is known of this endpoint"
#: Media types of any kind, or of any text.
ANY: Final = ("*/*", "application/*")
#: A schema is read so deep; what is below is taken as anything.
MAX_DEPTH: Final = 64
#: How much is told of what a schema asks for.
MAX_ASKED: Final = 60


def check_of(endpoint_id: str) -> SchemaCheck | None:
    """Return what holds an answer against the schema of its endpoint; None where none is known.

    Never makes the document, for which a large API needs seconds while others wait for the engine's
    lock: where ``warm`` did not, the first answer that is checked does.

    Args:
        endpoint_id: ``METHOD /route``; a target's, which is empty for other sites.
    """
    if not endpoint_id or not has_validator():
        return None
    if not openapi.is_made():
        return lambda answer: _checked(endpoint_id, answer)
    described = _described(endpoint_id)
    return None if described is None else lambda answer: _drift(described, answer)


def warm(expectations: Iterable[Mapping[str, object]]) -> None:
    """Make the document ahead, if one of some targets or schedules expects a schema."""
    if not openapi.is_made() and any(expect.get("schema") for expect in expectations):
        openapi.current()


@lru_cache(maxsize=1)
def has_validator() -> bool:
    """Whether the library that validates is installed."""
    return importlib.util.find_spec("jsonschema") is not None


def _described(endpoint_id: str) -> Described | None:
    document = openapi.current()
    if document is None:
        return None
    try:
        return document.find(parse_endpoint_id(endpoint_id))
    except InvalidEndpointId:
        return None


def _checked(endpoint_id: str, answer: Answer) -> str:
    described = _described(endpoint_id)
    return NOTHING_KNOWN if described is None else _drift(described, answer)


def _drift(described: Described, answer: Answer) -> str:
    """Say what of an answer is not as described; empty where all is. Values are not told."""
    status = answer.status_code or 0
    response = described.response(status)
    if response is None:
        return f"status {status} is not in it"
    content = response.get("content")
    if not isinstance(content, Mapping) or not content:
        return "a body, where none is described" if answer.body else ""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    media = _media_of(content, kind)
    if media is None:
        return f"content type {kind or 'none'} is not in it"
    schema = media.get("schema")
    if not isinstance(schema, Mapping | bool) or not openapi.JSON_TYPE.fullmatch(kind):
        return ""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "the body is no JSON"
    return _first_error(schema, described.document, value)


def _media_of(content: Mapping[str, Any], kind: str) -> Schema | None:
    by_name = {
        str(name).partition(";")[0].strip().lower(): media for name, media in content.items()
    }
    for name in (kind, f"{kind.partition('/')[0]}/*", *ANY):
        if isinstance(media := by_name.get(name), Mapping):
            return media
    return None


def _first_error(schema: object, document: Schema, value: object) -> str:
    import jsonschema
    from referencing.exceptions import Unresolvable

    is_old = str(document.get("openapi", "3.0")).startswith(("2", "3.0"))
    validator = jsonschema.Draft4Validator if is_old else jsonschema.Draft202012Validator
    root = {"allOf": [_plain(schema)], "components": _components(document)}
    try:
        error = next(validator(root).iter_errors(value), None)
    except (RecursionError, Unresolvable) as failure:
        return f"the schema cannot be followed: {type(failure).__name__}"
    return "" if error is None else _told(error)


def _told(error: Any) -> str:
    """Say where a value is wrong, and by which word of the schema; never the value itself."""
    place = ".".join(map(str, error.absolute_path)) or "body"
    if error.validator == "required":
        names = [name for name in error.validator_value if name not in error.instance]
        return f"{place} lacks {', '.join(map(str, names))}"
    asked = json.dumps(error.validator_value, ensure_ascii=False, default=str)
    asked = asked if len(asked) <= MAX_ASKED else f"{asked[:MAX_ASKED]}…"
    return f"{place} is not as {error.validator} {asked} says"


def _components(document: Schema) -> object:
    """Return what references lead to; made readable once for a document."""
    if not _readable or _readable[0] is not document:
        _readable[:] = [document, _plain(document.get("components", {}))]
    return _readable[1]


def _plain(value: object, depth: int = 0) -> object:
    """Write a schema of OpenAPI 3.0 without the words that JSON Schema has not.

    ``nullable`` allows null as well, and what is only ever written is not required of an answer.
    """
    if depth > MAX_DEPTH:
        return {}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if not isinstance(value, Mapping):
        return value
    made = {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
    properties, required = value.get("properties"), value.get("required")
    if isinstance(properties, Mapping) and isinstance(required, list | tuple):
        hidden = {
            name
            for name, inner in properties.items()
            if isinstance(inner, Mapping) and inner.get("writeOnly") is True
        }
        made["required"] = [name for name in required if name not in hidden]
        if not made["required"]:  # Draft 4 has no empty one.
            del made["required"]
    if made.pop("nullable", None) is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


#: The document whose components were made readable last, and these.
_readable: list[object] = []
