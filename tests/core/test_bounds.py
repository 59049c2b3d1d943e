"""Sizes and times of endpoints, as values."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.bounds import (
    MAX_BODY_BYTES,
    Bounds,
    Effective,
    bounds_of,
    format_size,
    parse_length,
    parse_size,
    round_size,
)
from pulse.core.clients import in_percent
from pulse.core.endpoints import Match
from pulse.exceptions import InvalidSize
from tests.factories import SEARCH, SECRET

MB = 2**20


def item(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "mode": "enforce", "percent": 100, "methods": [], **fields}


def find(bounds: Bounds, match: Match = SEARCH, method: str = "GET", **fields: str) -> Effective:
    path, client = fields.get("path", "/api/search/"), fields.get("client", "203.0.113.9")
    return bounds.find(match, path, method, client, SECRET)


def names(found: Effective) -> tuple[str | None, str | None]:
    return found.body and found.body.name, found.timeout and found.timeout.name


BY_ROUTE = item("route", route=SEARCH.route, max_body_bytes=1)
BY_NAME = item("name", url_name=SEARCH.url_name, max_body_bytes=2)
BY_VIEW = item("view", view=SEARCH.view, max_body_bytes=3)
BY_LONG = item("long", path="/api/search/", max_body_bytes=4)
BY_SHORT = item("short", path="/api/", max_body_bytes=5)
IN_ORDER = (BY_ROUTE, BY_NAME, BY_VIEW, BY_LONG, BY_SHORT)


@pytest.mark.parametrize("first", range(len(IN_ORDER)))
def test_the_most_specific_match_says_how_large(first: int) -> None:
    """Route, URL name, view, longest prefix, whatever their order in the document (S1-68)."""
    found = find(bounds_of(reversed(IN_ORDER[first:])))
    assert found.body is not None
    assert found.body.max_body_bytes == first + 1


def test_within_one_kind_of_match_methods_go_first() -> None:
    """With methods before without; a longer prefix still before one with methods."""
    bounds = bounds_of(
        [
            item("all", path="/api/", max_body_bytes=1),
            item("post", path="/api/", methods=["POST"], max_body_bytes=2),
            item("long", path="/api/search/", methods=["PUT"], max_body_bytes=3),
        ]
    )
    assert names(find(bounds, method="POST")) == ("post", None)
    assert names(find(bounds, method="PUT")) == ("long", None)
    assert names(find(bounds, method="GET")) == ("all", None)


def test_each_field_comes_from_the_first_that_names_it() -> None:
    """One endpoint limit says how large, another how long."""
    bounds = bounds_of(
        [
            item("name", url_name="search", timeout_s=30.0),
            item("path", path="/", max_body_bytes=7, timeout_s=300.0),
        ]
    )
    assert names(find(bounds)) == ("path", "name")
    elsewhere = Match("other/", "other", "views.other")
    assert names(find(bounds, elsewhere, path="/other/")) == ("path", "path")


def test_what_is_slow_comes_from_the_most_specific_that_acts() -> None:
    """0 says that nothing is; in shadow a rule says nothing; it is no bound of size or time."""
    bounds = bounds_of(
        [
            item("route", route=SEARCH.route, slow_ms=5, mode="shadow"),
            item("name", url_name="search", slow_ms=0, methods=["GET"]),
            item("path", path="/", slow_ms=300),
            item("size", path="/api/", max_body_bytes=7),
        ]
    )
    found = [find(bounds, method=method).slow for method in ("GET", "HEAD", "POST")]
    assert [each and (each.name, each.slow_ms) for each in found] == [
        *(("name", 0), ("name", 0), ("path", 300)),
    ]
    assert names(find(bounds)) == ("size", None)
    assert (bounds.has_timeouts, bounds.smallest_body) == (False, 7)
    assert not bounds_of([item("slow", path="/", slow_ms=0)]).is_empty


def test_a_bound_in_shadow_gives_its_place_to_the_next() -> None:
    """It is told, so that what it would have refused is counted; less specific ones are not."""
    bounds = bounds_of(
        [
            item("route", route=SEARCH.route, max_body_bytes=1, mode="shadow"),
            item("name", url_name="search", max_body_bytes=2),
            item("path", path="/", max_body_bytes=3, mode="shadow"),
        ]
    )
    found = find(bounds)
    assert names(found) == ("name", None)
    assert [bound.name for bound in found.body_shadows] == ["route"]


def test_a_share_of_clients_is_the_share_that_the_rates_act_on() -> None:
    """The same name is hashed, so a rule acts on a client whole."""
    bounds = bounds_of([item("upload", path="/", max_body_bytes=1, percent=40)])
    clients = [f"198.51.100.{number}" for number in range(200)]
    acting = [client for client in clients if find(bounds, client=client).body]
    assert acting == [c for c in clients if in_percent("endpoint_limits:upload:", c, 40, SECRET)]
    assert 40 < len(acting) < 120


def test_what_acts_on_nobody_loosens_nothing() -> None:
    """Neither in shadow nor for 0 % of clients; what limits rates alone is no bound."""
    bounds = bounds_of(
        [
            item("upload", path="/", max_body_bytes=100 * MB, mode="shadow", timeout_s=1),
            item("nobody", path="/x", max_body_bytes=100 * MB, percent=0, timeout_s=1),
            item("rates", path="/y"),
        ]
    )
    assert (bounds.largest_body, bounds.has_timeouts, bounds.is_empty) == (0, False, False)
    assert bounds.smallest_body is None
    assert bounds_of([item("rates", path="/y")]).is_empty
    assert bounds_of([]).is_empty
    assert Bounds().find(SEARCH, "/", "GET", "", b"") == Effective()


def test_the_largest_and_the_smallest_body_are_those_of_any_endpoint() -> None:
    """What the front, which knows no route, lets pass, and for what none need be known."""
    bounds = bounds_of([BY_ROUTE, item("upload", path="/", max_body_bytes=100 * MB, timeout_s=9)])
    assert (bounds.largest_body, bounds.has_timeouts) == (100 * MB, True)
    none = item("none", path="/none", max_body_bytes=0)
    sizes = [bounds_of([*more, none]).smallest_body for more in ([], [BY_ROUTE])]
    assert (bounds.smallest_body, sizes) == (BY_ROUTE["max_body_bytes"], [0, 0])


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_no_number_of_seconds_makes_no_policy(seconds: float) -> None:
    """Written past every validator."""
    with pytest.raises(ValueError, match="no number of seconds"):
        bounds_of([item("x", path="/", timeout_s=seconds)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+5",
        "5 ",
        " 5",
        "5,5",
        "5, 6",
        "1_0",
        "0x10",
        "1e3",
        "5.0",
        "\u0665",
        "²",
        "9" * 19,
    ],
)
def test_what_is_no_length(text: str) -> None:
    """ASCII digits alone, and not more than a body can have (S3-10)."""
    assert parse_length(text) is None


@given(st.integers(0, 10**18 - 1))
def test_a_length_is_its_digits(size: int) -> None:
    """Zeros in front are digits too."""
    assert parse_length(str(size)) == size
    assert parse_length("007") == 7


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100 MB", 100 * MB),
        ("100mb", 100 * MB),
        ("100 MiB", 100 * MB),
        ("1.5 GB", 3 * 2**29),
        ("512 KB", 512 * 1024),
        ("0.5k", 512),
        (" 4096 ", 4096),
        ("0", 0),
        ("1 byte", 1),
        ("1 TB", MAX_BODY_BYTES),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """A megabyte is 2^20 bytes, as in the refusals (S1-20)."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a size"),
        ("MB", "not a size"),
        ("-1 MB", "not a size"),
        ("1,5 MB", "not a size"),
        ("10 megs", "not a size"),
        ("1 2 MB", "not a size"),
        ("\u0665 MB", "not a size"),
        ("0.3 KB", "whole number"),
        ("1.5", "whole number"),
        ("2 TB", "terabyte"),
        ("9" * 400, "not a size"),
    ],
)
def test_what_is_no_size_is_told_why(text: str, reason: str) -> None:
    """With what to write instead."""
    with pytest.raises(InvalidSize, match=reason):
        parse_size(text)


@given(st.integers(0, MAX_BODY_BYTES))
def test_a_size_that_is_written_is_read_again(size: int) -> None:
    """The admin shows what it stores, exactly."""
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "exact", "brief"),
    [
        (10 * MB, "10 MB", "10MB"),
        (10 * MB + 1, "10485761 bytes", "10MB"),
        (2**30, "1 GB", "1024MB"),
        (2621440, "2560 KB", "2MB"),
        (512 * 1024, "512 KB", "512KB"),
        (1023, "1023 bytes", "1023 bytes"),
        (1, "1 byte", "1 byte"),
        (0, "0 bytes", "0 bytes"),
    ],
)
def test_sizes_in_words(size: int, exact: str, brief: str) -> None:
    """Exactly where they are edited; rounded down to megabytes in refusals (S3-10)."""
    assert (format_size(size), round_size(size)) == (exact, brief)
