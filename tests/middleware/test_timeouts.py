"""Answers that take too long: cancelled under ASGI, told and logged under WSGI."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, Client

from pulse.middleware import timeouts
from pulse.middleware.context import Context
from pulse.policies import texts
from pulse.store import buckets
from pulse.testing import override_policies
from tests.asgi import Exchange, exchange, scope
from tests.middleware import sized

Call = Callable[[str], HttpResponse]
SYNC_ONLY = "tests.middleware.test_timeouts.sync_only"


def sync_only(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        return get_response(request)

    return middleware


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Make a request, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


@pytest.fixture(autouse=True)
def site(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.middleware.sized"
    sized.called.clear()
    sized.gate.clear()
    yield
    sized.gate.set()


def _sync(path: str) -> HttpResponse:
    return Client(raise_request_exception=False).get(path)


def _async(path: str) -> HttpResponse:
    async def send() -> HttpResponse:
        return await AsyncClient(raise_request_exception=False).get(path)

    return async_to_sync(send)()


def served(path: str, query: bytes = b"") -> Exchange:
    """Make a request as an ASGI server does, where Django has tasks and threads of its own."""
    asked = scope("GET", path, query_string=query)
    return asyncio.run(exchange(ASGIHandler(), asked))


def within(seconds: float, **fields: Any) -> override_policies:
    return override_policies(
        {"endpoint_limits": [{"name": "time", "path": "/", "timeout_s": seconds, **fields}]}
    )


def overruns(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "pulse.middleware.timeouts"]


@pytest.fixture(autouse=True)
def log(caplog) -> None:
    caplog.set_level(logging.WARNING, "pulse.middleware.timeouts")


# What the view is told


def test_the_view_knows_until_when_it_has_time(call) -> None:
    """``request.pulse.deadline`` on the monotonic clock, and the seconds left (S1-57)."""
    with within(30):
        told = json.loads(call("/told/").content)
    assert 29 < told["deadline_in_s"] <= 30
    assert 29 < told["remaining_s"] <= 30


def test_without_a_time_limit_there_is_no_deadline(call) -> None:
    """Also where another endpoint has one."""
    for policy in ({}, {"endpoint_limits": [{"name": "x", "url_name": "own", "timeout_s": 9}]}):
        with override_policies(policy):
            told = json.loads(call("/told/").content)
        assert told == {"deadline_in_s": None, "remaining_s": None}


def test_no_time_is_left_after_the_deadline() -> None:
    """Never less than none."""
    context = Context()
    assert context.remaining_s is None
    context.deadline = 0.0
    assert context.remaining_s == 0.0


def test_each_endpoint_has_its_own_time(call) -> None:
    """30 s for an API, 300 s for an export (S1-57)."""
    with override_policies(
        {
            "endpoint_limits": [
                {"name": "api", "path": "/", "timeout_s": 30},
                {"name": "export", "url_name": "told", "timeout_s": 300},
            ]
        }
    ):
        assert 299 < json.loads(call("/told/").content)["remaining_s"] <= 300


# Under ASGI


def test_an_async_view_is_cancelled_and_the_client_told() -> None:
    """503 when its time is over, not when it ends (S1-57)."""
    with within(0.1):
        refused = served("/waiting/", b"s=20")
    assert refused.status == 503
    assert refused.json() == {
        "detail": "The request took longer than 0.1 seconds.",
        "request_id": refused.headers["x-request-id"],
    }
    assert sized.called == ["waiting began", "waiting cancelled"]
    assert buckets.last_day()[buckets.REFUSED] == {"endpoint_limits:time": 1}


def test_a_cancelled_view_is_logged_as_a_refusal_and_not_as_an_overrun(caplog) -> None:
    """One line, with the rule."""
    with caplog.at_level("INFO"), within(0.1):
        served("/waiting/", b"s=20")
    steps = ("pulse.middleware.responses", "pulse.middleware.timeouts")
    [line] = [record.getMessage() for record in caplog.records if record.name in steps]
    assert line.endswith(" from 203.0.113.1 by endpoint_limits:time: 503")


def test_an_async_view_in_time_is_not_touched() -> None:
    """Nothing is left of the clock."""
    with within(5):
        assert served("/waiting/", b"s=0.05").body == b"done"
    assert sized.called == ["waiting began", "waiting ended"]


def test_before_pulse_a_sync_middleware_does_not_keep_a_view_alive(settings) -> None:
    """Django puts a thread before pulse, and none between it and the view."""
    settings.MIDDLEWARE = [SYNC_ONLY, "pulse.middleware.PulseMiddleware"]
    with within(0.1):
        assert served("/waiting/", b"s=1").status == 503
    assert sized.called == ["waiting began", "waiting cancelled"]


def test_behind_pulse_a_sync_middleware_makes_it_as_under_wsgi(settings, caplog) -> None:
    """Django then runs pulse in a thread (W010): the answer stands, and is logged."""
    settings.MIDDLEWARE = ["pulse.middleware.PulseMiddleware", SYNC_ONLY]
    with within(0.05):
        assert served("/waiting/", b"s=0.1").body == b"done"
    assert len(overruns(caplog)) == 1


def test_a_sync_view_under_asgi_ends_in_its_own_time(caplog) -> None:
    """Its thread cannot be cancelled: what it has done is told, and the overrun logged."""
    with within(0.05):
        answer = served("/blocking/", b"s=0.3")
    assert (answer.status, answer.body) == (200, b"done")
    assert sized.called == ["blocking began", "blocking ended"]
    assert len(overruns(caplog)) == 1
    assert buckets.last_day()[buckets.OVERRUN] == {"endpoint_limits:time": 1}


def test_a_timeout_of_the_view_s_own_is_the_view_s() -> None:
    """An error as any other."""
    with within(5):
        assert served("/own/").status == 500
    assert buckets.last_day()[buckets.REFUSED] == {}


def test_a_timeout_that_a_middleware_lets_pass_is_not_ours_either() -> None:
    """Only what our clock cut is answered by us."""

    async def fail(_: object) -> Any:
        raise TimeoutError("another's")

    with pytest.raises(TimeoutError, match="another's"):
        async_to_sync(timeouts.answer_in_time)(fail, object(), Context())  # type: ignore[arg-type]


def test_a_client_that_leaves_cancels_as_before() -> None:
    """A cancellation from outside is no time limit: nobody is refused, nothing counted."""

    async def leave() -> None:
        asked = scope("GET", "/waiting/", query_string=b"s=20")
        gone = asyncio.Event()
        first = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            message = next(first, None)
            if message is None:
                await gone.wait()
                return {"type": "http.disconnect"}
            return message

        async def send(_: Any) -> None:
            raise AssertionError("nobody is there")

        task = asyncio.create_task(ASGIHandler()(asked, receive, send))
        while "waiting began" not in sized.called:  # noqa: ASYNC110 - views know no events
            await asyncio.sleep(0.01)
        gone.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)

    with within(10):
        asyncio.run(leave())
    assert sized.called == ["waiting began", "waiting cancelled"]
    assert buckets.last_day()[buckets.REFUSED] == {}


# Where nothing can be cancelled


def test_an_overrun_under_wsgi_is_logged_and_the_answer_stands(caplog) -> None:
    """WARNING, counted by rule (S1-57)."""
    with within(0.05):
        answer = _sync("/blocking/?s=0.12")
    assert (answer.status_code, answer.content) == (200, b"done")
    [line] = overruns(caplog)
    assert line.startswith("GET blocking/ took 0.1")
    assert line.endswith("s, longer than its limit of 0.05 s (endpoint_limits:time)")
    assert buckets.last_day()[buckets.OVERRUN] == {"endpoint_limits:time": 1}


def test_an_answer_in_time_is_not_logged(call, caplog) -> None:
    """Nor counted."""
    with within(5):
        assert call("/told/").status_code == 200
    assert overruns(caplog) == []
    assert buckets.OVERRUN not in buckets.last_day()


# Shadow


def test_in_shadow_it_only_counts(call, caplog) -> None:
    """No deadline, no cancellation, no warning."""
    with within(0.05, mode="shadow"):
        assert json.loads(call("/told/").content)["deadline_in_s"] is None
        assert call("/waiting/?s=0.1").content == b"done"
    assert buckets.last_day()[buckets.WOULD_REFUSE] == {"endpoint_limits:time": 1}
    assert overruns(caplog) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "The request took longer than 1 second."),
        (30.0, "The request took longer than 30 seconds."),
        (0.25, "The request took longer than 0.25 seconds."),
    ],
)
def test_the_text(seconds: float, text: str) -> None:
    """One second is singular."""
    assert texts.took_too_long(seconds) == text
