"""An explanation is what enforcement does, over random policies and requests.

Each request is explained, and then sent through the real middleware: who answers, why, what each
rule that counts it leaves, every header and the body are the same. Two hundred policies a store in
a run of the suite, always the same ones; ``PULSE_EXPLAIN_CASES=10000`` asks for others, and more.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project import urls as site
from pulse.access import keys
from pulse.access.scopes import Scope
from pulse.core.snapshot import ENDPOINTS, TIERS
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import Question
from pulse.policies.explain.refusals import explain_refusal
from pulse.store import heartbeat, limits
from pulse.store.memory import MemoryStore
from pulse.testing import override_policies
from pulse.throttling import PulseThrottle
from tests.factories import KIM
from tests.factories import document as doc
from tests.servers import free_port
from tests.store.conftest import START_US, cache_of, make_counters

pytestmark = pytest.mark.urls(__name__)

CASES: Final = int(os.environ.get("PULSE_EXPLAIN_CASES", "0"))
ECHO = "/api/echo/"
APP = "https://app.example.com"
PAST, FUTURE = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"

#: A rule may not have begun, be over, or be in its time.
when = st.sampled_from(
    [
        *[{}] * 12,
        {"starts_at": PAST},
        {"starts_at": FUTURE},
        {"ends_at": PAST},
        {"ends_at": FUTURE},
        {"starts_at": PAST, "ends_at": FUTURE},
    ]
)


class Settling(APIView):
    """Finds its user itself, and settles what depends on that."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = ()
    throttle_classes = (PulseThrottle,)

    def get(self, request: Request) -> Response:
        return Response({})


urlpatterns = [*site.urlpatterns, path("api/settling/", Settling.as_view())]
handler400, handler403 = site.handler400, site.handler403
handler404, handler500 = site.handler404, site.handler500

shared = {
    "mode": st.sampled_from([*["enforce"] * 8, "shadow", "shadow", "off"]),
    "percent": st.sampled_from([*[100] * 8, 50, 50, 0]),
    "when": when,
}


def some_limits_of(units: list[str], counts: list[int], algorithms: list[str], burst: int) -> Any:
    """Limits none of which makes another one idle: the longer the time, the more pass in it.

    None is by the second: Redis forgets a counter by its own clock, which goes on.
    """
    found: list[dict[str, Any]] = [
        {"rate": f"{sum(counts[: place + 1])}/{unit}", "algorithm": algorithms[place]}
        for place, unit in enumerate(sorted(units, key="mhd".index))
    ]
    if burst and len(found) == 1 and algorithms[0] == "token_bucket":
        found[0]["burst"] = burst
    return found


some_limits = st.builds(
    some_limits_of,
    st.lists(st.sampled_from("mhd"), min_size=1, max_size=3, unique=True),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.tuples(*[st.sampled_from(["token_bucket", "fixed_window"])] * 3),
    st.sampled_from([0, 1, 5]),
)
where = st.sampled_from(
    [
        {"path": "/api/"},
        {"path": "/"},
        {"path": "/api/echo"},
        {"url_name": "echo"},
        {"route": "api/echo/"},
        {"view": "project.shop.views.echo"},
        {"url_name": "upload"},
        {"path": "/healthz"},
    ]
)
methods = st.sampled_from([[], [], ["GET"], ["POST"], ["OPTIONS", "POST"]])


def rules(name: str, fields: Any, most: int, *, least: int = 0, **optional: Any) -> Any:
    """Rules with names of their own."""
    each = st.fixed_dictionaries({**shared, **fields}, optional=optional)
    return st.lists(each, min_size=least, max_size=most).map(
        lambda found: [{"name": f"{name}{n}", **rule} for n, rule in enumerate(found)]
    )


