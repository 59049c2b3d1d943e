"""What goes wrong has one form, whoever says it."""

import json
import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotFound,
    Throttled,
    ValidationError,
)
from rest_framework.response import Response

from pulse import errors
from pulse.middleware import responses
from pulse.testing import override_policies
from tests.factories import document as doc

handler400 = "pulse.errors.bad_request"
handler403 = "pulse.errors.permission_denied"
handler404 = "pulse.errors.page_not_found"
handler500 = "pulse.errors.server_error"

HTML = "text/html"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROBLEM = "application/problem+json"
ASKING = f"{PROBLEM}, application/json;q=0.9"
SECRET = "row 77 of db-7.internal"


class OutOfStock(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "There are not that many left."
    default_code = "out_of_stock"


class Odd(APIException):
    status_code = 499
    default_detail = "Gone before the answer."
    default_code = "odd"


RAISED: dict[str, Exception] = {
    "bad": BadRequest(SECRET),
    "suspicious": SuspiciousOperation(SECRET),
    "forbidden": PermissionDenied(SECRET),
    "missing": Http404(SECRET),
    "accident": RuntimeError(SECRET),
}


class Line(serializers.Serializer):
    product = serializers.IntegerField()


class Order(serializers.Serializer):
    lines = Line(many=True)
    request_id = serializers.IntegerField()

    def validate(self, data: Any) -> Any:
        raise serializers.ValidationError("Nothing fits.")


DRF: dict[str, Exception] = {
    **RAISED,
    "stock": OutOfStock(),
    "odd": Odd(),
    "plain": APIException(SECRET),
    "wrong-key": AuthenticationFailed(),
    "often": Throttled(wait=7),
    "listed": ValidationError(["one", "two"]),
    "not-found": NotFound("No such order."),
}


def raising(request, name):
    raise RAISED[name]


@api_view(["GET", "POST"])
def api(request, name):
    if name == "order":
        Order(data=request.data).is_valid(raise_exception=True)
    if name in DRF:
        raise DRF[name]
    return Response({})


@csrf_protect
def form(request):
    return HttpResponse("ok")


@require_POST
def posted(request):
    return HttpResponse("ok")


def own_405(request):
    return HttpResponse("as I say", status=405, headers={"Allow": "PUT"})


def streamed_405(request):
    return StreamingHttpResponse(iter([]), status=405, headers={"Allow": "PUT"})


urlpatterns = [
    path("raise/<str:name>/", raising),
    path("api/<str:name>/", api),
    path("form/", form),
    path("posted/", posted),
    path("own/", own_405),
    path("streamed/", streamed_405),
]


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Any:
    """Make a request, under either interface."""

    def send(method: str, path: str, data: Any = None, **headers: str) -> HttpResponse:
        content = "" if data is None else json.dumps(data)
        arguments = (method, path, content, "application/json")
        if request.param == "wsgi":
            client = Client(raise_request_exception=False)
            return client.generic(*arguments, headers=headers)

        async def ask() -> HttpResponse:
            client = AsyncClient(raise_request_exception=False)
            return await client.generic(*arguments, headers=headers)

        return async_to_sync(ask)()

    return send


def body(answer: HttpResponse) -> Any:
    return json.loads(answer.content)


@pytest.fixture(autouse=True)
def site(settings):
    """A host that uses every handler, and has no templates of its own."""
    settings.ROOT_URLCONF = __name__
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    with override_policies(doc()):
        yield


@pytest.fixture
def host_templates(settings):
    """Templates of the host's, by name."""

    def have(**files: str) -> None:
        loader = ("django.template.loaders.locmem.Loader", files)
        settings.TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [loader, "django.template.loaders.app_directories.Loader"],
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ]

    return have


STATUS = {"bad": 400, "suspicious": 400, "forbidden": 403, "missing": 404, "accident": 500}
DETAIL = {
    400: "The request cannot be read.",
    403: "You may not do this.",
    404: "There is nothing here.",
    500: "Something broke on our side.",
}
CODE = {400: "bad_request", 403: "permission_denied", 404: "not_found", 500: "server_error"}


