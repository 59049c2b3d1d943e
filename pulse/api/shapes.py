"""The shapes of policies for the schema, made of their columns: what forms know, clients read."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from django.core.validators import (
    BaseValidator,
    MaxLengthValidator,
    MaxValueValidator,
    MinValueValidator,
    RegexValidator,
)
from django.db.models import NOT_PROVIDED, Field
from django.utils import translation

from pulse.api.operations import (
    FLAG,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    Shape,
    nullable,
    record,
    several,
)
from pulse.core.endpoints import METHODS
from pulse.policies import kinds
from pulse.policies.consistency import MAX_LIMITS
from pulse.policies.kinds import SHARED, TIMES, Kind

SCALARS: Final[Mapping[str, Schema]] = {
    "CharField": TEXT,
    "TextField": TEXT,
    "BooleanField": FLAG,
    "PositiveIntegerField": {"type": "integer", "minimum": 0, "maximum": 2147483647},
    "PositiveSmallIntegerField": {"type": "integer", "minimum": 0, "maximum": 32767},
    "SmallIntegerField": {"type": "integer", "minimum": -32768, "maximum": 32767},
    "PositiveBigIntegerField": {"type": "integer", "minimum": 0},
    "FloatField": {"type": "number"},
    "DateTimeField": TIME,
}
_TEXTS: Final = several(TEXT)
_BY_NAME: Final[Schema] = {"type": "object", "additionalProperties": TEXT}
_PARAMETERS: Final[Schema] = {"type": "object"}
#: Of columns that hold JSON, by their names.
NESTED: Final[Mapping[str, Schema]] = {
    "methods": several({"type": "string", "enum": list(METHODS)}, uniqueItems=True),
    "key": {"anyOf": [TEXT, several(TEXT, minItems=1, uniqueItems=True)]},
    "allowed_headers": _TEXTS,
    "exposed_headers": _TEXTS,
    "allow_networks": _TEXTS,
    "targets": _TEXTS,
    "groups": _TEXTS,
    "rules": _TEXTS,
    "counts": _TEXTS,
    "secret_headers": _BY_NAME,
    "path_params": _PARAMETERS,
    "query": _PARAMETERS,
    "expect": _PARAMETERS,
}
#: Which take null for "remove it" as well.
HEADERS: Final[Schema] = {"type": "object", "additionalProperties": nullable(TEXT)}
RATE: Final = {
    "type": "string",
    "pattern": "^[0-9]{1,12}/[0-9]{0,6}[A-Za-z]+$",
    "description": "A count and a unit: 10/s, 1000/h, 5/10m.",
    "examples": ["10/s"],
}
LIMIT: Final = Shape(
    "Limit",
    record(
        {
            "rate": RATE,
            "burst": {
                "type": "integer",
                "minimum": 1,
                "description": "How many at once; by default the rate's count.",
            },
            "algorithm": {"type": "string", "default": "token_bucket"},
        }
    ),
)
LIMIT_BODY: Final = Shape(
    "LimitBody",
    record(
        {
            "rate": RATE,
            "burst": nullable({"type": "integer", "minimum": 1, "maximum": 2147483647}),
            "algorithm": {"type": "string", "enum": ["token_bucket", "fixed_window"]},
        },
        "burst",
        "algorithm",
        additionalProperties=False,
    ),
)


def title_of(kind: Kind) -> str:
    """Return a kind's name as its shapes have it, such as ``RateTier``."""
    return kind.model.__name__


def row_shape(kind_name: str, extra: Mapping[str, Schema]) -> Shape:
    """Return the shape of what is told of a row.

    Args:
        kind_name: Of the registry.
        extra: Read-only fields of the kind, and their schemas.
    """
    kind = _kind(kind_name)
    properties: dict[str, Any] = {"id": TEXT}
    left_out: list[str] = []
    for name in kind.all_fields:
        properties[name] = _property(kind, name, for_body=False)
        if name not in {*SHARED, "limits"} and _may_be_unset(kind.column(name)):
            left_out.append(name)
    properties |= {
        **extra,
        "version": {"type": "integer", "minimum": 1},
        "created_at": TIME,
        "updated_at": TIME,
    }
    left_out += extra
    return Shape(title_of(kind), record(properties, *left_out))


@lru_cache(maxsize=64)
def body_shape(kind_name: str, *, partial: bool = False) -> Shape:
    """Return the shape of what is sent to write a row, or a part of it."""
    kind = _kind(kind_name)
    properties = {name: _property(kind, name, for_body=True) for name in kind.all_fields}
    properties["version"] = {
        "type": "integer",
        "minimum": 1,
        "description": "The version that was read; 412 where it is another by now.",
    }
    required = [] if partial else _required(kind)
    optional = [name for name in properties if name not in required]
    name = f"{title_of(kind)}{'Part' if partial else 'Body'}"
    return Shape(name, record(properties, *optional, additionalProperties=False))


