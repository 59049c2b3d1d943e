"""What a client meets: headers, refusals, and that nothing buys a free request."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.models import Group, User
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils.decorators import sync_and_async_middleware
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pulse.exceptions import StoreUnavailable
from pulse.middleware import stack
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.policies.decisions import unseal
from pulse.store import buckets
from pulse.store import limits as store_limits
from pulse.testing import advance, override_policies
from tests.factories import default_tier
from tests.factories import document as doc

ECHO = "/api/echo/"
PROXY = ["127.0.0.0/8"]
LEGACY = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
HTML = "text/html; charset=utf-8"
IETF = ("RateLimit-Policy", "RateLimit")

Call = Callable[..., HttpResponse]


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Make a request, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


def _sync(method: str, path: str, *, client: Client | None = None, **headers: str) -> HttpResponse:
    client = client or Client(raise_request_exception=False)
    return client.generic(method, path, headers=_named(headers))


def _async(method: str, path: str, *, client: Any = None, **headers: str) -> HttpResponse:
    client = client or AsyncClient(raise_request_exception=False)

    async def send() -> HttpResponse:
        return await client.generic(method, path, headers=_named(headers))

    return async_to_sync(send)()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def enforced(rate: str = "3/m", **kinds: Any) -> override_policies:
    """Every client may do so much."""
    return override_policies(doc(rate_tiers=[default_tier(rate)], **kinds))


def statuses(call: Call, count: int, method: str = "GET", path: str = ECHO, **headers) -> list[int]:
    return [call(method, path, **headers).status_code for _ in range(count)]


def body(response: HttpResponse) -> Any:
    return json.loads(response.content)


# Headers


def test_an_allowed_answer_tells_where_the_client_stands(call) -> None:
    """Limit is the capacity, Remaining counts down, Reset is in epoch seconds (S2-06, S2-07)."""
    with enforced("10/s"):
        first, second = call("GET", ECHO), call("GET", ECHO)
    assert first.status_code == 200
    assert [first[name] for name in LEGACY[:2]] == ["10", "9"]
    assert second["X-RateLimit-Remaining"] == "8"
    assert first["RateLimit-Policy"] == '"default";q=10;w=1'
    assert first["RateLimit"] == '"default";r=9;t=1'
    assert int(second["X-RateLimit-Reset"]) - int(first["X-RateLimit-Reset"]) in {0, 1}
    assert not first.has_header("Retry-After")


def test_a_refusal_tells_when_a_retry_passes_and_it_does(call, settings) -> None:
    """429, the text, remaining 0, the reset; and the retry passes, not a moment before (S2-08)."""
    settings.PULSE = {"DETAILED_ERRORS": True}
    with enforced("3/m"):
        assert statuses(call, 3) == [200] * 3
        refused = call("GET", ECHO)
        assert refused.status_code == 429
        assert body(refused) == {
            "detail": "Rate limit exceeded. Try again in 20 seconds",
            "retry_after": 20,
            "request_id": refused["X-Request-ID"],
            "decision": body(refused)["decision"],
        }
        assert [refused["X-RateLimit-Limit"], refused["X-RateLimit-Remaining"]] == ["3", "0"]
        assert refused["Retry-After"] == "20"
        assert refused["RateLimit"] == '"default";r=0;t=20'
        assert refused["Cache-Control"] == "no-store"
        advance(19.99)
        assert call("GET", ECHO).status_code == 429
        advance(0.01)
        assert call("GET", ECHO).status_code == 200


def test_one_second_is_one_second(call, settings) -> None:
    """Singular."""
    settings.PULSE = {"DETAILED_ERRORS": True}
    with enforced("1/s"):
        call("GET", ECHO)
        assert body(call("GET", ECHO))["detail"] == "Rate limit exceeded. Try again in 1 second"


def test_without_details_the_text_is_general(call) -> None:
    """The seconds stay where programs look (S3-17)."""
    with enforced("1/m"):
        call("GET", ECHO)
        refused = call("GET", ECHO)
    assert body(refused)["detail"] == "Too many requests. Please try again later."
    assert (body(refused)["retry_after"], refused["Retry-After"]) == (60, "60")


@pytest.mark.parametrize("detailed", [True, False])
def test_a_page_says_once_how_long_to_wait(call, settings, detailed: bool) -> None:
    """In the detail where that tells it, else in a sentence of its own (S1-05)."""
    settings.PULSE = {"DETAILED_ERRORS": detailed}
    with enforced("3/m"):
        page = [call("GET", ECHO, Accept="text/html") for _ in range(4)][-1].content.decode()
    assert page.count("20 seconds") == 1


@pytest.mark.parametrize(
    ("form", "names"),
    [("both", {*LEGACY, *IETF}), ("legacy", set(LEGACY)), ("ietf", set(IETF)), ("off", set()),
     ("nonsense", {*LEGACY, *IETF})],
)  # fmt: skip
def test_the_setting_chooses_the_header_fields(call, settings, form: str, names) -> None:
    """``RATE_LIMIT_HEADERS``, on allowed and refused alike; Retry-After stays."""
    settings.PULSE = {"RATE_LIMIT_HEADERS": form}
    with enforced("1/m"):
        for response in (call("GET", ECHO), call("GET", ECHO)):
            assert {name for name in (*LEGACY, *IETF) if response.has_header(name)} == names
        assert response["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("text/html;q=0.1, application/json", "application/json"),
        ("application/problem+json", "application/problem+json"),
        ("application/problem+json, application/json", "application/problem+json"),
        ("image/png", "application/json"),
        ("text/html;q=0", "application/json"),
        (";;;", "application/json"),
        ("text/html; a*=nosuch'en'x", "application/json"),
        ("a;q*0=x;q*=x", "application/json"),
    ],
)
def test_a_refusal_has_the_form_that_the_client_prefers(call, accept, kind: str) -> None:
    """JSON for callers and ``*/*``, a page where a browser asks, RFC 9457 where that is asked."""
    headers = {} if accept is None else {"Accept": accept}
    with enforced("1/m"):
        call("GET", ECHO)
        refused = call("GET", ECHO, **headers)
    assert (refused.status_code, refused["Content-Type"]) == (429, kind)
    if kind == "application/problem+json":
        found = body(refused)
        assert (found["type"], found["status"]) == ("urn:pulse:rate_limited", 429)
        assert (found["title"], found["code"]) == ("Too Many Requests", "rate_limited")
    elif kind.startswith("text/html"):
        assert refused["X-Request-ID"].encode() in refused.content


_accepts = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)
_accepts |= st.from_regex(
    r"(text/html|\*/\*|a)(; ?[aq]\*?[01]?\*?=[\w'%;\"]{0,12}){0,3}", fullmatch=True
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(_accepts)
def test_no_accept_header_spares_a_client_its_refusal(accept: str) -> None:
    """Whatever it says, and however broken it is."""
    with enforced("1/h"):
        _sync("GET", ECHO)
        assert _sync("GET", ECHO, Accept=accept).status_code == 429


def test_every_answer_names_its_request(call) -> None:
    """Allowed, refused, exempt, not found: a name of its own."""
    with enforced("1/m", exemptions=["/healthz"]):
        found = [call("GET", path)["X-Request-ID"] for path in (ECHO, ECHO, "/healthz", "/nope")]
    assert len(set(found)) == 4
    assert all(len(name) == 36 for name in found)


@pytest.mark.parametrize(("length", "kind"), [(1000, HTML), (1001, "application/json")])
def test_an_accept_header_that_nobody_sends_is_not_read(call, length: int, kind: str) -> None:
    """Its parsing is the dearest thing in a refusal."""
    accept = ("text/html" + ", a/b;q=0.1" * 200)[:length]
    with enforced("1/h"):
        call("GET", ECHO)
        assert call("GET", ECHO, Accept=accept)["Content-Type"] == kind


# What counts


def test_what_no_view_saw_counts_and_is_refused_when_spent(call) -> None:
    """A 404 and a redirect by another middleware cost as much as any (S2-07)."""
    with enforced("3/m"):
        assert call("GET", "/nope/").status_code == 404
        assert call("GET", "/api/echo").status_code in {301, 404}
        assert call("GET", "/nope/")["X-RateLimit-Remaining"] == "0"
        assert statuses(call, 2, path="/nope/") == [429, 429]
        assert call("GET", "/api/echo").status_code == 429


def test_a_path_that_resolves_to_nothing_meets_no_endpoint_limit(call) -> None:
    """Else a scanner would spend the limit of others."""
    rule = {"name": "all", "path": "/api/", "key": "global", "limits": ["1/h"]}
    with override_policies(doc(endpoint_limits=[rule])):
        assert statuses(call, 3, path="/api/nope/") == [404] * 3
        assert statuses(call, 2) == [200, 429]


def test_an_exempt_path_or_network_costs_nothing(call) -> None:
    """And says nothing of limits (S2-09)."""
    with enforced("1/h", exemptions=["/healthz", "198.51.100.0/24"], trusted_proxies=PROXY):
        assert statuses(call, 3, path="/healthz") == [200] * 3
        assert not call("GET", "/healthz").has_header("X-RateLimit-Limit")
        assert statuses(call, 3, X_Forwarded_For="198.51.100.7") == [200] * 3
        assert statuses(call, 2) == [200, 429]


def test_head_is_get(call) -> None:
    """To every rule, and to the counter."""
    rule = {"name": "get", "url_name": "echo", "methods": ["GET"], "limits": ["2/h"]}
    with override_policies(doc(endpoint_limits=[rule])):
        assert [call(m, ECHO).status_code for m in ("GET", "HEAD", "HEAD", "GET")] == [
            200, 200, 429, 429,
        ]  # fmt: skip
        assert call("POST", ECHO).status_code == 200


@pytest.mark.parametrize(
    "matcher",
    [
        {"route": "api/echo/"},
        {"url_name": "echo"},
        {"view": "project.shop.views.echo"},
        {"path": "/api/"},
    ],
)
def test_a_rule_finds_its_endpoint_by_each_matcher(call, matcher) -> None:
    """Route, URL name, view or prefix."""
    rule = {"name": "x", "limits": ["1/h"], **matcher}
    with override_policies(doc(endpoint_limits=[rule])):
        assert statuses(call, 2) == [200, 429]
        assert call("GET", "/healthz").status_code == 200


def test_all_limits_pass_or_none_is_charged(call) -> None:
    """A request that one rule refuses costs the other nothing (S3-01)."""
    rule = {"name": "echo", "url_name": "echo", "limits": ["1/h"]}
    with enforced("5/h", endpoint_limits=[rule]):
        assert statuses(call, 4) == [200, 429, 429, 429]
        left = call("GET", "/healthz")
        assert left["X-RateLimit-Remaining"] == "3"


def test_shadow_counts_and_shows_nothing(call) -> None:
    """No header, no refusal; what it would have refused is counted by rule."""
    rule = {"name": "echo", "url_name": "echo", "limits": ["1/h"], "mode": "shadow"}
    buckets.forget()
    with override_policies(doc(endpoint_limits=[rule])):
        answers = [call("GET", ECHO) for _ in range(3)]
    assert [a.status_code for a in answers] == [200] * 3
    assert not any(a.has_header(name) for a in answers for name in (*LEGACY, *IETF))
    assert buckets.last_day()[buckets.WOULD_REFUSE]["endpoint_limits:echo"] == 2


# No free requests


@pytest.mark.parametrize(
    "spelling",
    ["/api/echo/", "/%61pi/echo/", "/api/%65cho/", "/api/ech%6F/", "/api%2Fecho/", "/api%2fecho%2f",
     "/api/echo/?x=1", "/api/echo/?", "/api/echo/?/../x", "/api/echo/#x"],
)  # fmt: skip
def test_no_spelling_of_a_path_escapes_its_limit(call, spelling: str) -> None:
    """Rules follow what Django resolved: whatever reaches the view is charged to its rule."""
    rule = {"name": "echo", "path": "/api/echo/", "limits": ["1/h"]}
    with override_policies(doc(endpoint_limits=[rule])):
        assert call("GET", ECHO).status_code == 200
        assert call("GET", spelling).status_code in {429, 404}


@pytest.mark.parametrize(
    "spelling", ["//api/echo/", "/api//echo/", "/./api/echo/", "/api/echo/;x", "/API/ECHO/",
                 "/x/../api/echo/", "/healthz/../api/echo/", "/api/echo/%00", "/%2e%2e/api/echo/"],
)  # fmt: skip
def test_what_is_no_spelling_of_a_path_costs_the_tier(call, spelling: str) -> None:
    """It is a 404, and counted like any."""
    with enforced("2/h"):
        assert call("GET", spelling).status_code in {404, 400}
        call("GET", ECHO)
        assert call("GET", ECHO).status_code == 429


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "OPTIONS", "TRACE", "PATCH", "BREW", "get", "G-T"]
)
def test_no_method_is_free(call, method: str) -> None:
    """Every one is charged to the tier."""
    with enforced("2/h"):
        call(method, ECHO)
        call(method, ECHO)
        assert call(method, ECHO).status_code == 429
        assert call("GET", ECHO).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Forwarded_For": "198.51.100.1"},
        {"X_Forwarded_For": "127.0.0.1"},
        {"X_Real_IP": "198.51.100.1"},
        {"Forwarded": "for=198.51.100.1"},
        {"True_Client_IP": "198.51.100.1"},
        {"CF_Connecting_IP": "198.51.100.1"},
        {"X_HTTP_Method_Override": "OPTIONS"},
        {"X_Original_URL": "/healthz"},
        {"X_Rewrite_URL": "/healthz"},
        {"Cookie": "sessionid=made-up"},
        {"Host": "localhost"},
        {"X_Pulse_Probe": "1"},
    ],
)
def test_no_header_is_another_client(call, headers) -> None:
    """From a peer that is no proxy of ours (S3-04, S3-27)."""
    with enforced("2/h", exemptions=["/healthz"]):
        assert statuses(call, 2) == [200, 200]
        assert call("GET", ECHO, **headers).status_code == 429


