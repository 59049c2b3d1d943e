"""Every kind of answer, good and hostile, within bounds (S2-49, S2-52)."""

import asyncio
import gzip
import socket
import struct
import tracemalloc
import zlib

import pytest

from pulse.core.attempts import MAX_BODY_BYTES, Answer, Call, Failure
from pulse.exceptions import CallFailed
from pulse.probes.client.calls import send
from pulse.probes.client.reader import BODY, HEADERS, Reader
from tests.probes.client.servers import Server, answering, ok, read_head, serving


def call(server: Server, method: str = "GET", **fields) -> Answer:
    fields.setdefault("allow_networks", ("127.0.0.0/8", "::1/128"))
    fields.setdefault("timeout_s", 20)
    return asyncio.run(send(Call(method, fields.pop("url", server.url), **fields)))


def answer_to(*parts: bytes, method: str = "GET", lingers: bool = False, **fields) -> Answer:
    with serving(answering(*parts, lingers=lingers)) as server:
        return call(server, method, **fields)


def test_a_whole_answer() -> None:
    """Status, headers, body, address and times are told."""
    answer = answer_to(ok(b"hello", "X-A: 1", "x-a: 2", "Server: s"))
    assert (answer.failure, answer.detail) == (None, "")
    assert (answer.status_code, answer.body, answer.bytes) == (200, b"hello", 5)
    assert answer.headers == {"content-length": "5", "x-a": "1, 2", "server": "s"}
    assert answer.address == "127.0.0.1"
    assert (answer.phases.dns, answer.phases.tls) == (None, None)
    spent = (answer.phases.connect, answer.phases.first_byte, answer.phases.body)
    assert all(part is not None and part >= 0 for part in spent)
    assert sum(part for part in spent if part) <= answer.latency_ms
    assert answer.certificate_days is None


def test_what_is_sent() -> None:
    """One request line, the client's own headers, then the caller's."""
    with serving(answering(ok())) as server:
        call(
            server,
            "POST",
            url=f"{server.url}a b?c=d".replace(" ", "%20"),
            headers={"X-A": "1", "accept": "text/html"},
            secret_headers={"Authorization": "Bearer s"},
            body=b'{"a": 1}',
        )
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "POST /a%20b?c=d HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: close",
        "User-Agent: pulse",
        "Accept-Encoding: identity",
        "X-A: 1",
        "accept: text/html",
        "Authorization: Bearer s",
        "Content-Length: 8",
    ]
    assert body == b'{"a": 1}'


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "status", "body"),
    [
        ([CHUNKED, b"2\r\nab\r\n", b"1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n"], 200, b"abc"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"till ", b"the end"], 200, b"till the end"),
        ([b"HTTP/1.0 200 OK\r\n\r\nold"], 200, b"old"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\nnothing of it"], 204, b""),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"], 304, b""),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", ok(b"then")], 200, b"then"),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + ok(b"then")], 200, b"then"),
        ([ok(b"one") + ok(b"two")], 200, b"one"),
        ([ok(b"one") + b"\x00garbage"], 200, b"one"),
        ([b"HTTP/1.1 299 \r\nContent-Length: 1\r\n\r\nx"], 299, b"x"),
        ([b"HTTP/1.1 999 \r\nContent-Length: 1\r\n\r\nx"], 999, b"x"),
        ([b"HTTP/1.1 500 Oh no\r\nContent-Length: 2\r\n\r\nno"], 500, b"no"),
        ([*(bytes([byte]) for byte in ok(b"drop by drop"))], 200, b"drop by drop"),
    ],
)
def test_every_framing(parts: list[bytes], status: int, body: bytes) -> None:
    """Length, chunks, end of connection, interim answers, what has no body."""
    answer = answer_to(*parts)
    assert (answer.failure, answer.status_code, answer.body) == (None, status, body)
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    "parts",
    [[ok(b"a body")], [b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"], [CHUNKED]],
)
def test_an_answer_to_head_ends_with_its_headers(parts: list[bytes]) -> None:
    """Whatever it says of a body, and however long its server keeps the connection."""
    answer = answer_to(*parts, method="HEAD", lingers=True)
    assert (answer.failure, answer.status_code, answer.body) == (None, 200, b"")


@pytest.mark.parametrize("parts", [[ok(b"a")], [CHUNKED, b"1\r\na\r\n0\r\n\r\n"], [ok(b"")]])
def test_a_server_that_keeps_the_connection_is_not_waited_for(parts: list[bytes]) -> None:
    """A whole answer is whole, though nobody closes."""
    assert answer_to(*parts, lingers=True).failure is None


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"hello"],
        [b"<html>HTTP/0.9</html>"],
        [b"HTTP/2.0 200 OK\r\n\r\n"],
        [b"HTTP/1.1 OK\r\n\r\n"],
        [b"HTTP/1.1 999999 OK\r\n\r\n"],
        [b"HTTP/1.1 099 OK\r\n\r\n"],
        [b"SSH-2.0-OpenSSH_9\r\n"],
        [b"\x16\x03\x01\x00\x05"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\n"],
        [CHUNKED, b"5\r\nab"],
        [CHUNKED, b"zz\r\nab\r\n"],
        [CHUNKED, b"ffffffffffffffffff\r\nab\r\n"],
        [CHUNKED, b"1\r\nabc\r\n0\r\n\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nzz"],
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
    ],
)
def test_what_is_no_answer_is_a_protocol_failure(parts: list[bytes]) -> None:
    """Garbage, another protocol, lies about length, and half an answer."""
    answer = answer_to(*parts)
    assert answer.failure is Failure.PROTOCOL
    assert answer.detail.endswith(".")
    assert answer.body == b""


