"""Security headers: on every kind of answer, once each, and no more than the policy says."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import set_script_prefix, set_urlconf
from django.utils.decorators import sync_and_async_middleware

from pulse.core.headers import PRESETS, Preset
from pulse.policies import headers as site_headers
from pulse.testing import override_policies
from tests.factories import document as doc
from tests.sites import PROXY, Site, running

pytestmark = pytest.mark.django_db

HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
ORIGIN = "https://app.example.com"
CSP = "Content-Security-Policy"
REPORT_ONLY = "Content-Security-Policy-Report-Only"
HSTS = "Strict-Transport-Security"
ECHO = "/api/echo/"
LOGIN = "/accounts/login/"

Call = Callable[..., HttpResponse]


@dataclass(frozen=True)
class Kind:
    """A way for the site to answer."""

    status: int
    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


KINDS = {
    "json": Kind(200, ECHO),
    "page": Kind(200, LOGIN),
    "head": Kind(200, ECHO, "HEAD"),
    "collected": Kind(204, "/pulse/csp-reports/site/", "POST", body=b'{"csp-report": {}}'),
    "redirect": Kind(301, "/api/products"),
    "not modified": Kind(304, "/static/shop/shop.css", headers={"If-Modified-Since": "now"}),
    "bad host": Kind(400, LOGIN, headers={"Host": "evil.example.com"}),
    "unauthenticated": Kind(401, "/api/orders/", "POST"),
    "csrf": Kind(403, LOGIN, "POST", body=b"a=b"),
    "denied": Kind(403, "/api/slow/"),
    "not found": Kind(404, "/nothing/here/"),
    "api not found": Kind(404, "/api/nothing/here/", headers={"Accept": HTML}),
    "wrong method": Kind(405, "/api/search/", "DELETE"),
    "too large": Kind(413, "/api/upload/", "POST", body=b"a" * 2000),
    "limited": Kind(429, "/api/search/"),
    "limited page": Kind(429, "/api/search/", headers={"Accept": HTML}),
    "exception": Kind(500, "/api/flaky/?fail=1"),
    "stream": Kind(200, "/api/export/"),
    "static": Kind(200, "/static/shop/shop.css"),
    "preflight": Kind(
        200, ECHO, "OPTIONS", {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
    ),
}
RULES: dict[str, Any] = {
    "endpoint_limits": [
        {
            "name": "search",
            "url_name": "search",
            "methods": ["GET"],
            "key": "global",
            "limits": ["1/d"],
        },
        {"name": "upload", "url_name": "upload", "max_body_bytes": 1000},
    ],
    "access_rules": [
        {"network": network, "path": "/api/slow/", "action": "deny"}
        for network in ("127.0.0.0/8", "203.0.113.0/24")
    ],
    "cors_origins": [{"origin": ORIGIN}],
}


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Make a request, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


def _sync(
    path: str, method: str = "GET", body: bytes = b"", kind: str = FORM, **options: Any
) -> HttpResponse:
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    return client.generic(method, path, body, kind, **options)


def _async(
    path: str, method: str = "GET", body: bytes = b"", kind: str = FORM, **options: Any
) -> HttpResponse:
    client = AsyncClient(raise_request_exception=False, enforce_csrf_checks=True)
    # The synchronous factory names the peer, the asynchronous one by itself.
    if "REMOTE_ADDR" in options:
        options["client"] = (options.pop("REMOTE_ADDR"), 1)

    async def send() -> HttpResponse:
        return await client.generic(method, path, body, kind, **options)

    return async_to_sync(send)()


def policies(*items: dict[str, Any], **kinds: Any) -> override_policies:
    return override_policies(doc(header_policies=list(items), **kinds))


def names_of(response: Any) -> Counter[str]:
    return Counter(name.lower() for name, _ in response.items())


def ask(call: Call, kind: Kind, **options: Any) -> HttpResponse:
    headers = dict(kind.headers)
    content = "application/csp-report" if "csp-reports" in kind.path else FORM
    if headers.get("If-Modified-Since"):
        headers["If-Modified-Since"] = call(kind.path)["Last-Modified"]
    if kind.status == 429:
        call(kind.path)
    response = call(kind.path, kind.method, kind.body, content, headers=headers, **options)
    assert response.status_code == kind.status
    return response


# The matrix


@pytest.mark.parametrize("secure", [True, False], ids=["https", "http"])
@pytest.mark.parametrize("force", [True, False], ids=["forced", "beside"])
@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_answer_carries_every_header_of_the_preset_once(
    call, settings, kind, preset, force, secure
) -> None:
    """401, 404, 413, 429, 500, streams, redirects, files, preflights (S2-12 to S2-17, S4-30)."""
    settings.SECURE_SSL_REDIRECT = False
    with policies({"name": "site", "preset": preset, "force": force}, **RULES) as snapshot:
        expected = snapshot.headers.named("site").sent(secure=secure)
        response = ask(call, kind, secure=secure)
    counted = names_of(response)
    assert {lower: counted[lower] for lower in expected} == dict.fromkeys(expected, 1)
    assert (HSTS.lower() in counted) is secure
    if force:
        assert {name: response[name] for name, _ in expected.values()} == dict(expected.values())


def test_no_policy_adds_nothing(call) -> None:
    """A step without a policy adds nothing to an answer."""
    with policies():
        without = names_of(call(ECHO, secure=True))
    with policies({"name": "shadow", "preset": "legacy", "mode": "shadow"}):
        assert names_of(call(ECHO, secure=True)) == without
    with policies({"name": "elsewhere", "path": "/admin/", "preset": "legacy"}):
        assert names_of(call(ECHO, secure=True)) == without
    assert CSP.lower() not in without


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_on_the_wire_each_header_is_one_line(tmp_path, redis_server, server) -> None:
    """Real servers add nothing twice; behind a trusted proxy HTTPS is what it says (S2-17)."""
    site = Site(tmp_path, redis_server.url, server=server, processes=1)
    policy = {"name": "site", "preset": "legacy", "force": True}
    site.apply(doc(trusted_proxies=[PROXY], header_policies=[policy], **RULES), prune=True)
    legacy = PRESETS[Preset.LEGACY]
    for _ in running(site):
        for name, kind in KINDS.items():
            if name == "bad host":
                continue
            if kind.status == 429:
                site.get(kind.path)
            sent = dict(kind.headers)
            if name == "not modified":
                sent["If-Modified-Since"] = site.get(kind.path).headers["Last-Modified"]
            if name == "collected":
                sent["Content-Type"] = "application/csp-report"
            for proto in ("https", "http"):
                body = kind.body or None
                answer = site.request(
                    kind.method, kind.path, body=body, X_Forwarded_Proto=proto, **sent
                )
                assert answer.status == kind.status, name
                for header, value in legacy.items():
                    here = [] if header == HSTS and proto == "http" else [value]
                    assert answer.headers.get_all(header, []) == here, (name, header)


# Set, removed, left alone


@sync_and_async_middleware
def host_s_own(get_response: Any) -> Any:
    """A middleware of the host's that sets headers of its own."""

    def dress(response: HttpResponse) -> HttpResponse:
        response["x-frame-options"] = "SAMEORIGIN"
        response["Content-Security-Policy"] = "default-src 'self'"
        response["Server-Timing"] = "host"
        return response

    if iscoroutinefunction(get_response):

        async def middleware(request: Any) -> HttpResponse:
            return dress(await get_response(request))

        markcoroutinefunction(middleware)
        return middleware
    return lambda request: dress(get_response(request))