@pytest.mark.parametrize("name", ["X-Track-ID", "Authorization"])
def test_inventing_identities_buys_the_ceiling_and_no_more(call, name: str) -> None:
    """Five times the limit for all of one address together (S2-05, S3-04)."""
    with enforced("2/h"):
        got = [
            call("GET", ECHO, **{name.replace("-", "_"): f"Bearer {n}"}).status_code
            for n in range(14)
        ]
        assert got == [200] * 10 + [429] * 4


def test_a_proxy_tells_its_clients_apart_and_they_cannot(call) -> None:
    """What the proxy appended counts, what the client wrote before does not (S3-02, S3-04)."""
    with enforced("2/h", trusted_proxies=PROXY):
        assert statuses(call, 3, X_Forwarded_For="203.0.113.1") == [200, 200, 429]
        assert statuses(call, 3, X_Forwarded_For="203.0.113.2") == [200, 200, 429]
        for forged in ("9.9.9.9", "127.0.0.1", "", "unknown", "203.0.113.3, 127.0.0.1"):
            assert call("GET", ECHO, X_Forwarded_For=f"{forged}, 203.0.113.1").status_code == 429
        assert call("GET", ECHO, X_Forwarded_For="::ffff:203.0.113.1").status_code == 429
        assert call("GET", ECHO, X_Forwarded_For="203.0.113.1:4711").status_code == 429


