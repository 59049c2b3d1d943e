"""What may be expected of an answer."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.expectations import (
    Expectations,
    JsonPath,
    merge,
    parse_expectations,
    parse_path,
)
from pulse.exceptions import InvalidExpectation


@pytest.mark.parametrize(
    ("written", "ranges"),
    [
        ([200], ((200, 200),)),
        ([200, 301], ((200, 200), (301, 301))),
        (["2xx", "301", "200-299"], ((200, 299), (301, 301), (200, 299))),
        (["4XX", " 500 - 503 "], ((400, 499), (500, 503))),
        (["200-200"], ((200, 200),)),
        ([100, 599], ((100, 100), (599, 599))),
    ],
)
def test_statuses_are_numbers_and_ranges(written: list[int | str], ranges: Any) -> None:
    found = parse_expectations({"status": written})
    assert found == Expectations(status=ranges, status_as_written=tuple(written))


def test_of_nothing_any_good_status_is_expected() -> None:
    assert parse_expectations({}) == Expectations(((200, 399),), ("200-399",))
    assert parse_expectations({"status": None, "json": None}) == Expectations()


def test_every_expectation_is_read() -> None:
    found = parse_expectations(
        {
            "status": [200],
            "max_latency_ms": 500,
            "headers": {"Content-Type": "json"},
            "contains": "ok",
            "json": {"items.0.id": 7, "$": {}},
            "certificate_days": 14,
            "schema": True,
        }
    )
    assert found == Expectations(
        status=((200, 200),),
        status_as_written=(200,),
        max_latency_ms=500,
        headers={"content-type": "json"},
        contains="ok",
        json=((JsonPath("items.0.id", ("items", "0", "id")), 7), (JsonPath("$", ()), {})),
        certificate_days=14,
        schema=True,
    )


DEEP: Any = 1
for _ in range(9):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ([], '"[]" is no mapping'),
        ({"latency": 5}, '"latency" is no expectation. There are status, max_latency_ms, headers'),
        ({1: 5}, '"1" is no expectation'),
        ({"x" * 500: 5}, f'"{"x" * 100}" is no expectation'),
        ({"status": 200}, '"status" needs a list'),
        ({"status": []}, '"status" needs a list'),
        ({"status": [200] * 51}, '"status" needs a list of at most 50'),
        ({"status": [True]}, '"True" is no status'),
        ({"status": [200.0]}, '"200.0" is no status'),
        ({"status": [99]}, '"99" is no status'),
        ({"status": [600]}, '"600" is no status'),
        ({"status": ["6xx"]}, "is no status"),
        ({"status": ["ok"]}, '"ok" is no status. Write 200, 2xx or 200-299.'),
        ({"status": ["299-200"]}, '"299-200" ends before it begins'),
        ({"max_latency_ms": 0}, "needs a number above 0, at most 600000"),
        ({"max_latency_ms": float("nan")}, "needs a number"),
        ({"max_latency_ms": float("inf")}, "needs a number"),
        ({"max_latency_ms": True}, "needs a number"),
        ({"max_latency_ms": "500"}, "needs a number"),
        ({"certificate_days": 3651}, "needs a number"),
        ({"headers": ["x"]}, '"headers" needs'),
        ({"headers": {"a b": "x"}}, '"a b" is no name of a header'),
        ({"headers": {"a": 5}}, '"a" needs a text'),
        ({"headers": {"a": "x" * 1001}}, "at most 1000 characters"),
        ({"contains": ""}, '"contains" needs a text'),
        ({"contains": "x" * 1001}, '"contains" needs a text'),
        ({"json": [1]}, '"json" needs'),
        ({"json": {"a..b": 1}}, '"a..b" is no path'),
        ({"json": {3: 1}}, '"3" is no path'),
        ({"json": {"a": "x" * 2000}}, "more than JSON of 2 KB"),
        ({"json": {"a": DEEP}}, "too deep"),
        ({"json": {"a": float("nan")}}, "is expected to be"),
        ({"json": {"a": {1, 2}}}, "is expected to be"),
        ({"schema": 1}, "true or false"),
    ],
)
def test_what_cannot_be_expected_is_told(expect: Any, reason: str) -> None:
    """By its own name, so that a form can show where."""
    with pytest.raises(InvalidExpectation) as caught:
        parse_expectations(expect)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$", ()),
        ("a", ("a",)),
        ("a.b.0.c", ("a", "b", "0", "c")),
        ("$.a[0].b", ("a", 0, "b")),
        ("$[0][1]", (0, 1)),
        ("[3]", (3,)),
        ("0", ("0",)),
        ("a['b.c'].d[\"e\"]", ("a", "b.c", "d", "e")),
        ("first name.größe", ("first name", "größe")),
    ],
)
def test_paths_lead_into_json(text: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(text) == JsonPath(text, steps)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a.", ".a", "a..b", "$a[", "a[b]", "a[-1]", "a[0]b", "a[*]", "$..a", "a['b]"),
        *("a.$", "$.$", "a['']", "a" * 201, ".".join("a" * 17)),
    ],
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(InvalidExpectation, match="no path into JSON"):
        parse_path(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_written_is_read_or_refused(value: object) -> None:
    """As the whole, and as the value of each key."""
    names = (
        "status",
        "max_latency_ms",
        "headers",
        "contains",
        "json",
        "certificate_days",
        "schema",
    )
    for expect in (value, *({name: value} for name in names)):
        with suppress(InvalidExpectation):
            assert isinstance(parse_expectations(expect), Expectations)


def test_a_target_knows_best_what_to_expect_of_it() -> None:
    """Its own keys hold whole; for the rest, what the schedule expects of all."""
    schedule = {"status": [200], "max_latency_ms": 500, "headers": {"a": "1"}}
    target = {"status": [401], "headers": {"b": "2"}}
    assert merge(schedule, target) == {
        "status": [401],
        "max_latency_ms": 500,
        "headers": {"b": "2"},
    }
    assert merge({}, {}) == {}