@pytest.fixture
def dressed(settings) -> None:
    first, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [first, f"{__name__}.host_s_own", *others]


def test_what_is_set_already_stays(call, dressed) -> None:
    """Whatever the letters of its name; what is not set is added."""
    with policies({"name": "site", "preset": "legacy"}):
        response = call(ECHO)
    assert response["X-Frame-Options"] == "SAMEORIGIN"
    assert response[CSP] == "default-src 'self'"
    assert response["X-XSS-Protection"] == "1; mode=block"
    assert max(names_of(response).values()) == 1


def test_a_policy_that_forces_puts_its_own_in_the_place(call, dressed) -> None:
    with policies({"name": "site", "preset": "legacy", "force": True}):
        response = call(ECHO)
    assert response["X-Frame-Options"] == "DENY"
    assert response[CSP] == "default-src 'none'; frame-ancestors 'none'"
    assert response["Server-Timing"] == "host"
    assert max(names_of(response).values()) == 1


def test_null_removes_whoever_set_it(call, dressed) -> None:
    own = {"X-Frame-Options": None, "SERVER-TIMING": None, "Referrer-Policy": None, "X-None": None}
    with policies({"name": "site", "preset": "legacy", "headers": own}):
        found = names_of(call(ECHO))
    assert not {name.lower() for name in own} & set(found)
    assert found[CSP.lower()] == 1