def document_shape() -> Shape:
    """Return the shape of a policy document."""
    properties: dict[str, Any] = {"version": {"type": "integer", "enum": [1]}}
    for kind in kinds.all_kinds():
        properties[kind.name] = several(item_shape(kind.name))
    return Shape("Document", record(properties, *properties, additionalProperties=False))


@lru_cache(maxsize=64)
def item_shape(kind_name: str) -> Shape:
    """Return the shape of an item of a document."""
    kind = _kind(kind_name)
    properties = {name: _property(kind, name, for_body=True) for name in kind.all_fields}
    required = _required(kind)
    optional = [name for name in properties if name not in required]
    return Shape(f"{title_of(kind)}Item", record(properties, *optional, additionalProperties=False))


def _kind(name: str) -> Kind:
    found = kinds.find_kind(name)
    assert found is not None, name  # noqa: S101 - names come from the registry
    return found


def _required(kind: Kind) -> list[str]:
    found = [name for name in kind.fields if _is_required(kind.column(name))]
    return [*found, "limits"] if title_of(kind) == "RateTier" else found


def _is_required(column: "Field[Any, Any]") -> bool:
    return not (column.null or column.blank or column.default is not NOT_PROVIDED)


def _may_be_unset(column: "Field[Any, Any]") -> bool:
    """Whether an item may be written without the column, because nothing stands in it."""
    return column.null or (column.blank and column.get_default() in ("", None))


def _property(kind: Kind, name: str, *, for_body: bool) -> Schema:
    if name == "limits":
        one = {"anyOf": [LIMIT_BODY, RATE]} if for_body else LIMIT
        least = 1 if for_body and title_of(kind) == "RateTier" else 0
        return several(one, minItems=least, maxItems=MAX_LIMITS)
    column = kind.column(name)
    if name in kind.names:
        schema: Schema = {**TEXT, "minLength": 1} if for_body else TEXT
    else:
        schema = _of_column(column, name, for_body=for_body)
    described = _described(column, schema)
    may_be_null = name in TIMES or (
        for_body and (column.null or column.blank or column.default is not NOT_PROVIDED)
    )
    return nullable(described) if may_be_null and described.get("type", "") else described


def _of_column(column: "Field[Any, Any]", name: str, *, for_body: bool) -> Schema:
    kind = column.get_internal_type()
    if kind == "JSONField":
        return HEADERS if name == "headers" else NESTED.get(name, {})
    schema = dict(SCALARS.get(kind, {}))
    if column.choices:
        values = [value for value, _label in column.flatchoices]
        values += [""] if column.blank and "" not in values else []
        return {**schema, "enum": values}
    if not for_body:
        return schema
    if column.max_length:
        schema["maxLength"] = column.max_length
    for validator in column.validators:
        schema |= _bound(validator)
    if column.blank and "pattern" in schema:
        schema["pattern"] = f"^$|{schema['pattern']}"
    if schema.get("type") == "string" and _is_required(column):
        schema["minLength"] = 1
    return schema


def _bound(validator: Any) -> Schema:
    if isinstance(validator, RegexValidator):
        compiled: Any = validator.regex
        return {"pattern": compiled.pattern.replace(r"\Z", "$")}
    if not isinstance(validator, BaseValidator):
        return {}
    limit = validator.limit_value
    value = limit() if callable(limit) else limit
    names = {
        MinValueValidator: "minimum",
        MaxValueValidator: "maximum",
        MaxLengthValidator: "maxLength",
    }
    name = names.get(type(validator))
    return {name: value} if name else {}


def _described(column: "Field[Any, Any]", schema: Schema) -> Schema:
    with translation.override("en"):
        told: dict[str, Any] = {"description": str(column.help_text)} if column.help_text else {}
    if column.default is not NOT_PROVIDED and not callable(column.default):
        value = column.default
        told["default"] = getattr(value, "value", value)
    return {**schema, **told}


def names_of(schema: Any) -> Sequence[Shape]:
    """Return every shape in a schema, at any depth."""
    if isinstance(schema, Shape):
        return [schema, *names_of(schema.schema)]
    if isinstance(schema, Mapping):
        return [shape for inner in schema.values() for shape in names_of(inner)]
    if isinstance(schema, list | tuple):
        return [shape for inner in schema for shape in names_of(inner)]
    return []


#: What a change of one item is, in answers about revisions and dry runs.
CHANGE: Final = Shape(
    "Change",
    record(
        {
            "kind": TEXT,
            "key": {"type": "object"},
            "action": {"type": "string", "enum": ["create", "update", "delete"]},
            "effect": {"type": "string", "enum": ["tightens", "loosens", "mixed", "neutral"]},
            "fields": {
                "type": "object",
                "additionalProperties": record({"before": {}, "after": {}}),
            },
        }
    ),
)
#: What a write did, or would do.
CHANGES: Final = Shape(
    "Changes",
    record(
        {
            "revision": {**WHOLE, "minimum": 0},
            "changed": FLAG,
            "dry_run": FLAG,
            "changes": several(CHANGE),
            "warnings": {
                **several(TEXT),
                "description": "Of a document: what it begins, or leaves to do, in words.",
            },
        },
        "warnings",
    ),
)
