"""Whatever fails in a step of the middleware, the host's answer arrives as the host gave it."""

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from pulse.middleware import stack
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.store import buckets, heartbeat
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc
from tests.servers import RedisServer

Call = Callable[..., HttpResponse]

APP = "https://app.example.com"
LIMITED = {"name": "answer", "path": "/limited/", "limits": ["1/h"]}
#: Something to do for every step.
POLICY = doc(
    trusted_proxies=["127.0.0.0/8"],
    rate_tiers=[default_tier("1000/s")],
    endpoint_limits=[
        LIMITED,
        {"name": "small", "path": "/answer/", "max_body_bytes": 1000, "timeout_s": 20},
    ],
    cors_origins=[{"origin": APP, "methods": ["GET", "POST"]}],
    access_rules=[{"network": "198.51.100.0/24", "action": "deny"}],
    header_policies=[{"name": "all", "path": "/", "preset": "api"}],
)
#: The steps of the stack, as it calls them.
STEPS = {
    "heartbeat": (stack.heartbeat, "ensure"),
    "policy": (stack.current, "current_snapshot"),
    "address": (stack, "locate"),
    "observe.begin": (stack.observe, "begin"),
    "cors.preflight": (stack.Cors, "preflight"),
    "access": (stack.access, "judge"),
    "body": (stack.body, "judge"),
    "body of the endpoint": (stack.body, "judge_endpoint"),
    "timeouts.begin": (stack.timeouts, "begin"),
    "user": (stack, "may_have_user"),
    "facts": (stack, "facts_of"),
    "deferral": (stack.limits, "is_deferred"),
    "limits": (stack.limits, "decide"),
    "refusal": (stack.limits, "refusal"),
    "csrf": (stack.csrf, "may_vouch"),
    "timeouts.end": (stack.timeouts, "end"),
    "limits.headers": (stack.limits, "add_headers"),
    "cors.headers": (stack.Cors, "add_headers"),
    "headers": (stack.headers, "add"),
    "sample": (stack.sampling, "note"),
    "observe.end": (stack.observe, "end"),
    "metrics.begin": (stack.measure, "begin"),
    "metrics.end": (stack.measure, "end"),
}
#: What a step may add, and no other; all else of an answer is the host's.
ADDED = {"vary", "access-control-", "x-request-id", "x-ratelimit-", "ratelimit", "retry-after",
         "content-security-policy", "x-frame-options", "x-content-type-options", "referrer-policy",
         "cross-origin-", "permissions-policy", "strict-transport-security"}  # fmt: skip


def answer(request):
    response = HttpResponse(f"{request.method} {request.body.decode()}", "text/plain", 201)
    response.set_cookie("host", "1")
    response["X-Host"] = "yes"
    return response


def accident(request):
    raise RuntimeError("the host's own")


urlpatterns = [path("answer/", answer), path("limited/", answer), path("accident/", accident)]


def handler404(request, exception):
    return HttpResponse("there is nothing here", "text/plain", 404)


def handler500(request):
    return HttpResponse("an accident", "text/plain", 500)


class Full(logging.Handler):
    """A handler whose disk is full."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left on device")


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Make a request, under either interface."""

    def send(method: str, path: str, content: str = "", **headers: str) -> HttpResponse:
        headers = {"Origin": APP, **{k.replace("_", "-"): v for k, v in headers.items()}}
        arguments = (method, path, content, "text/plain")
        if request.param == "wsgi":
            client = Client(raise_request_exception=False)
            return client.generic(*arguments, headers=headers)

        async def ask() -> HttpResponse:
            client = AsyncClient(raise_request_exception=False)
            return await client.generic(*arguments, headers=headers)

        return async_to_sync(ask)()

    return send


@pytest.fixture(autouse=True)
def site(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    settings.ALLOWED_HOSTS = ["*"]
    with heartbeat.suspended():
        yield


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Every logger of pulse has a handler that raises, at every level."""
    logger, handler = logging.getLogger("pulse"), Full()
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(level)
    logger.removeHandler(handler)


def fail(*args: object, **kwargs: object) -> Any:
    raise ZeroDivisionError("a bug of ours")


def of_the_host(response: HttpResponse) -> tuple[object, ...]:
    """What the host said, without what steps add."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if not any(name.lower().startswith(added) for added in ADDED)
    }
    return response.status_code, response.content, headers, response.cookies.output()


def served(call: Call) -> list[tuple[object, ...]]:
    """A page, a form, what is not there, and an accident."""
    return [
        of_the_host(call("GET", "/answer/")),
        of_the_host(call("POST", "/answer/", "content")),
        of_the_host(call("GET", "/nothing/")),
        of_the_host(call("GET", "/accident/")),
    ]


@pytest.fixture
def expected(call, settings) -> list[tuple[object, ...]]:
    """What the host answers with nothing of pulse in front."""
    settings.PULSE = {"ENABLED": False}
    answers = served(call)
    settings.PULSE = {}
    return answers


