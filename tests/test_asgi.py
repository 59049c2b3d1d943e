"""Bodies that are cut off while they arrive: nothing more is taken, and no view has half of one."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.urls import path as to

from pulse import asgi
from pulse.asgi import limit_bodies
from pulse.core.bounds import ARRIVAL, Arrival
from pulse.metrics import record_request, window
from pulse.middleware import arrival, stack
from pulse.middleware import body as body_step
from pulse.policies import current
from pulse.policies.publisher import Actor
from pulse.store import buckets, heartbeat
from pulse.testing import override_policies
from tests.asgi import DISCONNECT, Exchange, chunks, exchange, scope
from tests.middleware import sized

MB = 2**20
CHUNKED = (b"transfer-encoding", b"chunked")
SYNC_ONLY = "tests.test_asgi.sync_only"

urlpatterns = i18n_patterns(to("raw/", sized.raw, name="raw"))


def sync_only(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        return get_response(request)

    return middleware


@pytest.fixture(autouse=True)
def site(settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.middleware.sized"
    sized.called.clear()
    with heartbeat.suspended(), override_policies({}):
        yield


def send(*sizes: int, path: str = "/raw/", length: int | None = None, **fields: Any) -> Exchange:
    """Send a body in pieces, with a length or without, to Django behind ``limit_bodies``."""
    header = CHUNKED if length is None else (b"content-length", str(length).encode())
    headers = [*fields.pop("headers", ()), header]
    application = fields.pop("application", None) or limit_bodies(ASGIHandler())
    asked = scope("POST", path, headers=headers, **fields)
    return asyncio.run(exchange(application, asked, chunks(*sizes)))


def endless(size: int = 65536, taken: list[int] | None = None) -> Iterator[dict[str, Any]]:
    while True:
        if taken is not None:
            taken.append(size)
        yield {"type": "http.request", "body": b"x" * size, "more_body": True}


def test_a_length_beyond_the_limit_is_refused_before_anything_is_taken(settings) -> None:
    """413 at once, and the connection is ended (S1-21, S3-10)."""
    refused = send(11 * MB, length=11 * MB)
    assert (refused.status, refused.asked) == (413, 0)
    assert refused.json()["detail"] == "Request body too large (max 10MB)"
    assert refused.headers["connection"] == "close"
    assert sized.called == []
    assert buckets.last_day()[buckets.REFUSED] == {"site:max_body_bytes": 1}


def test_a_body_without_length_is_cut_where_it_grows_too_large() -> None:
    """The rest is asked for only after the answer, and thrown away (S1-21, S3-10)."""
    refused = send(*[65536] * 200)
    assert refused.status == 413
    assert refused.asked == 161  # 10 MB, and the piece that was too much
    assert refused.headers["x-request-id"]
    assert sized.called == []


def test_a_body_that_says_too_little_is_cut_too() -> None:
    """Where a server does not hold a client to its length (trap 9)."""
    refused = send(*[65536] * 200, length=5)
    assert (refused.status, refused.asked, sized.called) == (413, 161, [])


def test_what_is_within_the_limit_is_handed_on_whole() -> None:
    """Every byte, to the last one that is allowed."""
    passed = send(*[65536] * 160)
    assert (passed.status, passed.json()) == (200, {"bytes": 10 * MB})
    passed = send(5, 0, 6, length=11)
    assert passed.json() == {"bytes": 11}
    assert send(0, length=0).json() == {"bytes": 0}


def upload(name: str = "upload", **fields: Any) -> dict[str, Any]:
    return {"name": name, "url_name": "raw", "max_body_bytes": 100 * MB, **fields}


def limited(*limits: dict[str, Any], **kinds: Any) -> override_policies:
    return override_policies({"endpoint_limits": list(limits), **kinds})


def test_each_body_is_cut_at_what_its_own_endpoint_takes() -> None:
    """100 MB for the upload; 10 MB beside it, as if there were none (S1-20, S1-23)."""
    with limited(upload()):
        assert send(*[MB] * 11).json() == {"bytes": 11 * MB}
        sized.called.clear()
        for path in ("/whole/", "/nothing/"):
            elsewhere = send(*[65536] * 200, path=path)
            assert elsewhere.json()["detail"] == "Request body too large (max 10MB)"
            assert (elsewhere.status, elsewhere.asked) == (413, 161)
            declared = send(11 * MB, length=11 * MB, path=path)
            assert (declared.status, declared.asked) == (413, 0)
        beyond = send(101 * MB, length=101 * MB)
        assert beyond.json()["detail"] == "Request body too large (max 100MB)"
    assert sized.called == []
    assert buckets.last_day()[buckets.REFUSED] == {
        "site:max_body_bytes": 4,
        "endpoint_limits:upload": 1,
    }


def test_an_endpoint_may_take_less_than_the_site() -> None:
    """It is cut there too, or refused before anything is taken; others are not."""
    with limited(upload(max_body_bytes=100_000), upload("none", url_name="form", max_body_bytes=0)):
        refused = send(*[65536] * 3)
        assert (refused.status, refused.asked) == (413, 2)
        assert refused.json()["detail"] == "Request body too large (max 97KB)"
        assert send(65536).json() == {"bytes": 65536}
        assert send(200_000, length=200_000).asked == 0
        assert send(1, length=1, path="/form/").status == 413
        assert send(200_000, path="/whole/").json() == {"bytes": 200_000}


def test_where_the_site_has_no_limit_an_endpoint_may_have_one(settings) -> None:
    """``MAX_BODY_BYTES`` 0 leaves all others without."""
    settings.PULSE = {"MAX_BODY_BYTES": 0}
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    with limited(upload(max_body_bytes=MB)):
        assert send(*[MB] * 3).asked == 2
        assert send(*[MB] * 11, path="/whole/").json() == {"bytes": 11 * MB}


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ({"methods": ["PUT"]}, False),
        ({"methods": ["POST"]}, True),
        ({"url_name": None, "route": "raw/"}, True),
        ({"url_name": None, "view": "tests.middleware.sized.raw"}, True),
        ({"url_name": None, "path": "/raw/"}, True),
        ({"url_name": None, "path": "/ra"}, False),
        ({"mode": "shadow"}, False),
        ({"percent": 0}, False),
    ],
)
def test_the_endpoint_is_found_as_the_middleware_finds_it(rule: dict[str, Any], passes) -> None:
    """By route, URL name, view or prefix, by method, and only where it is enforced."""
    fields = {name: value for name, value in upload(**rule).items() if value is not None}
    with limited(fields):
        status = send(*[MB] * 11).status
    assert status == (200 if passes else 413)


def test_an_endpoint_is_found_below_a_root_path_and_by_its_decoded_path(settings) -> None:
    """As Django reads the scope."""
    with limited(upload()):
        below = send(*[MB] * 11, path="/mounted/raw/", root_path="/mounted")
        assert below.json() == {"bytes": 11 * MB}
        settings.FORCE_SCRIPT_NAME = "/forced"
        assert send(*[MB] * 11, path="/forced/raw/").json() == {"bytes": 11 * MB}


def test_a_share_of_the_clients_is_the_same_share() -> None:
    """By the address behind a trusted proxy, as the middleware counts it."""

    seen = set()
    with limited(upload(percent=50), trusted_proxies=["203.0.113.1"]):
        for number in range(12):
            headers = [(b"x-forwarded-for", f"198.51.100.{number}".encode())]
            answer = send(11 * MB, length=11 * MB, headers=headers)
            seen.add((answer.status, answer.asked))
    # Whom the larger limit is not for is cut, and not handed on for the middleware to refuse.
    assert seen == {(200, 1), (413, 0)}


def test_a_route_in_a_language_is_found(settings) -> None:
    """The language comes with the path, and LocaleMiddleware has not read it yet."""
    settings.ROOT_URLCONF = "tests.test_asgi"
    settings.LANGUAGES = [("en", "English"), ("de", "Deutsch")]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    with limited(upload()):
        for path in ("/de/raw/", "/en/raw/"):
            assert send(*[MB] * 11, path=path).json() == {"bytes": 11 * MB}
        assert send(*[MB] * 11, path="/fr/raw/").status == 413


def test_an_endpoint_that_cannot_be_found_has_the_site_s_limit(monkeypatch, caplog) -> None:
    """What fails there is logged, and neither opens the door nor fails the request."""

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    with limited(upload()):
        unreadable = send(*[65536] * 200, query_string=b"\xff")
        assert (unreadable.status, unreadable.asked) == (400, 161)
        assert not caplog.records
        monkeypatch.setattr(arrival, "match_of", fail)
        assert (send(*[65536] * 200).asked, send(5).json()) == (161, {"bytes": 5})
    assert "The endpoint of a body cannot be found" in caplog.text


def test_an_endless_body_is_let_go_after_a_moment(monkeypatch) -> None:
    """The answer is whole at once; the end of it comes when the client stops, or in time."""
    monkeypatch.setattr(asgi, "LINGER_S", 0.2)
    taken: list[int] = []
    application = limit_bodies(ASGIHandler())
    asked = scope("POST", "/raw/", headers=[CHUNKED])
    refused = asyncio.run(exchange(application, asked, endless(taken=taken)))
    assert (refused.status, refused.asked, refused.ended) == (413, 161, True)
    assert len(taken) > 161


def test_a_client_that_waits_to_be_asked_is_refused_and_not_asked() -> None:
    """Nothing is received before the answer, so no server says 100 Continue."""
    events: list[str] = []

    async def receive() -> dict[str, Any]:
        events.append("asked")
        return DISCONNECT

    async def answer(message: Any) -> None:
        events.append(message["type"])

    headers = [(b"content-length", b"20000000"), (b"expect", b"100-continue")]
    application = limit_bodies(ASGIHandler())
    asyncio.run(application(scope("POST", "/raw/", headers=headers), receive, answer))
    assert events[:3] == ["http.response.start", "http.response.body", "asked"]


def test_a_client_that_leaves_is_let_go() -> None:
    """Its disconnect reaches Django, before and after the limit."""
    application = limit_bodies(ASGIHandler())
    asked = scope("POST", "/raw/", headers=[CHUNKED])
    part = {"type": "http.request", "body": b"x" * MB, "more_body": True}
    left = asyncio.run(exchange(application, asked, [part, DISCONNECT]))
    assert (left.status, sized.called) == (0, [])
    refused = asyncio.run(exchange(application, asked, [*[part] * 11, DISCONNECT]))
    assert refused.status == 413


def test_without_a_limit_nothing_is_cut(settings) -> None:
    """``MAX_BODY_BYTES`` 0."""
    settings.PULSE = {"MAX_BODY_BYTES": 0}
    assert send(*[MB] * 11).json() == {"bytes": 11 * MB}


def test_switched_off_it_does_nothing(settings) -> None:
    """``ENABLED`` False."""
    settings.PULSE = {"ENABLED": False, "MAX_BODY_BYTES": 5}
    assert send(6).json() == {"bytes": 6}


def test_http_2_is_told_nothing_of_connections() -> None:
    """It forbids the header field (RFC 9113, 8.2.2)."""
    refused = send(11 * MB, length=11 * MB, http_version="2")
    assert (refused.status, "connection" in refused.headers) == (413, False)


def live(application: Any) -> list[str]:
    """Start and end a server; what it is told."""
    told: list[str] = []
    says = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(says)}

    async def answer(message: dict[str, Any]) -> None:
        told.append(message["type"])

    asyncio.run(limit_bodies(application)({"type": "lifespan"}, receive, answer))
    return told


async def lively(_: Any, receive: Any, answer: Any) -> None:
    for _ in range(2):
        await answer({"type": f"{(await receive())['type']}.complete"})


@pytest.mark.parametrize("application", [ASGIHandler(), lively])
def test_what_was_measured_is_sent_before_a_server_ends(application, redis_cache) -> None:
    """By pulse where Django refuses to hear of it, by what is around Django where that does."""
    record_request("/a/", "GET", 200, 1)
    assert live(application) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert window.read().total.requests == 1


def test_one_that_fails_to_start_says_so() -> None:
    async def failing(_: Any, receive: Any, answer: Any) -> None:
        await receive()
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError, match="no database"):
        live(failing)


def test_other_protocols_pass_untouched() -> None:
    """The very scope, and the very functions."""
    seen: list[Any] = []

    async def application(*parts: Any) -> None:
        seen.extend(parts)

    async def unused(*_: Any) -> Any:
        raise AssertionError

    asked = {"type": "websocket"}
    asyncio.run(limit_bodies(application)(asked, unused, unused))
    assert seen[0] is asked
    assert seen[1:] == [unused, unused]


# No view has half a body


def test_copies_of_the_scope_tell_of_the_cut_too() -> None:
    """Another ASGI application in between may have made one before the body came."""
    django = ASGIHandler()

    async def between(asked: Any, receive: Any, answer: Any) -> None:
        await django({**asked, "state": {}}, receive, answer)

    refused = send(*[MB] * 11, application=limit_bodies(between))
    assert (refused.status, sized.called) == (413, [])


@pytest.mark.parametrize("broken", ["judge", "context", "policy"])
def test_where_the_middleware_fails_the_body_is_refused_all_the_same(broken, monkeypatch) -> None:
    """Nothing that fails in pulse fails a request; this one would be half of one."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    where = {
        "judge": (body_step, "judge"),
        "context": (stack, "locate"),
        "policy": (current, "is_loaded"),
    }[broken]
    monkeypatch.setattr(*where, fail)
    limit = Arrival()
    limit.cut_at = 10 * MB
    asked = scope("POST", "/raw/", **{ARRIVAL: limit})
    refused = asyncio.run(exchange(ASGIHandler(), asked))
    assert refused.status == 413
    assert refused.json()["detail"] == "Request body too large (max 10MB)"
    assert sized.called == []


