"""What a browser is told: by the policy, by the host's settings, or by nobody."""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from corsheaders.signals import check_request_enabled
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from project.urls import urlpatterns as site_urls
from pulse.middleware import cors
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.store import buckets
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc
from tests.middleware.test_stack import call

__all__ = ["call"]

ECHO = "/api/echo/"
APP = "https://app.example.com"
EVIL = "https://evil.example"
ALLOW = "Access-Control-Allow-Origin"
CREDENTIALS = "Access-Control-Allow-Credentials"
EXPOSE = "Access-Control-Expose-Headers"
DEFAULT_EXPOSED = (
    "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
    "RateLimit, RateLimit-Policy, Retry-After"
)


def own_cors(request):
    """A view that speaks for itself."""
    return HttpResponse(
        "ok", headers={ALLOW: "*", CREDENTIALS: "true", "Vary": "Accept", EXPOSE: "X-Own"}
    )


def for_partner(request):
    """A view that speaks to one origin."""
    own = {ALLOW: "https://partner.example", CREDENTIALS: "true", EXPOSE: "X-Own"}
    return HttpResponse("ok", headers=own)


def streamed(request):
    return StreamingHttpResponse(iter([b"data: 1\n\n"]), content_type="text/event-stream")


urlpatterns = [
    path("own/", own_cors),
    path("partner/", for_partner),
    path("streamed/", streamed),
    *site_urls,
]


@pytest.fixture(autouse=True)
def as_started() -> Iterator[None]:
    def forget() -> None:
        cors._warn_of_default.cache_clear()
        cors._base.cache_clear()
        cors._counted.__init__()

    forget()
    with policy():
        yield
    forget()


@pytest.fixture
def receiver() -> Iterator[list[str]]:
    """A host's own receiver lets one origin in."""
    asked: list[str] = []

    def allow(sender, request, **_):
        asked.append(request.path)
        return request.headers.get("Origin") == "https://signal.example"

    check_request_enabled.connect(allow)
    yield asked
    check_request_enabled.disconnect(allow)


def policy(*rules: dict[str, Any] | str, **kinds: Any) -> override_policies:
    items = [{"origin": rule} if isinstance(rule, str) else rule for rule in rules]
    return override_policies(doc(cors_origins=items, **kinds))


def preflight(call, url: str = ECHO, origin: str = APP, method: str = "POST", **headers: str):
    named = {"Origin": origin, "Access-Control-Request-Method": method, **headers}
    return call("OPTIONS", url, **named)


def told(response: HttpResponse) -> dict[str, str]:
    """What an answer says of CORS."""
    return {
        name.title(): value
        for name, value in response.headers.items()
        if name.lower().startswith("access-control-")
    }


def varies_by(response: HttpResponse) -> set[str]:
    return {name.strip().lower() for name in response.headers.get("Vary", "").split(",")} - {""}


def counted(verb: str) -> Counter[str]:
    return buckets.last_day().get(verb, Counter())


# Answers


def test_an_allowed_origin_may_read_and_is_told_no_more_than_it_needs(call) -> None:
    """S0-06, S2-28: the origin and what may be read; no credentials, nothing of preflights."""
    with policy(APP):
        response = call("GET", ECHO, Origin=APP)
    assert told(response) == {ALLOW: APP, EXPOSE: DEFAULT_EXPOSED}
    assert "origin" in varies_by(response)


@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", APP.upper(), ""])
def test_a_refused_origin_is_told_nothing_and_caches_are_told_why(call, origin: str) -> None:
    """Vary on refusal too, and without an Origin (S2-30)."""
    with policy(APP):
        refused, without = call("GET", ECHO, Origin=origin), call("GET", ECHO)
    for response in (refused, without):
        assert told(response) == {}
        assert varies_by(response) >= {"origin"}
        assert response.status_code == 200


def test_credentials_are_for_a_named_origin_alone(call) -> None:
    """S0-01, S2-25."""
    with policy({"origin": "https://*.example.com", "credentials": True}, "*"):
        named, any_page = call("GET", ECHO, Origin=APP), call("GET", ECHO, Origin=EVIL)
    assert (named[ALLOW], named[CREDENTIALS]) == (APP, "true")
    assert told(any_page) == {ALLOW: "*", EXPOSE: DEFAULT_EXPOSED}