def test_the_host_answers_as_ever_where_nothing_fails(call, expected) -> None:
    """The measure of the others: all steps at work, and nothing of the host's changed."""
    with override_policies(POLICY):
        assert served(call) == expected
        assert [status for status, *_ in expected] == [201, 201, 404, 500]
        assert call("GET", "/answer/")["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_raises_changes_nothing_of_the_hosts(
    call, expected, monkeypatch, caplog, name: str
) -> None:
    """Each in turn; it is logged, counted, and the others do their work (S0-20)."""
    buckets.forget()
    with override_policies(POLICY):
        monkeypatch.setattr(*STEPS[name], fail)
        assert served(call) == expected
        if name != "observe.end":
            assert call("GET", "/answer/").has_header("X-Request-ID")
    assert "(non-fatal)" in caplog.text
    assert buckets.last_day()[buckets.SWALLOWED]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_raises_onto_a_full_disk_changes_nothing_of_the_hosts(
    call, expected, monkeypatch, full_disk, name: str
) -> None:
    """It cannot even be logged (S0-20)."""
    buckets.forget()
    with override_policies(POLICY):
        monkeypatch.setattr(*STEPS[name], fail)
        assert served(call) == expected
    assert buckets.last_day()[buckets.SWALLOWED]


def test_every_step_of_the_stack_is_among_these() -> None:
    """A step that is added is made to fail too."""
    middleware = stack.PulseMiddleware(lambda request: HttpResponse())
    ours = {getattr(function, "__func__", function) for _, function in middleware._on_the_way_back}
    assert ours <= {getattr(owner, name) for owner, name in STEPS.values()}


def test_with_a_full_disk_everything_is_as_ever(call, expected, full_disk) -> None:
    """Answers, refusals, preflights: logging is no part of a decision (S0-20)."""
    with override_policies(POLICY):
        assert served(call) == expected
        assert call("GET", "/answer/")["X-Request-ID"]
        assert call("POST", "/answer/", "x" * 2000).status_code == 413
        assert call("GET", "/answer/", X_Forwarded_For="198.51.100.7").status_code == 403
        assert [call("GET", "/limited/").status_code for _ in range(2)] == [201, 429]
        refused = call("GET", "/limited/", Accept="text/html")
        assert (refused.status_code, refused["Content-Type"][:9]) == (429, "text/html")
        preflight = call("OPTIONS", "/answer/", Access_Control_Request_Method="POST")
        assert preflight["Access-Control-Allow-Origin"] == APP


def test_a_page_that_fails_on_a_full_disk_is_json(call, full_disk, monkeypatch) -> None:
    """A refusal is one, however it can be told (S0-20)."""
    from pulse import envelope

    monkeypatch.setattr(envelope, "render_to_string", fail)
    with override_policies(POLICY):
        refused = [call("GET", "/limited/", Accept="text/html") for _ in range(2)][-1]
    assert refused.status_code == 429
    assert json.loads(refused.content)["request_id"] == refused["X-Request-ID"]


@pytest.mark.parametrize("disk", ["empty", "full"])
@pytest.mark.parametrize("harm", ["kill", "freeze"])
def test_a_failing_cache_changes_nothing_of_the_hosts(
    call, expected, settings, mortal_redis: RedisServer, request, harm: str, disk: str
) -> None:
    """Killed or frozen, at any request: the host's answer, and limits go on alone (S0-20)."""
    if disk == "full":
        request.getfixturevalue("full_disk")
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": mortal_redis.url,
            "KEY_PREFIX": "test",
        }
    }
    with current.overridden(complete(POLICY)):
        assert served(call) == expected
        getattr(mortal_redis, harm)()
        try:
            assert served(call) == expected
            statuses = [call("GET", "/limited/").status_code for _ in range(3)]
            assert call("POST", "/answer/", "x" * 2000).status_code == 413
        finally:
            if harm == "freeze":
                mortal_redis.thaw()
    assert statuses == [201, 429, 429]


@pytest.mark.parametrize("cache", ["no.such.Backend", "django_redis.cache.RedisCache"])
def test_a_cache_that_cannot_be_made_changes_nothing_of_the_hosts(
    call, expected, settings, full_disk, cache: str
) -> None:
    """A setting that is wrong is told of by a check, and fails no request (S0-20)."""
    settings.CACHES = {"default": {"BACKEND": cache, "LOCATION": "nonsense://"}}
    with current.overridden(complete(POLICY)):
        assert served(call) == expected


@pytest.mark.parametrize("count", [1, 2])
def test_several_steps_that_fail_at_once_change_nothing_of_the_hosts(
    call, expected, monkeypatch, full_disk, count: int
) -> None:
    """All of them, and all but the first."""
    with override_policies(POLICY):
        for owner, name in itertools.islice(STEPS.values(), count - 1, None):
            monkeypatch.setattr(owner, name, fail)
        monkeypatch.setattr(stack.observe.buckets, "add", fail)
        assert served(call) == expected
