"""Bodies that are too large, or of no length: refused before any view, under both interfaces."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, Client

from pulse.middleware import body as body_step
from pulse.store import buckets
from pulse.testing import override_policies
from tests.asgi import Exchange, chunks, exchange, scope
from tests.middleware import sized

MB = 2**20
FORM = "application/x-www-form-urlencoded"
RAW = "application/octet-stream"
#: Only with a cookie does the CSRF check look for a token in the form.
CSRF_COOKIE = "a" * 32
Call = Callable[..., HttpResponse]


@pytest.fixture(params=["wsgi", "asgi"])
def call(request) -> Call:
    """Send a body, under either interface."""
    return {"wsgi": _sync, "asgi": _async}[request.param]


@pytest.fixture(autouse=True)
def site(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.middleware.sized"
    sized.called.clear()
    with override_policies({}):
        yield


def _sync(path: str, data: bytes = b"", kind: str = RAW, method: str = "POST", **headers: str):
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.cookies["csrftoken"] = CSRF_COOKIE
    return client.generic(method, path, data, kind, headers=_named(headers))


def _async(path: str, data: bytes = b"", kind: str = RAW, method: str = "POST", **headers: str):
    client = AsyncClient(raise_request_exception=False, enforce_csrf_checks=True)
    client.cookies["csrftoken"] = CSRF_COOKIE

    async def send() -> HttpResponse:
        return await client.generic(method, path, data, kind, headers=_named(headers))

    return async_to_sync(send)()


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def limits(*rows: dict[str, Any]) -> override_policies:
    return override_policies({"endpoint_limits": list(rows)})


def asgi(path: str, *sizes: int, **fields: Any) -> Exchange:
    """A request by hand: in pieces, and with the headers that are named."""
    messages = chunks(*(sizes or (0,)))
    return asyncio.run(exchange(ASGIHandler(), scope("POST", path, **fields), messages))


def detail(response: Any) -> str:
    return json.loads(response.content)["detail"]


# By its length


def test_more_than_10_mb_is_refused_and_the_view_not_called(call) -> None:
    """413, the text, the request id; one byte less passes (S3-10, S1-21, S1-22)."""
    assert call("/raw/", b"x" * (10 * MB)).status_code == 200
    sized.called.clear()
    refused = call("/raw/", b"x" * (10 * MB + 1))
    assert refused.status_code == 413
    assert json.loads(refused.content) == {
        "detail": "Request body too large (max 10MB)",
        "request_id": refused["X-Request-ID"],
    }
    assert sized.called == []
    assert buckets.last_day()[buckets.REFUSED] == {"site:max_body_bytes": 1}


def test_a_browser_gets_a_page_and_a_caller_that_asks_a_problem(call, settings) -> None:
    """As every refusal (S1-05)."""
    settings.PULSE = {"MAX_BODY_BYTES": 10}
    page = call("/raw/", b"x" * 11, Accept="text/html")
    assert (page.status_code, page["Content-Type"]) == (413, "text/html; charset=utf-8")
    assert "Request body too large (max 10 bytes)" in page.content.decode()
    problem = json.loads(call("/raw/", b"x" * 11, Accept="application/problem+json").content)
    assert (problem["type"], problem["status"]) == ("urn:pulse:body_too_large", 413)


def test_the_refusal_is_logged_once_with_what_refused(call, settings, caplog) -> None:
    """Never the body."""
    settings.PULSE = {"MAX_BODY_BYTES": 10}
    with caplog.at_level("INFO", "pulse.middleware.responses"):
        call("/raw/", b"secret!" * 2)
    lines = [r.getMessage() for r in caplog.records if r.name == "pulse.middleware.responses"]
    assert len(lines) == 1
    assert lines[0].startswith("Refused POST ")
    assert lines[0].endswith(" from 127.0.0.1 by site:max_body_bytes: 413")
    assert "secret" not in caplog.text


def test_no_limit_where_the_setting_says_nought(call, settings) -> None:
    """An endpoint may still have its own."""
    settings.PULSE = {"MAX_BODY_BYTES": 0}
    with limits({"name": "whole", "url_name": "whole", "max_body_bytes": 5}):
        assert call("/raw/", b"x" * (11 * MB)).status_code == 200
        assert call("/whole/", b"x" * 6).status_code == 413


def test_what_resolves_to_nothing_is_refused_by_the_site_alone(call, settings) -> None:
    """A path without a view, and a view that is never reached."""
    settings.PULSE = {"MAX_BODY_BYTES": 10}
    assert call("/nowhere/", b"x" * 11).status_code == 413
    with limits({"name": "all", "path": "/", "max_body_bytes": 100}):
        assert call("/nowhere/", b"x" * 11).status_code == 404


# By endpoint


def test_each_endpoint_has_its_own_limit(call) -> None:
    """Larger for an upload, smaller for a login, 10 MB for the rest (S1-20, S1-23, S1-68)."""
    with limits(
        {"name": "upload", "url_name": "raw", "max_body_bytes": 100 * MB},
        {"name": "small", "url_name": "whole", "max_body_bytes": 512 * 1024},
    ):
        large = b"x" * (11 * MB)
        assert call("/raw/", large).status_code == 200
        sized.called.clear()
        assert detail(call("/form/", large)) == "Request body too large (max 10MB)"
        assert detail(call("/whole/", b"x" * (512 * 1024 + 1))) == (
            "Request body too large (max 512KB)"
        )
    assert sized.called == []
    assert buckets.last_day()[buckets.REFUSED] == {
        "site:max_body_bytes": 1,
        "endpoint_limits:small": 1,
    }


def test_the_method_chooses_among_limits_of_one_endpoint(call) -> None:
    """With methods before without."""
    with limits(
        {"name": "any", "url_name": "raw", "max_body_bytes": 5},
        {"name": "put", "url_name": "raw", "methods": ["PUT"], "max_body_bytes": 50},
    ):
        assert call("/raw/", b"x" * 6).status_code == 413
        assert call("/raw/", b"x" * 6, method="PUT").status_code == 200


def test_an_endpoint_that_takes_no_body(call) -> None:
    """0 is a size: the request without a body passes."""
    with limits({"name": "none", "url_name": "raw", "max_body_bytes": 0}):
        assert call("/raw/").status_code == 200
        assert detail(call("/raw/", b"x")) == "Request body too large (max 0 bytes)"


def test_in_shadow_it_only_counts(call) -> None:
    """A tighter one refuses nobody; a looser one lets nothing more pass."""
    with limits(
        {"name": "tight", "url_name": "raw", "max_body_bytes": 5, "mode": "shadow"},
        {"name": "loose", "url_name": "whole", "max_body_bytes": 100 * MB, "mode": "shadow"},
    ):
        assert call("/raw/", b"x" * 6).status_code == 200
        assert call("/raw/", b"x" * 5).status_code == 200
        assert call("/whole/", b"x" * (11 * MB)).status_code == 413
    assert buckets.last_day()[buckets.WOULD_REFUSE] == {"endpoint_limits:tight": 1}


def test_for_no_client_it_is_in_shadow(call) -> None:
    """``percent`` 0."""
    with limits({"name": "tight", "url_name": "raw", "max_body_bytes": 5, "percent": 0}):
        assert call("/raw/", b"x" * 6).status_code == 200
    assert buckets.last_day()[buckets.WOULD_REFUSE] == {"endpoint_limits:tight": 1}


def test_a_body_that_is_refused_costs_no_token(call) -> None:
    """Bounds are asked before counters: a client that mends its body is served."""
    with override_policies(
        {
            "rate_tiers": [{"name": "default", "default": True, "limits": [{"rate": "1/h"}]}],
            "endpoint_limits": [{"name": "raw", "url_name": "raw", "max_body_bytes": 5}],
        }
    ):
        assert call("/raw/", b"x" * 6).status_code == 413
        assert call("/raw/", b"x" * 5).status_code == 200
        assert call("/raw/", b"x" * 5).status_code == 429


# Lengths that are none


@pytest.mark.parametrize(
    "length", ["-1", "+5", "5,5", "5, 6", "0x5", "abc", "9" * 25, "\u0665", "5_0"]
)
def test_a_broken_length_is_a_bad_request(length: str) -> None:
    """400, and the view is not called (S3-10)."""
    refused = Client().generic("POST", "/raw/", b"12345", RAW, CONTENT_LENGTH=length)
    assert refused.status_code == 400
    assert json.loads(refused.content) == {
        "detail": "The length of the body cannot be read.",
        "request_id": refused["X-Request-ID"],
    }
    header = (b"content-length", length.encode("utf-8"))
    assert asgi("/raw/", 5, headers=[header]).status == 400
    assert sized.called == []
    assert buckets.last_day()[buckets.REFUSED] == {"site:content_length": 2}


def test_an_empty_length_is_none_under_wsgi_and_broken_under_asgi() -> None:
    """PEP 3333 lets a server say "" where no header came; an ASGI server tells what came."""
    assert Client().generic("POST", "/raw/", b"", RAW, CONTENT_LENGTH="").status_code == 200
    assert asgi("/raw/", 5, headers=[(b"content-length", b"")]).status == 400


def test_two_lengths_that_agree_are_two() -> None:
    """Somebody in front may have believed neither."""
    assert asgi("/raw/", 5, headers=[(b"content-length", b"5")] * 2).status == 400


def test_a_length_beside_chunks_is_a_bad_request() -> None:
    """One of the two is a lie (RFC 9112, 6.3; trap 9)."""
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked"}
    assert Client().generic("POST", "/raw/", b"12345", RAW, **chunked).status_code == 400
    headers = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]
    refused = asgi("/raw/", 5, headers=headers)
    assert (refused.status, refused.headers["connection"]) == (400, "close")
    assert sized.called == []


def test_chunks_under_wsgi_need_a_length() -> None:
    """411: Django would read none of them, and the view would be told of an empty body."""
    client = Client()
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    refused = client.generic("POST", "/raw/", b"", RAW, **chunked)
    assert refused.status_code == 411
    assert detail(refused) == "A body needs a Content-Length: this server takes none in chunks."
    assert sized.called == []


def test_chunks_under_asgi_count_by_what_arrived(settings) -> None:
    """What Django has spooled is measured, and the view reads it from its beginning."""
    settings.PULSE = {"MAX_BODY_BYTES": 10}
    chunked = [(b"transfer-encoding", b"chunked")]
    passed = asgi("/raw/", 4, 6, headers=chunked)
    assert (passed.status, passed.json()) == (200, {"bytes": 10})
    refused = asgi("/raw/", 4, 7, headers=chunked)
    assert refused.status == 413
    # All of it was read: the next request may follow on the connection.
    assert "connection" not in refused.headers
    assert sized.called == ["raw"]


def test_chunks_under_asgi_meet_the_endpoint_s_limit() -> None:
    """The same size, judged again where the route is known."""
    with limits({"name": "small", "url_name": "raw", "max_body_bytes": 5}):
        assert asgi("/raw/", 3, 3, headers=[(b"transfer-encoding", b"chunked")]).status == 413
        assert asgi("/raw/", 3, 2).status == 200


def test_a_server_that_passes_on_more_than_was_declared_is_not_believed() -> None:
    """The view would read what nobody counted (trap 9)."""
    refused = asgi("/raw/", 5, 5, headers=[(b"content-length", b"5")])
    assert (refused.status, sized.called) == (400, [])


# What Django reads into memory


def multipart(field: int, file: int) -> tuple[bytes, str]:
    part = b'--b\r\nContent-Disposition: form-data; name="a"%s\r\n\r\n%s\r\n'
    body = part % (b"", b"x" * field) + part % (b'; filename="f"', b"y" * file) + b"--b--\r\n"
    return body, "multipart/form-data; boundary=b"


def test_a_file_passes_that_memory_would_not_hold(call) -> None:
    """Files go to disk: Django's 2.5 MB are for what is read into memory."""
    body, kind = multipart(10, 9 * MB)
    assert json.loads(call("/form/", body, kind).content) == {"bytes": 10 + 9 * MB}


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/form/", b"a=" + b"x" * (3 * MB), FORM),
        ("/form/", *multipart(3 * MB, 10)),
        ("/whole/", b"x" * (3 * MB), RAW),
        ("/guarded/", b"a=" + b"x" * (3 * MB), FORM),
        ("/guarded/", *multipart(3 * MB, 10)),
        ("/api/", b'"' + b"x" * (3 * MB) + b'"', "application/json"),
        ("/api/", *multipart(3 * MB, 10)),
    ],
    ids=["form", "field", "raw", "form at CSRF", "field at CSRF", "DRF JSON", "DRF field"],
)
def test_what_django_refuses_to_hold_in_memory_is_told_as_413(call, path, body, kind) -> None:
    """Between 2.5 and 10 MB Django says a bare 400; here the size and why (trap 9)."""
    refused = call(path, body, kind)
    assert (refused.status_code, detail(refused)) == (413, "Request body too large (max 2MB)")
    assert buckets.last_day()[buckets.REFUSED] == {"site:data_upload_max_memory_size": 1}


