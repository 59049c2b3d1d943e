"""An explanation is what enforcement does, told beforehand and free of charge."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.middleware.security import SecurityMiddleware
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from pulse.policies import current
from pulse.policies.completion import complete
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import Question, UnknownUser, parse
from pulse.store import heartbeat
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc
from tests.servers import free_port
from tests.store.conftest import cache_of

ECHO = "/api/echo/"


@pytest.mark.parametrize(
    ("sentence", "method", "path", "user", "address"),
    [
        ("GET /api/search/ as kim from 203.0.113.9", "GET", "/api/search/", "kim", "203.0.113.9"),
        ("/api/search/", "GET", "/api/search/", None, "203.0.113.1"),
        ("  post   /a?b=c   as  anonymous ", "POST", "/a?b=c", None, "203.0.113.1"),
        ("DELETE /a from 2001:db8::1", "DELETE", "/a", None, "2001:db8::1"),
        ("BREW /as/from/ as a@b.test", "BREW", "/as/from/", "a@b.test", "203.0.113.1"),
        ("GET / as from from from", "GET", "/", "from", "from"),
    ],
)
def test_sentences_are_read(sentence, method, path, user, address) -> None:
    """All but the path may be left out."""
    found = parse(sentence)
    assert (found.method, found.path, found.user, found.address) == (method, path, user, address)


@pytest.mark.parametrize(
    "sentence",
    ["", "GET", "GET api/", "as kim", "GET /a as", "GET /a from", "GET /a kim",
     "GET /a from x as y z",
     "GET /a /b", "https://a.test/", "G-T /a", "/a\nas", "GET /a from 1.2.3.4 as kim"],
)  # fmt: skip
def test_what_is_no_such_sentence_is_none(sentence: str) -> None:
    """Nothing is guessed."""
    assert parse(sentence) is None


@given(st.text(max_size=60))
def test_reading_a_sentence_never_raises(sentence: str) -> None:
    """Whatever was typed."""
    found = parse(sentence)
    assert found is None or found.path.startswith("/")


def ask(path: str = ECHO, **fields: Any) -> dict[str, Any]:
    return explain(Question(path, **{"address": "127.0.0.1", **fields})).answer


def test_an_answer_has_every_member_of_the_contract() -> None:
    """API 4, to the letter."""
    search = {"name": "search", "url_name": "search", "limits": ["1/s"]}
    off = {"name": "off", "url_name": "echo", "limits": ["1/s"], "mode": "off"}
    with override_policies(doc(rate_tiers=[default_tier("3/m")], endpoint_limits=[search, off])):
        answer = ask(count=5)
    assert answer == {
        "verdict": "refused",
        "status": 429,
        "allowed": 3,
        "refused": 2,
        "revision": 0,
        "route": "api/echo/",
        "url_name": "echo",
        "exempt_by": None,
        "client": {"address": "127.0.0.1", "kind": "ip", "tier": "default"},
        "rules": [
            {
                "kind": "rate_tiers",
                "key": {"name": "default"},
                "mode": "enforce",
                "matched": True,
                "why": "tier of every client",
                "counted_by": "ip",
                "outcome": "refused",
                "limits": [
                    {
                        "rate": "3/m",
                        "algorithm": "token_bucket",
                        "limit": 3,
                        "remaining": 0,
                        "retry_after": 20,
                        "passed": False,
                    }
                ],
            },
            {
                "kind": "endpoint_limits",
                "key": {"name": "search"},
                "mode": "enforce",
                "matched": False,
                "why": "it is for another endpoint: search",
                "counted_by": None,
                "outcome": "not_matched",
                "limits": [],
            },
            *answer["rules"][2:],
        ],
        "headers": answer["headers"],
        "body": {"detail": "Too many requests. Please try again later.", "retry_after": 20},
        "cors": None,
        "bounds": {
            "max_body_bytes": 10 * 2**20,
            "max_body_by": "site:max_body_bytes",
            "timeout_s": None,
            "timeout_by": None,
            "slow_ms": 1000,
            "slow_by": "site:slow_request_ms",
        },
        "header_policy": None,
        "headers_by_setting": {
            "X-Content-Type-Options": "SECURE_CONTENT_TYPE_NOSNIFF",
            "Referrer-Policy": "SECURE_REFERRER_POLICY",
            "Cross-Origin-Opener-Policy": "SECURE_CROSS_ORIGIN_OPENER_POLICY",
            "X-Frame-Options": "X_FRAME_OPTIONS",
        },
    }
    assert answer["headers"]["Retry-After"] == "20"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"route": "api/search/"}, "it is for another endpoint: api/search/"),
        (
            {"view": "project.shop.views.home"},
            "it is for another endpoint: project.shop.views.home",
        ),
        ({"path": "/api/search"}, "it is for another path: /api/search"),
        ({"path": "/api/", "methods": ["POST", "PUT"]}, "it is for other methods: POST, PUT"),
    ],
)
def test_why_a_rule_does_not_match_is_told(rule, why: str) -> None:
    """In words."""
    with override_policies(doc(endpoint_limits=[{"name": "x", "limits": ["1/s"], **rule}])):
        assert ask()["rules"][0]["why"] == why
        assert ask("/nope/")["rules"][0]["why"] == "the path resolves to nothing"


def test_an_exemption_is_named() -> None:
    """No rule is asked then."""
    with override_policies(doc(rate_tiers=[default_tier()], exemptions=["/api/"])):
        answer = ask()
    assert (answer["exempt_by"], answer["status"]) == ("/api/", 200)
    assert set(answer["headers"]) == set(answer["headers_by_setting"])
    assert [(r["outcome"], r["why"]) for r in answer["rules"]] == [("exempt", "an exemption holds")]


def test_shadow_tells_what_it_would_do() -> None:
    """And the client passes."""
    rule = {"name": "x", "url_name": "echo", "limits": ["1/h"], "mode": "shadow"}
    with override_policies(doc(endpoint_limits=[rule])):
        answer = ask(count=2)
    assert (answer["verdict"], answer["rules"][0]["outcome"]) == ("allowed", "would_refuse")


@pytest.mark.parametrize(
    ("manner", "status", "outcome"),
    [("closed", 503, "refused"), ("open", 200, "passed"), ("local", 429, "refused")],
)
def test_without_redis_it_tells_what_each_rule_does(settings, manner, status, outcome) -> None:
    """To the last header, as the middleware answers; whatever the buckets hold."""
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    rule = {"name": "x", "url_name": "echo", "limits": ["1/h"], "on_store_error": manner}
    with heartbeat.suspended(), current.overridden(complete(doc(endpoint_limits=[rule]))):
        Client().get(ECHO)
        answer, fresh = ask(), ask(counters="fresh", count=2)
        response = Client().get(ECHO)
    assert (answer["status"], answer["rules"][0]["outcome"]) == (status, outcome)
    assert (fresh["status"], fresh["refused"]) == (
        status,
        {"closed": 2, "open": 0, "local": 1}[manner],
    )
    assert response.status_code == status
    assert response.get("Retry-After") == answer["headers"].get("Retry-After")
    if status != 200:
        body = response.json()
        assert answer["body"] == {name: body[name] for name in ("detail", "retry_after")}


def test_a_rule_that_only_replaces_the_tier_is_told_to_match() -> None:
    """It makes no claim, and still holds."""
    rule = {"name": "free", "url_name": "echo", "replaces_tier": True}
    with override_policies(doc(rate_tiers=[default_tier()], endpoint_limits=[rule])):
        answer = ask()
    told = {row["key"]["name"]: row for row in answer["rules"]}
    assert (told["free"]["matched"], told["free"]["outcome"]) == (True, "passed")
    assert not told["default"]["matched"]
    assert answer["client"]["tier"] is None


def test_nothing_is_charged_however_often_one_asks() -> None:
    """Live counters are read, fresh ones imagined."""
    with override_policies(doc(rate_tiers=[default_tier("2/h")])):
        for _ in range(5):
            assert ask()["rules"][0]["limits"][0]["remaining"] == 1
        Client().get(ECHO)
        assert ask()["rules"][0]["limits"][0]["remaining"] == 0
        assert ask(counters="fresh")["rules"][0]["limits"][0]["remaining"] == 1
        assert ask(count=2)["verdict"] == "refused"
        assert Client().get(ECHO).status_code == 200


@pytest.mark.django_db
def test_a_user_is_found_by_name() -> None:
    """With groups; one who is not there is told, whether a rule asks for users or not."""
    kim = User.objects.create(username="kim")
    kim.groups.add(Group.objects.create(name="paying"))
    paid = {"name": "paid", "limits": ["100/s"]}
    given_tier = {"group": "paying", "tier": "paid"}
    with override_policies(doc(rate_tiers=[default_tier(), paid], tier_assignments=[given_tier])):
        assert ask(user="kim")["client"] == {"address": "127.0.0.1", "kind": "user", "tier": "paid"}
        assert ask()["client"]["tier"] == "default"
    with override_policies(doc()), pytest.raises(UnknownUser):
        ask(user="nobody")


# The edge


def row_of(answer: dict[str, Any], kind: str, **key: str) -> dict[str, Any]:
    [row] = [row for row in answer["rules"] if (row["kind"], row["key"]) == (kind, key)]
    return row


def test_the_access_rule_that_decides_is_a_row() -> None:
    """With its reason, and why those around it do not decide; limits are not asked."""
    rules = [
        {"network": "203.0.113.0/24", "reason": "scrapes us"},
        {"network": "203.0.113.0/25", "mode": "shadow"},
        "0.0.0.0/0",
        "198.51.100.0/24",
    ]
    with override_policies(doc(access_rules=rules, rate_tiers=[default_tier()])):
        answer = ask(address="203.0.113.9", count=3)
        free = ask(address="2001:db8::1")
    assert (answer["verdict"], answer["status"], answer["refused"]) == ("refused", 403, 3)
    assert answer["body"] == {"detail": "Access denied."}
    rows = [row for row in answer["rules"] if row["kind"] == "access_rules"]
    assert [(row["key"]["network"], row["outcome"], row["why"]) for row in rows] == [
        ("203.0.113.0/25", "not_matched", "in shadow for this client"),
        ("203.0.113.0/24", "refused", "denies this network (scrapes us)"),
        ("0.0.0.0/0", "not_matched", "a more specific rule decides"),
    ]
    tier = row_of(answer, "rate_tiers", name="default")
    assert tier["why"] == "not asked: the request is answered before"
    assert (free["status"], free["rules"][0]["kind"]) == (200, "rate_tiers")


def test_a_rule_in_shadow_tells_whom_it_would_deny() -> None:
    with override_policies(doc(access_rules=[{"network": "127.0.0.1", "mode": "shadow"}])):
        answer = ask()
    assert answer["verdict"] == "allowed"
    assert answer["rules"][0]["outcome"] == "would_refuse"
    assert answer["rules"][0]["why"] == "would deny this network"


APP = "https://app.example.com"


@pytest.mark.parametrize(
    ("path", "origin", "allowed", "why"),
    [
        (ECHO, APP, True, f"the rule for {APP} holds"),
        (ECHO, "https://a.example.org", True, "the rule for https://*.example.org holds"),
        (ECHO, "https://evil.test", False, "no rule is for this origin under /api/"),
        ("/healthz", APP, False, "no rule is for this path"),
    ],
)
def test_what_a_browser_is_told_is_told(path: str, origin: str, allowed: bool, why: str) -> None:
    """Rule, verdict and reason."""
    origins = [{"origin": o, "path": "/api/"} for o in (APP, "https://*.example.org")]
    with override_policies(doc(cors_origins=origins)):
        cors = ask(path, headers={"Origin": origin})["cors"]
        assert ask(path)["cors"] is None
    assert (cors["origin"], cors["allowed"], cors["why"]) == (origin, allowed, why)
    assert (cors["rule"] is not None) is allowed


def test_a_preflight_is_told_as_it_is_answered() -> None:
    """Before access rules and limits; a method that the rule has not is told."""
    policy = doc(
        cors_origins=[{"origin": APP, "methods": ["GET"]}],
        access_rules=["127.0.0.1"],
        rate_tiers=[default_tier("1/h")],
    )
    headers = {"Origin": APP, "Access-Control-Request-Method": "DELETE"}
    with override_policies(policy):
        answer = ask(method="OPTIONS", headers=headers, count=3)
        strict = ask(method="OPTIONS", headers={"Origin": APP})
    assert (answer["status"], answer["verdict"], answer["body"]) == (200, "allowed", None)
    assert (answer["cors"]["preflight"], answer["cors"]["allowed"]) == (True, False)
    assert "does not have this method" in answer["cors"]["why"]
    assert answer["headers"]["Access-Control-Allow-Methods"] == "GET"
    # Without the question of a preflight it is a request as any other.
    assert strict["status"] == 403


def test_a_preflight_that_a_view_answers_is_told_as_it_is_counted() -> None:
    """Apart: what requests have spent is not its concern, nor the other way round."""
    headers = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    client = Client(REMOTE_ADDR="127.0.0.1")
    with override_policies(doc(rate_tiers=[default_tier("3/h")])):
        for _ in range(2):
            client.get(ECHO)
        client.options(ECHO, headers=headers)
        preflight = ask(method="OPTIONS", headers=headers)
        flood = ask(method="OPTIONS", headers=headers, count=3)
        request = ask(method="OPTIONS", headers={"Origin": APP})
    remaining = [
        answer["headers"]["X-RateLimit-Remaining"] for answer in (preflight, flood, request)
    ]
    assert (remaining, preflight["verdict"], flood["refused"]) == (["1", "0", "0"], "allowed", 1)
    assert preflight["rules"][0]["why"] == "tier of every client; preflights count apart"


def test_the_bounds_of_the_route_are_told() -> None:
    """What holds, what says so, and why another does not; a length that is too large is refused."""
    rules = [
        {"name": "echo", "url_name": "echo", "max_body_bytes": 100, "timeout_s": 2.5},
        {"name": "wide", "path": "/api/", "max_body_bytes": 1000},
        {"name": "search", "url_name": "search", "timeout_s": 1},
    ]
    with override_policies(doc(endpoint_limits=rules)):
        answer = ask(method="POST", headers={"Content-Length": "101"})
        fits = ask(method="POST", headers={"Content-Length": "100"})
        broken = ask(method="POST", headers={"Content-Length": "1, 2"})
    assert answer["bounds"] == {
        "max_body_bytes": 100,
        "max_body_by": "endpoint_limits:echo",
        "timeout_s": 2.5,
        "timeout_by": "endpoint_limits:echo",
        "slow_ms": 1000,
        "slow_by": "site:slow_request_ms",
    }
    assert (answer["status"], answer["body"]["detail"]) == (
        *(413, "Request body too large (max 100 bytes)"),
    )
    outcomes = {row["key"]["name"]: (row["outcome"], row["why"]) for row in answer["rules"]}
    assert outcomes == {
        "echo": ("refused", "it bounds size or time"),
        "wide": ("not_matched", "a more specific one holds"),
        "search": ("not_matched", "it is for another endpoint: search"),
    }
    assert (fits["status"], row_of(fits, "endpoint_limits", name="echo")["outcome"]) == (
        *(200, "passed"),
    )
    assert broken["status"] == 400


def test_what_is_not_in_its_time_is_told_apart_from_what_is_off() -> None:
    rules = [
        {"name": "later", "url_name": "echo", "limits": ["1/s"], "starts_at": "2999-01-01T00:00Z"},
        {"name": "off", "url_name": "echo", "timeout_s": 1, "mode": "off"},
    ]
    with override_policies(doc(endpoint_limits=rules)):
        told = {row["key"]["name"]: row["why"] for row in ask()["rules"]}
    assert told == {"later": "not in its time", "off": "its mode is off"}


def test_the_header_policy_and_its_headers_are_told() -> None:
    """HSTS only over HTTPS: asked for so, or told by a trusted proxy."""
    policies = [{"name": "api", "path": "/api/", "preset": "legacy"}]
    proxy = {"X-Forwarded-Proto": "https"}
    with override_policies(doc(header_policies=policies, trusted_proxies=["127.0.0.1"])):
        plain, secure, told = ask(), ask(secure=True), ask(headers=proxy)
        elsewhere = ask("/healthz")
    assert (plain["header_policy"], elsewhere["header_policy"]) == ("api", None)
    assert plain["headers"]["X-Frame-Options"] == "DENY"
    assert "Strict-Transport-Security" not in plain["headers"]
    assert secure["headers"] == told["headers"]
    assert "Strict-Transport-Security" in told["headers"]


SECURITY = "django.middleware.security.SecurityMiddleware"
FRAMES = "django.middleware.clickjacking.XFrameOptionsMiddleware"
GIVEN = {
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "Referrer-Policy",
    "Cross-Origin-Opener-Policy",
    "X-Frame-Options",
}


class OwnSecurity(SecurityMiddleware):
    """A host's own, made of Django's."""


@pytest.mark.parametrize(
    "site",
    [
        {},
        {"SECURE_HSTS_SECONDS": 60},
        {"SECURE_HSTS_SECONDS": 60, "SECURE_HSTS_INCLUDE_SUBDOMAINS": True},
        {"SECURE_HSTS_SECONDS": 60, "SECURE_HSTS_PRELOAD": True},
        {"SECURE_CONTENT_TYPE_NOSNIFF": False, "SECURE_CROSS_ORIGIN_OPENER_POLICY": None},
        {"SECURE_REFERRER_POLICY": ["origin", "no-referrer"], "X_FRAME_OPTIONS": "sameorigin"},
        {"SECURE_REFERRER_POLICY": "origin , no-referrer"},
        {"SECURE_REFERRER_POLICY": None},
        {"without": SECURITY, "SECURE_HSTS_SECONDS": 60},
        {"without": FRAMES},
        {"instead": f"{__name__}.OwnSecurity"},
        {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_SCHEME", "https"), "SECURE_HSTS_SECONDS": 60},
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_what_the_settings_of_django_give_is_told_as_it_is_sent(settings, site, secure) -> None:
    """It stays where a policy forces nothing, and only where the middleware is (S2-15)."""
    chain = [path for path in settings.MIDDLEWARE if path != site.get("without")]
    if "instead" in site:
        chain = [site["instead"] if path == SECURITY else path for path in chain]
    settings.MIDDLEWARE = chain
    for name, value in site.items():
        if name.isupper():
            setattr(settings, name, value)
    policies = [
        {"name": "all", "preset": "legacy"},
        {"name": "forced", "path": "/api/", "preset": "legacy", "force": True},
        {
            "name": "removed",
            "path": "/healthz",
            "headers": {"X-Frame-Options": None, "Referrer-Policy": "unsafe-url"},
        },
    ]
    client = Client(raise_request_exception=False)
    for scheme in ("https", "http", None):
        headers = {} if scheme is None else {"X-Scheme": scheme}
        for held in (policies, []):
            with override_policies(doc(header_policies=held)):
                for path in ("/nope/", ECHO, "/healthz"):
                    told = ask(path, secure=secure, headers=headers)
                    response = client.get(path, secure=secure, headers=headers)
                    sent = {name: response[name] for name in GIVEN if name in response}
                    assert sent == {n: v for n, v in told["headers"].items() if n in GIVEN}


def test_what_pulse_answers_at_the_front_has_nothing_of_django_s() -> None:
    """Its middlewares see neither; a refusal by the endpoint's limit passes them."""
    policy = doc(
        access_rules=["198.51.100.0/24"],
        cors_origins=[{"origin": APP, "path": "/api/"}],
        endpoint_limits=[{"name": "echo", "url_name": "echo", "max_body_bytes": 1}],
    )
    asked = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    with override_policies(policy):
        answers = [
            ask(address="198.51.100.7"),
            ask(method="OPTIONS", headers=asked),
            ask(method="POST", headers={"Content-Length": str(2**40)}),
            ask(method="POST", headers={"Content-Length": "2"}),
        ]
        refused = Client().post(ECHO, b"ab", "text/plain")
    assert [answer["status"] for answer in answers] == [403, 200, 413, 413]
    assert [bool(answer["headers_by_setting"]) for answer in answers] == [False] * 3 + [True]
    assert refused["X-Frame-Options"] == answers[3]["headers"]["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("length", [None, "", "5", "x"])
@pytest.mark.parametrize("coding", [None, "chunked"])
def test_a_body_is_refused_as_it_is_in_reality(length, coding) -> None:
    """Told by the name that stands in the log, as WSGI does it."""
    told = {"Content-Length": length, "Transfer-Encoding": coding}
    headers = {name: value for name, value in told.items() if value is not None}
    with override_policies(doc()):
        answer = ask(method="POST", headers=headers)
        # The test client writes a length of its own where it is told none.
        meta = {"CONTENT_LENGTH": length or ""}
        if coding:
            meta["HTTP_TRANSFER_ENCODING"] = coding
        response = Client().generic("POST", ECHO, b"", "application/octet-stream", **meta)
    refused = {411, 400} & {answer["status"], response.status_code}
    assert (answer["verdict"] == "refused") is bool(refused)
    if refused:
        assert (answer["status"], answer["body"]["detail"]) == (
            response.status_code,
            response.json()["detail"],
        )
        assert [(r["kind"], r["key"]) for r in answer["rules"] if r["outcome"] == "refused"] == [
            ("site", {"name": "content_length"})
        ]


def test_what_is_slow_is_told_with_who_says_so(settings) -> None:
    """The most specific; 0 is never, and the setting where none says."""
    rules = [
        {"name": "echo", "url_name": "echo", "slow_ms": 0},
        {"name": "site", "path": "/", "slow_ms": 250},
    ]
    with override_policies(doc(endpoint_limits=rules)):
        echo, other, nowhere = ask(), ask("/healthz"), ask("/nope/")
    told = [(each["bounds"]["slow_ms"], each["bounds"]["slow_by"]) for each in (echo, other)]
    assert told == [(None, "endpoint_limits:echo"), (250, "endpoint_limits:site")]
    row = row_of(other, "endpoint_limits", name="site")
    assert (row["matched"], row["why"], row["outcome"]) == (True, "it says what is slow", "passed")
    assert row_of(echo, "endpoint_limits", name="site")["why"] == "a more specific one holds"
    assert nowhere["bounds"]["slow_ms"] == 1000


def test_what_the_site_refuses_has_its_name() -> None:
    """As it is counted and logged."""
    with override_policies(doc()):
        answer = ask(method="POST", headers={"Content-Length": str(2**40)})
    assert answer["status"] == 413
    [row] = [row for row in answer["rules"] if row["outcome"] == "refused"]
    assert (row["kind"], row["key"]) == ("site", {"name": "max_body_bytes"})


def test_switched_off_nothing_acts(settings) -> None:
    """What would be refused is let in, and every rule says why."""
    settings.PULSE = {"ENABLED": False}
    rule = {"network": "127.0.0.0/8"}
    policies = [{"name": "api", "path": "/", "preset": "api"}]
    with override_policies(
        doc(access_rules=[rule], header_policies=policies, rate_tiers=[default_tier("1/h")])
    ):
        answer = ask(count=5, headers={"Content-Length": "x", "Origin": "https://a.test"})
        assert Client().get(ECHO).status_code == 200
    assert (answer["verdict"], answer["status"], answer["allowed"]) == ("allowed", 200, 5)
    assert (answer["headers"], answer["cors"], answer["header_policy"]) == ({}, None, None)
    assert {row["kind"] for row in answer["rules"]} == {"access_rules", "rate_tiers"}
    assert {(row["outcome"], row["matched"]) for row in answer["rules"]} == {("off", False)}
    assert all("switched off" in row["why"] for row in answer["rules"])
