"""The id of a request, and the line that is logged of it."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.core.signals import request_finished
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path, re_path

from project.urls import urlpatterns as site_urls
from pulse import logging as pulse_logging
from pulse.conf import conf
from pulse.core import marks
from pulse.logging import NO_REQUEST_ID
from pulse.middleware import observe, responses, stack
from pulse.middleware.context import Context
from pulse.store import buckets
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc
from tests.middleware.test_stack import body, call

__all__ = ["call"]

ECHO = "/api/echo/"
PROXY = ["127.0.0.0/8"]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
ACCESS = "pulse.middleware.observe"
HOST = logging.getLogger("host.views")


def whoami(request):
    HOST.warning("in the view")
    return JsonResponse({"request": request.request_id, "context": request.pulse.request_id})


async def whoami_async(request):
    await asyncio.sleep(0)
    return whoami(request)


def stream(request):
    def parts():
        HOST.warning("while streaming")
        yield b"x"

    return StreamingHttpResponse(parts())


async def stream_async(request):
    async def parts():
        HOST.warning("while streaming")
        yield b"x"

    return StreamingHttpResponse(parts())


def cookies(request):
    response = HttpResponse("ok")
    response.set_cookie("open", "1")
    response.set_cookie("closed", "1", secure=True)
    response.delete_cookie("gone")
    for number in range(int(request.GET.get("more", 0))):
        response.set_cookie(f"made-{number}", "1")
    return response


def fail(request):
    raise RuntimeError("asked to")


urlpatterns = [
    path("whoami/", whoami),
    path("awhoami/", whoami_async),
    path("stream/", stream),
    path("astream/", stream_async),
    path("cookies/", cookies),
    path("fail/", fail),
    re_path("^odd/\n?(?P<token>\\w+)/$", lambda request, token: whoami(request)),
    *site_urls,
]


@pytest.fixture
def views(settings) -> None:
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def told(caplog):
    """What is logged at INFO and above; ``told(name)`` gives one logger's records."""
    caplog.set_level(logging.INFO)

    def of(name: str = ACCESS) -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == name]

    return of


@pytest.fixture(autouse=True)
def quiet_process(settings) -> Iterator[None]:
    """Nothing is limited or slow, no cookie was told of, and no request is under way."""
    settings.PULSE = {"SLOW_REQUEST_MS": 0}
    observe.forget_cookies()
    pulse_logging.forget_request()
    with override_policies(doc()):
        yield


# The id


def test_every_request_has_an_id_of_its_own(call, views) -> None:
    """A UUID4, on the answer, ``request.request_id`` and ``request.pulse`` (S1-31 to S1-33)."""
    answers = [call("GET", path) for path in ("/whoami/", "/awhoami/", "/whoami/")]
    for answer in answers:
        ident = answer["X-Request-ID"]
        assert UUID(ident).version == 4
        assert body(answer) == {"request": ident, "context": ident}
    assert len({answer["X-Request-ID"] for answer in answers}) == 3


@pytest.mark.parametrize(
    ("path", "status"), [("/whoami/", 200), ("/nothing/", 404), ("/fail/", 500), ("/stream/", 200),
                         ("/astream/", 200)]
)  # fmt: skip
def test_every_answer_names_its_request(call, views, path: str, status: int) -> None:
    """Also what fails, what is not there, and what streams (S1-32)."""
    answer = call("GET", path)
    assert answer.status_code == status
    assert UUID(answer["X-Request-ID"])


def test_a_refusal_names_its_request(call) -> None:
    """In the header and in the body (S1-32)."""
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        call("GET", ECHO)
        refused = call("GET", ECHO)
    assert refused.status_code == 429
    assert UUID(refused["X-Request-ID"])
    assert body(refused)["request_id"] == refused["X-Request-ID"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-ID": "abc123"}, "abc123"),
        ({"X-Correlation-ID": "abc123"}, "abc123"),
        ({"X-Request-ID": "first-1", "X-Correlation-ID": "second-2"}, "first-1"),
        ({"X-Request-ID": "bad one", "X-Correlation-ID": "second-2"}, "second-2"),
    ],
)
def test_a_trusted_proxy_names_the_request(call, views, headers, expected: str) -> None:
    """By either header, if its id is well-formed (S0-22, trap 17)."""
    with override_policies(doc(trusted_proxies=PROXY)):
        answer = call("GET", "/whoami/", **headers)
    assert answer["X-Request-ID"] == expected
    assert body(answer) == {"request": expected, "context": expected}