def test_reset_in_the_middle_of_a_body() -> None:
    """The status is known, the answer is not whole."""

    def handle(connection: socket.socket, server: Server) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        server.ended.wait(0.2)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with serving(handle) as server:
        answer = call(server)
    assert (answer.failure, answer.status_code) == (Failure.PROTOCOL, 200)


def test_an_answer_before_the_request_was_taken_counts() -> None:
    """A server may refuse a body and close while it is still being sent."""

    def handle(connection: socket.socket, server: Server) -> None:
        connection.recv(1000)
        connection.sendall(ok(b"too much", status="413 Content Too Large"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with serving(handle) as server:
        answer = call(server, "POST", body=bytes(8_000_000))
    assert (answer.failure, answer.status_code) == (None, 413)


def flooding(first: bytes, more: bytes) -> Answer:
    def handle(connection: socket.socket, server: Server) -> None:
        read_head(connection)
        connection.sendall(first)
        while not server.ended.is_set():
            connection.sendall(more)

    with serving(handle) as server:
        return call(server)


@pytest.mark.parametrize(
    ("first", "more", "detail"),
    [
        (b"HTTP/1.1 200 ", b"x" * 10_000, HEADERS),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 10_000, HEADERS),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000, HEADERS),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, HEADERS),
        (CHUNKED + b"1\r\na\r\n0\r\n", b"T: y\r\n" * 1000, HEADERS),
        (CHUNKED + b"1;", b"x" * 10_000, BODY),
        (CHUNKED, b"1\r\na\r\n" * 1000, BODY),
        (CHUNKED, b"2710\r\n" + b"x" * 10_000 + b"\r\n", BODY),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000, BODY),
        (f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(), b"", BODY),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", b"x", BODY),
    ],
)
def test_what_never_ends_is_too_large(first: bytes, more: bytes, detail: str) -> None:
    """Status lines, headers, trailers, chunks and bodies are bounded, each by its own bound."""
    answer = flooding(first, more)
    assert (answer.failure, answer.detail, answer.body) == (Failure.TOO_LARGE, detail, b"")


