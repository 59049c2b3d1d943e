"""Policies read and written; what browsers report, and what hostile clients send as reports."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.csp import (
    CSP_REPORT,
    DIRECTIVES,
    KEYWORDS,
    REPORTS,
    SCHEMES,
    Violation,
    loads_own_files,
    parse_csp,
    parse_reports,
    suggest,
    unknown_directives,
)
from pulse.exceptions import InvalidReport

PAGE = "https://shop.example.com/cart/?token=secret#part"


def old(**fields: object) -> bytes:
    """As ``report-uri`` sends it."""
    report = {"document-uri": PAGE, "effective-directive": "script-src-elem", **fields}
    return json.dumps({"csp-report": report}).encode()


def new(*bodies: dict[str, object]) -> bytes:
    """As ``report-to`` sends it."""
    return json.dumps(
        [{"type": "csp-violation", "age": 1, "url": PAGE, "body": body} for body in bodies]
    ).encode()


def source_of(blocked: str) -> str:
    (violation,) = parse_reports(CSP_REPORT, old(**{"blocked-uri": blocked}))
    return violation.source


# Reports


def test_both_kinds_of_report_tell_the_same() -> None:
    """Directive, origin, path; no query, no credentials, no fragment."""
    expected = Violation("script-src-elem", "https://cdn.example.net", "/cart/")
    blocked = "https://kim:secret@CDN.example.net:443/a.js?key=1"
    assert parse_reports(CSP_REPORT, old(**{"blocked-uri": blocked})) == [expected]
    body = {"documentURL": PAGE, "effectiveDirective": "script-src-elem", "blockedURL": blocked}
    assert parse_reports(REPORTS, new(body)) == [expected]
    assert "secret" not in repr(expected)


@pytest.mark.parametrize(
    ("blocked", "source"),
    [
        ("inline", "inline"),
        ("eval", "eval"),
        ("wasm-eval", "wasm-eval"),
        ("", "inline"),
        ("data", "data"),
        ("data:text/javascript,alert(1)", "data"),
        ("blob", "blob"),
        ("blob:https://shop.example.com/1", "blob"),
        ("self", "self"),
        ("https://shop.example.com/own.js", "self"),
        ("https://shop.example.com:8443/own.js", "https://shop.example.com:8443"),
        ("http://shop.example.com/own.js", "http://shop.example.com"),
        ("https://cdn.example.com.", "https://cdn.example.com"),
        ("wss://live.example.com:443/x", "wss://live.example.com"),
        ("https://[2001:db8::1]:8000/a", "https://[2001:db8::1]:8000"),
        ("chrome-extension", "extension"),
        ("moz-extension://abc/x.js", "extension"),
        ("https://", "other"),
        ("https://a b", "other"),
        ("https://<script>/", "other"),
        ("https://x;script-src *", "other"),
        ("https://x'unsafe-inline'", "other"),
        ("https://a:99999/", "other"),
        ("https://[::1", "other"),
        ("javascript:alert(1)", "other"),
        ("anything at all", "other"),
        (f"https://{'a' * 300}/", "other"),
        ("https://a\nb/", "https://ab"),
    ],
)
def test_what_was_blocked_is_an_origin_or_a_keyword(blocked, source) -> None:
    """Nothing else is ever kept of it."""
    assert source_of(blocked) == source


def test_a_directive_that_is_none_is_other() -> None:
    for name in ("x" * 1000, "<b>", "script_src", 7, None, ["a"]):
        body = old(**{"effective-directive": name, "blocked-uri": "eval"})
        assert parse_reports(CSP_REPORT, body)[0].directive == "other"


def test_an_old_browser_tells_the_whole_directive() -> None:
    body = old(**{"effective-directive": None, "violated-directive": "img-src 'self' data:"})
    assert parse_reports(CSP_REPORT, body)[0].directive == "img-src"


def test_no_more_than_twenty_reports_are_read() -> None:
    body = {"documentURL": PAGE, "effectiveDirective": "img-src", "blockedURL": "data"}
    assert len(parse_reports(REPORTS, new(*[body] * 500))) == 20


def test_reports_of_other_kinds_are_left_out() -> None:
    body = json.dumps([{"type": "deprecation", "body": {}}, {"type": "network-error"}]).encode()
    assert parse_reports(REPORTS, body) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"csp-report": null}',
        b'{"csp-report": []}',
        b"[7]",
        b'[{"type": "csp-violation"}]',
        b'[{"type": "csp-violation", "body": 7}]',
        b"[" * 60_000,
    ],
)
def test_what_is_no_report_is_refused(body) -> None:
    for content_type in (CSP_REPORT, REPORTS):
        with pytest.raises(InvalidReport):
            parse_reports(content_type, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["document-uri", "effective-directive", "violated-directive", "blocked-uri", "disposition"]
)


@given(st.dictionaries(FIELDS, JSON | st.text(min_size=1)))
def test_whatever_is_sent_what_is_kept_is_short_and_harmless(report) -> None:
    """Hostile values become keywords: none can fill memory, break a policy or a page."""
    body = json.dumps({"csp-report": report}).encode()
    (found,) = parse_reports(CSP_REPORT, body)
    assert found.directive in DIRECTIVES | {"other"}
    if found.source not in KEYWORDS | SCHEMES | {"other", "extension"}:
        assert "://" in found.source
        assert len(found.source) < 280
        assert not set(found.source) & set(" ;,'\"<>&\n\0")


# Suggestions


def test_what_is_suggested_is_the_whole_directive() -> None:
    """What it fell back to stays in it; 'none' goes."""
    csp = "default-src 'self'; img-src 'none'; form-action 'self'"
    found = suggest(
        csp,
        [
            ("script-src-elem", "https://cdn.example.com"),
            ("script-src-elem", "https://cdn.example.com"),
            ("script-src", "https://b.example.com"),
            ("img-src", "data"),
            ("form-action", "https://pay.example.com"),
            ("base-uri", "self"),
        ],
    )
    assert found == {
        "script-src": ["'self'", "https://cdn.example.com", "https://b.example.com"],
        "img-src": ["data:"],
        "form-action": ["'self'", "https://pay.example.com"],
        "base-uri": ["'self'"],
    }


def test_a_particular_directive_of_the_policy_is_the_one_to_write_to() -> None:
    csp = "script-src 'self'; script-src-elem 'self'"
    found = suggest(csp, [("script-src-elem", "https://a.example")])
    assert found == {"script-src-elem": ["'self'", "https://a.example"]}


@pytest.mark.parametrize(
    ("csp", "directive", "expected"),
    [
        ("child-src a.b; default-src c.d", "frame-src", ("frame-src", "a.b")),
        ("default-src c.d", "frame-src", ("frame-src", "c.d")),
        ("frame-src x.y; child-src a.b", "fenced-frame-src", ("fenced-frame-src", "x.y")),
        ("child-src a.b; default-src c.d", "fenced-frame-src", ("fenced-frame-src", "a.b")),
        ("default-src c.d", "fenced-frame-src", ("fenced-frame-src", "c.d")),
        ("child-src a.b; script-src s.t", "worker-src", ("worker-src", "a.b")),
        ("script-src s.t; default-src c.d", "worker-src", ("worker-src", "s.t")),
        ("default-src c.d", "worker-src", ("worker-src", "c.d")),
        ("script-src s.t; default-src c.d", "script-src-elem", ("script-src", "s.t")),
        ("script-src s.t; default-src c.d", "script-src-attr", ("script-src", "s.t")),
        ("style-src s.t; default-src c.d", "style-src-elem", ("style-src", "s.t")),
        ("style-src s.t; default-src c.d", "style-src-attr", ("style-src", "s.t")),
        ("default-src c.d", "img-src", ("img-src", "c.d")),
        ("img-src 'none'; default-src c.d", "img-src", ("img-src",)),
    ],
)
def test_what_a_directive_fell_back_to_stays_allowed(csp, directive, expected) -> None:
    """In the order of CSP Level 3: a suggestion takes nothing away."""
    name, *kept = expected
    found = suggest(csp, [(directive, "https://new.example")])
    assert found == {name: [*kept, "https://new.example"]}


@pytest.mark.parametrize(
    ("directive", "source"),
    [
        ("script-src-elem", "inline"),
        ("script-src", "eval"),
        ("script-src-elem", "extension"),
        ("script-src", "other"),
        ("other", "https://a.example"),
        ("frame-ancestors", "https://a.example"),
        ("script-src", "https://known.example"),
    ],
)
def test_what_should_not_be_allowed_is_not_suggested(directive, source) -> None:
    """Code in the page, extensions, and what the policy allows already."""
    assert suggest("default-src https://known.example", [(directive, source)]) == {}


def test_a_suggestion_put_into_the_policy_allows_it() -> None:
    csp = "default-src 'none'; frame-ancestors 'none'"
    violations = [("style-src-elem", "self"), ("img-src", "https://img.example")]
    wanted = {**parse_csp(csp), **suggest(csp, violations)}
    better = "; ".join(" ".join((name, *sources)) for name, sources in wanted.items())
    assert better == (
        "default-src 'none'; frame-ancestors 'none'; style-src 'self'; img-src https://img.example"
    )
    assert suggest(better, violations) == {}


# Policies


def test_a_policy_is_read_as_browsers_read_it() -> None:
    """Names in small letters; the first of a name holds."""
    assert parse_csp("Script-SRC 'self' a.b;; ; script-src x;upgrade-insecure-requests") == {
        "script-src": ["'self'", "a.b"],
        "upgrade-insecure-requests": [],
    }


def test_a_directive_that_browsers_pass_over_is_found() -> None:
    assert unknown_directives("default-src 'self'; scriptsrc 'self'; frame-ancestor 'none'") == [
        "scriptsrc",
        "frame-ancestor",
    ]


@pytest.mark.parametrize(
    ("csp", "loads"),
    [
        ("default-src 'none'; frame-ancestors 'none'", False),
        ("default-src 'self'", True),
        ("default-src 'none'; script-src 'self'; style-src 'self'", True),
        ("default-src 'none'; script-src 'self'", False),
        ("default-src 'self'; style-src", False),
        ("frame-ancestors 'none'", True),
        ("", True),
    ],
)
def test_whether_a_page_may_load_its_own_files(csp, loads) -> None:
    assert loads_own_files(csp) is loads