@pytest.mark.parametrize("name", RAISED)
def test_an_error_is_json_for_a_caller(call, name: str) -> None:
    """One envelope: a general text and the request's id (S1-60, S1-77, S4-27)."""
    answer = call("GET", f"/raise/{name}/")
    assert answer.status_code == STATUS[name]
    assert answer["Content-Type"] == "application/json"
    assert body(answer) == {
        "detail": DETAIL[STATUS[name]],
        "request_id": answer["X-Request-ID"],
    }


@pytest.mark.parametrize("name", RAISED)
def test_an_error_is_a_page_for_a_browser(call, name: str) -> None:
    """With the same text and id (S1-05, S1-77)."""
    answer = call("GET", f"/raise/{name}/", Accept=BROWSER)
    page = answer.content.decode()
    assert answer.status_code == STATUS[name]
    assert answer["Content-Type"].startswith(HTML)
    assert f"<p>{DETAIL[STATUS[name]]}</p>" in page
    assert f"<code>{answer['X-Request-ID']}</code>" in page
    assert "<style" not in page
    assert SECRET not in page


@pytest.mark.parametrize("name", RAISED)
def test_an_error_is_a_problem_for_whoever_asks(call, name: str) -> None:
    """RFC 9457 (S1-77)."""
    answer = call("GET", f"/raise/{name}/", Accept=PROBLEM)
    code = CODE[STATUS[name]]
    assert answer["Content-Type"] == PROBLEM
    found = body(answer)
    assert found.pop("title")
    assert found == {
        "type": f"urn:pulse:{code}",
        "status": STATUS[name],
        "code": code,
        "detail": DETAIL[STATUS[name]],
        "request_id": answer["X-Request-ID"],
    }


@pytest.mark.parametrize("accept", ["*/*", BROWSER, PROBLEM])
@pytest.mark.parametrize("name", RAISED)
def test_an_error_tells_nothing_of_the_inside(call, caplog, name: str, accept: str) -> None:
    """What the exception says is in the log alone, under the id that the answer names (S1-60)."""
    caplog.set_level(logging.INFO)
    formatter = logging.Formatter()
    answer = call("GET", f"/raise/{name}/", Accept=accept)
    assert SECRET.encode() not in answer.content
    assert "Accept" in answer["Vary"]
    assert b"Traceback" not in answer.content
    told = [record for record in caplog.records if SECRET in formatter.format(record)]
    assert told
    assert {record.request_id for record in told} == {answer["X-Request-ID"]}


@pytest.mark.parametrize("name", ["bad", "forbidden", "missing"])
def test_each_error_is_one_line_of_the_log(call, caplog, name: str) -> None:
    """By route, with the reason on one line (S1-78)."""
    caplog.set_level(logging.INFO, "pulse.errors")
    call("GET", f"/raise/{name}/?q=hunter2")
    (record,) = [record for record in caplog.records if record.name == "pulse.errors"]
    kind = type(RAISED[name]).__name__
    assert record.getMessage() == (f"Answered GET raise/<str:name>/ by {STATUS[name]}: {SECRET}")
    assert (record.status, record.error) == (STATUS[name], kind)


def test_a_path_that_is_not_there_is_not_logged_as_it_came(call, caplog) -> None:
    """Django's exception holds the path, which may hold a token."""
    caplog.set_level(logging.INFO, "pulse.errors")
    answer = call("GET", "/reset/hunter2/")
    assert (answer.status_code, body(answer)["detail"]) == (404, DETAIL[404])
    (record,) = [record for record in caplog.records if record.name == "pulse.errors"]
    assert record.getMessage() == "Answered GET * (unresolved) by 404: Resolver404"


def test_a_reason_of_several_lines_is_one(rf, caplog) -> None:
    """No line of the log is anybody else's to write."""
    caplog.set_level(logging.INFO, "pulse.errors")
    errors.bad_request(rf.get("/"), BadRequest("a\r\nERROR forged\x1b[31m" + "x" * 1000))
    (record,) = [record for record in caplog.records if record.name == "pulse.errors"]
    assert record.getMessage().startswith(
        "Answered GET * (unresolved) by 400: a ERROR forged?[31mx"
    )
    assert len(record.getMessage()) < 600


