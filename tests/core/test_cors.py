"""Which rule answers whom, at which cost."""

import gc
import random
import timeit
from typing import Any

import pytest

from pulse.core.cors import (
    ALLOWED_HEADERS,
    EXPOSED_HEADERS,
    MAX_AGE_S,
    METHODS,
    CorsIndex,
    cors_index,
)
from pulse.core.endpoints import MAX_REMEMBERED_PATH, MAX_REMEMBERED_PATHS
from pulse.exceptions import InvalidDocument
from tests.cors_oracle import Rule, must_vary, rule_for

APP = "https://app.example.com"


def item(origin: str = APP, path: str = "/", **fields: Any) -> dict[str, Any]:
    return {
        "origin": origin,
        "path": path,
        "mode": "enforce",
        "percent": 100,
        "methods": list(METHODS),
        "allowed_headers": list(ALLOWED_HEADERS),
        "exposed_headers": list(EXPOSED_HEADERS),
        "credentials": False,
        "max_age": MAX_AGE_S,
        "private_network": False,
        "strict_preflight": False,
        "csrf_trusted": False,
        **fields,
    }


def index(*origins: str, **fields: Any) -> CorsIndex:
    return cors_index([item(origin, **fields) for origin in origins])


def answering(rules: CorsIndex, path: str, origin: str | None) -> tuple[str, str] | None:
    rule = rules.find(path, origin).rule
    return None if rule is None else (rule.origin, rule.path)


def test_defaults_are_those_asked_for() -> None:
    """No credentials; GET and POST; the headers, in and out (S2-25, S2-26, S2-27, S2-28)."""
    permission = index(APP).find("/", APP).rule.permission
    assert dict(permission.answer) == {
        "Access-Control-Expose-Headers": (
            "X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, "
            "RateLimit, RateLimit-Policy, Retry-After"
        )
    }
    assert dict(permission.preflight) == {
        **dict(permission.answer),
        "Access-Control-Max-Age": "600",
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Track-ID, Idempotency-Key",
    }


def test_the_longest_path_wins_and_then_exact_wildcard_any() -> None:
    """One rule is found, and is all that counts."""
    rules = cors_index(
        [
            item("*", "/"),
            item("https://*.example.com", "/"),
            item("https://*.b.example.com", "/"),
            item("https://a.b.example.com", "/"),
            item("https://*.example.com", "/api/"),
            item("*", "/api/open/"),
            item(APP, "/api/open/"),
        ]
    )
    assert answering(rules, "/", "https://a.b.example.com") == ("https://a.b.example.com", "/")
    assert answering(rules, "/", "https://x.b.example.com") == ("https://*.b.example.com", "/")
    assert answering(rules, "/", "https://b.example.com") == ("https://*.example.com", "/")
    assert answering(rules, "/", "https://evil.example") == ("*", "/")
    assert answering(rules, "/api/x", "https://a.b.example.com") == (
        "https://*.example.com",
        "/api/",
    )
    assert answering(rules, "/api/x", "https://evil.example") == ("*", "/")
    assert answering(rules, "/api/open/x", APP) == (APP, "/api/open/")
    assert answering(rules, "/api/open/x", "https://b.example.com") == ("*", "/api/open/")
    assert answering(rules, "/apix", "https://evil.example") == ("*", "/")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "https://app.example.com.evil.example",
        "https://evilapp.example.com",
        "https://appxexample.com",
        "https://a.app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com:443",
        "https://APP.example.com",
        "HTTPS://app.example.com",
        "https://app.example.com.",
        "https://app.example.com/",
        "https://app.example.com@evil.example",
        "https://evil@app.example.com",
        "https://app.example.com,https://evil.example",
        "https://app.example.com https://evil.example",
        "https://app.example.com\0",
        " https://app.example.com",
        "https://xn--pp-7lb.example.com",
        "https://app.example.com" * 20,
    ],
)
def test_no_known_mistake_passes_an_exact_origin(origin: str | None) -> None:
    """Suffix, prefix, full stop, scheme, port, case, null, userinfo, list, length (S0-02)."""
    found = index(APP).find("/api/", origin)
    assert found.rule is None
    assert (found.path, found.varies) == ("/", True)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com:8443", True),
        ("https://a.b.c.example.com:8443", True),
        ("https://a_b.example.com:8443", True),
        ("https://xn--bcher-kva.example.com:8443", True),
        ("https://example.com:8443", False),
        ("https://.example.com:8443", False),
        ("https://a.example.com", False),
        ("http://a.example.com:8443", False),
        ("https://evilexample.com:8443", False),
        ("https://a.example.com:8443.evil.example", False),
        ("https://a.example.com.evil.example:8443", False),
        ("https://evil.example/.example.com:8443", False),
        ("https://evil.example#.example.com:8443", False),
        ("https://evil@a.example.com:8443", False),
        ("https://A.example.com:8443", False),
        ("https://a..example.com:8443", False),
        ("https://é.example.com:8443", False),
        ("https://" + "a." * 150 + "example.com:8443", False),
        ("null", False),
    ],
)
def test_a_wildcard_matches_whole_labels_and_its_own_port(origin: str, allowed: bool) -> None:
    """One or more whole labels, never none."""
    found = index("https://*.example.com:8443").find("/", origin)
    assert (found.rule is not None) is allowed
    assert found.varies