@pytest.mark.parametrize("origin", [None, EVIL, "null"])
def test_public_answers_are_the_same_for_all(call, origin: str | None) -> None:
    """No Vary: a cache in front keeps one answer, and each who gets it may read it."""
    with policy({"origin": "*", "path": "/api/"}):
        headers = {} if origin is None else {"Origin": origin}
        response, outside = call("GET", ECHO, **headers), call("GET", "/healthz", **headers)
    assert told(response) == {ALLOW: "*", EXPOSE: DEFAULT_EXPOSED}
    assert "origin" not in varies_by(response)
    assert told(outside) == {}
    assert "origin" not in varies_by(outside)


def test_nothing_sends_any_origin_with_credentials(call) -> None:
    """S0-01: not even a rule that no compiler makes."""
    with policy("*") as snapshot:
        rule = snapshot.cors.find("/", EVIL).rule
        for name in ("answer", "preflight"):
            headers = ((CREDENTIALS, "true"), *getattr(rule.permission, name))
            object.__setattr__(rule.permission, name, headers)
        for response in (call("GET", ECHO, Origin=EVIL), preflight(call, origin=EVIL)):
            assert response[ALLOW] == "*"
            assert not response.has_header(CREDENTIALS)


def test_the_rule_found_is_all_that_the_answer_says(call, settings) -> None:
    """What a view says of CORS itself ends where a rule covers its path."""
    settings.ROOT_URLCONF = __name__
    with policy({"origin": APP, "exposed_headers": []}):
        allowed, refused = call("GET", "/own/", Origin=APP), call("GET", "/own/", Origin=EVIL)
    assert told(allowed) == {ALLOW: APP}
    assert told(refused) == {}
    assert varies_by(allowed) == varies_by(refused) == {"accept", "origin"}
    with policy({"origin": APP, "path": "/api/"}):
        assert told(call("GET", "/own/", Origin=APP))[EXPOSE] == "X-Own"


def test_streams_have_the_headers(call, settings) -> None:
    """S4-01."""
    settings.ROOT_URLCONF = __name__
    with policy({"origin": APP, "credentials": True}):
        response = call("GET", "/streamed/", Origin=APP)
    assert (response[ALLOW], response[CREDENTIALS]) == (APP, "true")


@pytest.mark.parametrize(
    ("url", "status"),
    [("/no/such/page/", 404), ("/api/flaky/?fail=1", 500), ("/api/orders/", 401), (ECHO, 429)],
)
def test_errors_and_refusals_are_readable(call, url: str, status: int) -> None:
    """A script can read why, and when to come back."""
    tiers = {"rate_tiers": [default_tier("1/m")]} if status == 429 else {}
    with policy(APP, **tiers):
        if tiers:
            call("GET", ECHO)
        response = call("POST" if status == 401 else "GET", url, Origin=APP)
    assert response.status_code == status
    assert response[ALLOW] == APP
    assert response[EXPOSE] == DEFAULT_EXPOSED
    assert "origin" in varies_by(response)
    if status == 429:
        exposed = response[EXPOSE].split(", ")
        assert all(response.has_header(name) for name in exposed)


def test_without_a_rule_or_a_setting_nothing_is_added(call) -> None:
    for response in (call("GET", ECHO, Origin=APP), call("GET", ECHO)):
        assert told(response) == {}
        assert "origin" not in varies_by(response)
    assert preflight(call).json()["method"] == "OPTIONS"


def test_switched_off_there_is_no_cors(call, settings) -> None:
    """S0-04: no header, no preflight, of rules and settings alike."""
    settings.PULSE = {"CORS": False}
    settings.CORS_ALLOWED_ORIGINS = [APP]
    with policy(APP):
        assert told(call("GET", ECHO, Origin=APP)) == {}
        assert preflight(call).json()["method"] == "OPTIONS"


# Preflights


def test_a_preflight_is_answered_before_anything_else(call) -> None:
    """S2-30: 200, empty, with origin, methods, headers and exposed headers; no token is spent."""
    with policy(APP, rate_tiers=[default_tier("1/m")]):
        responses = [preflight(call) for _ in range(5)]
        assert call("GET", ECHO, Origin=APP).status_code == 200
        after = preflight(call)
    for response in (*responses, after):
        assert (response.status_code, response.content) == (200, b"")
        assert response["Content-Length"] == "0"
        assert told(response) == {
            ALLOW: APP,
            EXPOSE: DEFAULT_EXPOSED,
            "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
            "Access-Control-Allow-Headers": (
                "Authorization, Content-Type, X-Track-ID, Idempotency-Key"
            ),
            "Access-Control-Max-Age": "600",
        }
        assert varies_by(response) == {
            "origin",
            "access-control-request-method",
            "access-control-request-headers",
        }
        assert not response.has_header("X-RateLimit-Limit")
        assert response.has_header("X-Request-ID")