def test_in_debug_an_error_says_why(call, settings) -> None:
    """Where the reader is the developer (S3-18)."""
    settings.DEBUG = True
    assert body(call("GET", "/raise/forbidden/"))["detail"] == SECRET


def test_the_hosts_own_page_comes_first(call, host_templates) -> None:
    """As in Django, with the request for those that Django gives one, and the id for all."""
    host_templates(
        **{
            "404.html": "ours {{ request.path }} {{ request_id }} {{ exception }}",
            "500.html": "ours [{{ request.path }}] {{ request_id }}",
            "pulse/403.html": "pulse's {{ detail }}",
        }
    )
    answer = call("GET", "/raise/missing/", Accept=HTML)
    ident = answer["X-Request-ID"]
    assert answer.content.decode() == f"ours /raise/missing/ {ident} {SECRET}"
    answer = call("GET", "/raise/accident/", Accept=HTML)
    assert answer.content.decode() == f"ours [] {answer['X-Request-ID']}"
    page = call("GET", "/raise/forbidden/", Accept=HTML).content.decode()
    assert page == "pulse's You may not do this."


def test_a_page_that_fails_is_json(call, host_templates, caplog) -> None:
    """An error within an error is told once, and answered."""
    host_templates(**{"500.html": "{% if %}", "404.html": "{{ 1|date:exception.x.y }}{% nope %}"})
    for name in ("accident", "missing"):
        answer = call("GET", f"/raise/{name}/", Accept=HTML)
        assert answer.status_code == STATUS[name]
        assert body(answer)["detail"] == DETAIL[STATUS[name]]
    assert "The template for errors failed" in caplog.text


def test_without_pulse_in_front_the_handlers_still_answer(call, settings) -> None:
    """They need no middleware; there is no id then."""
    settings.MIDDLEWARE = []
    answer = call("GET", "/raise/accident/")
    assert (answer.status_code, body(answer)["detail"]) == (500, DETAIL[500])
    assert body(answer)["request_id"] == "no-request-id"
    settings.PULSE = {"ENABLED": False}
    assert call("GET", "/raise/missing/").status_code == 404


# CSRF


@pytest.mark.parametrize("accept", ["*/*", BROWSER, PROBLEM])
def test_a_request_without_its_token_is_refused_in_the_same_form(accept: str) -> None:
    """JSON, page, problem (S1-77)."""
    answer = Client(enforce_csrf_checks=True).post("/form/", headers={"Accept": accept})
    assert answer.status_code == 403
    assert "CSRF verification failed. Request aborted." in answer.content.decode()
    assert "cookie not set" not in answer.content.decode()
    assert answer["X-Request-ID"] in answer.content.decode()
    if accept == PROBLEM:
        assert body(answer)["code"] == "csrf_failed"


def test_in_debug_a_missing_token_is_explained(settings) -> None:
    """By Django's own page to a browser, in the detail to a caller."""
    settings.DEBUG = True
    client = Client(enforce_csrf_checks=True)
    assert "cookie not set" in body(client.post("/form/"))["detail"]
    page = client.post("/form/", headers={"Accept": BROWSER}).content.decode()
    assert "Reason given for failure" in page


def test_the_hosts_page_for_a_missing_token_comes_first(host_templates) -> None:
    """``403_csrf.html``, as in Django."""
    host_templates(**{"403_csrf.html": "ours: {{ reason }}", "403.html": "no"})
    page = Client(enforce_csrf_checks=True).post("/form/", headers={"Accept": HTML})
    assert page.content.decode() == "ours: CSRF cookie not set."


# Django REST framework


def test_errors_by_field_stay_and_the_id_joins_them(call) -> None:
    """A field of that name keeps its own (S1-78)."""
    answer = call("POST", "/api/order/", {"lines": [{}], "request_id": 1})
    assert body(answer) == {
        "lines": {"0": {"product": ["This field is required."]}},
        "request_id": answer["X-Request-ID"],
    }
    answer = call("POST", "/api/order/", {"lines": [], "request_id": "x"})
    assert body(answer)["request_id"] == ["A valid integer is required."]