def test_any_alone_answers_everybody_the_same() -> None:
    """Public answers may be kept by shared caches: they do not vary, and are said to all."""
    rules = index("*")
    for origin in (None, "null", APP, "x" * 1000):
        found = rules.find("/", origin)
        assert (found.rule.allowed_origin(origin), found.varies) == ("*", False)
    beside = index("*", APP)
    assert beside.find("/", None).varies
    longer = cors_index([item("*", "/open/"), item(APP, "/")])
    assert not longer.find("/open/x", APP).varies
    assert longer.find("/", APP).varies


@pytest.mark.parametrize("name", ["credentials", "csrf_trusted"])
def test_any_origin_with_the_visitors_cookies_compiles_to_no_policy(name: str) -> None:
    """S0-01: not even from a document that was written past every validator."""
    with pytest.raises(InvalidDocument, match="act as the visitor"):
        index("*", **{name: True})
    with pytest.raises(InvalidDocument):
        index("*", mode="shadow", **{name: True})


@pytest.mark.parametrize(
    "fields",
    [
        {"origin": "null"},
        {"origin": "https://*.com"},
        {"origin": "https://app.example.com/"},
        {"methods": ["GET\r\nSet-Cookie: a=b"]},
        {"allowed_headers": ["X-A, X-B"]},
        {"exposed_headers": [""]},
    ],
)
def test_what_was_written_past_the_validators_makes_no_policy(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument):
        cors_index([item(**fields)])


def test_shadow_allows_nothing_and_tells_whom_it_would_have_allowed() -> None:
    rules = cors_index(
        [item(APP, mode="shadow"), item("https://b.example.com"), item("*", mode="shadow")]
    )
    found = rules.find("/", APP)
    assert found.rule is None
    assert (found.would.origin, found.path) == (APP, "/")
    assert rules.find("/", "https://b.example.com").would is None
    assert rules.find("/", "https://c.example.com").would.origin == "*"
    alone = index(APP, mode="shadow")
    assert alone.find("/", APP)[0::2] == (None, None)
    assert alone.find("/", None).would is None


def test_a_share_of_clients_is_in_shadow() -> None:
    """Browsers and caches share answers: a rule is for all clients or for none."""
    found = index(APP, percent=99).find("/", APP)
    assert found.rule is None
    assert found.would is not None


@pytest.mark.parametrize(
    ("method", "headers", "covered"),
    [
        ("POST", "", True),
        ("POST", "content-type,x-track-id", True),
        ("POST", "Content-Type ,\tX-TRACK-ID,, ", True),
        ("POST", "content-type,x-evil", False),
        ("POST", "content-type x-track-id", False),
        ("DELETE", "", False),
        ("post", "", False),
        ("", "", False),
        ("POST", "content-type," * 400, False),
    ],
)
def test_a_permission_covers_a_method_and_headers(method: str, headers: str, covered: bool) -> None:
    """For strict rules; a list longer than any browser's is not read."""
    permission = index(APP).find("/", APP).rule.permission
    assert permission.covers(method, headers) is covered


