"""What an answer is worth, by what was expected of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.attempts import Answer, Failure
from pulse.core.expectations import parse_expectations
from pulse.core.judging import Check, Judgement, State, judge
from pulse.core.redaction import Redactor

ANSWER = Answer(
    started_at=0,
    latency_ms=43.14,
    status_code=200,
    headers={"content-type": "application/json", "x-version": "2.1"},
    body=b'{"status": "ok", "items": [{"id": 7, "on": true, "price": 1.0}], "0": "nought"}',
    bytes=80,
    certificate_days=20.04,
)


def judged(answer: Answer = ANSWER, **expect: Any) -> Judgement:
    return judge(parse_expectations(expect), answer)


def test_an_answer_that_is_as_expected_is_ok() -> None:
    found = judged(
        status=["2xx"],
        max_latency_ms=43.14,
        headers={"Content-Type": "JSON"},
        contains='"ok"',
        json={"items[0].id": 7, "status": "ok"},
        certificate_days=20,
    )
    assert found == Judgement(
        State.OK,
        None,
        "",
        (
            Check("status", ["2xx"], 200, True),
            Check("headers.content-type", "JSON", "application/json", True),
            Check("contains", '"ok"', '"ok"', True),
            Check("json.items[0].id", 7, 7, True),
            Check("json.status", "ok", "ok", True),
            Check("max_latency_ms", 43.14, 43.1, True),
            Check("certificate_days", 20, 20.0, True),
        ),
    )
    json.dumps(found.checks)


@pytest.mark.parametrize(
    ("expect", "state", "detail"),
    [
        ({}, "ok", ""),
        ({"status": [204]}, "failed", "status 200, expected 204"),
        ({"status": ["3xx", 404]}, "failed", "status 200, expected 3xx, 404"),
        ({"headers": {"X-Version": "3"}}, "failed", 'header x-version "2.1", expected "3"'),
        ({"headers": {"ETag": ""}}, "failed", 'header etag missing, expected ""'),
        ({"contains": "down"}, "failed", 'body does not contain "down"'),
        ({"json": {"items.0.id": 8}}, "failed", "json items.0.id 7, expected 8"),
        ({"json": {"items.1.id": 8}}, "failed", "json items.1.id missing, expected 8"),
        ({"json": {"a": None}}, "failed", "json a missing, expected null"),
        ({"schema": True}, "failed", "schema: none is known of this endpoint"),
        ({"max_latency_ms": 43}, "degraded", "latency 43.1 ms, expected at most 43 ms"),
        (
            {"certificate_days": 21},
            "degraded",
            "certificate ends in 20 days, expected at least 21 days",
        ),
        ({"max_latency_ms": 1, "contains": "down"}, "failed", 'body does not contain "down"'),
        (
            {"max_latency_ms": 1, "certificate_days": 90},
            "degraded",
            "latency 43.1 ms, expected at most 1 ms",
        ),
    ],
)
def test_the_first_miss_is_told(expect: dict[str, Any], state: str, detail: str) -> None:
    """The serious ones first; latency and certificate alone only degrade."""
    found = judged(**expect)
    assert (found.state, found.detail) == (state, detail)
    assert found.error == (None if state == "ok" else Failure.EXPECTATION)


def test_the_default_is_any_good_status() -> None:
    for status, state in (
        (199, "failed"),
        (200, "ok"),
        (399, "ok"),
        (400, "failed"),
        (500, "failed"),
    ):
        assert judged(replace(ANSWER, status_code=status)).state == state
    found = judged(replace(ANSWER, status_code=500))
    assert found.detail == "status 500, expected 200-399"


@pytest.mark.parametrize("failure", Failure)
def test_without_an_answer_nothing_else_is_judged(failure: Failure) -> None:
    """Its error is the result's; the probe's own time and the job's both are a timeout."""
    answer = replace(
        ANSWER, failure=failure, detail="The connection was refused.", status_code=None
    )
    late = failure in {Failure.TIMEOUT, Failure.DEADLINE}
    state = State.TIMEOUT if late else State.FAILED
    found = judged(answer, max_latency_ms=1)
    assert found == Judgement(state, failure, "The connection was refused.", ())


def test_no_certificate_is_none_that_lasts() -> None:
    found = judged(replace(ANSWER, certificate_days=None), certificate_days=14)
    assert (found.state, found.detail) == (
        "degraded",
        "no certificate, expected at least 14 days",
    )
    assert found.checks[-1] == Check("certificate_days", 14, None, False)


