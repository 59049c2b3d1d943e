"""A request as it is sent, and what a redirect makes of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.attempts import Call, Failure
from pulse.core.requests import OWN, Request, check_header, request_of
from pulse.exceptions import CallFailed, InvalidHeader


def test_a_request_as_it_is_sent() -> None:
    """Host first, the client's own next, the caller's after; a length where there may be a body."""
    get = request_of(Call("GET", "http://a.test:81/b?c", {"X-A": "ü"}))
    assert get.encode() == (
        b"GET /b?c HTTP/1.1\r\nHost: a.test:81\r\nConnection: close\r\nUser-Agent: pulse\r\n"
        b"Accept: */*\r\nAccept-Encoding: identity\r\nX-A: \xc3\xbc\r\n\r\n"
    )
    put = request_of(Call("PUT", "http://a.test/", {"user-agent": "b"}))
    assert put.encode().endswith(b"user-agent: b\r\nContent-Length: 0\r\n\r\n")


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=40))
def test_no_header_becomes_two_lines(name: str, value: str) -> None:
    """What is not refused is one line, whatever it holds."""
    try:
        check_header(name, value)
    except InvalidHeader as error:
        assert error.value == name
        return
    sent = request_of(Call("GET", "http://a.test/", {name: value})).encode()
    plain = request_of(Call("GET", "http://a.test/")).encode()
    taken = name.lower() in {"user-agent", "accept", "accept-encoding"}
    assert sent.count(b"\n") == sent.count(b"\r\n") == plain.count(b"\r\n") + (not taken)


@pytest.mark.parametrize("name", sorted(OWN))
def test_framing_is_the_senders(name: str) -> None:
    """Nobody else says where a request goes and where it ends."""
    with pytest.raises(InvalidHeader, match="is set by pulse itself"):
        check_header(name.title(), "x")


def test_a_refused_header_keeps_its_value_to_itself() -> None:
    """It may be secret."""
    with pytest.raises(CallFailed) as caught:
        request_of(Call("GET", "http://a.test/", secret_headers={"X-Key": "hunter2\n"}))
    assert caught.value.failure == Failure.INTERNAL
    assert "hunter2" not in str(caught.value)
    assert "X-Key" in str(caught.value)


def test_headers_and_body_stand_in_no_repr() -> None:
    """Whoever logs a request logs no secret."""
    request = request_of(Call("GET", "http://a.test/", {"X": "hunter2"}, body=b"hunter2"))
    assert "hunter2" not in repr(request)


def test_headers_stay_away_on_the_way_back() -> None:
    """Once dropped they are not taken up again."""
    request = request_of(Call("GET", "https://a.test/", {"X-A": "1"}))
    away = request.redirected(302, "https://b.test/")
    back = away.redirected(302, "https://a.test/")
    assert (dict(away.headers), dict(back.headers)) == ({}, {})


@pytest.mark.parametrize(
    ("base", "location"),
    [
        ("http://a.test/", "http://b.test/"),
        ("http://a.test/", "http://a.test:8080/"),
        ("http://a.test/", "https://a.test/"),
        ("http://a.test/", "//sub.a.test/"),
    ],
)
def test_what_another_origin_is(base: str, location: str) -> None:
    """Scheme, host and port make one."""
    assert request_of(Call("GET", base, {"X-A": "1"})).redirected(302, location).headers == {}


def test_the_default_port_is_no_other_origin() -> None:
    """However it is written."""
    request = request_of(Call("GET", "http://a.test/", {"X-A": "1"}))
    assert request.redirected(302, "HTTP://A.test:80/x").headers == {"X-A": "1"}


def test_from_https_to_http_is_refused() -> None:
    """What was to be secret would not be."""
    request = request_of(Call("GET", "https://a.test/"))
    for location in ("http://a.test/", "http://b.test/"):
        with pytest.raises(CallFailed, match="from https to http") as caught:
            request.redirected(302, location)
        assert caught.value.failure == Failure.REDIRECT_FORBIDDEN


@pytest.mark.parametrize(
    ("method", "status", "becomes"),
    [
        ("GET", 301, "GET"),
        ("GET", 302, "GET"),
        ("GET", 303, "GET"),
        ("GET", 307, "GET"),
        ("HEAD", 301, "HEAD"),
        ("HEAD", 303, "HEAD"),
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 301, "PUT"),
        ("PUT", 303, "GET"),
        ("DELETE", 302, "DELETE"),
        ("OPTIONS", 303, "GET"),
        ("OPTIONS", 307, "OPTIONS"),
    ],
)
def test_what_becomes_of_the_method(method: str, status: int, becomes: str) -> None:
    """As in browsers; with the body goes what told of it."""
    headers = {"X-A": "1", "Content-Type": "text/plain"}
    request = request_of(Call(method, "http://a.test/", headers, body=b"x"))
    after = request.redirected(status, "/b")
    assert after.method == becomes
    if becomes == "GET" != method:
        assert (after.body, after.headers) == (b"", {"X-A": "1"})
    else:
        assert (after.body, after.headers) == (b"x", headers)


@pytest.mark.parametrize(
    ("method", "body"), [("POST", b"x"), ("POST", b""), ("DELETE", b""), ("GET", b"x")]
)
def test_another_origin_gets_no_body_and_nothing_that_changes(method: str, body: bytes) -> None:
    """Who may be written to was decided for one origin."""
    request = request_of(Call(method, "http://a.test/", body=body))
    with pytest.raises(CallFailed) as caught:
        request.redirected(307, "http://b.test/")
    assert caught.value.failure == Failure.REDIRECT_FORBIDDEN
    assert isinstance(request.redirected(307, "/b"), Request)