def test_a_reporting_policy_stands_beside_one_that_is_set(call, dressed) -> None:
    """The view's goes on blocking, the new one reports."""
    with policies({"name": "site", "preset": "html", "csp_report_only": True}):
        response = call(ECHO)
    assert response[CSP] == "default-src 'self'"
    assert response[REPORT_ONLY].endswith("report-uri /pulse/csp-reports/site/")


def test_scopes_of_their_own_for_admin_api_and_the_rest(call) -> None:
    """The longest path holds, alone (trap 15)."""
    with policies(
        {"name": "admin", "path": "/admin/", "preset": "html"},
        {"name": "api", "path": "/api/", "preset": "api"},
        {"name": "none", "path": "/api/export/"},
        {"name": "pulse", "path": "/pulse/", "preset": "html"},
    ):
        html, api = PRESETS[Preset.HTML][CSP], PRESETS[Preset.API][CSP]
        assert call("/admin/login/")[CSP] == html
        assert call("/admin/")[CSP] == html  # a redirect
        assert call(ECHO)[CSP] == api
        assert call("/api/nothing/")[CSP] == api
        assert call("/pulse/csp-reports/x/")[CSP] == html
        assert not call("/api/export/").has_header(CSP)
        assert not call(LOGIN).has_header(CSP)
        assert not call("/apiary/").has_header(CSP)


def test_a_streamed_answer_is_not_read_for_its_headers(call) -> None:
    with policies({"name": "site", "preset": "api"}):
        response = call("/api/export/")
    assert isinstance(response, StreamingHttpResponse)
    assert response[CSP] == PRESETS[Preset.API][CSP]


# HTTPS


def test_https_is_what_a_trusted_proxy_says(call) -> None:
    """And nobody else (S2-15)."""
    policy = {"name": "site", "preset": "legacy"}
    said = {"X-Forwarded-Proto": "https"}
    with policies(policy):
        assert not call(ECHO, headers=said).has_header(HSTS)
    with policies(policy, trusted_proxies=[PROXY]):
        assert call(ECHO, headers=said)[HSTS] == "max-age=31536000; includeSubDomains"
        for other in ("http", "HTTPS, http", "", "ftp"):
            assert not call(ECHO, headers={"X-Forwarded-Proto": other}).has_header(HSTS)


def test_hsts_is_never_sent_under_debug(call, settings) -> None:
    """Localhost would be held to HTTPS for every project (trap 16)."""
    settings.DEBUG = True
    with policies({"name": "site", "preset": "legacy", "force": True}):
        response = call(ECHO, secure=True)
    assert not response.has_header(HSTS)
    assert response["X-XSS-Protection"] == "1; mode=block"


def test_a_stage_is_what_is_sent(call) -> None:
    with policies({"name": "site", "preset": "owasp", "hsts_stage": "1d"}):
        assert call(ECHO, secure=True)[HSTS] == "max-age=86400"


def test_what_djangos_own_middleware_says_of_https_stays(call, settings) -> None:
    settings.SECURE_HSTS_SECONDS = 60
    with policies({"name": "site", "preset": "owasp"}):
        assert call(ECHO, secure=True)[HSTS] == "max-age=60"


# The collector's address


def test_reports_go_to_where_pulse_is_mounted(call) -> None:
    with policies({"name": "site", "preset": "html", "csp_report_only": True}):
        response = call(LOGIN, secure=True)
        address = "/pulse/csp-reports/site/"
        assert response[REPORT_ONLY].endswith(f"; report-uri {address}; report-to pulse-csp")
        assert response["Reporting-Endpoints"] == f'pulse-csp="{address}"'
        assert not response.has_header(CSP)