def test_bounds_are_exact() -> None:
    """A body of 1 MB passes, one byte more does not; likewise 64 KB of headers."""
    assert len(answer_to(ok(bytes(MAX_BODY_BYTES))).body) == MAX_BODY_BYTES
    assert answer_to(ok(bytes(MAX_BODY_BYTES + 1))).failure is Failure.TOO_LARGE
    assert answer_to(ok(b"", f"X: {'y' * 65_000}")).failure is None
    assert answer_to(ok(b"", f"X: {'y' * 66_000}")).failure is Failure.TOO_LARGE


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("gzip", gzip.compress(b"hello" * 100, mtime=0)),
        ("X-GZIP", gzip.compress(b"hello" * 100, mtime=0)),
        ("deflate", zlib.compress(b"hello" * 100)),
        ("deflate", zlib.compress(b"hello" * 100, wbits=-15)),
        ("br", b"hello" * 100),
        ("identity", b"hello" * 100),
    ],
)
def test_encodings_that_nobody_asked_for(encoding: str, encoded: bytes) -> None:
    """gzip and deflate are inflated, others left as they are."""
    answer = answer_to(ok(encoded, f"Content-Encoding: {encoding}"))
    assert (answer.failure, answer.body) == (None, b"hello" * 100)
    assert answer.bytes == len(encoded)


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_too_large(encoding: str, level: int) -> None:
    """A hundred megabytes of nothing never come into being."""
    wbits = 31 if encoding == "gzip" else 15
    packer = zlib.compressobj(level, wbits=wbits)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush()
    answer = answer_to(ok(bomb, f"Content-Encoding: {encoding}"))
    assert answer.failure is Failure.TOO_LARGE
    assert answer.body == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_no_more_is_inflated_than_is_kept(encoding: str) -> None:
    """However much a few bytes would become: memory is bounded, not the outcome alone."""
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    reader = Reader("GET", lambda: None)
    data = ok(bomb, f"Content-Encoding: {encoding}")
    tracemalloc.start()
    try:
        with pytest.raises(CallFailed, match=BODY):
            reader.feed(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_BODY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"hello" * 100, mtime=0)[:-9]])
def test_a_broken_encoding_is_a_protocol_failure(body: bytes) -> None:
    """Neither half a body nor another one is shown as whole."""
    answer = answer_to(ok(body, "Content-Encoding: gzip"))
    assert answer.failure is Failure.PROTOCOL


def test_nothing_encoded_is_nothing() -> None:
    """An empty body may say that it is encoded."""
    assert answer_to(ok(b"", "Content-Encoding: gzip")).failure is None


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({"X-A\r\nX-B": "1"}, {}),
        ({"X-A": "1\r\nX-B: 2"}, {}),
        ({"X-A": "1\nX-B: 2"}, {}),
        ({"X-A": "1\x00"}, {}),
        ({"X A": "1"}, {}),
        ({"": "1"}, {}),
        ({"X-A:": "1"}, {}),
        ({"X-Ä": "1"}, {}),
        ({"X-A": "\ud800"}, {}),
        ({"Host": "b.test"}, {}),
        ({"transfer-encoding": "chunked"}, {}),
        ({"Content-Length": "0"}, {}),
        ({}, {"Authorization": "hunter2\r\nX-B: 2"}),
    ],
)
def test_no_header_is_sent_that_would_be_two(headers, secret) -> None:
    """Nothing is connected to, and no value is repeated (S2-42)."""
    with serving(answering(ok())) as server:
        answer = call(server, headers=headers, secret_headers=secret)
    assert answer.failure is Failure.INTERNAL
    assert answer.detail.startswith("The header ")
    assert "hunter2" not in answer.detail
    assert server.accepted == []


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\n", ""])
def test_no_other_method_is_sent(method: str) -> None:
    """A method is one of seven words."""
    with serving(answering(ok())) as server:
        assert call(server, method).failure is Failure.INTERNAL
    assert server.accepted == []


def test_secrets_stand_in_no_repr_and_no_log(caplog) -> None:
    """Not in what is logged, shown or raised (S2-41)."""
    secret = {"Authorization": "hunter2"}
    sent = Call("GET", "http://127.0.0.1:1/", secret_headers=secret, body=b"hunter2")
    answer = asyncio.run(send(sent))
    assert "hunter2" not in f"{sent!r} {answer!r} {caplog.text}"


def test_a_later_header_of_the_same_name_wins() -> None:
    """Names are told apart without their case; a secret one stands in for a plain one."""
    with serving(answering(ok())) as server:
        call(server, headers={"X-KEY": "plain"}, secret_headers={"x-key": "secret"})
    assert b"plain" not in server.requests[0]
    assert server.requests[0].count(b"x-key: secret") == 1


def test_ipv6() -> None:
    """Address and Host are written as IPv6 is."""
    with serving(answering(ok()), family=socket.AF_INET6) as server:
        answer = call(server, url=f"http://[::1]:{server.port}/")
    assert (answer.failure, answer.address) == (None, "::1")
    assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]