def test_a_preflight_that_a_view_answers_spends_no_token(call) -> None:
    """Neither now nor by what its headers tell; a flood of them is refused at the same limit."""
    with policy(rate_tiers=[default_tier("3/h")]):
        first = call("GET", ECHO, Origin=APP)
        preflights = [preflight(call) for _ in range(5)]
        later = [call("GET", ECHO, Origin=APP) for _ in range(3)]
        plain = call("OPTIONS", ECHO, Origin=APP)
    assert [answer.status_code for answer in preflights] == [200, 200, 200, 429, 429]
    assert preflights[0].json()["method"] == "OPTIONS"
    assert [answer.status_code for answer in later] == [200, 200, 429]
    told = [answer["X-RateLimit-Remaining"] for answer in (first, *later)]
    assert told == ["2", "1", "0", "0"]
    # What is no preflight is a request as any other.
    assert plain.status_code == 429


def test_a_preflight_that_finds_nothing_spends_no_token_either(call) -> None:
    """It is counted on the way back, on counts of its own as well."""
    with policy(rate_tiers=[default_tier("2/h")]):
        preflights = [preflight(call, "/nothing/").status_code for _ in range(3)]
        later = [call("GET", "/nothing/").status_code for _ in range(3)]
    assert (preflights, later) == ([404, 404, 429], [404, 404, 429])


def test_a_preflight_from_elsewhere_is_left_without_permission(call) -> None:
    with policy(APP):
        response = preflight(call, origin=EVIL)
    assert (response.status_code, response.content, told(response)) == (200, b"", {})
    assert "origin" in varies_by(response)


def test_what_a_preflight_asks_for_is_never_repeated(call) -> None:
    """The rule's methods and headers are told, whatever is asked for."""
    with policy({"origin": APP, "methods": ["GET"], "allowed_headers": []}):
        response = preflight(
            call, method="DELETE", **{"Access-Control-Request-Headers": "x-evil,x-worse"}
        )
    assert response["Access-Control-Allow-Methods"] == "GET"
    assert not response.has_header("Access-Control-Allow-Headers")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", "content-type", 200),
        ("POST", "", 200),
        ("DELETE", "", 403),
        ("post", "", 403),
        ("POST", "x-evil", 403),
        ("POST", "content-type," * 10_000, 403),
        ("POST", "," * 4000, 200),
    ],
)
def test_a_strict_rule_refuses_what_it_does_not_allow(
    call, method: str, headers: str, status: int
) -> None:
    with policy({"origin": APP, "strict_preflight": True}):
        response = preflight(call, method=method, **{"Access-Control-Request-Headers": headers})
    assert response.status_code == status
    assert response.has_header(ALLOW) is (status == 200)
    assert "origin" in varies_by(response)


@pytest.mark.parametrize(
    ("asked", "may", "told_so"),
    [("true", True, "true"), ("true", False, None), ("false", True, None)],
)
def test_a_private_network_is_reached_where_asked_and_allowed(call, asked, may, told_so) -> None:
    with policy({"origin": APP, "private_network": may}):
        response = preflight(call, **{"Access-Control-Request-Private-Network": asked})
    assert response.headers.get("Access-Control-Allow-Private-Network") == told_so


def test_options_without_a_request_are_the_views(call) -> None:
    """Neither an OPTIONS of one's own, nor a path without rules."""
    with policy({"origin": APP, "path": "/api/products/"}):
        assert preflight(call).json()["method"] == "OPTIONS"
    with policy(APP):
        response = call("OPTIONS", ECHO, Origin=APP)
        assert response.json()["method"] == "OPTIONS"
        assert response[ALLOW] == APP
        assert call("OPTIONS", ECHO, **{"Access-Control-Request-Method": "GET"}).json()


def test_a_preflight_of_a_public_path_is_the_same_for_all(call) -> None:
    with policy("*"):
        response = preflight(call, origin=EVIL)
    assert response[ALLOW] == "*"
    assert "origin" not in varies_by(response)


