"""A command over a connection of redis-py, straight through its socket or by its own way."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from redis.exceptions import BusyLoadingError, NoScriptError, ResponseError

from pulse.store.connection import SILENT
from pulse.store.lines import PART, Line
from pulse.store.resp import pack_command


class OwnWay(redis.Connection):
    """A kind of connection that reads in a way of its own, as a host's tests may have one."""

    def read_response(self, *args, **kwargs):
        return b"my own: " + super().read_response(*args, **kwargs)


def opened(port: int, kind: type[redis.Connection] = redis.Connection) -> redis.Connection:
    made = kind(port=port, protocol=2, socket_timeout=2, **SILENT)
    made.connect()
    return made


@pytest.fixture
def port(redis_server) -> int:
    return int(redis_server.url.rpartition(":")[2].partition("/")[0])


@contextmanager
def answering(*parts: bytes) -> Iterator[Line]:
    """A line to a server that answers one command in these parts and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.recv(PART)
                for part in parts:
                    peer.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = opened(server.getsockname()[1])
        try:
            yield Line(connection, is_patient=False)
        finally:
            connection.disconnect()
            thread.join()


def fail(*args: object, **kwargs: object) -> None:
    raise AssertionError("redis-py was asked")


def test_a_plain_connection_is_gone_around(port, monkeypatch) -> None:
    """Its socket is enough: what redis-py does around it costs more than the socket."""
    connection = opened(port)
    line = Line(connection, is_patient=False)
    monkeypatch.setattr(connection, "send_packed_command", fail)
    monkeypatch.setattr(connection, "read_response", fail)
    assert line.exchange(pack_command(("ECHO", "a"))) == b"a"
    connection.disconnect()


def test_a_kind_of_connection_keeps_its_own_way(port) -> None:
    connection = opened(port, OwnWay)
    line = Line(connection, is_patient=False)
    assert line.exchange(pack_command(("ECHO", "a"))) == b"my own: a"
    connection.disconnect()


@pytest.mark.parametrize("kind", [redis.Connection, OwnWay])
def test_both_ways_raise_what_the_server_says(port, kind: type[redis.Connection]) -> None:
    """And the line can be used again: the reply has been read."""
    line = Line(opened(port, kind), is_patient=False)
    with pytest.raises(NoScriptError):
        line.exchange(pack_command(("EVALSHA", "0" * 40, 0)))
    with pytest.raises(ResponseError, match="wrong number"):
        line.exchange(pack_command(("GET",)))
    assert line.exchange(pack_command(("ECHO", "a"))).endswith(b"a")
    line.connection.disconnect()


def test_a_server_that_is_loading_is_no_error_of_the_request() -> None:
    """redis-py's own reading of an error is kept: this one is of the connection."""
    reply = b"-LOADING Redis is loading the dataset in memory\r\n"
    with answering(reply) as line, pytest.raises(BusyLoadingError):
        line.exchange(b"x")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_reply_may_come_in_parts(size: int) -> None:
    body = b"a" * (3 * PART)
    reply = b"*3\r\n:1\r\n$-1\r\n$%d\r\n%s\r\n" % (len(body), body)
    head = [reply[at : at + size] for at in range(0, 30, size)]
    with answering(*head, reply[len(b"".join(head)) :]) as line:
        assert line.exchange(b"x") == [1, None, body]


@pytest.mark.parametrize("parts", [(), (b"*2\r\n:1\r\n",)])
def test_a_server_that_hangs_up_is_no_reply(parts: tuple[bytes, ...]) -> None:
    with answering(*parts) as line, pytest.raises((redis.ConnectionError, OSError)):
        line.exchange(b"x")


def test_a_server_that_is_silent_is_waited_for_no_longer_than_the_connection_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = redis.Connection(
            port=server.getsockname()[1], protocol=2, socket_timeout=0.05, **SILENT
        )
        connection.connect()
        peer, _ = server.accept()
        with peer, pytest.raises((redis.TimeoutError, OSError), match="timed out"):
            Line(connection, is_patient=False).exchange(b"x")
        connection.disconnect()