def test_a_middleware_that_knows_no_event_loop_changes_nothing(settings) -> None:
    """Django then runs pulse in a thread."""
    settings.MIDDLEWARE = ["pulse.middleware.PulseMiddleware", SYNC_ONLY]
    assert (send(*[MB] * 11).status, sized.called) == (413, [])
    settings.MIDDLEWARE = [SYNC_ONLY, "pulse.middleware.PulseMiddleware"]
    assert (send(*[MB] * 11).status, sized.called) == (413, [])


def test_without_the_middleware_it_cannot_be_made(settings) -> None:
    """Nobody would refuse what it cuts."""
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware", "no.such.Middleware"]
    with pytest.raises(ImproperlyConfigured, match="PulseMiddleware"):
        limit_bodies(ASGIHandler)


@pytest.mark.django_db(transaction=True)
def test_the_first_request_of_a_process_has_the_policy_s_limit() -> None:
    """An upload is not refused because nobody came before it; the event loop is not blocked."""
    from pulse.policies import document

    upload = {"name": "upload", "url_name": "raw", "max_body_bytes": 100 * MB}
    document.apply(
        {"version": 1, "endpoint_limits": [upload]}, Actor("user", "kim"), source="admin"
    )

    async def first() -> Exchange:
        headers = [(b"content-length", str(11 * MB).encode())]
        application = limit_bodies(ASGIHandler())
        return await exchange(application, scope("POST", "/raw/", headers=headers), chunks(11 * MB))

    current.forget()
    held, current._held.override = current._held.override, None
    try:
        assert not current.is_loaded()
        assert asyncio.run(first()).json() == {"bytes": 11 * MB}
    finally:
        current._held.override = held