def test_a_preflight_for_max_age_zero_is_asked_each_time(call) -> None:
    """Without the header a browser would hold the answer for five seconds."""
    with policy({"origin": APP, "max_age": 0}):
        assert preflight(call)["Access-Control-Max-Age"] == "0"


# The host's settings


def test_the_hosts_settings_are_the_base_layer(call, settings) -> None:
    """Where no rule is for the origin they answer, with what pulse exposes beside theirs."""
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example", APP]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_EXPOSE_HEADERS = ["X-Own", "retry-after"]
    with policy(APP):
        by_rule = call("GET", ECHO, Origin=APP)
        by_host = call("GET", ECHO, Origin="https://host.example")
        refused = call("GET", ECHO, Origin=EVIL)
    assert told(by_rule) == {ALLOW: APP, EXPOSE: DEFAULT_EXPOSED}
    assert told(by_host) == {
        ALLOW: "https://host.example",
        CREDENTIALS: "true",
        EXPOSE: "X-Own, retry-after, " + DEFAULT_EXPOSED.removesuffix(", Retry-After"),
    }
    assert told(refused) == {}
    for response in (by_rule, by_host, refused):
        assert "origin" in varies_by(response)


def test_the_hosts_settings_answer_preflights(call, settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example"]
    allowed, refused = preflight(call, origin="https://host.example"), preflight(call, origin=EVIL)
    assert allowed[ALLOW] == "https://host.example"
    assert "DELETE" in allowed["Access-Control-Allow-Methods"]
    assert told(refused) == {}
    for response in (allowed, refused):
        assert (response.status_code, response.content) == (200, b"")
        assert "origin" in varies_by(response)


def test_any_origin_with_credentials_is_not_sent_by_the_hosts_settings(call, settings) -> None:
    """S0-01: upstream would name whoever asks, with credentials."""
    settings.CORS_ALLOW_ALL_ORIGINS = settings.CORS_ALLOW_CREDENTIALS = True
    for response in (call("GET", ECHO, Origin=EVIL), preflight(call, origin=EVIL)):
        assert response[ALLOW] == "*"
        assert not response.has_header(CREDENTIALS)


@pytest.mark.parametrize("origin", ["https://a.host.example", "https://b.host.example"])
def test_the_hosts_regexes_are_the_hosts(call, settings, origin: str) -> None:
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"^https://\w+\.host\.example$"]
    assert call("GET", ECHO, Origin=origin)[ALLOW] == origin
    assert told(call("GET", ECHO, Origin=f"{origin}.evil.example")) == {}


@pytest.mark.parametrize("origin", ["HTTPS://host.example", "https://host.example/x"])
def test_the_hosts_origins_are_compared_whole(call, settings, origin: str) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example"]
    assert told(call("GET", ECHO, Origin=origin)) == {}


