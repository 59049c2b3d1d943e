"""A refusal in the place of an answer that is ready."""

import io
from collections.abc import Callable

import pytest
from django.core.signals import request_finished
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import ResponseHeaders

from pulse.middleware import stack
from pulse.middleware.responses import fields_of, list_at_once, put, put_over
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc

# What is refused goes by the policy in force, which whoever asks first loads.
pytestmark = pytest.mark.django_db


def refusal() -> JsonResponse:
    return JsonResponse({"detail": "no"}, status=429, headers={"Retry-After": "9"})


ANSWERS: dict[str, Callable[[], HttpResponseBase]] = {
    "plain": lambda: HttpResponse("a page"),
    "not modified": HttpResponseNotModified,
    "redirect": lambda: HttpResponseRedirect("/elsewhere/"),
    "stream": lambda: StreamingHttpResponse(iter([b"a"])),
    "file": lambda: FileResponse(io.BytesIO(b"a"), filename="a.pdf", as_attachment=True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_others_put_beside_the_answer_stays(name: str) -> None:
    """Cookies, CORS and security headers, whatever kind of answer it was."""
    answer = ANSWERS[name]()
    answer.set_cookie("kept", "yes")
    answer["Access-Control-Allow-Origin"] = "https://a.test"
    answer["X-Frame-Options"] = "DENY"
    answer["Retry-After"] = "1"
    found = put_over(answer, refusal())
    assert (found.status_code, found.content) == (429, b'{"detail": "no"}')
    assert found.cookies["kept"].value == "yes"
    assert found["Access-Control-Allow-Origin"] == "https://a.test"
    assert found["X-Frame-Options"] == "DENY"
    assert found["Retry-After"] == "9"
    assert found["Content-Type"] == "application/json"


@pytest.mark.parametrize("name", ANSWERS)
def test_what_described_the_answer_goes(name: str) -> None:
    """A 429 that leads elsewhere, or has the length of another text, breaks its reader."""
    answer = ANSWERS[name]()
    answer["eTag"] = '"a"'
    answer["content-encoding"] = "gzip"
    answer["CONTENT-LENGTH"] = "99999"
    found = put_over(answer, refusal())
    assert found["Content-Length"] == str(len(found.content))
    for gone in ("ETag", "Content-Encoding", "Content-Disposition", "Location"):
        assert not found.has_header(gone)


def test_what_a_stream_holds_is_closed_once_with_the_refusal() -> None:
    """And the request is finished once: Django closes database connections by that."""
    held, finished = io.BytesIO(b"a"), []

    def finish(**_: object) -> None:
        finished.append(1)

    request_finished.connect(finish)
    try:
        found = put_over(FileResponse(held), refusal())
        assert not held.closed
        assert not finished
        found.close()
    finally:
        request_finished.disconnect(finish)
    assert held.closed
    assert finished == [1]


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_a_middleware_answers_is_refused_when_it_is_too_much(rf, name: str) -> None:
    """No view was seen: charged, and put over, on the way back."""
    middleware = stack.PulseMiddleware(lambda request: ANSWERS[name]())
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        assert middleware(rf.get("/")).status_code == ANSWERS[name]().status_code
        found = middleware(rf.get("/"))
    assert found.status_code == 429
    assert found.has_header("X-Request-ID")
    assert found["X-RateLimit-Remaining"] == "0"


def test_what_fails_in_putting_over_fails_no_request(rf, monkeypatch, caplog) -> None:
    """The host's answer is its own (S0-20)."""
    monkeypatch.setattr(stack, "put_over", lambda *_: 1 / 0)
    middleware = stack.PulseMiddleware(lambda request: HttpResponse("a page"))
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        middleware(rf.get("/"))
        found = middleware(rf.get("/"))
    assert (found.status_code, found.content) == (200, b"a page")
    assert found.has_header("X-Request-ID")
    assert "(non-fatal)" in caplog.text


def test_a_refusal_at_the_front_is_logged_by_the_route_it_was_for(rf, caplog) -> None:
    """Nobody had looked it up yet (S2-32); and its length is told."""
    caplog.set_level("INFO")
    middleware = stack.PulseMiddleware(lambda request: HttpResponse("a page"))
    with override_policies(doc(access_rules=["127.0.0.0/8"])):
        found = middleware(rf.get("/api/products/3/?token=hunter2"))
    assert found.status_code == 403
    assert found["Content-Length"] == str(len(found.content))
    assert "Refused GET api/products/<int:pk>/ from 127.0.0.1" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("name", ANSWERS)
def test_headers_are_listed_as_django_lists_them(name: str) -> None:
    """What is sent is the same, only found faster."""
    response = ANSWERS[name]()
    put(response, {"X-One": "1", "RateLimit": "2"})
    before = list(response.items())
    list_at_once(response)
    assert list(response.items()) == before
    response["x-ONE"] = "3"
    del response["RateLimit"]
    kept = {name: value for name, value in before if name not in {"X-One", "RateLimit"}}
    assert dict(response.items()) == kept | {"x-ONE": "3"}
    assert response["X-One"] == "3"


def test_headers_of_another_kind_are_left_alone() -> None:
    """A host may have its own, which list themselves as it wants."""

    class Own(ResponseHeaders):
        pass

    response = HttpResponse("a page")
    response.headers = Own({"X-Host": "1"})
    list_at_once(response)
    assert type(response.headers) is Own


def test_what_is_put_is_found_whatever_its_case() -> None:
    response = HttpResponse("a page", headers={"x-request-id": "the view's"})
    put(response, {"X-Request-ID": "7"})
    assert (response["x-request-ID"], len(fields_of(response))) == ("7", 2)