@pytest.mark.parametrize(
    ("name", "code", "detail"),
    [
        ("stock", 409, "There are not that many left."),
        ("odd", 499, "Gone before the answer."),
        ("wrong-key", 401, "Incorrect authentication credentials."),
        ("not-found", 404, "No such order."),
        ("missing", 404, "Not found."),
        ("forbidden", 403, "You do not have permission to perform this action."),
        ("plain", 500, "A server error occurred."),
    ],
)
def test_a_detail_stays_and_the_id_joins_it(call, name: str, code: int, detail: str) -> None:
    """What was written for clients; what was not is general outside of DEBUG (S1-60, S1-78)."""
    answer = call("GET", f"/api/{name}/")
    assert answer.status_code == code
    assert body(answer) == {"detail": detail, "request_id": answer["X-Request-ID"]}


def test_a_wait_is_told_as_in_every_refusal(call) -> None:
    """``retry_after`` beside ``Retry-After``."""
    answer = call("GET", "/api/often/")
    assert answer["Retry-After"] == "7"
    assert body(answer)["retry_after"] == 7


def test_a_list_of_errors_is_left_as_it_is(call) -> None:
    """It has no place for an id; the header has it."""
    answer = call("GET", "/api/listed/")
    assert body(answer) == ["one", "two"]
    assert answer["X-Request-ID"]


def test_an_accident_in_a_view_goes_on_to_django(call, caplog) -> None:
    """Logged there with its traceback, answered by ``server_error`` (S1-60, S1-78)."""
    answer = call("GET", "/api/accident/")
    assert answer.status_code == 500
    assert body(answer) == {"detail": DETAIL[500], "request_id": answer["X-Request-ID"]}
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert record.exc_info
    assert record.request_id == answer["X-Request-ID"]


def test_a_server_error_of_the_frameworks_is_logged_with_its_reason(call, caplog) -> None:
    """The client is told nothing, the operator all (S1-60)."""
    call("GET", "/api/plain/")
    (record,) = [record for record in caplog.records if record.name == "pulse.errors"]
    assert record.levelno == logging.ERROR
    assert SECRET in record.getMessage()
    assert record.exc_info


def test_what_was_sent_is_not_logged(call, caplog) -> None:
    """A validation error quotes it."""
    caplog.set_level(logging.INFO, "pulse.errors")
    call("POST", "/api/order/", {"lines": "hunter2", "request_id": 1})
    (record,) = [record for record in caplog.records if record.name == "pulse.errors"]
    assert record.getMessage() == "Answered POST api/<str:name>/ by 400: ValidationError"


def test_a_problem_names_every_field(call) -> None:
    """Flat, dotted names, lists of texts, as in pulse's own API (S1-77)."""
    answer = call(
        "POST", "/api/order/", {"lines": [{"product": 1}, {}], "request_id": "x"}, Accept=ASKING
    )
    assert answer["Content-Type"] == PROBLEM
    assert body(answer) == {
        "type": "urn:pulse:invalid",
        "title": "Invalid input",
        "status": 400,
        "code": "invalid",
        "detail": "2 fields are wrong.",
        "request_id": answer["X-Request-ID"],
        "errors": {
            "lines.1.product": ["This field is required."],
            "request_id": ["A valid integer is required."],
        },
    }
    found = body(call("POST", "/api/order/", {"lines": [], "request_id": 1}, Accept=ASKING))
    assert found["errors"] == {"non_field_errors": ["Nothing fits."]}
    assert found["detail"] == "1 field is wrong."
    assert body(call("GET", "/api/listed/", Accept=ASKING))["errors"] == {
        "non_field_errors": ["one", "two"]
    }


@pytest.mark.parametrize(
    ("name", "code", "title"),
    [
        ("stock", "out_of_stock", "Conflict"),
        ("odd", "odd", "Error"),
        ("wrong-key", "not_authenticated", "Unauthorized"),
        ("not-found", "not_found", "Not Found"),
        ("missing", "not_found", "Not Found"),
        ("forbidden", "permission_denied", "Forbidden"),
        ("often", "rate_limited", "Too Many Requests"),
        ("plain", "server_error", "Internal Server Error"),
    ],
)
def test_a_problem_has_a_code(call, name: str, code: str, title: str) -> None:
    """The host's own, or the contract's for the status (S1-77)."""
    answer = call("GET", f"/api/{name}/", Accept=ASKING)
    found = body(answer)
    assert answer["Content-Type"] == PROBLEM
    assert (found["code"], found["type"]) == (code, f"urn:pulse:{code}")
    assert (found["title"], found["status"]) == (title, answer.status_code)
    assert found["request_id"] == answer["X-Request-ID"]
    assert answer["Allow"]
    assert "Accept" in answer["Vary"]
    if name == "often":
        assert (found["retry_after"], answer["Retry-After"]) == (7, "7")