tiers = rules("t", {"limits": some_limits, "address_ceiling": st.integers(1, 3)}, 3, least=1)
counted = rules(
    "e",
    {
        "where": where,
        "methods": methods,
        "key": st.lists(
            st.sampled_from(
                ["user", "client", "ip", "global", "api_key", "header:X-Track-ID", "header:Origin"]
            ),
            min_size=1,
            max_size=2,
            unique=True,
        ),
        "replaces_tier": st.sampled_from([False, False, True]),
        "cost": st.integers(1, 3),
        "on_store_error": st.sampled_from(["local", "closed", "local", "open"]),
        "require_nonce": st.sampled_from([False, False, True]),
    },
    4,
    least=1,
    limits=some_limits,
    max_body_bytes=st.sampled_from([0, 10, 100]),
    timeout_s=st.just(5.0),
    slow_ms=st.just(100),
)
bounding = rules(
    "b",
    {"where": where, "methods": methods},
    2,
    least=1,
    max_body_bytes=st.sampled_from([10, 100, 0]),
    timeout_s=st.just(5.0),
)
who = st.sampled_from(
    [
        {"user": "kim"},
        {"group": "paying"},
        {"network": "203.0.113.0/24"},
        {"network": "203.0.113.9"},
        {"header": "X-Plan: gold"},
        {"api_key": "the key"},
    ]
)
assignments = st.lists(
    st.fixed_dictionaries({**shared, "who": who, "priority": st.integers(0, 2)}),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: str(rule["who"]),
)
access = st.lists(
    st.fixed_dictionaries(
        {
            **shared,
            "network": st.sampled_from(
                ["203.0.113.0/24", "203.0.113.9", "127.0.0.1", "0.0.0.0/0", "2001:db8::/32"]
            ),
            "path": st.sampled_from(["/", "/api/", "/api/echo/"]),
            "action": st.sampled_from(["deny", "allow", "allow"]),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: (rule["network"], rule["path"]),
)
cors = st.lists(
    st.fixed_dictionaries(
        {
            "mode": shared["mode"],
            "when": when,
            "origin": st.sampled_from([APP, "https://*.example.com", "*"]),
            "path": st.sampled_from(["/", "/api/"]),
            "methods": st.sampled_from([["GET"], ["GET", "POST"]]),
            "allowed_headers": st.sampled_from([["x-a"], ["content-type"]]),
            "exposed_headers": st.sampled_from([[], ["X-RateLimit-Remaining"]]),
            "strict_preflight": st.booleans(),
            "private_network": st.booleans(),
            "max_age": st.sampled_from([0, 600]),
        },
    ),
    max_size=3,
    unique_by=lambda rule: (rule["origin"], rule["path"]),
)
headers = rules(
    "h",
    {
        "path": st.sampled_from(["/", "/api/"]),
        "preset": st.sampled_from(["legacy", "api", "html", "owasp"]),
        "force": st.booleans(),
    },
    2,
)
exemptions = st.sampled_from(
    [
        *[[]] * 3,
        [{"path": "/healthz"}],
        [{"network": "198.51.100.0/24"}],
        [{"path": "/api/echo", "mode": "shadow"}],
    ]
)
proxies = st.sampled_from([[], ["127.0.0.0/8"], ["127.0.0.1", "203.0.113.0/24"]]).map(
    lambda found: [{"network": network} for network in found]
)


def capacity_of(limit: dict[str, Any]) -> int:
    return int(limit.get("burst") or limit["rate"].partition("/")[0])


def flat(rule: dict[str, Any]) -> dict[str, Any]:
    """Put what was chosen together, as where and when a rule holds, among its fields."""
    found: dict[str, Any] = {}
    for name, value in rule.items():
        found |= value if name in {"when", "where", "who"} else {name: value}
    return found


def endpoint_of(rule: dict[str, Any]) -> dict[str, Any]:
    """Make an endpoint limit that says something, at a cost which its limits can bear."""
    least = min((capacity_of(limit) for limit in rule.get("limits", ())), default=1)
    says = rule.keys() & {"limits", "max_body_bytes", "timeout_s", "slow_ms"}
    says |= {"require_nonce"} if rule.get("require_nonce") else set()
    bears = {"cost": min(rule.get("cost", 1), least)}
    return {**rule, **bears} if says else {**rule, **bears, "replaces_tier": True}


def one_policy(**parts: Any) -> dict[str, Any]:
    """Put parts together to what may be a policy."""
    parts = {name: [flat(rule) for rule in found] for name, found in parts.items()}
    given_tiers = parts["tiers"]
    return doc(
        rate_tiers=[{**tier, "default": not number} for number, tier in enumerate(given_tiers)],
        tier_assignments=[
            {**rule, "tier": f"t{number % len(given_tiers)}"}
            for number, rule in enumerate(parts["assignments"] if given_tiers else [])
        ],
        endpoint_limits=[endpoint_of(rule) for rule in (*parts["counted"], *parts["bounding"])],
        access_rules=parts["access"],
        cors_origins=parts["cors"],
        header_policies=parts["headers"],
        exemptions=parts["exemptions"],
        trusted_proxies=parts["proxies"],
    )


policies = st.builds(
    one_policy,
    tiers=tiers,
    counted=counted,
    bounding=bounding,
    assignments=assignments,
    access=access,
    cors=cors,
    headers=headers,
    exemptions=exemptions,
    proxies=proxies,
)
requests = st.lists(
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["POST", "GET", "GET", "OPTIONS", "HEAD", "BREW"]),
            "path": st.sampled_from(
                [
                    ECHO,
                    ECHO,
                    "/%61pi/echo/?x=1",
                    "/healthz",
                    "/nope/",
                    "/api/%ff/",
                    "/api/upload/",
                    *["/api/settling/"] * 4,
                ]
            ),
            "times": st.integers(1, 5),
            "size": st.sampled_from([5, 0, 50, 500]),
            "secure": st.booleans(),
            "user": st.booleans(),
            "headers": st.fixed_dictionaries(
                {},
                optional={
                    "X-Forwarded-For": st.sampled_from(
                        ["203.0.113.9", "198.51.100.1", "2001:db8::1", "203.0.113.7, 203.0.113.8"]
                    ),
                    "X-Forwarded-Proto": st.sampled_from(["https", "http, HTTPS", "https, http"]),
                    "X-Track-ID": st.sampled_from(["a", "b"]),
                    "X-Timestamp": st.sampled_from([*["now"] * 4, "1", "soon"]),
                    "X-Nonce": st.sampled_from(["n" * 16, "m" * 16, "short"]),
                    "X-Plan": st.sampled_from(["gold", "tin"]),
                    "Authorization": st.sampled_from(["Bearer x", "the key"]),
                    "Origin": st.sampled_from([APP, "https://evil.test", "null"]),
                    "Access-Control-Request-Method": st.sampled_from(["GET", "DELETE"]),
                    "Access-Control-Request-Headers": st.sampled_from(["x-a", "x-a, x-b"]),
                    "Access-Control-Request-Private-Network": st.just("true"),
                },
            ),
        }
    ),
    min_size=2,
    max_size=4,
)
SENT: Final = (
    *("Retry-After", "RateLimit", "RateLimit-Policy"),
    *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
    *("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"),
    *("Access-Control-Allow-Methods", "Access-Control-Allow-Headers"),
    *("Access-Control-Expose-Headers", "Access-Control-Max-Age"),
    "Access-Control-Allow-Private-Network",
    *("Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy"),
    *("Cross-Origin-Embedder-Policy", "Permissions-Policy", "Referrer-Policy"),
    *("Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"),
    *("X-Permitted-Cross-Domain-Policies", "X-XSS-Protection"),
)

