"""Sizes and times as operators write them: documents, words, presets."""

from typing import Any

import pytest

from pulse.exceptions import InvalidDocument
from pulse.policies import presets
from pulse.policies.compiler import compile_document
from pulse.policies.completion import complete
from pulse.policies.words import describe

MB = 2**20
UPLOAD = {"name": "upload", "url_name": "upload"}


def bounded(**fields: Any) -> dict[str, Any]:
    return complete({"endpoint_limits": [{**UPLOAD, **fields}]})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_body_bytes": 100 * MB}, "a body of up to 100 MB."),
        ({"max_body_bytes": 0}, "no body."),
        ({"timeout_s": 300}, "an answer within 5 min."),
        ({"timeout_s": 0.25}, "an answer within 0.25 s."),
        (
            {"max_body_bytes": 1000, "timeout_s": 30},
            "a body of up to 1000 bytes and an answer within 30 s.",
        ),
        (
            {"limits": ["5/m"], "max_body_bytes": MB},
            "each client may do 5 a minute, up to 5 at once. A body of up to 1 MB.",
        ),
        ({"replaces_tier": True}, "no limit of its own."),
        ({"slow_ms": 250}, "a line in the log after 0.25 s."),
        ({"slow_ms": 0}, "no line for what is slow."),
    ],
)
def test_what_it_bounds_is_said(fields: dict[str, Any], words: str) -> None:
    """In the list, the form and the explanation (S1-20, S1-57)."""
    [item] = bounded(**fields)["endpoint_limits"]
    assert describe("endpoint_limits", item).startswith(f"Every request to upload: {words} ")


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"timeout_s": 10**400}, "timeout_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 86_401}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": "30"}, "timeout_s"),
        ({"slow_ms": -1}, "slow_ms"),
        ({"slow_ms": 86_400_001}, "slow_ms"),
        ({"slow_ms": 1.5}, "slow_ms"),
        ({"slow_ms": True}, "slow_ms"),
        ({"slow_ms": "1 s"}, "slow_ms"),
        ({"max_body_bytes": -1}, "max_body_bytes"),
        ({"max_body_bytes": 2**40 + 1}, "max_body_bytes"),
        ({"max_body_bytes": 10.5}, "max_body_bytes"),
        ({"max_body_bytes": "10 MB"}, "max_body_bytes"),
    ],
)
def test_what_is_no_bound_is_told_in_its_place(fields: dict[str, Any], place: str) -> None:
    """Also what YAML calls a number and no clock does."""
    with pytest.raises(InvalidDocument) as raised:
        bounded(limits=["1/s"], **fields)
    assert list(raised.value.errors) == [f"endpoint_limits.0.{place}"]


@pytest.mark.parametrize("fields", [{"max_body_bytes": 0}, {"timeout_s": 1}, {"slow_ms": 0}])
def test_a_bound_is_enough_for_an_endpoint_limit(fields: dict[str, Any]) -> None:
    """Without a rate; a body of no bytes is a bound too."""
    snapshot = compile_document(bounded(**fields), None, 0.0)
    assert not snapshot.bounds.is_empty
    assert snapshot.rules == ()


def test_a_limit_of_nothing_is_refused_still() -> None:
    """Neither rate, nor size, nor time."""
    with pytest.raises(InvalidDocument, match="It limits nothing"):
        bounded()


def test_an_end_is_a_bound_s_end_too() -> None:
    """What is not in force bounds nothing."""
    document = bounded(max_body_bytes=5, ends_at="2026-01-01T00:00:00Z")
    assert compile_document(document, None, 1_800_000_000.0).bounds.is_empty
    assert not compile_document(document, None, 1_700_000_000.0).bounds.is_empty


@pytest.mark.parametrize(
    ("name", "route", "bounds"),
    [
        ("upload", "upload", {"max_body_bytes": 100 * MB, "timeout_s": None, "limits": []}),
        ("api-time", "search", {"max_body_bytes": None, "timeout_s": 30.0, "limits": []}),
        ("export", "export", {"timeout_s": 300.0, "limits": [{"rate": "10/m"}]}),
    ],
)
def test_presets_bound_what_they_are_for(name: str, route: str, bounds: dict[str, Any]) -> None:
    """100 MB for uploads, 30 s for an API, 300 s for exports (S1-20, S1-57)."""
    preset = presets.find_preset(name)
    assert preset is not None
    assert route in [match.url_name for match in presets.suggested(preset)]
    [item] = presets.items(preset, [("url_name", route)], {})
    assert bounds.items() <= item.items()
    complete({"endpoint_limits": [item]})


def test_no_preset_is_suggested_for_routes_of_pulse() -> None:
    """Where browsers report to looks like a report that is costly to put together, and is none."""
    names = [match.url_name for each in presets.PRESETS for match in presets.suggested(each)]
    assert "export" in names
    assert [name for name in names if name.startswith("pulse:")] == []
