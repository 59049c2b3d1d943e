"""A sample value of a JSON Schema, as OpenAPI documents have them: the input of a probe.

The same schema gives the same sample, always. What its author says is taken first: default,
example, the first of several. Where a sample would have to be guessed there is none.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

#: Schemas within schemas are followed so far; what refers to itself ends there.
MAX_DEPTH: Final = 8
#: So many schemas are looked at in all: references can double at every step.
MAX_SCHEMAS: Final = 2000
#: Nothing longer is made, whatever a schema asks for.
MAX_LENGTH: Final = 10_000
MAX_ITEMS: Final = 100
#: Beyond it doubles are not exact, and bounds are not heeded.
MAX_NUMBER: Final = 2**53
COMPOSED: Final = ("anyOf", "oneOf")
FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2024-01-01T12:00:00Z",
    "date": "2024-01-01",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "probe@example.com",
    "idn-email": "probe@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "url": "https://example.com/",
    "iri": "https://example.com/",
    "uri-reference": "/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "byte": "cHJvYmU=",
    "slug": "probe",
    "json-pointer": "/",
    "regex": "probe",
}
TEXT: Final = "probe"


class NoSample:
    """Stands for a value that cannot be made; ``NO_SAMPLE`` is the only one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_SAMPLE"

    def __bool__(self) -> bool:
        return False


NO_SAMPLE: Final = NoSample()


def sample_of(schema: object, document: Mapping[str, object] | None = None) -> object:
    """Return a JSON value that a schema allows.

    Args:
        schema: A JSON Schema, or a reference.
        document: What ``$ref`` refers into, such as a whole OpenAPI document. References
            elsewhere are not followed.

    Returns:
        The value; ``NO_SAMPLE`` where none can be made: by a pattern without an example, a
        required property that has none, or a schema that needs itself.
    """
    return _Maker(document or {}).of(schema, 0)


class _Maker:
    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self._left = MAX_SCHEMAS

    def of(self, schema: object, depth: int) -> object:
        if depth > MAX_DEPTH:
            return NO_SAMPLE
        schema = self._whole(schema, depth)
        if schema is None:
            return NO_SAMPLE
        told = _told(schema)
        if told is not NO_SAMPLE:
            return told
        for name in COMPOSED:
            if options := _list(schema.get(name)):
                return self._first_of(schema, name, options, depth)
        return self._of_type(schema, _type_of(schema), depth)

    def _whole(self, schema: object, depth: int) -> Mapping[str, object] | None:
        """Follow references and merge ``allOf``; None for what is no schema."""
        for _ in range(MAX_DEPTH):
            self._left -= 1
            if schema is True:
                return {}
            if not isinstance(schema, Mapping) or self._left < 0:
                return None
            if "$ref" not in schema:
                break
            # What stands beside a reference counts, too, since OpenAPI 3.1.
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            target = self._resolved(schema["$ref"])
            schema = {"allOf": [target, beside]} if beside else target
        else:
            return None
        parts = _list(schema.get("allOf"))
        if not parts:
            return schema
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        merged: Mapping[str, object] = {}
        for part in (*parts, rest):
            whole = self._whole(part, depth + 1) if depth < MAX_DEPTH else None
            if whole is None:
                return None
            merged = _merged(merged, whole)
        return merged

    def _resolved(self, reference: object) -> object:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found: object = self._document
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _first_of(
        self, schema: Mapping[str, object], name: str, options: Sequence[object], depth: int
    ) -> object:
        """Return a sample of the first option that has one, with what holds for all."""
        rest = {key: value for key, value in schema.items() if key != name}
        for option in options:
            found = self.of({"allOf": [rest, option]} if rest else option, depth + 1)
            if found is not NO_SAMPLE:
                return found
        return NO_SAMPLE

    def _of_type(self, schema: Mapping[str, object], kind: object, depth: int) -> object:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return _text(schema)
        if kind in {"integer", "number"}:
            return _number(schema, is_whole=kind == "integer")
        return {"boolean": True, "null": None}.get(str(kind), NO_SAMPLE)

    def _object(self, schema: Mapping[str, object], depth: int) -> object:
        """Give what is required, and what has an example of its own."""
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = [name for name in _list(schema.get("required")) if isinstance(name, str)]
        made: dict[str, object] = {}
        for name, inner in properties.items():
            whole = self._whole(inner, depth + 1) if depth < MAX_DEPTH else None
            if whole is None:
                value: object = NO_SAMPLE
            elif whole.get("readOnly") is True:
                continue  # The server gives it; sent, it may be refused.
            else:
                value = self.of(whole, depth + 1) if name in required else _example(whole)
            if value is not NO_SAMPLE:
                made[name] = value
            elif name in required:
                return NO_SAMPLE
        # Of a name without a schema anything will do, if additional ones are allowed.
        missing = [name for name in required if name not in properties]
        if missing and schema.get("additionalProperties") is False:
            return NO_SAMPLE
        for name in missing:
            made[name] = TEXT
        return made

    def _array(self, schema: Mapping[str, object], depth: int) -> object:
        least = _whole_number(schema.get("minItems"), 0)
        if least <= 0:
            return []
        if least > MAX_ITEMS or (least > 1 and schema.get("uniqueItems") is True):
            return NO_SAMPLE
        first = _list(schema.get("prefixItems"))[:least]
        rest = schema.get("items", True)
        items = [self.of(item, depth + 1) for item in (*first, *[rest] * (least - len(first)))]
        return NO_SAMPLE if any(item is NO_SAMPLE for item in items) else items