def test_with_a_larger_memory_limit_they_pass(call, settings) -> None:
    """The host's setting is the host's."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * MB
    assert call("/form/", b"a=" + b"x" * (3 * MB), FORM).status_code == 200
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert call("/whole/", b"x" * (3 * MB)).status_code == 200


def test_a_view_that_catches_it_answers_as_it_likes(call) -> None:
    """Only Django's own answer is put right."""
    assert call("/forgiving/", b"a=" + b"x" * (3 * MB), FORM).content == b"as you like"


def test_other_exceptions_of_views_are_not_ours(call) -> None:
    """A field too many is a bad request, as Django says."""
    assert call("/form/", b"&".join(b"a=1" for _ in range(1001)), FORM).status_code == 400


# The step itself


def test_a_step_that_fails_fails_no_request(call, monkeypatch) -> None:
    """It is logged and counted."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(body_step, "parse_length", fail)
    assert call("/raw/", b"x").status_code == 200
    assert buckets.last_day()[buckets.SWALLOWED] == {"body": 1}


def test_switched_off_nothing_is_refused(call, settings) -> None:
    """``ENABLED`` False."""
    settings.PULSE = {"ENABLED": False, "MAX_BODY_BYTES": 1}
    assert call("/raw/", b"xx").status_code == 200
