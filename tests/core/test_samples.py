"""Samples of schemas: what their authors say, else the plainest value that is allowed."""

import copy
import json
import re
from datetime import date, datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.samples import FORMATS, MAX_DEPTH, NO_SAMPLE, sample_of


@pytest.mark.parametrize(
    ("schema", "sample"),
    [
        ({"type": "string", "default": "a", "example": "b", "enum": ["c"]}, "a"),
        ({"type": "string", "example": "b", "examples": ["c"], "enum": ["d"]}, "b"),
        ({"type": "string", "examples": ["c", "d"], "enum": ["e"]}, "c"),
        ({"examples": {"one": {"summary": "x"}, "two": {"value": 7}}}, 7),
        ({"type": "string", "enum": ["e", "f"], "const": "g"}, "e"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "string", "pattern": "^a", "example": "abc"}, "abc"),
        ({"type": "boolean", "default": False}, False),
        ({"default": None}, None),
    ],
)
def test_what_the_author_says_comes_first(schema: Any, sample: Any) -> None:
    assert sample_of(schema) == sample


@pytest.mark.parametrize(
    ("schema", "sample"),
    [
        ({}, "probe"),
        (True, "probe"),
        ({"type": "string"}, "probe"),
        ({"type": "string", "minLength": 8}, "probepro"),
        ({"type": "string", "maxLength": 2}, "pr"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "string", "format": "uuid"}, FORMATS["uuid"]),
        ({"type": "string", "format": "unheard-of"}, "probe"),
        ({"type": "integer"}, 1),
        ({"type": "number"}, 1),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 6),
        ({"type": "integer", "exclusiveMinimum": 0.5, "maximum": 1}, 1),
        ({"type": "integer", "minimum": 5, "multipleOf": 4}, 8),
        ({"type": "integer", "multipleOf": 0.5}, 1),
        ({"type": "integer", "multipleOf": 0.3}, 3),
        ({"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.3}, 0.3),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, 0.5),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}, 0.40625),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 1),
        ({"type": "array"}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"prefixItems": [{"type": "integer"}, {}], "minItems": 3}, [1, "probe", "probe"]),
        ({"minimum": 3}, 3),
        ({"items": {}}, []),
    ],
)
def test_else_the_plainest_value_is_made(schema: Any, sample: Any) -> None:
    assert sample_of(schema) == sample
    assert type(sample_of(schema)) is type(sample)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        False,
        "string",
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "string", "minLength": 10_001},
        {"type": "string", "format": "uuid", "maxLength": 5},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "integer", "minimum": 0.2, "maximum": 0.8},
        {"type": "number", "minimum": 5, "exclusiveMaximum": 5},
        {"type": "array", "minItems": 101},
        {"type": "array", "minItems": 2, "uniqueItems": True},
        {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "x"}},
        {"type": "object", "required": ["a"], "properties": {"a": {"pattern": "x"}}},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "file"},
        {"anyOf": [{"pattern": "x"}, False]},
        {"$ref": "#/components/schemas/Missing"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": 5},
    ],
)
def test_what_would_be_guessed_is_not_made(schema: Any) -> None:
    assert sample_of(schema) is NO_SAMPLE


def test_formats_are_what_they_say() -> None:
    assert datetime.fromisoformat(FORMATS["date-time"])
    assert date.fromisoformat(FORMATS["date"])
    assert UUID(FORMATS["uuid"])
    assert ip_address(FORMATS["ipv4"]).version == 4
    assert ip_address(FORMATS["ipv6"]).version == 6
    assert re.fullmatch(r"[^@\s]+@example\.com", FORMATS["email"])
    for name, text in FORMATS.items():
        assert sample_of({"type": "string", "format": name}) == text


def test_an_object_has_what_is_required_and_what_has_an_example() -> None:
    """What the server gives is not sent; of a name without a schema anything will do."""
    schema = {
        "type": "object",
        "required": ["id", "name", "tags", "extra"],
        "properties": {
            "id": {"type": "integer", "readOnly": True},
            "name": {"type": "string", "maxLength": 3},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "note": {"type": "string"},
            "colour": {"type": "string", "example": "red"},
            "secret": {"type": "string", "pattern": "x"},
        },
    }
    assert sample_of(schema) == {
        "name": "pro",
        "tags": ["probe"],
        "colour": "red",
        "extra": "probe",
    }


DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "Name": {"type": "string", "maxLength": 3},
            "Base": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"$ref": "#/components/schemas/Name"}},
            },
            "Product": {
                "allOf": [
                    {"$ref": "#/components/schemas/Base"},
                    {
                        "required": ["price"],
                        "properties": {"price": {"type": "number", "minimum": 2}},
                    },
                ]
            },
            "Node": {
                "type": "object",
                "required": ["value"],
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"$ref": "#/components/schemas/Node"},
                },
            },
            "Endless": {
                "type": "object",
                "required": ["next"],
                "properties": {"next": {"$ref": "#/components/schemas/Endless"}},
            },
            "Loop": {"$ref": "#/components/schemas/Loop"},
            "All": {"allOf": [{"$ref": "#/components/schemas/All"}]},
            "Twice": {"anyOf": [{"$ref": "#/components/schemas/Twice"}] * 20},
            "Broad": {
                "required": [f"p{n}" for n in range(20)],
                "properties": {f"p{n}": {"$ref": "#/components/schemas/Broad"} for n in range(20)},
            },
            "a/b~c": {"const": "escaped"},
        }
    }
}