def test_the_addresses_of_an_ipv6_subscriber_are_one_client(call) -> None:
    """By /64."""
    with enforced("2/h", trusted_proxies=PROXY):
        got = [call("GET", ECHO, X_Forwarded_For=f"2001:db8::{n:x}").status_code for n in range(4)]
        assert got == [200, 200, 429, 429]
        assert (
            body(call("GET", ECHO, X_Forwarded_For="2001:db8:0:1::1"))["client_address"]
            == "2001:db8:0:1::1"
        )


# Users


@pytest.fixture
def kim() -> User:
    kim = User.objects.create_user("kim", password="pw")
    kim.groups.add(Group.objects.create(name="paying"))
    return kim


@contextmanager
def for_payers() -> Iterator[None]:
    paid = {"name": "paid", "limits": ["4/h"]}
    with override_policies(
        doc(
            rate_tiers=[default_tier("2/h"), paid],
            tier_assignments=[{"group": "paying", "tier": "paid"}],
        )
    ):
        yield


def logged_in(interface: Call, user: User) -> Client | AsyncClient:
    client = Client() if interface is _sync else AsyncClient()
    client.force_login(user)
    return client


@pytest.mark.django_db
def test_a_group_has_a_tier_of_its_own(call, kim) -> None:
    """Whoever is in it, from whatever address, on one counter (S3-22, S3-23)."""
    client = logged_in(call, kim)
    with for_payers():
        assert [call("GET", ECHO, client=client).status_code for _ in range(5)] == [200] * 4 + [429]
        assert statuses(call, 3) == [200, 200, 429]


