"""Presets, byte for byte; what a policy makes of an answer; what an operator may set."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.headers import (
    HSTS_STAGES,
    PRESETS,
    HeaderRule,
    Preset,
    header_index,
    misspelt,
    parse_header,
    parse_headers,
    write_headers,
)
from pulse.exceptions import InvalidHeader

SECRET = b"a secret of the tests, 32 bytes!"
CSP = "Content-Security-Policy"
REPORT_ONLY = "Content-Security-Policy-Report-Only"
HSTS = "Strict-Transport-Security"
LEGACY = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def item(**fields):
    return {
        "name": "site",
        "path": "/",
        "headers": {},
        "force": False,
        "csp_report_only": False,
        "percent": 100,
        **fields,
    }


def sent(secure=True, hsts=True, collector="", **fields) -> dict[str, str]:
    """What a policy puts into an answer, by name as it is sent."""
    found = HeaderRule(item(**fields)).sent(secure=secure, hsts=hsts, collector=collector)
    assert all(lower == header.name.lower() for lower, header in found.items())
    return dict(found.values())


# Presets


def test_legacy_over_https_is_the_five_headers_byte_for_byte() -> None:
    """Over HTTPS five, and no other (S2-12, S2-13, S2-14, S2-15, S2-16)."""
    assert sent(preset="legacy") == LEGACY


def test_legacy_over_http_is_four_headers() -> None:
    """HSTS is for HTTPS alone (S2-15)."""
    assert sent(secure=False, preset="legacy") == {k: v for k, v in LEGACY.items() if k != HSTS}


def test_hsts_is_not_sent_where_browsers_must_not_be_held() -> None:
    """Under DEBUG localhost would be held to HTTPS for every project (trap 16)."""
    for preset in Preset:
        assert HSTS in sent(preset=preset)
        assert HSTS not in sent(hsts=False, preset=preset)
        assert HSTS not in sent(secure=False, preset=preset)


def test_only_legacy_sends_what_browsers_gave_up() -> None:
    """X-XSS-Protection is in no other preset (S2-14, DESIGN 4.6)."""
    with_it = [preset for preset in Preset if "X-XSS-Protection" in PRESETS[preset]]
    assert with_it == [Preset.LEGACY]


def test_owasp_is_the_list_but_for_what_would_break_a_site() -> None:
    """No log-out, no uncached static files, no form without its origin."""
    found = sent(preset="owasp")
    assert set(found) == {
        CSP,
        "Cross-Origin-Embedder-Policy",
        "Cross-Origin-Opener-Policy",
        "Cross-Origin-Resource-Policy",
        "Permissions-Policy",
        "Referrer-Policy",
        HSTS,
        "X-Content-Type-Options",
        "X-DNS-Prefetch-Control",
        "X-Frame-Options",
        "X-Permitted-Cross-Domain-Policies",
    }
    assert found[HSTS] == "max-age=63072000; includeSubDomains"
    assert found["Referrer-Policy"] == "same-origin"


def test_owasp_takes_no_page_s_files_to_https_over_http() -> None:
    """A page that came over HTTP may have its files over HTTP alone."""
    assert sent(preset="owasp")[CSP].endswith("; upgrade-insecure-requests")
    assert sent(secure=False, preset="owasp")[CSP].endswith("frame-ancestors 'none'")


@pytest.mark.parametrize("preset", list(Preset))
def test_presets_are_headers_that_can_be_sent(preset) -> None:
    for name, value in PRESETS[preset].items():
        parse_header(name, value)
    assert len({name.lower() for name in PRESETS[preset]}) == len(PRESETS[preset])


# Each header: set, removed, left alone


def test_a_header_is_set_beside_or_instead_of_the_presets() -> None:
    """Whatever the letters of its name, it is there once."""
    own = {"x-frame-options": "SAMEORIGIN", "Server-Timing": "edge"}
    found = sent(preset="legacy", headers=own)
    assert found == {**{k: v for k, v in LEGACY.items() if k != "X-Frame-Options"}, **own}


def test_null_takes_a_header_out_of_preset_and_answer() -> None:
    rule = HeaderRule(item(preset="legacy", headers={"X-FRAME-OPTIONS": None, "Server": None}))
    assert "x-frame-options" not in rule.sent(secure=True)
    assert rule.removed == ("x-frame-options", "server")


def test_no_preset_and_no_header_adds_nothing() -> None:
    assert sent(preset="") == sent() == {}


# HSTS in stages


@pytest.mark.parametrize(("stage", "seconds"), HSTS_STAGES.items())
def test_a_stage_holds_for_its_time_without_subdomains(stage, seconds) -> None:
    """Nothing that cannot be taken back: no subdomains, no preload (S2-15)."""
    own = {HSTS: "max-age=63072000; includeSubDomains; preload"}
    assert sent(headers=own, hsts_stage=stage)[HSTS] == f"max-age={seconds}"
    assert sent(preset="legacy", hsts_stage=stage)[HSTS] == f"max-age={seconds}"


def test_a_stage_never_holds_longer_than_the_header_says() -> None:
    """max-age=0 lets go; a stage must not hold again."""
    assert sent(headers={HSTS: "max-age=0"}, hsts_stage="30d")[HSTS] == "max-age=0"
    assert sent(headers={HSTS: 'max-age="60"'}, hsts_stage="1d")[HSTS] == "max-age=60"
    assert HSTS not in sent(hsts_stage="1d")


# A CSP that reports


def test_report_only_sends_the_policy_under_the_other_name() -> None:
    found = sent(preset="html", csp_report_only=True)
    assert CSP not in found
    assert found[REPORT_ONLY] == PRESETS[Preset.HTML][CSP]
    assert "Reporting-Endpoints" not in found


def test_over_https_browsers_are_told_both_ways_to_report() -> None:
    found = sent(preset="api", csp_report_only=True, collector="/pulse/csp-reports/")
    assert found[REPORT_ONLY] == (
        "default-src 'none'; frame-ancestors 'none'; "
        "report-uri /pulse/csp-reports/site/; report-to pulse-csp"
    )
    assert found["Reporting-Endpoints"] == 'pulse-csp="/pulse/csp-reports/site/"'


def test_over_http_only_the_way_that_works_there() -> None:
    """Chromium knows no endpoints over HTTP, and passes over report-uri beside report-to."""
    found = sent(secure=False, preset="api", csp_report_only=True, collector="/c/")
    assert found[REPORT_ONLY].endswith("; report-uri /c/site/")
    assert "Reporting-Endpoints" not in found


def test_an_enforced_policy_says_nothing_of_the_collector() -> None:
    assert sent(preset="legacy", collector="/c/") == LEGACY


def test_a_collector_of_the_operators_own_stays_alone() -> None:
    own = {CSP: "default-src 'self'; report-uri https://reports.example.com/"}
    found = sent(headers=own, csp_report_only=True, collector="/c/")
    assert found == {REPORT_ONLY: own[CSP]}


def test_endpoints_of_the_operators_own_stay_beside_it() -> None:
    own = {"Reporting-Endpoints": 'coep="https://reports.example.com/"'}
    found = sent(preset="html", headers=own, csp_report_only=True, collector="/c/")
    assert found["Reporting-Endpoints"] == f'{own["Reporting-Endpoints"]}, pulse-csp="/c/site/"'


def test_what_is_removed_is_not_sent_though_pulse_itself_would_add_it() -> None:
    """A preview is made of the same: it shows what goes out."""
    rule = HeaderRule(item(preset="html", headers={REPORT_ONLY: None}, csp_report_only=True))
    assert not {REPORT_ONLY.lower(), CSP.lower()} & set(rule.sent(secure=True, collector="/c/"))
    assert not rule.reports
    assert not rule.asks("/c/")


def test_without_its_endpoint_browsers_are_told_the_old_way_alone() -> None:
    """They pass over report-uri beside a report-to that leads nowhere."""
    own = {"Reporting-Endpoints": None}
    found = sent(preset="api", headers=own, csp_report_only=True, collector="/c/")
    assert found[REPORT_ONLY].endswith("; report-uri /c/site/")
    assert "Reporting-Endpoints" not in found


def dressed(fields, secure=True, **options) -> dict[str, str]:
    """What an answer carries in the end, of headers that it had."""
    found = {name.lower(): (name, value) for name, value in fields.items()}
    rule = HeaderRule(item(preset="api", csp_report_only=True, **options))
    rule.dress(found, secure=secure, collector="/c/")
    return dict(found.values())


OURS = 'pulse-csp="/c/site/"'


@pytest.mark.parametrize("force", [True, False])
def test_the_collector_stands_beside_endpoints_that_an_answer_has(force) -> None:
    """Reports of neither are lost."""
    found = dressed({"Reporting-Endpoints": 'main="/r/"'}, force=force)
    assert found[REPORT_ONLY].endswith("; report-uri /c/site/; report-to pulse-csp")
    assert found["Reporting-Endpoints"] == f'main="/r/", {OURS}'
    assert dressed({"Reporting-Endpoints": ""}, force=force)["Reporting-Endpoints"] == OURS
    assert dressed({}, force=force)["Reporting-Endpoints"] == OURS


def test_endpoints_stay_as_they_are_where_nothing_of_ours_reports() -> None:
    theirs = {"Reporting-Endpoints": 'main="/r/"'}
    own = {**theirs, REPORT_ONLY: "default-src 'self'; report-to main"}
    assert dressed(own).items() >= own.items()
    assert dressed(theirs, secure=False)["Reporting-Endpoints"] == 'main="/r/"'
    assert "Reporting-Endpoints" not in dressed(theirs, headers={"Reporting-Endpoints": None})


def test_endpoints_that_are_forced_take_the_place_of_others() -> None:
    own = {"Reporting-Endpoints": 'own="/o/"'}
    found = dressed({"Reporting-Endpoints": 'main="/r/"'}, headers=own, force=True)
    assert found["Reporting-Endpoints"] == f'own="/o/", {OURS}'
    # Nothing is forced: the answer's stay, and pulse's own is added all the same.
    found = dressed({"Reporting-Endpoints": 'main="/r/"'}, headers=own)
    assert found["Reporting-Endpoints"] == f'main="/r/", {OURS}'


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({"preset": "html", "csp_report_only": True}, True),
        ({"preset": "html"}, False),
        ({"headers": {CSP: "default-src 'self'; report-uri /c/site/"}}, True),
        ({"headers": {CSP: "default-src 'self'; report-uri /c/other/"}}, False),
        ({"headers": {"Reporting-Endpoints": 'main="https://a.example/c/site/"'}}, True),
        ({"headers": {"Reporting-Endpoints": None}}, False),
    ],
)
def test_a_policy_asks_for_reports_or_names_the_collector_itself(fields, asks) -> None:
    rule = HeaderRule(item(**fields))
    assert rule.asks("/c/") is asks
    assert not rule.asks("")


def test_a_second_policy_that_reports_stays_beside_it() -> None:
    own = {REPORT_ONLY: "script-src 'none'", CSP: "default-src 'self'"}
    assert sent(headers=own, csp_report_only=True) == {
        REPORT_ONLY: "script-src 'none', default-src 'self'"
    }


def test_what_acts_and_does_not_report_is_left_out_of_a_report() -> None:
    """Browsers complain of it on every page."""
    own = {CSP: "default-src 'self'; sandbox allow-scripts; upgrade-insecure-requests"}
    assert sent(headers=own, csp_report_only=True) == {REPORT_ONLY: "default-src 'self'"}


def test_addresses_made_up_on_the_way_are_not_kept() -> None:
    """What a server makes of SCRIPT_NAME cannot fill memory."""
    rule = HeaderRule(item(preset="html", csp_report_only=True))
    for number in range(1000):
        found = rule.sent(secure=True, collector=f"/{number}/")
        assert f"/{number}/site/" in found[REPORT_ONLY.lower()].value
    assert len(rule._made) <= 16


# Which policy holds


def named(index, path, client="203.0.113.9"):
    rule = index.find(path, client, SECRET)
    return rule and rule.name


def test_the_longest_path_holds_alone() -> None:
    """On whole segments; nothing is mixed."""
    paths = {"site": "/", "api": "/api/", "echo": "/api/echo", "admin": "/admin/"}
    index = header_index([item(name=name, path=path) for name, path in paths.items()])
    assert named(index, "/") == "site"
    assert named(index, "/api/x/") == "api"
    assert named(index, "/api/echo/") == "echo"
    assert named(index, "/api/echoes/") == "api"
    assert named(index, "/administer/") == "site"
    assert named(header_index([item(path="/api/")]), "/other/") is None


def test_of_two_on_one_path_the_first_by_name_holds() -> None:
    index = header_index([item(name="b"), item(name="a"), item(name="c")])
    assert named(index, "/x/") == "a"


def test_a_share_of_clients_and_the_rest_by_the_next_policy() -> None:
    """A CSP can be enforced for some while it reports for the others."""
    index = header_index([item(name="a", percent=10), item(name="b", csp_report_only=True)])
    clients = [f"10.0.{n // 256}.{n % 256}" for n in range(5000)]
    found = [named(index, "/", client) for client in clients]
    assert 400 < found.count("a") < 600
    assert set(found) == {"a", "b"}
    assert found == [named(index, "/", client) for client in clients]


def test_an_empty_index_is_false_and_finds_nothing() -> None:
    assert not header_index([])
    assert header_index([]).find("/", "", SECRET) is None


# What an operator may set


@pytest.mark.parametrize("mark", ["\r", "\n", "\0", "\r\nSet-Cookie: a=b"])
def test_a_line_break_or_nul_is_refused_anywhere(mark) -> None:
    """No header can become two, nor a body (S2-12 to S2-16)."""
    for name, value in ((f"X-A{mark}", "b"), ("X-A", f"b{mark}c"), (f"X{mark}A", None)):
        with pytest.raises(InvalidHeader, match="line break or NUL"):
            parse_header(name, value)


@pytest.mark.parametrize("name", ["", "X A", "X:A", "X-Ä", "X(A)", "X/A", "a" * 65, " X-A"])
def test_what_is_no_token_is_no_name(name) -> None:
    with pytest.raises(InvalidHeader, match="not a header's name"):
        parse_header(name, "a")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no value"),
        ("  ", "no value"),
        ("a\tb", "control character"),
        ("a\x1bb", "control character"),
        ("a\x7f", "control character"),
        ("a\x85b", "control character"),
        ("caf\u0142", "which no header can have"),
        ("\U0001f512", "which no header can have"),
        ("a" * 4097, "longer than 4096"),
        ("x ", "a blank before or after"),
        (" x", "a blank before or after"),
        ("\tx", "a blank before or after"),
    ],
)
def test_what_cannot_be_sent_is_no_value(value, reason) -> None:
    with pytest.raises(InvalidHeader, match=reason):
        parse_header("X-A", value)


@pytest.mark.parametrize(
    "name",
    [
        "Set-Cookie",
        "content-length",
        "Content-Type",
        "TRANSFER-ENCODING",
        "Connection",
        "Location",
        "Vary",
        "Access-Control-Allow-Origin",
        "access-control-anything",
        "X-Request-ID",
        "X-RateLimit-Limit",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "WWW-Authenticate",
        "X-Accel-Redirect",
        "x-accel-buffering",
        "X-Sendfile",
        "X-Lighttpd-Send-File",
        "Refresh",
        "Content-Disposition",
    ],
)
def test_what_belongs_to_others_is_refused_set_or_removed(name) -> None:
    for value in ("a", None):
        with pytest.raises(InvalidHeader, match="not a policy's to set"):
            parse_header(name, value)


def test_what_operators_want_is_taken() -> None:
    for name, value in {
        **LEGACY,
        "Cache-Control": "no-store",
        "Server": None,
        "X-Powered-By": None,
        "X-Robots-Tag": "noindex",
        "X-Made-In": "Cologne, \u00e4",
    }.items():
        parse_header(name, value)


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_taken_is_one_header_on_the_wire(name, value) -> None:
    """Nothing that passes can be read as two headers by anybody."""
    try:
        parse_header(name, value)
    except InvalidHeader:
        return
    line = f"{name}: {value}".encode("latin-1")
    assert len(line.splitlines()) == 1
    assert b"\0" not in line
    assert _through_h11(name, value) == value
    assert name.isascii()
    assert ":" not in name


def _through_h11(name: str, value: str) -> str:
    """Read a value as a client does that a real server sent; uvicorn writes with h11."""
    server, client = h11.Connection(h11.SERVER), h11.Connection(h11.CLIENT)
    ask = client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    server.receive_data(ask)
    server.next_event()
    answer = h11.Response(status_code=200, headers=[(name, value.encode("latin-1"))])
    client.receive_data(server.send(answer))
    found = {key.lower(): each for key, each in client.next_event().headers}
    return found[name.lower().encode()].decode("latin-1")


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"X-A": "a\r\nb"}},
        {"headers": {"X-A": "a "}},
        {"headers": {"X-A": 7}},
        {"preset": "nope"},
        {"hsts_stage": "nope"},
        {"preset": "api", "hsts_stage": "2d"},
    ],
)
def test_what_was_written_past_every_validator_makes_no_policy(fields) -> None:
    """One kind of error, which screens can tell."""
    with pytest.raises(InvalidHeader):
        HeaderRule(item(**fields))


# As people write them


def test_headers_are_read_one_to_a_line() -> None:
    text = "Referrer-Policy: same-origin\r\n\n  X-A :  b: c \nServer:\n-X-Powered-By\n"
    assert parse_headers(text) == {
        "Referrer-Policy": "same-origin",
        "X-A": "b: c",
        "Server": None,
        "X-Powered-By": None,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no header", "has no colon"),
        ("X-A: b\nx-a: c", "named twice"),
        ("X-A: b\n-X-A", "named twice"),
        ("Set-Cookie: a=b", "not a policy's"),
        ("X-A: b\rX-B: c", "line break"),
        ("X-A: b\x85c", "control character"),
        ("X-A: b\u2028c", "which no header can have"),
        (": b", "not a header's name"),
        ("-", "not a header's name"),
    ],
)
def test_what_is_no_header_is_said(text, reason) -> None:
    with pytest.raises(InvalidHeader, match=reason):
        parse_headers(text)


NAMES = st.from_regex(r"X-[A-Za-z]{1,10}", fullmatch=True)
VALUES = st.none() | st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read_back(headers) -> None:
    folded = {name.lower() for name in headers}
    if len(folded) == len(headers):
        assert parse_headers(write_headers(headers)) == headers


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Content-Securty-Policy", "Content-Security-Policy"),
        ("Referer-Policy", "Referrer-Policy"),
        ("strict-transport-securty", "Strict-Transport-Security"),
        ("Permission-Policy", "Permissions-Policy"),
        ("x-frame-option", "X-Frame-Options"),
        ("Referrer-Policy", None),
        ("CACHE-CONTROL", None),
        ("X-Made-In", None),
    ],
)
def test_what_is_nearly_a_known_header_is_guessed(name, meant) -> None:
    assert misspelt(name) == meant


def test_the_web_servers_own_name_is_not_set_beside_it() -> None:
    """Servers add theirs after pulse: it would be there twice. What a view set may go."""
    with pytest.raises(InvalidHeader, match="twice"):
        parse_header("Server", "mine")
    parse_header("Server", None)