def of(name: str) -> Any:
    return sample_of({"$ref": f"#/components/schemas/{name}"}, DOCUMENT)


def test_references_are_followed_and_parts_are_one() -> None:
    assert of("Product") == {"name": "pro", "price": 2}
    assert of("Node") == {"value": 1}
    assert of("a~1b~0c") == "escaped"
    beside = {"$ref": "#/components/schemas/Name", "minLength": 2, "maxLength": 2}
    assert sample_of(beside, DOCUMENT) == "pr"


@pytest.mark.parametrize("name", ["Endless", "Loop", "All", "Twice", "Broad"])
def test_what_needs_itself_ends(name: str) -> None:
    """Also where each step has many ways to itself."""
    assert of(name) is NO_SAMPLE


def test_parts_that_both_hold_are_both_kept() -> None:
    """The narrower bounds, and properties and requirements of both."""
    schema = {
        "allOf": [
            {"type": "string", "minLength": 2, "maxLength": 9},
            {"minLength": 1, "maxLength": 3},
            {"type": "string"},
        ]
    }
    assert sample_of(schema) == "pro"
    number = {"type": "integer", "minimum": 3, "allOf": [{"minimum": 7}, {"maximum": 7.5}]}
    assert sample_of(number) == 7


def test_the_first_option_that_has_a_sample_is_taken() -> None:
    """With what holds for all of them."""
    schema = {
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"const": "x"}},
        "oneOf": [
            {"required": ["a"], "properties": {"a": {"pattern": "x"}}},
            {"required": ["b"], "properties": {"b": {"type": "integer"}}},
        ],
    }
    assert sample_of(schema) == {"kind": "x", "b": 1}
    assert sample_of({"anyOf": [{"type": "null"}, {"type": "string"}]}) is None


def test_depth_is_followed_so_far() -> None:
    def nested(levels: int) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "integer"}
        for _ in range(levels):
            schema = {"required": ["a"], "properties": {"a": schema}}
        return schema

    assert json.dumps(sample_of(nested(MAX_DEPTH))).count("a") == MAX_DEPTH
    assert sample_of(nested(MAX_DEPTH + 1)) is NO_SAMPLE


bounds = st.one_of(st.integers(-50, 50), st.decimals(-5, 5, places=2).map(float))
numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": bounds,
        "maximum": bounds,
        "exclusiveMinimum": bounds,
        "exclusiveMaximum": bounds,
        "multipleOf": st.sampled_from([1, 2, 5, 7, 0.5, 0.25]),
    },
)


@given(numbers)
def test_a_number_is_within_its_bounds(schema: dict[str, Any]) -> None:
    """And where there is none, no number of a fine grid would do."""

    def fits(value: float) -> bool:
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
            and value % schema.get("multipleOf", value or 1) == 0
            and (schema["type"] == "number" or value == int(value))
        )

    sample = sample_of(schema)
    if sample is NO_SAMPLE:
        assert not any(fits(number / 4) for number in range(-400, 401))
    else:
        assert isinstance(sample, int | float)
        assert fits(sample)


schemas = st.recursive(
    st.sampled_from([{}, True, False, None, 5, "x", {"$ref": "#/a"}, {"$ref": "#/b/c"}])
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "object", "array", ["null"], 5, []]),
            "format": st.sampled_from(["date", "uuid", 5]),
            "minLength": st.sampled_from([0, 3, -1, 10**30, "x", None, 1.5]),
            "minimum": st.sampled_from([0, 3, 10**400, float("nan"), float("inf"), "x", None]),
            "multipleOf": st.sampled_from([0, -1, 1e-300, 0.3, 10**400, float("nan"), "x"]),
            "enum": st.sampled_from([[], [1], "x", None]),
            "examples": st.sampled_from([[], {"a": 5}, {"a": {}}, "x", None]),
            "required": st.sampled_from([["a"], [5], "x", None, [[]]]),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner),
            "items": inner,
            "minItems": st.sampled_from([0, 1, 2, "x"]),
            "allOf": st.lists(inner, max_size=3),
            "anyOf": st.lists(inner, max_size=3),
            "required": st.just(["a"]),
        },
    ),
    max_leaves=12,
)


@given(schemas, schemas)
def test_any_schema_has_one_sample_or_none(schema: Any, other: Any) -> None:
    """However it is broken: no error, no change to it, the same each time, and JSON."""
    before = copy.deepcopy(schema)
    document = {"a": schema, "b": {"c": other}}
    sample = sample_of(schema, document)
    assert repr(schema) == repr(before)
    assert repr(sample_of(schema, document)) == repr(sample)
    if sample is not NO_SAMPLE:
        json.dumps(sample)