def test_what_clients_make_up_does_not_fill_memory() -> None:
    """Only what a rule answers is remembered, and no more than so much of it."""
    rules = index(APP, "https://*.tenant.example.com")
    for number in range(500):
        assert rules.find("/", f"https://{number}.example.org").rule is None
        assert rules.find(f"/{'a' * MAX_REMEMBERED_PATH}{number}", APP).rule is not None
    assert rules._remembered == {}
    for number in range(MAX_REMEMBERED_PATHS + 10):
        assert rules.find("/", f"https://{number}.tenant.example.com").rule is not None
    assert 0 < len(rules._remembered) <= MAX_REMEMBERED_PATHS
    assert rules.find("/", APP) == rules.find("/", APP) == rules._remembered["/", APP]


def test_csrf_trust_is_of_the_rule_that_answers_alone() -> None:
    rules = cors_index([item(APP, "/", csrf_trusted=True), item(APP, "/api/"), item("*", "/open/")])
    assert rules.trusts_csrf
    assert rules.trusts("/form/", APP)
    for path, origin in (("/api/", APP), ("/open/", APP), ("/form/", "null"), ("/form/", "")):
        assert not rules.trusts(path, origin)
    assert not index(APP).trusts_csrf
    assert not index(APP, csrf_trusted=True, mode="shadow").trusts_csrf


def test_a_thousand_policies_of_chance_are_read_as_the_oracle_reads_them() -> None:
    """Rule and Vary, as a reading of the design alone has them."""
    chance = random.Random(20250701)
    origins = [
        APP,
        "https://app.example.com:8443",
        "https://*.example.com",
        "https://*.b.example.com",
        "https://*.example.com:8443",
        "http://localhost:3000",
        "*",
    ]
    asking = [
        APP,
        "https://a.b.example.com",
        "https://x.example.com:8443",
        "https://example.com",
        "http://localhost:3000",
        "https://evil.example",
        "https://.example.com",
        "null",
    ]
    paths = ["/", "/api/", "/api", "/api/a/", "/api/a", "/x/"]
    for _ in range(1000):
        chosen = {
            (chance.choice(origins), chance.choice(paths)): chance.choice(
                ("enforce", "enforce", "shadow")
            )
            for _ in range(chance.randint(0, 8))
        }
        oracle = [Rule(origin, path, mode=mode) for (origin, path), mode in chosen.items()]
        rules = cors_index([item(rule.origin, rule.path, mode=rule.mode) for rule in oracle])
        for path in ("/", "/api", "/api/", "/api/a/b", "/apia", "/x/y"):
            for origin in asking:
                expected = rule_for(oracle, origin, path)
                assert answering(rules, path, origin) == (
                    None if expected is None else (expected.origin, expected.path)
                )
            varies = must_vary(oracle, path)
            assert varies is None or rules.find(path, None).varies is varies


def test_ten_thousand_rules_cost_what_one_costs() -> None:
    """At most a fifth more, hit or miss, exact or by wildcard."""
    few = index("https://a0.example.com", "https://*.w0.example.com")
    many = index(
        *(f"https://a{number}.example.com" for number in range(10_000)),
        *(f"https://*.w{number}.example.com" for number in range(10_000)),
    )
    origins = ("https://a0.example.com", "https://x.y.w0.example.com", "https://evil.example")

    def cost(rules: CorsIndex) -> float:
        def ask() -> None:
            for origin in origins:
                rules.find("/api/products/7/", origin)

        return min(timeit.repeat(ask, number=500, repeat=25))

    gc.disable()
    try:
        # Interleaved, and the best of all: another's load is no cost of ours.
        ratio = min(cost(many) / cost(few) for _ in range(5))
    finally:
        gc.enable()
    assert ratio < 1.2
