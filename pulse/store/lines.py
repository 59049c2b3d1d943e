"""One command and its reply over a connection that redis-py opened."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError

try:
    from hiredis import Reader
except ImportError:
    Reader = None  # type: ignore[assignment, misc]  # as where redis-py has none

#: Bytes that are asked for at once; a decision is told in some hundred.
PART: Final = 4096


class Connection(Protocol):
    """What is used of redis-py's connections."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float = 0) -> bool: ...
    def send_packed_command(self, command: Sequence[bytes], *, check_health: bool) -> None: ...
    def read_response(self) -> Any: ...


class Line:
    """A connection, and how a command goes over it.

    Attributes:
        exchange: Sends a packed command and reads its reply; raises RedisError or OSError where
            one of the two fails, and what the server says where that is an error.
        is_patient: It waits as long as the first call of a process may take.
        used_at: When it was given back, in seconds of the monotonic clock.
    """

    __slots__ = ("connection", "exchange", "is_patient", "used_at")

    def __init__(self, connection: Connection, *, is_patient: bool) -> None:
        self.connection = connection
        self.exchange = _straight(connection) or _by_redis_py(connection)
        self.is_patient = is_patient
        self.used_at = 0.0


def _by_redis_py(connection: Connection) -> Callable[[bytes], Any]:
    def exchange(packed: bytes) -> Any:
        connection.send_packed_command((packed,), check_health=False)
        return connection.read_response()

    return exchange


def _straight(connection: Connection) -> Callable[[bytes], Any] | None:
    """Return an exchange by the connection's own socket, None where it may not be gone around.

    What redis-py does around the two calls of the socket costs more than they do: a tenth of a
    decision. A kind of connection that sends or reads in a way of its own keeps it.
    """
    kind: Any = type(connection)
    sock: Any = getattr(connection, "_sock", None)
    parse_error: Any = getattr(getattr(connection, "_parser", None), "parse_error", None)
    is_plain = (
        kind.send_packed_command is AbstractConnection.send_packed_command
        and kind.read_response is AbstractConnection.read_response
    )
    if Reader is None or sock is None or parse_error is None or not is_plain:
        return None
    send, receive, reader = sock.sendall, sock.recv, Reader(replyError=parse_error)
    feed, gets = reader.feed, reader.gets

    def exchange(packed: bytes) -> Any:
        send(packed)
        reply = False
        while reply is False:  # As hiredis says that there is more to come.
            part = receive(PART)
            if not part:
                raise NoConnection("Redis closed the connection")
            feed(part)
            reply = gets()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    return exchange