@pytest.mark.parametrize(
    ("body", "path", "wanted", "ok"),
    [
        ("7", "$", 7, True),
        ("7.0", "$", 7, True),
        ("1", "$", True, False),
        ("true", "$", 1, False),
        ("true", "$", True, True),
        ("null", "$", None, True),
        ("[1, [2, true]]", "$", [1, [2, True]], True),
        ("[1, [2, true]]", "$", [1, [2, 1]], False),
        ("[1, 2]", "$", [1], False),
        ('{"b": 1, "a": [{}]}', "$", {"a": [{}], "b": 1}, True),
        ('{"b": 1, "a": 2}', "$", {"a": 2}, False),
        ('{"0": 5}', "0", 5, True),
        ('{"0": 5}', "[0]", 5, True),
        ("[5]", "0", 5, True),
        ("[5]", "1", 5, False),
        ("[5]", "x", 5, False),
        ('"text"', "0", "t", False),
        ('{"a.b": 1}', '["a.b"]', 1, True),
    ],
)
def test_values_are_compared_as_json_does(body: str, path: str, wanted: Any, ok: bool) -> None:
    found = judged(replace(ANSWER, body=body.encode()), json={path: wanted})
    assert found.checks[1].ok is ok


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a": 1', b"\xff\xfe", b"[" * 500_000, b"9" * 100_000]
)
def test_a_body_that_is_no_json_is_told(body: bytes) -> None:
    found = judged(replace(ANSWER, body=body), json={"a": 1})
    assert (found.state, found.detail) == ("failed", "body is no JSON")
    assert found.checks[1] == Check("json.a", 1, None, False)


def test_a_body_is_read_in_its_own_encoding() -> None:
    """Those that are known; bytes that are none are no reason to fail."""
    for charset in ("iso-8859-1", "windows-1252", "UTF-8", "utf-16"):
        headers = {"content-type": f'text/plain; charset="{charset}"; x=y'}
        answer = replace(ANSWER, headers=headers, body="größer".encode(charset))
        assert judged(answer, contains="größer").state == "ok"
    headers = {"content-type": "text/plain; charset=punycode"}
    assert judged(replace(ANSWER, headers=headers, body=b"\xffok"), contains="ok").state == "ok"


def test_the_schema_says_what_is_wrong() -> None:
    expectations = parse_expectations({"schema": True})
    assert judge(expectations, ANSWER, lambda _: "").checks[1] == Check("schema", True, True, True)
    found = judge(expectations, ANSWER, lambda answer: f"{answer.status_code}: id is no text")
    assert found.checks[1] == Check("schema", True, "200: id is no text", False)
    assert found.detail == "schema: 200: id is no text"
    assert len(judge(parse_expectations({}), ANSWER, lambda _: "wrong").checks) == 1


def test_what_came_is_cut() -> None:
    """A result is kept for days; an answer has up to a megabyte."""
    body = json.dumps({"long": "x" * 5000, "list": list(range(100_000)), "n": 10**200}).encode()
    found = judged(
        replace(ANSWER, body=body, headers={"etag": "y" * 5000}),
        json={"long": 1, "list": 1, "n": 1},
        contains="z" * 1000,
        headers={"etag": "z"},
    )
    assert all(len(str(check.actual)) <= 100 for check in found.checks)
    assert len(found.detail) <= 300


@given(st.text("abcdefghij0123456789", min_size=8, max_size=30), st.integers(0, 150))
def test_no_secret_is_told(secret: str, offset: int) -> None:
    """Neither one that was sent, nor one that the answer has by name; not cut in half either."""
    said = f"{'-' * offset}{secret}"
    answer = replace(
        ANSWER,
        headers={"x-echo": said, "set-cookie": f"sessionid=z{secret}"},
        body=json.dumps({"echo": said, "items": [said], "api_key": f"z{secret}"}).encode(),
    )
    expect = {
        "headers": {"X-Echo": "?", "Set-Cookie": "?"},
        "contains": "?",
        "json": {"echo": "?", "items": "?", "api_key": "?", "$": "?"},
    }
    found = judge(parse_expectations(expect), answer, redactor=Redactor([secret]))
    told = json.dumps(found)
    assert not any(secret[:length] in told for length in range(6, len(secret)))
    failed = replace(ANSWER, failure=Failure.PROTOCOL, detail=said)
    assert (
        secret[:6] not in judge(parse_expectations({}), failed, redactor=Redactor([secret])).detail
    )