@pytest.mark.parametrize("given", ["x", "a b c d e f", "x" * 129, "abc123é", "a,b,c,d,e"])
def test_an_id_that_is_not_well_formed_is_replaced(call, given: str) -> None:
    """Also a trusted proxy's (trap 17)."""
    with override_policies(doc(trusted_proxies=PROXY)):
        assert UUID(call("GET", ECHO, **{"X-Request-ID": given})["X-Request-ID"]).version == 4


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"], [{"network": PROXY[0], "mode": "shadow"}]])
def test_a_client_cannot_name_its_request(call, proxies) -> None:
    """Nobody but a trusted proxy can: it could pass for another request (S1-31, trap 17)."""
    with override_policies(doc(trusted_proxies=proxies)):
        answer = call("GET", ECHO, **{"X-Request-ID": "abc123", "X-Correlation-ID": "abc123"})
    assert answer["X-Request-ID"] != "abc123"


def test_the_id_is_in_every_record_of_the_request(call, views, told, caplog) -> None:
    """The view's, Django's after all middleware, and pulse's own (S1-34)."""
    caplog.set_level(logging.INFO, "django.request")
    answer = call("GET", "/whoami/", traceparent=PARENT)
    (record,) = told(HOST.name)
    assert (record.request_id, record.trace_id) == (answer["X-Request-ID"], TRACE)
    missing = call("GET", "/nothing/")
    (record,) = told("django.request")
    assert record.request_id == missing["X-Request-ID"]
    for each, record in zip((answer, missing), told(), strict=True):
        assert record.request_id == each["X-Request-ID"]


def test_nothing_of_a_request_is_left_behind(views, told) -> None:
    """Neither its id nor its trace, in the thread that served it (S1-35)."""
    Client().get("/whoami/", headers={"traceparent": PARENT})
    HOST.warning("afterwards")
    record = told(HOST.name)[-1]
    assert (record.request_id, record.trace_id) == (NO_REQUEST_ID, "")
    assert Client().get("/whoami/").json()["request"] != NO_REQUEST_ID
    assert told(HOST.name)[-1].trace_id == ""


@pytest.mark.django_db  # Django looks at its connections as a request ends.
def test_a_request_that_nobody_finished_is_not_the_next_ones(views, told) -> None:
    """A server may forget to close an answer: the next request begins anew."""
    answer = stack.PulseMiddleware(lambda request: HttpResponse())(
        RequestFactory().get("/", headers={"traceparent": PARENT})
    )
    assert pulse_logging.request_id.get() == answer["X-Request-ID"]
    stack.PulseMiddleware(lambda request: HttpResponse())(RequestFactory().get("/"))
    assert pulse_logging.request_id.get() != answer["X-Request-ID"]
    assert pulse_logging.traceparent.get() == ""
    request_finished.send(sender=None)
    assert pulse_logging.request_id.get() == NO_REQUEST_ID


def test_requests_at_once_keep_their_ids_apart(views, told) -> None:
    """Twenty tasks of one loop (S1-34)."""

    async def together() -> list[str]:
        answers = await asyncio.gather(*(AsyncClient().get("/awhoami/") for _ in range(20)))
        return [answer["X-Request-ID"] for answer in answers]

    ids = asyncio.run(together())
    assert len(set(ids)) == 20
    assert {record.request_id for record in told(HOST.name)} == set(ids)