@pytest.mark.django_db
def test_a_user_costs_no_query_beyond_the_hosts_own(call, kim, settings) -> None:
    """Session and user are Django's to load; the groups are known after the first (S1-30)."""
    client = logged_in(call, kim)
    with for_payers():
        call("GET", ECHO, client=client)
        with CaptureQueriesContext(connection) as queries:
            call("GET", ECHO, client=client)
    tables = [q["sql"].split('FROM "')[1].split('"')[0] for q in queries if "FROM" in q["sql"]]
    assert tables == ["django_session", "auth_user"]


@pytest.mark.django_db
def test_an_anonymous_request_neither_loads_a_session_nor_varies_by_cookie(call) -> None:
    """Although a policy asks who it is."""
    with for_payers(), CaptureQueriesContext(connection) as queries:
        response = call("GET", ECHO)
    assert len(queries) == 0
    assert "Cookie" not in response.get("Vary", "")


class Swapped:
    """Another middleware's user, such as one who is impersonated."""

    user: User | None = None


@sync_and_async_middleware
def swap_user(get_response):
    def middleware(request):
        request.user = Swapped.user
        return get_response(request)

    return markcoroutinefunction(middleware) if iscoroutinefunction(get_response) else middleware


@pytest.mark.django_db
def test_the_user_whom_a_middleware_put_there_counts(call, kim, settings, monkeypatch) -> None:
    """Under both interfaces, although ``auser()`` knows another."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.swap_user"]
    monkeypatch.setattr(Swapped, "user", User.objects.create_user("ann"))
    client = logged_in(call, kim)
    with for_payers():
        assert [call("GET", ECHO, client=client).status_code for _ in range(3)] == [200, 200, 429]
        monkeypatch.setattr(Swapped, "user", kim)
        assert call("GET", ECHO)["X-RateLimit-Limit"] == "4"


@pytest.mark.django_db
def test_without_a_policy_by_user_nobody_looks_at_the_user(call, kim) -> None:
    """A session that nothing needs is not loaded."""
    client = logged_in(call, kim)
    with enforced("5/h"), CaptureQueriesContext(connection) as queries:
        response = call("GET", ECHO, client=client)
    assert len(queries) == 0
    assert "Cookie" not in response.get("Vary", "")


# The store and failures


class Away:
    """A Redis that does not answer."""

    class keys:
        announcement = "a"

        @staticmethod
        def limits(key: str, slots: Any) -> list[str]:
            return [key]

    @staticmethod
    def run(*args: object) -> None:
        raise StoreUnavailable("away")


@pytest.fixture
def redis_away(monkeypatch) -> None:
    monkeypatch.setattr(store_limits, "current_backend", Away)


def test_a_closed_limit_without_its_store_is_503(call, redis_away) -> None:
    """With Retry-After, and no numbers that nobody counted."""
    rule = {"name": "login", "url_name": "echo", "limits": ["5/m"], "on_store_error": "closed"}
    with current.overridden(complete(doc(rate_tiers=[default_tier()], endpoint_limits=[rule]))):
        refused = call("GET", ECHO)
        assert call("GET", "/healthz").status_code == 200
    assert refused.status_code == 503
    assert refused["Retry-After"] == "5"
    assert not refused.has_header("X-RateLimit-Limit")
    found = body(refused)
    assert found["detail"] == "Service temporarily unavailable. Please try again later."
    assert unseal(found["decision"]).name == "login"


@pytest.mark.parametrize(("choice", "got"), [("local", [200, 429]), ("open", [200, 200])])
def test_other_limits_without_the_store_do_as_they_say(call, redis_away, choice, got) -> None:
    """Counted in the process, or let through."""
    rule = {"name": "x", "url_name": "echo", "limits": ["1/h"], "on_store_error": choice}
    with current.overridden(complete(doc(endpoint_limits=[rule]))):
        assert statuses(call, 2) == got


def test_a_bare_exception_from_the_tier_needs_no_store(call, redis_away) -> None:
    """A rule without limits asks nothing, however many processes there are."""
    rule = {"name": "x", "url_name": "echo", "replaces_tier": True, "on_store_error": "closed"}
    with current.overridden(
        complete(doc(rate_tiers=[default_tier("1/h")], endpoint_limits=[rule]))
    ):
        assert statuses(call, 3) == [200] * 3


def test_disabled_pulse_adds_nothing(call, settings) -> None:
    """No header, no id, no ``request.pulse``."""
    settings.PULSE = {"ENABLED": False}
    with enforced("1/h"):
        answers = [call("GET", ECHO) for _ in range(3)]
    for answer in answers:
        assert answer.status_code == 200
        assert not any(answer.has_header(name) for name in ("X-Request-ID", *LEGACY, *IETF))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (current, "current_snapshot"),
        (stack, "facts_of"),
        (stack, "locate"),
        (stack, "may_have_user"),
        (stack.limits, "charges"),
        (stack.limits, "exempt_by"),
        (stack.limits.limits, "decide"),
        (stack.limits, "rate_limit_headers"),
        (stack.limits, "seal"),
        (stack.limits, "refuse"),
        (stack.limits, "_sealed"),
        (stack.limits.buckets, "add"),
    ],
)
def test_what_fails_in_pulse_fails_no_request(call, monkeypatch, caplog, owner, name: str) -> None:
    """The host's answer is its own; the failure is logged (S0-20)."""

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    with enforced("1/h"):
        call("GET", ECHO)
        monkeypatch.setattr(owner, name, fail)
        response = call("GET", ECHO)
    assert response.status_code in {200, 429}
    assert response.has_header("X-Request-ID")
    if name != "rate_limit_headers":
        assert response.status_code == 200
        assert body(response)["method"] == "GET"
    assert "(non-fatal)" in caplog.text


