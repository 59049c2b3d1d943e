"""Bodies against real servers, by raw sockets: what is too large costs nothing and calls nobody."""

import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sites import Site, running, wait_until

MB = 2**20
PIECE = b"x" * 65536
#: What serving a request may add to a process, whatever the size of the body.
FLAT_KB = 24 * 1024
UPLOAD = {"name": "upload", "url_name": "upload", "max_body_bytes": 300 * MB}
SLOW = {"name": "slow", "url_name": "slow", "timeout_s": 0.3}


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(request, redis_server, tmp_path_factory) -> Iterator[Site]:
    with redis_server.client() as client:
        client.flushdb()
    directory = tmp_path_factory.mktemp("site")
    (directory / "called").touch()
    site = Site(
        directory,
        redis_server.url,
        server=request.param,
        processes=1,
        DJANGO_SETTINGS_MODULE="tests.flows.body_settings",
        CALLED=str(directory / "called"),
    )
    site.apply({"endpoint_limits": []}, prune=True)
    yield from running(site)


@dataclass(frozen=True)
class Reply:
    """What came back, and how much had been sent by then."""

    status: int
    head: str
    detail: str
    sent: int
    seconds: float


def ask(site: Site, head: str, body: Iterator[bytes], path: str = "/api/echo/") -> Reply:
    """Send a request until it is answered, as a client does that listens while it sends."""
    began, sent = time.monotonic(), 0
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "X-Forwarded-For: 203.0.113.7", head]
        connection.sendall(("\r\n".join(line for line in lines if line) + "\r\n\r\n").encode())
        try:
            for part in body:
                if select.select([connection], [], [], 0)[0]:
                    break
                connection.sendall(part)
                sent += len(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # It was closed on us; what was said before that is still to be read.
        answer = _read(connection)
    status = int(answer.split(b" ", 2)[1])
    header, _, content = answer.partition(b"\r\n\r\n")
    try:
        detail = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = ""
    return Reply(status, header.decode("latin-1").lower(), detail, sent, time.monotonic() - began)


def _read(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer) < _whole(answer):
        part = connection.recv(65536)
        if not part:
            break
        answer += part
    return answer


def _whole(answer: bytes) -> int:
    head, _, _ = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(head) + 4 + (int(lengths[0].split(b":")[1]) if lengths else 0)


def plain(size: int) -> Iterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


def chunked(size: int) -> Iterator[bytes]:
    for part in plain(size):
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def called(site: Site) -> list[str]:
    return Path(site.environment["CALLED"]).read_text().split()


@pytest.fixture(autouse=True)
def nobody_called(site: Site) -> None:
    Path(site.environment["CALLED"]).write_text("")


def peak_kb(site: Site) -> int:
    """The most memory that the process that serves has had."""
    assert site._process is not None
    serving = site._process.pid
    children = Path(f"/proc/{serving}/task/{serving}/children").read_text().split()
    status = Path(f"/proc/{children[0] if children else serving}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_11_mb_by_their_length(site: Site) -> None:
    """413 before the body is read, with the text; the view is not called (S3-10, S1-21, S1-22)."""
    reply = ask(site, f"Content-Length: {11 * MB}", plain(11 * MB))
    assert (reply.status, reply.detail) == (413, "Request body too large (max 10MB)")
    assert reply.sent < 11 * MB
    assert called(site) == []


def test_11_mb_in_chunks(site: Site) -> None:
    """411 where chunks cannot be counted, 413 where they are (S3-10, trap 9)."""
    reply = ask(site, "Transfer-Encoding: chunked", chunked(11 * MB))
    if site.server == "wsgi":
        assert (reply.status, reply.detail[:29]) == (411, "A body needs a Content-Length")
    else:
        assert (reply.status, reply.detail) == (413, "Request body too large (max 10MB)")
    assert called(site) == []


def test_a_length_that_lies_beside_chunks(site: Site) -> None:
    """Two ways to say how long: a bad request, by the server or by pulse (trap 9)."""
    both = "Content-Length: 10\r\nTransfer-Encoding: chunked"
    assert ask(site, both, chunked(MB)).status == 400
    assert ask(site, both, chunked(11 * MB)).status == 400
    assert called(site) == []


def test_a_length_that_says_too_much(site: Site) -> None:
    """Refused for what it says; nobody waits for what does not come."""
    reply = ask(site, f"Content-Length: {200 * MB}", iter([b"few"]))
    assert (reply.status, called(site)) == (413, [])
    assert reply.seconds < 2


def test_a_length_that_says_too_little(site: Site) -> None:
    """The view has what was said, and not a byte more; the rest is no request.

    uvicorn's parser reads on before it answers, and takes the rest for a broken request.
    """
    reply = ask(site, "Content-Length: 5", plain(11 * MB), "/api/upload/")
    if site.server == "wsgi":
        assert (reply.status, called(site)) == (200, ["upload"])
    else:
        assert reply.status in {200, 400}
        assert called(site) in ([], ["upload"])


@pytest.mark.parametrize("length", ["-5", "+5", "5_0", "0x5", "abc", "5, 6"])
def test_a_broken_length(site: Site, length: str) -> None:
    """400, by the server or by pulse (S3-10)."""
    reply = ask(site, f"Content-Length: {length}", iter([b"12345"]))
    assert (reply.status, called(site)) == (400, [])


def test_a_client_that_waits_to_be_asked(site: Site) -> None:
    """``Expect: 100-continue``: it is refused, and not asked to send what is then thrown away."""
    head = f"Content-Length: {11 * MB}\r\nExpect: 100-continue"
    reply = ask(site, head, iter(()))
    if site.server == "asgi":  # gunicorn asks before it calls anybody.
        assert reply.status == 413
        assert reply.seconds < 1
    assert called(site) == []


def test_the_connection_of_a_body_that_was_not_read_is_ended(site: Site) -> None:
    """Where an application may say so; a WSGI server does so itself, or reads the rest."""
    reply = ask(site, f"Content-Length: {11 * MB}", plain(11 * MB))
    if site.server == "asgi":
        assert "connection: close" in reply.head


def test_memory_stays_flat_whatever_is_sent(site: Site) -> None:
    """200 MB by length and in chunks, from a client that never listens (S1-21, DESIGN 7)."""
    before = peak_kb(site)
    for head, body in (
        (f"Content-Length: {200 * MB}", plain),
        ("Transfer-Encoding: chunked", chunked),
    ):
        assert ask(site, head, body(200 * MB)).status in {411, 413}
        _send_deaf(site, head, body(200 * MB))
    assert peak_kb(site) - before < FLAT_KB
    assert called(site) == []
    assert site.get("/healthz").status == 200


def _send_deaf(site: Site, head: str, body: Iterator[bytes]) -> None:
    """Send all of it, or until the connection is closed, and read nothing."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        connection.sendall(
            f"POST /api/echo/ HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode()
        )
        try:
            for part in body:
                connection.sendall(part)
        except OSError:
            return


def test_a_large_upload_passes_where_it_may_and_through_the_disk(site: Site) -> None:
    """200 MB to the endpoint that takes 300, with memory as before (S1-20, S1-23)."""
    site.apply({"endpoint_limits": [UPLOAD]}, prune=True)
    elsewhere = f"Content-Length: {11 * MB}"
    wait_until(lambda: ask(site, elsewhere, plain(11 * MB), "/api/upload/").status == 200)
    before = peak_kb(site)
    reply = ask(site, f"Content-Length: {200 * MB}", plain(200 * MB), "/api/upload/")
    assert (reply.status, reply.sent) == (200, 200 * MB)
    assert peak_kb(site) - before < FLAT_KB
    # The door is open to 300 MB, and the other endpoint takes 10 as before.
    refused = ask(site, elsewhere, plain(11 * MB))
    assert (refused.status, refused.detail) == (413, "Request body too large (max 10MB)")
    beyond = ask(site, f"Content-Length: {301 * MB}", plain(301 * MB), "/api/upload/")
    assert beyond.detail == "Request body too large (max 300MB)"
    site.apply({"endpoint_limits": []}, prune=True)


def test_a_body_in_chunks_is_cut_at_what_its_own_endpoint_takes(site: Site) -> None:
    """10 MB beside an endpoint that takes 300: under ASGI no more is kept than that (S1-23)."""
    site.apply({"endpoint_limits": [UPLOAD]}, prune=True)
    length = f"Content-Length: {11 * MB}"
    wait_until(lambda: ask(site, length, plain(11 * MB), "/api/upload/").status == 200)
    Path(site.environment["CALLED"]).write_text("")
    refused = ask(site, "Transfer-Encoding: chunked", chunked(200 * MB))
    if site.server == "asgi":
        assert (refused.status, refused.detail) == (413, "Request body too large (max 10MB)")
        # What is on its way between the two sockets was sent, and not kept.
        assert 10 * MB <= refused.sent < 50 * MB
    else:
        assert refused.status == 411
    assert called(site) == []
    site.apply({"endpoint_limits": []}, prune=True)


def test_an_answer_that_takes_too_long(site: Site) -> None:
    """Cancelled and refused under ASGI; logged under WSGI, where the answer stands (S1-57)."""
    site.apply({"endpoint_limits": [SLOW]}, prune=True)
    logged = "longer than its limit of 0.3 s (endpoint_limits:slow)"

    def in_force() -> bool:
        began = time.monotonic()
        answer = site.get("/api/slow/?seconds=1")
        if site.server == "wsgi":
            return answer.status == 200 and logged in site.logged()
        return answer.status == 503 and time.monotonic() - began < 0.9

    wait_until(in_force)
    if site.server == "asgi":
        answer = site.get("/api/slow/?seconds=1")
        assert answer.json()["detail"] == "The request took longer than 0.3 seconds."
        assert logged not in site.logged()
