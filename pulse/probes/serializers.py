"""What a view of Django REST framework takes as a body, as a JSON Schema."""

import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from rest_framework import fields, relations, serializers
from rest_framework.fields import empty
from rest_framework.parsers import JSONParser
from rest_framework.views import APIView

logger = logging.getLogger(__name__)

#: By the first class that a field is of; what is none of them is a text.
TYPES: Final[tuple[tuple[type[Any], Mapping[str, object]], ...]] = (
    (fields.BooleanField, {"type": "boolean"}),
    (fields.IntegerField, {"type": "integer"}),
    (fields.FloatField, {"type": "number"}),
    (fields.DecimalField, {"type": "number"}),
    (fields.DateTimeField, {"type": "string", "format": "date-time"}),
    (fields.DateField, {"type": "string", "format": "date"}),
    (fields.TimeField, {"type": "string", "format": "time"}),
    (fields.EmailField, {"type": "string", "format": "email"}),
    (fields.URLField, {"type": "string", "format": "uri"}),
    (fields.UUIDField, {"type": "string", "format": "uuid"}),
    (fields.SlugField, {"type": "string", "format": "slug"}),
    (fields.IPAddressField, {"type": "string", "format": "ipv4"}),
    (fields.DictField, {"type": "object"}),
    (fields.JSONField, {"type": "object"}),
    (fields.CharField, {"type": "string"}),
    (relations.PrimaryKeyRelatedField, {"type": "integer"}),
)
#: What a schema can say, by the field's own names.
BOUNDS: Final = {
    "min_value": "minimum",
    "max_value": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
}
#: A value of these cannot be made from what the field says.
UNKNOWN: Final = (fields.FileField, fields.RegexField, fields.DurationField)
#: What stands for a value that nobody can make: no text matches it without an example.
NOTHING: Final[Mapping[str, object]] = {"type": "string", "pattern": ".*"}
MAX_DEPTH: Final = 5
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def body_schema(view: Callable[..., Any], method: str) -> Mapping[str, object] | None:
    """Return the JSON Schema of what a view takes by a method; None where it is not known.

    Reads the view's serializer without a request, as the view's own code has it.
    """
    cls: Any = getattr(view, "cls", None)
    if method not in WITH_BODY or not isinstance(cls, type) or not issubclass(cls, APIView):
        return None
    if not any(issubclass(parser, JSONParser) for parser in cls.parser_classes):
        return None
    try:
        serializer = _serializer_of(view, cls, method)
        return None if serializer is None else schema_of(serializer, partial=method == "PATCH")
    except Exception as error:  # noqa: BLE001 - the host's code, which expects a request
        logger.debug("The serializer of %s cannot be read without a request: %s", cls, error)
        return None


def schema_of(serializer: Any, *, partial: bool = False, depth: int = 0) -> Mapping[str, object]:
    """Write what a serializer or a field takes as a JSON Schema.

    Args:
        serializer: An instance.
        partial: Nothing is required, as for PATCH.
        depth: How deep within other serializers it stands.
    """
    if depth > MAX_DEPTH:
        return NOTHING
    if isinstance(serializer, serializers.ListSerializer | fields.ListField):
        least = max(getattr(serializer, "min_length", None) or 0, int(not serializer.allow_empty))
        items = schema_of(serializer.child, depth=depth + 1)
        return {"type": "array", "items": items, "minItems": least}
    if isinstance(serializer, serializers.BaseSerializer):
        return _of_fields(serializer, partial=partial, depth=depth)
    return _of_field(serializer)


def _serializer_of(view: Any, cls: Any, method: str) -> Any:
    made = cls(**getattr(view, "initkwargs", {}))
    made.request, made.format_kwarg, made.args, made.kwargs = None, None, (), {}
    actions = getattr(view, "actions", None) or {}
    made.action = actions.get(method.lower())
    if not hasattr(made, "get_serializer_class"):
        return None
    return made.get_serializer_class()(context={"view": made, "request": None})


def _of_fields(serializer: Any, *, partial: bool, depth: int) -> Mapping[str, object]:
    if not isinstance(serializer, serializers.Serializer):
        return NOTHING
    properties: dict[str, object] = {}
    required: list[str] = []
    for name, field in serializer.fields.items():
        if field.read_only or isinstance(field, fields.HiddenField):
            continue
        properties[name] = schema_of(field, depth=depth + 1)
        if field.required and not partial:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _of_field(field: Any) -> Mapping[str, object]:
    if isinstance(field, UNKNOWN):
        return NOTHING
    told: dict[str, object] = {}
    if field.default is not empty and not callable(field.default):
        told["default"] = field.default
    if isinstance(field, fields.ChoiceField):
        choices = [str(choice) if choice is not None else None for choice in field.choices]
        if isinstance(field, fields.MultipleChoiceField):
            return {"type": "array", "items": {"enum": choices}, "minItems": 1}
        return {"enum": choices, **told}
    kind = next((kind for cls, kind in TYPES if isinstance(field, cls)), {"type": "string"})
    bounds = {
        bound: float(value) if isinstance(value, Decimal) else value
        for name, bound in BOUNDS.items()
        if isinstance(value := getattr(field, name, None), int | float | Decimal)
    }
    return {**kind, **bounds, **told}