def test_a_view_that_raises_is_the_hosts_500(call) -> None:
    """Charged, named, and told of its limits."""
    with enforced("2/h"):
        response = call("GET", "/api/flaky/?fail=1")
        assert response.status_code == 500
        assert response["X-RateLimit-Remaining"] == "1"
        assert response.has_header("X-Request-ID")
        assert statuses(call, 2) == [200, 429]


def test_a_streamed_answer_is_left_to_stream(call, monkeypatch) -> None:
    """Headers are set before the first byte; nothing is read."""
    with enforced("5/h"):
        middleware = stack.PulseMiddleware(lambda request: StreamingHttpResponse(_endless()))
        from django.test import RequestFactory

        response = middleware(RequestFactory().get("/"))
        assert response.streaming
        assert response["X-RateLimit-Remaining"] == "4"
        assert next(iter(response)) == b"x"


def _endless() -> Iterator[bytes]:
    while True:
        yield b"x"


@pytest.mark.parametrize("extra", [[], [f"{__name__}.host_middleware"]])
def test_a_sync_only_middleware_under_asgi_changes_no_number(settings, extra) -> None:
    """Django then runs ours in sync mode: slower, and as exact."""
    first, *rest = settings.MIDDLEWARE
    settings.MIDDLEWARE = [first, *extra, *rest]
    with enforced("2/h"):
        assert statuses(_async, 3) == [200, 200, 429]