def test_threads_at_once_keep_their_ids_apart(views, told) -> None:
    """Eight threads, which each serve several (S1-34)."""
    ids: list[str] = []

    def serve() -> None:
        for _ in range(5):
            answer = Client().get("/whoami/")
            ids.append(answer["X-Request-ID"])
            assert answer.json()["request"] == answer["X-Request-ID"]
            assert pulse_logging.request_id.get() == NO_REQUEST_ID

    with override_policies(doc()):
        threads = [threading.Thread(target=serve) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(record.request_id for record in told(HOST.name)) == sorted(ids)
    assert len(ids) == 40


def test_a_policy_that_cannot_be_loaded_leaves_the_request_its_id(call, views, monkeypatch) -> None:
    """An id needs no policy; nobody is trusted then (S1-31)."""
    monkeypatch.setattr(stack.current, "current_snapshot", lambda: 1 / 0)
    answer = call("GET", "/whoami/", **{"X-Request-ID": "abc123"})
    assert UUID(answer["X-Request-ID"])
    assert body(answer)["request"] == answer["X-Request-ID"]


# The access log


def test_a_served_request_is_one_line(call, told) -> None:
    """Route, status, duration, client, verdict (S1-31, S2-48)."""
    with override_policies(doc(trusted_proxies=PROXY)):
        call("GET", f"{ECHO}?token=hunter2", X_Forwarded_For="203.0.113.9")
    (record,) = told()
    pattern = r"GET api/echo/ 200 \d+\.\d ms from 203\.0\.113\.9: allowed"
    assert re.fullmatch(pattern, record.getMessage())
    assert record.levelno == logging.INFO
    assert record.__dict__.items() >= {
        "method": "GET", "route": "api/echo/", "status": 200, "client": "203.0.113.9",
        "client_key": None, "verdict": "allowed", "rule": None,
    }.items()  # fmt: skip
    assert 0 < record.duration_ms < 60_000


@pytest.mark.parametrize("forged", [False, True])
def test_a_probe_is_known_by_its_mark(call, told, forged: bool) -> None:
    """By its job, for those who count; a mark that nobody signed is none."""
    mark = marks.sign("17", b"another site's" if forged else conf.probe_secret)
    with override_policies(doc()):
        call("GET", ECHO, X_Pulse_Probe=mark)
        call("GET", ECHO)
    probe, other = told()
    assert probe.probe == (None if forged else "17")
    assert other.probe is None


def test_a_refused_request_is_a_line_too(call, told) -> None:
    """With the rule, and the client by the hash that its decision is sealed with (S2-32)."""
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        for _ in range(2):
            call("GET", ECHO, Authorization="Bearer hunter2")
    served, refused = told()
    assert refused.getMessage().startswith("GET api/echo/ 429 ")
    assert refused.getMessage().endswith(" from 127.0.0.1: refused")
    assert (refused.status, refused.verdict, refused.rule) == (429, "refused", "rate_tiers:default")
    assert re.fullmatch(r"[0-9a-f]{24}", refused.client_key)
    assert served.client_key == refused.client_key
    (line,) = told(responses.logger.name)
    assert line.getMessage() == "Refused GET api/echo/ from 127.0.0.1 by rate_tiers:default: 429"


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        ("GET", "/reset/SECRET/", "GET * (unresolved) 404"),
        ("GET", "/api/products/777888999/", "GET api/products/<int:pk>/ 404"),
        ("GET", "/fail/", "GET fail/ 500"),
        ("POST", "/whoami/?a=hunter2", "POST whoami/ 200"),
        ("BREW", "/whoami/", "BREW whoami/ 200"),
        ("X" * 90, "/whoami/", f"{'X' * 20} whoami/ 200"),
        ("GET", "/odd/SECRET/", r"GET ^odd/ ?(?P<token>\w+)/$ 200"),
        ("GET", "/", "GET / 200"),
        ("GET", "/healthz", "GET healthz 200"),
    ],
)
@pytest.mark.django_db
def test_a_line_names_the_route_and_never_the_path(
    call, views, told, method: str, path: str, line: str
) -> None:
    """A path or a query may hold what is secret; what no view was found for has no route."""
    call(method, path)
    (record,) = told()
    assert record.getMessage().startswith(f"{line} ")
    assert not re.search("SECRET|777888999|hunter2", record.getMessage() + str(vars(record)))