def test_a_method_that_is_not_allowed_says_which_are(call) -> None:
    """The framework's header stays."""
    answer = call("DELETE", "/api/stock/", Accept=ASKING)
    assert (answer.status_code, body(answer)["code"]) == (405, "method_not_allowed")
    assert set(answer["Allow"].split(", ")) == {"GET", "POST", "OPTIONS"}


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "image/png"])
def test_a_method_that_a_view_refuses_without_a_word_is_told_of(call, accept: str) -> None:
    """Django's own 405 has no body; its ``Allow`` stays (S1-77)."""
    answer = call("GET", "/posted/", **({"Accept": accept} if accept else {}))
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert body(answer) == {
        "detail": "This method is not allowed here.",
        "request_id": answer["X-Request-ID"],
    }
    assert answer["Content-Type"] == "application/json"
    assert answer["Content-Length"] == str(len(answer.content))
    assert "Accept" in answer["Vary"]


def test_a_method_that_is_refused_is_a_page_or_a_problem_where_one_asks(call) -> None:
    page = call("GET", "/posted/", Accept=BROWSER)
    assert (page.status_code, page["Allow"]) == (405, "POST")
    assert page["Content-Type"] == "text/html; charset=utf-8"
    for part in ("Method Not Allowed", "This method is not allowed here.", page["X-Request-ID"]):
        assert part in page.content.decode()
    problem = call("GET", "/posted/", Accept=PROBLEM)
    assert problem["Content-Type"] == PROBLEM
    assert body(problem) == {
        "type": "urn:pulse:method_not_allowed",
        "title": "Method Not Allowed",
        "status": 405,
        "code": "method_not_allowed",
        "detail": "This method is not allowed here.",
        "request_id": problem["X-Request-ID"],
    }


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_what_has_no_body_gets_none(call, method: str) -> None:
    answer = call(method, "/posted/")
    assert (answer.status_code, answer.content, answer["Allow"]) == (405, b"", "POST")


def test_what_a_view_says_of_a_method_stays(call) -> None:
    """Its own words, and a stream, of which nobody knows what it will say."""
    own, streamed = call("GET", "/own/"), call("GET", "/streamed/")
    assert (own.content, own["Allow"]) == (b"as I say", "PUT")
    assert (streamed.status_code, streamed.streaming) == (405, True)


def test_a_405_that_cannot_be_put_into_words_is_the_views(call, monkeypatch, caplog) -> None:
    """Nothing that fails in pulse fails a request (S0-20)."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(responses, "answer", fail)
    answer = call("GET", "/posted/")
    assert (answer.status_code, answer.content, answer["Allow"]) == (405, b"", "POST")
    assert answer["X-Request-ID"]
    assert "The step errors failed" in caplog.text


@pytest.mark.parametrize("name", ["fine", "stock"])
def test_who_asks_for_problems_alone_is_told_what_else_there_is(call, name: str) -> None:
    """The framework's 406 comes before the view, and is a problem itself (S1-77)."""
    answer = call("GET", f"/api/{name}/", Accept=PROBLEM)
    assert (answer.status_code, answer["Content-Type"]) == (406, PROBLEM)
    assert body(answer) == {
        "type": "urn:pulse:not_acceptable",
        "title": "Not Acceptable",
        "status": 406,
        "code": "not_acceptable",
        "detail": "Could not satisfy the request Accept header.",
        "available": ["application/json"],
        "request_id": answer["X-Request-ID"],
    }
    other = call("GET", f"/api/{name}/", Accept="image/png")
    assert (other.status_code, body(other)["available"]) == (406, ["application/json"])