def _told(schema: Mapping[str, object]) -> object:
    """Return what the schema itself says that a value is."""
    if "default" in schema:
        return schema["default"]
    example = _example(schema)
    if example is not NO_SAMPLE:
        return example
    options = _list(schema.get("enum"))
    return options[0] if options else schema.get("const", NO_SAMPLE)


def _example(schema: Mapping[str, object]) -> object:
    if "example" in schema:
        return schema["example"]
    examples = schema.get("examples")
    if isinstance(examples, Mapping):  # As OpenAPI has them of media types and parameters.
        named = (one for one in examples.values() if isinstance(one, Mapping))
        examples = [one["value"] for one in named if "value" in one]
    examples = _list(examples)
    return examples[0] if examples else NO_SAMPLE


def _type_of(schema: Mapping[str, object]) -> object:
    kind = schema.get("type")
    if isinstance(kind, list | tuple):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is not None:
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema or "multipleOf" in schema:
        return "number"
    return "string"


def _text(schema: Mapping[str, object]) -> object:
    kind = schema.get("format")
    least = _whole_number(schema.get("minLength"), 0)
    most = _whole_number(schema.get("maxLength"), MAX_LENGTH)
    if "pattern" in schema or least > min(most, MAX_LENGTH):
        return NO_SAMPLE
    if kind == "binary" or not isinstance(kind, str) or kind not in FORMATS:
        text = TEXT * (least // len(TEXT) + 1) if least > len(TEXT) else TEXT
        return text[: max(least, min(len(TEXT), most))]
    text = FORMATS[kind]
    return text if least <= len(text) <= most else NO_SAMPLE


def _number(schema: Mapping[str, object], *, is_whole: bool) -> object:
    """Return the number nearest to 1 within the bounds."""
    low, low_open = _limit(schema, "minimum", 1)
    high, high_open = _limit(schema, "maximum", -1)
    high = -high
    step = max(_real(schema.get("multipleOf"), 0), Fraction(0)) or Fraction(is_whole)
    if is_whole:
        step = Fraction(step.numerator)  # The first multiple that is whole.
    if step:
        first = math.floor(low / step) + 1 if low_open else math.ceil(low / step)
        last = math.ceil(high / step) - 1 if high_open else math.floor(high / step)
        is_possible = first <= last
        value = min(max(math.ceil(1 / step), first), last) * step
    else:
        is_possible = low < high or (low == high and not (low_open or high_open))
        low += min(Fraction(1), (high - low) / 4) if low_open else 0
        high -= min(Fraction(1), (high - low) / 4) if high_open else 0
        value = min(max(Fraction(1), low), high)
    if not is_possible:
        return NO_SAMPLE
    return int(value) if value.denominator == 1 else float(value)


def _limit(schema: Mapping[str, object], name: str, sign: int) -> tuple[Fraction, bool]:
    """Return a bound, and whether it is outside itself; of a maximum, the negative."""
    bound = _real(schema.get(name), -sign * MAX_NUMBER) * sign
    exclusive = schema.get(f"exclusive{name.capitalize()}")
    if exclusive is True:  # As before OpenAPI 3.1.
        return bound, True
    beyond = _real(exclusive, -sign * MAX_NUMBER) * sign
    return (beyond, True) if exclusive is not None and beyond >= bound else (bound, False)


def _real(value: object, otherwise: int) -> Fraction:
    """Return a number as it is written, in which a tenth is one; ``otherwise`` for none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fraction(otherwise)
    return Fraction(str(value)) if abs(value) <= MAX_NUMBER else Fraction(otherwise)


def _whole_number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _merged(one: Mapping[str, object], other: Mapping[str, object]) -> Mapping[str, object]:
    """Combine two schemas that both hold; of what both say once, the second is right."""
    merged = {**one, **other}
    both = [(name, one[name], other[name]) for name in one if name in other]
    for name, first, second in both:
        if name == "properties" and isinstance(first, Mapping) and isinstance(second, Mapping):
            merged[name] = {**first, **second}
        elif name == "required":
            merged[name] = [*_list(first), *_list(second)]
        elif name.startswith(("min", "exclusiveMin")):
            is_narrower = _real(first, -MAX_NUMBER) > _real(second, -MAX_NUMBER)
            merged[name] = first if is_narrower else second
        elif name.startswith(("max", "exclusiveMax")):
            is_narrower = _real(first, MAX_NUMBER) < _real(second, MAX_NUMBER)
            merged[name] = first if is_narrower else second
    return merged


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