def test_no_value_of_a_header_is_logged(call, told, caplog) -> None:
    """Not the credentials, not the cookie, not the query (S2-48)."""
    secrets = {"Authorization": "Bearer hunter2", "Cookie": "sessionid=hunter2", "X-Any": "hunter2",
               "Referer": "https://a.test/?hunter2", "X-Track-ID": "hunter2"}  # fmt: skip
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        for _ in range(2):
            call("GET", f"{ECHO}?q=hunter2", **secrets)
    assert len(told()) == 2
    assert "hunter2" not in caplog.text
    assert not any("hunter2" in str(vars(record)) for record in told())


def test_the_line_can_be_switched_off(call, settings, told) -> None:
    """By the setting, or by the logger's level."""
    settings.PULSE = {"ACCESS_LOG": False, "SLOW_REQUEST_MS": 0}
    call("GET", ECHO)
    settings.PULSE = {"SLOW_REQUEST_MS": 0}
    logging.getLogger(ACCESS).setLevel(logging.WARNING)
    try:
        call("GET", ECHO)
    finally:
        logging.getLogger(ACCESS).setLevel(logging.NOTSET)
    assert told() == []
    call("GET", ECHO)
    assert len(told()) == 1


def test_a_slow_request_is_told_of(call, settings, told, monkeypatch) -> None:
    """At WARNING, beside its line; 0 tells of none (S0-28)."""
    began = observe.time.perf_counter()
    monkeypatch.setattr(observe.time, "perf_counter", lambda: began + 1.234)
    monkeypatch.setattr(Context, "__init__", _started_at(began))
    settings.PULSE = {"SLOW_REQUEST_MS": 1000, "ACCESS_LOG": False}
    call("GET", ECHO)
    (record,) = told()
    assert record.getMessage() == "Slow request: GET api/echo/ took 1234 ms"
    assert record.levelno == logging.WARNING
    assert (record.status, record.duration_ms, record.route) == (200, 1234.0, "api/echo/")
    for quick in ({"SLOW_REQUEST_MS": 1235}, {"SLOW_REQUEST_MS": 0}):
        settings.PULSE = {**quick, "ACCESS_LOG": False}
        call("GET", ECHO)
    assert len(told()) == 1


def test_an_endpoint_says_itself_what_is_slow(call, settings, told, monkeypatch) -> None:
    """More, less or nothing; the most specific, else the setting, as for what has no route."""
    began = 1000.0  # Seconds of which a float loses nothing.
    monkeypatch.setattr(observe.time, "perf_counter", lambda: began + 1.25)
    monkeypatch.setattr(Context, "__init__", _started_at(began))
    settings.PULSE = {"SLOW_REQUEST_MS": 1000, "ACCESS_LOG": False}
    site = {"name": "site", "path": "/", "slow_ms": 5000}

    def slow(path: str, *rules: dict[str, Any]) -> bool:
        before = len(told())
        with override_policies(doc(endpoint_limits=list(rules))):
            call("GET", path)
        return len(told()) > before

    echo = {"name": "echo", "url_name": "echo"}
    assert slow(ECHO)
    assert not slow(ECHO, site)
    assert slow(ECHO, site, {**echo, "slow_ms": 1249})
    assert not slow(ECHO, site, {**echo, "slow_ms": 1250})
    assert not slow(ECHO, {**echo, "slow_ms": 0})
    assert slow(ECHO, {**echo, "slow_ms": 0, "mode": "shadow"})
    assert slow(ECHO, {**echo, "max_body_bytes": 5})
    assert slow("/nothing/", site)
    settings.PULSE = {"SLOW_REQUEST_MS": 0, "ACCESS_LOG": False}
    assert slow(ECHO, {**site, "slow_ms": 1000})


def _started_at(began: float) -> Any:
    make = Context.__init__

    def init(self: Context) -> None:
        make(self)
        self.started = began

    return init


# What fails