Forced = Callable[[dict[str, Any]], Any]


@pytest.fixture(params=["memory", "redis", "away"])
def forced(request: Any, settings: Any, monkeypatch: Any) -> Iterator[Forced]:
    """Put a policy in force on fresh counters of each kind, whose clock stands still."""
    if request.param == "memory":
        yield override_policies
        return
    counters = None
    if request.param == "redis":
        # Who waits for a busy machine's Redis no longer than a request may decides without it.
        settings.PULSE = {**settings.PULSE, "STORE_TIMEOUT_MS": 5000}
        server = request.getfixturevalue("redis_server")
        made = make_counters("tcp", request, settings, monkeypatch)
        counters = next(made)
    else:
        settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")

    @contextmanager
    def put(policy: dict[str, Any]) -> Iterator[None]:
        if counters is None:
            monkeypatch.setattr(limits, "memory", MemoryStore(lambda: START_US))
            monkeypatch.setattr(limits, "_wall_us", lambda: START_US)
        else:
            server.empty()
            counters.advance(0)
        with heartbeat.suspended(), current.overridden(complete(policy)):
            yield

    yield put
    heartbeat.stop()


@pytest.fixture
def people(db: None) -> tuple[Client, Client, keys.NewKey]:
    """Nobody, a user of a group, and a key."""
    kim = User.objects.create_user("kim", password="x")
    kim.groups.add(Group.objects.create(name="paying"))
    logged_in = Client(raise_request_exception=False)
    logged_in.force_login(kim)
    made = keys.make("ci", actor=KIM, scopes=[Scope.VIEW])
    current.forget()
    current.current_snapshot()
    return Client(raise_request_exception=False), logged_in, made


