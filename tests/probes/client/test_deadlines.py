"""One deadline over everything, and nothing left open however a call ends."""

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pulse.core.attempts import Answer, Call, Failure
from pulse.probes.client import lookups
from pulse.probes.client.calls import send
from pulse.probes.client.lookups import Lookups
from tests.probes.client.servers import Server, answering, ok, read_head, serving

#: Far below what the servers here dawdle, far above what a call takes.
SHORT_S = 1.0


def call(url: str, **fields) -> Answer:
    fields.setdefault("timeout_s", SHORT_S)
    return asyncio.run(send(Call("GET", url, allow_networks=("127.0.0.0/8",), **fields)))


def silent(connection: socket.socket, server: Server) -> None:
    """Take the connection and say nothing."""
    server.ended.wait(30)


def slow_headers(connection: socket.socket, server: Server) -> None:
    """A byte of a header now and then: each in time, all together never."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not server.ended.wait(0.02):
        connection.sendall(b"y")


def slow_body(connection: socket.socket, server: Server) -> None:
    """The same with the body."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not server.ended.wait(0.02):
        connection.sendall(b"y")


def slow_redirects(connection: socket.socket, server: Server) -> None:
    """Each step takes its time, and leads on."""
    read_head(connection)
    server.ended.wait(0.6 * SHORT_S)
    connection.sendall(ok(b"", "Location: /next", status="302 Found"))


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A listener that accepts nobody, whose queue is full: a connection is never made."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("handle", "waiting", "status"),
    [
        (silent, "waiting for the first byte", None),
        (slow_headers, "reading the answer", None),
        (slow_body, "reading the answer", 200),
        (slow_redirects, "waiting for the first byte", None),
    ],
)
def test_whoever_dawdles_is_left(handle, waiting, status) -> None:
    """Drop by drop is no way past the deadline; what was waited for is told."""
    with serving(handle) as server:
        answer = call(server.url, follow_redirects=3)
    assert (answer.failure, answer.status_code) == (Failure.TIMEOUT, status)
    assert answer.detail == f"There was no whole answer within {SHORT_S:g} s: {waiting}."
    assert SHORT_S * 1000 <= answer.latency_ms < 10_000


def test_a_connection_that_is_never_made() -> None:
    """The deadline holds before there is a connection."""
    with full_backlog() as port:
        answer = call(f"http://127.0.0.1:{port}/")
    assert answer.failure is Failure.TIMEOUT
    assert answer.detail.endswith(": connecting.")


def test_a_handshake_that_never_ends() -> None:
    """And during TLS."""
    with serving(silent) as server:
        answer = call(f"https://127.0.0.1:{server.port}/")
    assert answer.failure is Failure.TIMEOUT
    assert answer.detail.endswith(": the TLS handshake.")


class Hanging:
    """A network whose resolver never answers."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.asked = 0

    def look_up(self, host: str) -> list[str]:
        self.asked += 1
        self.ended.wait(30)
        return ["127.0.0.1"]

    def route(self, address: str, port: int) -> tuple[str, int]:
        return address, port


def test_a_look_up_that_hangs(monkeypatch) -> None:
    """getaddrinfo cannot be broken off, so it is left behind."""
    hanging, own = Hanging(), Lookups(max_threads=2)
    monkeypatch.setattr("pulse.probes.client.dial.lookups", own)

    async def many() -> list[Answer]:
        sent = Call("GET", "http://a.test/", timeout_s=SHORT_S)
        return await asyncio.gather(*(send(sent, hanging) for _ in range(20)))

    answers = asyncio.run(many())
    assert {answer.failure for answer in answers} == {Failure.TIMEOUT}
    assert {answer.detail.rpartition(": ")[2] for answer in answers} == {"looking the name up."}
    hanging.ended.set()
    assert own.submit(lambda: ["after"]).result(10) == ["after"]
    assert hanging.asked == 2  # Who waited for a thread in vain was never begun.


def test_a_look_up_has_a_limit_of_its_own(monkeypatch) -> None:
    """A failure of DNS is told as one, where the deadline leaves time for it."""
    hanging = Hanging()
    monkeypatch.setattr("pulse.probes.client.dial.lookups", Lookups(max_threads=1))
    monkeypatch.setattr("pulse.probes.client.dial.LOOKUP_S", 0.1)
    answer = asyncio.run(send(Call("GET", "http://a.test/", timeout_s=20), hanging))
    hanging.ended.set()
    assert answer.failure is Failure.DNS
    assert "the look-up took more than" in answer.detail


def test_threads_of_a_parent_are_not_counted_on() -> None:
    """After a fork the child starts its own."""
    assert lookups.lookups.submit(lambda: ["parent"]).result(10) == ["parent"]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.write(writer, lookups.lookups.submit(lambda: ["child"]).result(10)[0].encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"child"
    os.close(reader)


def test_an_error_of_a_look_up_is_raised_where_it_is_awaited() -> None:
    """And the thread goes on."""
    own: Lookups[list[str]] = Lookups(max_threads=1)

    def fail() -> list[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        own.submit(fail).result(10)
    assert own.submit(lambda: ["on"]).result(10) == ["on"]


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


#: In a process of its own, so that its files are not counted: says something, never all.
HALF = """
import asyncio, sys
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(sys.argv[1].encode().decode("unicode_escape").encode())
    await reader.read()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextlib.contextmanager
def half_answering(answer: str) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", HALF, answer], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("scheme", "answer"),
    [
        ("http", ""),
        ("http", r"HTTP/1.1 200 OK\r\nX: "),
        ("http", r"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
        ("https", ""),
    ],
)
def test_five_hundred_broken_off_calls_leave_nothing_open(scheme: str, answer: str) -> None:
    """Cancelled at any moment, the connection is closed before the cancellation arrives."""

    async def break_off(port: int) -> None:
        sent = Call("GET", f"{scheme}://127.0.0.1:{port}/", trusts_origin=True, timeout_s=30)
        await send(replace(sent, timeout_s=0.1))  # Whatever is loaded once.
        loop = asyncio.get_running_loop()
        before = open_files()
        for round_number in range(10):
            tasks = [loop.create_task(send(sent)) for _ in range(50)]
            await asyncio.sleep(0.01 * round_number)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(end) for end in ended} == {asyncio.CancelledError}
            assert open_files() <= before

    with half_answering(answer) as port:
        asyncio.run(break_off(port))


def test_answers_and_failures_leave_nothing_open() -> None:
    """Nor does a call that ends by itself, well or badly."""

    async def main(port: int, dead: int) -> None:
        urls = [f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{dead}/", "http://10.0.0.1/", "x:"]
        calls = [Call("GET", url, allow_networks=("127.0.0.0/8",), timeout_s=20) for url in urls]
        before = open_files()
        for _ in range(20):
            await asyncio.gather(*(send(call) for call in calls))
        assert open_files() <= before + len(server.accepted)

    with serving(answering(ok())) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        asyncio.run(main(server.port, closed.getsockname()[1]))
        deadline = time.monotonic() + 10
        while any(one.fileno() >= 0 for one in server.accepted) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert all(one.fileno() < 0 for one in server.accepted)