def test_the_hosts_paths_are_the_hosts(call, settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    settings.CORS_URLS_REGEX = r"^/api/products/"
    assert told(call("GET", ECHO, Origin=APP)) == {}
    assert call("GET", "/api/products/none/", Origin=APP)[ALLOW] == APP
    assert preflight(call).json()["method"] == "OPTIONS"


@pytest.mark.parametrize("regex", ["^/api/", "^.*$"])
@pytest.mark.parametrize("everyone", [False, True])
def test_what_a_view_says_stays_where_the_settings_say_nothing(
    call, settings, regex: str, everyone: bool
) -> None:
    """Neither opened to all nor told what pulse exposes: not their path, or not their origin."""
    settings.ROOT_URLCONF = __name__
    settings.CORS_URLS_REGEX = regex
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example"]
    settings.CORS_ALLOW_CREDENTIALS = True
    settings.CORS_ALLOW_ALL_ORIGINS = everyone
    response = call("GET", "/partner/", Origin="https://partner.example")
    own = {ALLOW: "https://partner.example", CREDENTIALS: "true", EXPOSE: "X-Own"}
    if everyone and regex == "^.*$":
        assert told(response) == {ALLOW: "*", EXPOSE: DEFAULT_EXPOSED}
    else:
        assert told(response) == own


def test_a_receiver_is_asked_once_and_heard(call, receiver) -> None:
    """The signal of django-cors-headers still lets in, at one call a request."""
    with policy(APP):
        response = call("GET", ECHO, Origin="https://signal.example")
        assert response[ALLOW] == "https://signal.example"
        assert receiver == [ECHO]
        assert told(call("GET", ECHO, Origin=EVIL)) == {}
        assert preflight(call, origin="https://signal.example")[ALLOW] == "https://signal.example"


def test_a_receiver_that_fails_fails_no_request_and_lets_nobody_in(call) -> None:
    def broken(sender, request, **_):
        raise RuntimeError("broken")

    check_request_enabled.connect(broken)
    try:
        response = call("GET", ECHO, Origin=APP)
    finally:
        check_request_enabled.disconnect(broken)
    assert (response.status_code, told(response)) == (200, {})
    assert counted(buckets.SWALLOWED)["cors"] == 1


def test_settings_that_change_are_read_anew(call, settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [APP]
    assert call("GET", ECHO, Origin=APP)[ALLOW] == APP
    settings.CORS_ALLOWED_ORIGINS = [EVIL]
    assert told(call("GET", ECHO, Origin=APP)) == {}


# Nothing said at all


def test_while_developing_the_default_lets_localhost_in_and_warns_once(
    call, settings, caplog
) -> None:
    """S0-05."""
    settings.DEBUG = True
    with caplog.at_level(logging.WARNING), policy():
        responses = [call("GET", ECHO, Origin="http://localhost:3000") for _ in range(3)]
        refused = call("GET", ECHO, Origin=EVIL)
        assert preflight(call, origin="http://localhost:3000")[ALLOW] == "http://localhost:3000"
    assert {response[ALLOW] for response in responses} == {"http://localhost:3000"}
    assert told(refused) == {}
    warned = [record for record in caplog.records if record.name == "pulse.middleware.cors"]
    assert [(record.levelname, record.getMessage()) for record in warned] == [
        ("WARNING", "CORS enabled without explicit origins. Using safe default...")
    ]


@pytest.mark.parametrize(
    "said", ["nothing", "a rule", "a rule that is off", "a setting", "a receiver", "off"]
)
def test_the_default_is_for_developing_with_nothing_said(
    call, settings, caplog, receiver, said: str
) -> None:
    """S0-05: outside DEBUG nobody, and nobody where anything is said."""
    if said != "a receiver":
        check_request_enabled.receivers.clear()
        check_request_enabled.sender_receivers_cache.clear()
    settings.DEBUG = said != "nothing"
    if said == "a setting":
        settings.CORS_ALLOWED_ORIGINS = []
    if said == "off":
        settings.PULSE = {"CORS": False}
    rules = {
        "a rule": [APP],
        "a rule that is off": [{"origin": APP, "mode": "off"}],
    }.get(said, [])
    with policy(*rules):
        assert told(call("GET", ECHO, Origin="http://localhost:3000")) == {}
    assert "CORS enabled" not in caplog.text


# Counting


def test_uses_are_counted_by_rule_and_those_for_many_by_origin(call) -> None:
    """What a tightening would break."""
    with policy(
        APP,
        {"origin": "https://*.example.org", "path": "/api/"},
        {"origin": "https://new.example", "mode": "shadow"},
    ):
        for origin in (APP, APP, "https://a.example.org", "https://new.example", EVIL):
            call("GET", ECHO, Origin=origin)
        preflight(call)
        call("GET", ECHO)
    assert counted(buckets.CORS_USED) == {
        "cors_origins:https://app.example.com /": 3,
        "cors_origins:https://*.example.org /api/": 1,
        "cors_origins:https://*.example.org /api/ https://a.example.org": 1,
    }
    assert counted(buckets.CORS_WOULD_USE) == {"cors_origins:https://new.example /": 1}
    assert counted(buckets.CORS_REFUSED) == {"cors_origins:https://evil.example /api/": 1}


def test_shadow_allows_nothing(call) -> None:
    with policy({"origin": APP, "mode": "shadow"}):
        response = call("GET", ECHO, Origin=APP)
        assert told(response) == {}
        assert "origin" not in varies_by(response)
        assert preflight(call).json()["method"] == "OPTIONS"
    assert counted(buckets.CORS_WOULD_USE) == {"cors_origins:https://app.example.com /": 2}


def test_what_the_hosts_settings_allow_is_no_refusal_and_a_strict_no_is_one(call, settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://host.example"]
    with policy({"origin": APP, "strict_preflight": True}):
        assert call("GET", ECHO, Origin="https://host.example").has_header(ALLOW)
        assert preflight(call, origin="https://host.example").has_header(ALLOW)
        assert preflight(call, method="DELETE").status_code == 403
    assert counted(buckets.CORS_REFUSED) == {"cors_origins:https://app.example.com /": 1}
    assert counted(buckets.CORS_USED) == {}


def test_the_sites_own_pages_are_no_refusal(call) -> None:
    """Browsers send Origin with their forms too."""
    with policy(APP):
        call("POST", ECHO, Origin="http://testserver")
    assert counted(buckets.CORS_REFUSED) == {}


@pytest.mark.parametrize(("proto", "refused"), [("https", 0), ("http", 1)])
def test_the_sites_own_pages_behind_a_proxy_with_tls_are_no_refusal(call, proto, refused) -> None:
    """By the word of a proxy that is trusted."""
    with policy(APP, trusted_proxies=[{"network": "127.0.0.0/8"}]):
        call("POST", ECHO, Origin="https://testserver", **{"X-Forwarded-Proto": proto})
    assert counted(buckets.CORS_REFUSED).total() == refused
    with policy(APP):
        call("POST", ECHO, Origin="https://testserver", **{"X-Forwarded-Proto": "https"})
    assert counted(buckets.CORS_REFUSED).total() == refused + 1


def test_whom_the_hosts_settings_allow_a_rule_in_shadow_would_not(call, settings) -> None:
    """Nothing would change for them."""
    settings.CORS_ALLOWED_ORIGINS = [APP]
    with policy({"origin": APP, "mode": "shadow"}, {"origin": EVIL, "mode": "shadow"}):
        assert call("GET", ECHO, Origin=APP)[ALLOW] == APP
        call("GET", ECHO, Origin=EVIL)
    assert counted(buckets.CORS_WOULD_USE) == {f"cors_origins:{EVIL} /": 1}


def test_strangers_that_are_refused_leave_room_for_users(call) -> None:
    """Else who floods would hide whom the end of a rule breaks."""
    with policy("https://*.example.org"):
        for number in range(cors.MAX_COUNTED + 1):
            call("GET", ECHO, Origin=f"https://x{number}.evil.example")
        call("GET", ECHO, Origin="https://a.example.org")
    assert counted(buckets.CORS_USED)["cors_origins:https://*.example.org / https://a.example.org"]


def test_invented_origins_are_counted_within_bounds(call) -> None:
    """Memory and Redis hold so many an hour, and no text that is no origin."""
    with policy(APP):
        for number in range(cors.MAX_COUNTED + 50):
            call("GET", ECHO, Origin=f"https://x{number}.evil.example")
        for odd in ("a b", "x" * 301, "é"):
            call("GET", ECHO, Origin=odd)
    assert len(counted(buckets.CORS_REFUSED)) == cors.MAX_COUNTED


# The policy


def test_an_edit_is_in_the_next_answer(call) -> None:
    with policy(APP):
        assert call("GET", ECHO, Origin=APP)[ALLOW] == APP
    with policy("https://b.example.com"):
        assert told(call("GET", ECHO, Origin=APP)) == {}


def test_a_rule_that_ends_ends(call) -> None:
    with policy({"origin": APP, "ends_at": "2020-01-01T00:00:00Z"}):
        assert told(call("GET", ECHO, Origin=APP)) == {}
    with policy({"origin": APP, "starts_at": "2020-01-01T00:00:00Z"}):
        assert call("GET", ECHO, Origin=APP)[ALLOW] == APP


def test_a_document_with_the_visitors_cookies_for_all_is_no_policy() -> None:
    """S0-01: neither checked nor compiled."""
    from pulse.exceptions import InvalidDocument
    from pulse.policies.compiler import compile_document

    written = doc(cors_origins=[{"origin": "*", "credentials": True}])
    with pytest.raises(InvalidDocument, match="Never for"):
        complete(written)
    whole = complete(doc(cors_origins=[{"origin": "*"}]))
    whole["cors_origins"][0]["credentials"] = True
    with pytest.raises(InvalidDocument, match="act as the visitor"):
        compile_document(whole, None, 0.0)


def test_without_a_policy_nobody_is_let_in(call, settings, monkeypatch) -> None:
    """CORS fails closed, also while developing."""
    settings.DEBUG = True

    def broken():
        raise RuntimeError("no policy")

    monkeypatch.setattr(current, "current_snapshot", broken)
    response = call("GET", ECHO, Origin="http://localhost:3000")
    assert (response.status_code, told(response)) == (200, {})