def test_bookkeeping_that_fails_is_logged_as_asked_for(call, monkeypatch, told) -> None:
    """The text and the extras, and the count; the answer is the host's (S0-20, S0-21, S0-22)."""
    monkeypatch.setattr(observe, "route_of", _failing(observe.route_of, times=1))
    buckets.forget()
    with override_policies(doc(trusted_proxies=PROXY)):
        answer = call("GET", ECHO, **{"X-Correlation-ID": "abc123"})
    assert (answer.status_code, body(answer)["method"]) == (200, "GET")
    assert answer["X-Request-ID"] == "abc123"
    (record,) = told()
    assert record.getMessage() == "Failed to record metrics (non-fatal)"
    assert record.msg == record.getMessage()
    assert record.name.startswith("pulse.middleware")
    assert record.levelno == logging.ERROR
    assert record.error == "ZeroDivisionError: a bug of ours"
    assert record.endpoint == "GET api/echo/"
    assert record.correlation_id == record.request_id == "abc123"
    assert record.exc_info
    assert buckets.last_day()[buckets.SWALLOWED] == {"observe": 1}


def test_a_step_that_fails_is_told_by_its_name(call, monkeypatch, told) -> None:
    """A decision that was not made is more than a metric (S0-20)."""
    monkeypatch.setattr(stack.limits, "decide", _failing(stack.limits.decide))
    buckets.forget()
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        answer = call("GET", ECHO)
    assert answer.status_code == 200
    record = told()[0]
    assert record.getMessage() == "The step limits failed (non-fatal)"
    assert record.correlation_id == answer["X-Request-ID"]
    assert record.endpoint == "GET api/echo/"
    assert buckets.last_day()[buckets.SWALLOWED] == {"limits": 1}


def test_counting_that_fails_as_well_is_nobodys_failure(call, monkeypatch, told) -> None:
    """There is nobody left to tell (S0-20)."""
    monkeypatch.setattr(stack.limits, "decide", _failing(stack.limits.decide))
    monkeypatch.setattr(observe.buckets, "add", _failing(observe.buckets.add))
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        assert call("GET", ECHO).status_code == 200


def _failing(function: Any, times: int = 1_000_000) -> Any:
    left = [times]

    def fail(*args: object, **kwargs: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise ZeroDivisionError("a bug of ours")
        return function(*args, **kwargs)

    return fail


# Cookies


def test_a_cookie_without_secure_is_told_of_once(views, told) -> None:
    """Over HTTPS, whoever sets it; it is counted each time, and never altered (S1-08)."""
    buckets.forget()
    for _ in range(3):
        answer = Client().get("/cookies/", secure=True)
    assert not answer.cookies["open"]["secure"]
    warned = [record for record in told() if record.levelno == logging.WARNING]
    (text,) = [record.getMessage() for record in warned]
    assert text.startswith("The cookie open is set over HTTPS without Secure: ")
    assert buckets.last_day()[buckets.INSECURE_COOKIE] == {"open": 3}


@pytest.mark.parametrize(
    ("headers", "proxies", "expected"),
    [
        ({}, PROXY, 0),
        ({"X-Forwarded-Proto": "https"}, PROXY, 1),
        ({"X-Forwarded-Proto": "http, HTTPS"}, PROXY, 1),
        ({"X-Forwarded-Proto": "https, http"}, PROXY, 0),
        ({"X-Forwarded-Proto": "https"}, [], 0),
    ],
)
def test_https_is_known_by_a_trusted_proxys_word(
    call, views, told, headers, proxies, expected: int
) -> None:
    """And by nobody else's (S1-07, S1-08)."""
    with override_policies(doc(trusted_proxies=proxies)):
        call("GET", "/cookies/", **headers)
    assert len([record for record in told() if "cookie open" in record.getMessage()]) == expected


def test_cookies_of_made_up_names_fill_neither_memory_nor_log(views, told) -> None:
    """A hundred are told of (S1-08)."""
    buckets.forget()
    Client().get("/cookies/?more=300", secure=True)
    warned = [record for record in told() if record.levelno == logging.WARNING]
    assert len(warned) == len(buckets.last_day()[buckets.INSECURE_COOKIE]) == observe.MAX_COOKIES