@pytest.fixture
def endpoints_of_the_host(settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.host_s_endpoints"]


@sync_and_async_middleware
def host_s_endpoints(get_response: Any) -> Any:
    """A middleware of the host's that collects other reports."""

    def name(response: HttpResponse) -> HttpResponse:
        response["Reporting-Endpoints"] = 'main="https://r.example/"'
        return response

    if iscoroutinefunction(get_response):

        async def middleware(request: Any) -> HttpResponse:
            return name(await get_response(request))

        markcoroutinefunction(middleware)
        return middleware
    return lambda request: name(get_response(request))


@pytest.mark.parametrize("force", [True, False])
def test_the_collector_is_named_beside_the_endpoints_of_the_host(
    call, endpoints_of_the_host, force
) -> None:
    """Else browsers are told to report to what they do not know, and report nothing."""
    policy = {"name": "site", "preset": "html", "csp_report_only": True, "force": force}
    with policies(policy):
        response = call(LOGIN, secure=True)
        plain = call(LOGIN)
    theirs, ours = 'main="https://r.example/"', 'pulse-csp="/pulse/csp-reports/site/"'
    assert response["Reporting-Endpoints"] == f"{theirs}, {ours}"
    assert response[REPORT_ONLY].endswith("report-to pulse-csp")
    assert plain["Reporting-Endpoints"] == theirs
    assert "report-to" not in plain[REPORT_ONLY]


def test_a_request_with_a_urlconf_of_its_own_does_not_lose_the_collector(call) -> None:
    """What is kept is the site's, whichever thread asks first."""
    site_headers._collector_path.cache_clear()
    set_urlconf("project.shop.urls")
    try:
        assert site_headers.collector() == "/pulse/csp-reports/"
    finally:
        set_urlconf(None)
    assert site_headers.collector() == "/pulse/csp-reports/"
    with policies({"name": "site", "preset": "html", "csp_report_only": True}):
        assert "report-uri /pulse/csp-reports/site/" in call(LOGIN)[REPORT_ONLY]


def test_without_pulse_urls_nothing_is_reported_anywhere(call, settings) -> None:
    """The policy is sent all the same: a browser's console tells of it."""
    settings.ROOT_URLCONF = "project.shop.urls"
    with policies({"name": "site", "preset": "html", "csp_report_only": True}):
        response = call(ECHO, secure=True)
    assert response[REPORT_ONLY] == PRESETS[Preset.HTML][CSP]
    assert not response.has_header("Reporting-Endpoints")


def test_the_site_s_prefix_is_that_of_the_request(monkeypatch) -> None:
    """One process may serve a site under several (SCRIPT_NAME)."""
    found = []
    try:
        for prefix in ("/", "/shop/", "/other/"):
            set_script_prefix(prefix)
            found.append(site_headers.collector())
    finally:
        set_script_prefix("/")
    assert found == [
        "/pulse/csp-reports/",
        "/shop/pulse/csp-reports/",
        "/other/pulse/csp-reports/",
    ]


@contextmanager
def counting_reverses(monkeypatch) -> Iterator[list[str]]:
    asked: list[str] = []
    original = site_headers.reverse

    def reverse(name: str, **options: Any) -> str:
        asked.append(name)
        return original(name, **options)

    monkeypatch.setattr(site_headers, "reverse", reverse)
    site_headers._collector_path.cache_clear()
    yield asked
    site_headers._collector_path.cache_clear()


def test_the_address_is_looked_up_once(call, monkeypatch) -> None:
    """No request pays for it after the first."""
    with (
        counting_reverses(monkeypatch) as asked,
        policies({"name": "site", "preset": "html", "csp_report_only": True}),
    ):
        for _ in range(3):
            call(LOGIN)
    assert asked == ["pulse:csp-reports"]


# What the step leans on


PAIRS = [("X-One", "1"), ("X-Two", "2")]


def test_django_keeps_headers_as_the_step_writes_them() -> None:
    """Name and value by the name in small letters, on every Django that pulse allows."""
    response = HttpResponse(headers={"X-One": "1"})
    assert response.headers._store["x-one"] == ("X-One", "1")
    response.headers._store["x-two"] = ("X-Two", "2")
    assert response["X-TWO"] == "2"
    assert [pair for pair in response.items() if pair[0] != "Content-Type"] == PAIRS