def host_middleware(get_response):
    def middleware(request):
        return get_response(request)

    return middleware


# What is told of a refusal


def test_a_decision_id_tells_what_happened(call) -> None:
    """Sealed: revision, rule, rate, client, endpoint, time; and nothing of it in clear."""
    rule = {"name": "echo", "url_name": "echo", "methods": ["POST"], "limits": ["1/h", "9/d"]}
    with override_policies(doc(endpoint_limits=[rule])):
        call("POST", ECHO, Authorization="Bearer secret")
        refused = call("POST", ECHO, Authorization="Bearer secret")
    text = body(refused)["decision"]
    told = unseal(text)
    assert (told.kind, told.name, told.limit) == ("endpoint_limits", "echo", "1/h")
    assert (told.method, told.route, told.revision) == ("POST", "api/echo/", 0)
    assert len(told.client) == 24
    assert unseal(text[:-1] + ("A" if text[-1] != "A" else "B")) is None
    assert unseal("") is unseal("a:b:c") is unseal("é") is None


def test_a_refusal_is_logged_without_what_is_secret(call, caplog) -> None:
    """By rule and route, with the request's id; no path, no query of the client's (S2-32)."""
    caplog.set_level(logging.INFO, "pulse")
    with enforced("1/h"):
        call("GET", ECHO)
        refused = call("GET", "/x%0aforged line?password=hunter2", Authorization="Bearer hunter2")
        refused = call("GET", "/x%0aforged line?password=hunter2")
    found = [r for r in caplog.records if r.name == "pulse.middleware.responses"]
    assert found
    assert found[-1].request_id == refused["X-Request-ID"]
    assert found[-1].getMessage() == (
        "Refused GET * (unresolved) from 127.0.0.1 by rate_tiers:default: 429"
    )
    assert "hunter2" not in caplog.text