def told_and_done(asked: dict[str, Any], people: Any) -> tuple[dict[str, Any], Any]:
    """Explain a request, and send it."""
    nobody, kim, key = people
    sent = dict(asked["headers"])
    if sent.get("Authorization") == "the key":
        sent["Authorization"] = f"Bearer {key.text}"
    if sent.get("X-Timestamp") == "now":
        sent["X-Timestamp"] = str(int(time.time()))
    body = b"x" * asked["size"] if asked["method"] == "POST" else b""
    length = {"Content-Length": str(len(body))} if body else {}
    question = Question(
        asked["path"],
        method=asked["method"],
        address="127.0.0.1",
        user="kim" if asked["user"] else None,
        headers=sent | length,
        secure=asked["secure"],
    )
    told = explain(question).answer
    assert explain(question).answer == told
    client = kim if asked["user"] else nobody
    response = client.generic(
        asked["method"], asked["path"], body, headers=sent, secure=asked["secure"]
    )
    return told, response


def check(told: dict[str, Any], response: Any) -> None:
    """Find nothing that was told otherwise."""
    context = response.wsgi_request.pulse
    # A strict preflight is told of as one, and refused all the same.
    is_refused = context.verdict == "refused" or response.status_code == told["status"] == 403
    assert (told["verdict"] == "refused") is is_refused
    refusing = [row for row in told["rules"] if row["outcome"] == "refused"]
    if is_refused:
        assert response.status_code == told["status"]
        names = {f"{row['kind']}:{' '.join(row['key'].values())}" for row in refusing}
        assert context.refusal is None or context.refusal.rule in names
        assert len(refusing) == 1 or {row["kind"] for row in refusing} <= {TIERS, ENDPOINTS}
        if told["body"] is not None and response.content:
            body = response.json()
            assert {name: body[name] for name in told["body"]} == told["body"]
            if "decision" in body:
                [past] = explain_refusal(body["decision"])["rules"]
                assert (past["kind"], past["key"]) in [(r["kind"], r["key"]) for r in refusing]
    else:
        assert refusing == []
    sent = {name: response[name] for name in SENT if name in response}
    assert sent == {name: text for name, text in told["headers"].items() if name in SENT}
    assert told["client"]["address"] == str(context.client)
    if context.decision is not None:
        assert counted_by(context) == [
            (row["kind"], row["key"]["name"], row["counted_by"], row["outcome"], row["limits"])
            for row in told["rules"]
            if row["counted_by"] is not None
        ]
        assert told["exempt_by"] is None
    elif told["status"] == 200 and context.match is not None:
        assert told["exempt_by"] == context.exempt_by


def counted_by(context: Any) -> list[Any]:
    """What each rule that counted a request decided, as an explanation tells it.

    A rule that does not take the request, for its nonce, refuses whatever its limits say.
    """
    replayed = {
        (rule.kind, rule.name): "refused" if enforced else "would_refuse"
        for rule, enforced, problem in context.replays
        if problem
    }
    return [
        (
            charge.rule.kind,
            charge.rule.name,
            charge.counted_by,
            replayed.get((charge.rule.kind, charge.rule.name))
            or ("passed" if outcome.passed else None)
            or ("refused" if outcome.claim.enforced else "would_refuse"),
            [
                {
                    "rate": quota.rate,
                    "algorithm": str(quota.algorithm),
                    "limit": quota.capacity,
                    "remaining": verdict.remaining,
                    "retry_after": -(-verdict.retry_after_us // 1_000_000),
                    "passed": verdict.allowed,
                }
                for quota, verdict in zip(
                    charge.claim.allowance.quotas, outcome.verdicts, strict=False
                )
            ],
        )
        for charge, outcome in zip(context.charges, context.decision.outcomes, strict=True)
    ]


@pytest.mark.timeout(CASES or 120)
def test_what_is_explained_is_what_happens(forced: Forced, people: Any) -> None:
    """Over random policies and requests, to the last header field."""
    answered: Counter[int] = Counter()

    @settings(
        max_examples=CASES or 200,
        derandomize=not CASES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(policies, requests)
    def prove(policy: dict[str, Any], asked: list[dict[str, Any]]) -> None:
        for rule in policy["tier_assignments"]:
            if "api_key" in rule:
                rule["api_key"] = people[2].row.prefix
        with forced(policy):
            for each in (one for one in asked for _ in range(one["times"])):
                told, response = told_and_done(each, people)
                check(told, response)
                answered[told["status"]] += 1

    prove()
    # Of a few other policies it might be less.
    assert answered.keys() >= {200, 400, 403, 409, 413, 429} or 0 < CASES < 1000