def test_django_does_not_log_a_refusal_again(call, caplog, redis_away) -> None:
    """Least of all a 503 as an error, which mails the admins."""
    closed = {"name": "x", "path": "/", "limits": ["1/h"], "on_store_error": "closed"}
    with current.overridden(complete(doc(endpoint_limits=[closed]))):
        assert call("GET", ECHO).status_code == 503
    with enforced("1/h"):
        assert statuses(call, 2) == [200, 429]
    assert not [record for record in caplog.records if record.name == "django.request"]


def test_refusals_are_counted_by_rule(call) -> None:
    """For the admin's columns."""
    buckets.forget()
    with enforced("1/h"):
        statuses(call, 3)
    assert buckets.last_day()[buckets.REFUSED]["rate_tiers:default"] == 2


def test_a_view_sees_what_pulse_found_out(call) -> None:
    """``request.pulse``: the client's address as it is counted."""
    with enforced("5/h", trusted_proxies=PROXY):
        assert body(call("GET", ECHO))["client_address"] == "127.0.0.1"
        assert (
            body(call("GET", ECHO, X_Forwarded_For="203.0.113.9"))["client_address"]
            == "203.0.113.9"
        )


def test_an_empty_policy_adds_an_id_and_nothing_else(call) -> None:
    """A step without a policy adds nothing to a response."""
    with override_policies(doc()):
        response = call("GET", ECHO)
    assert not any(response.has_header(name) for name in (*LEGACY, *IETF))
    assert response.has_header("X-Request-ID")


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(
                ["X_Track_ID", "Authorization", "X_Forwarded_For", "X_Real_IP", "Accept"]
            ),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12),
        ),
        min_size=30, max_size=30,
    )
)  # fmt: skip
def test_no_mixture_of_headers_buys_more_than_limit_and_ceiling(mixtures) -> None:
    """30 requests of one address, 2 by address and 10 by invented names: at most 12 pass."""
    with enforced("2/h"):
        passed = sum(_sync("GET", ECHO, **headers).status_code == 200 for headers in mixtures)
    assert passed <= 12
