"""Servers on loopback that answer as no server should, and count who comes."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Handler = Callable[[socket.socket], None]


@dataclass
class Server:
    """A listener and what it saw."""

    port: int
    accepted: list[socket.socket] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    #: Set at the end, so that a handler that dawdles leaves off.
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


def read_head(connection: socket.socket) -> bytes:
    """Read a request up to the blank line, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


@contextlib.contextmanager
def serving(
    handle: Callable[[socket.socket, Server], None],
    *,
    family: socket.AddressFamily = socket.AF_INET,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Serve each connection in a thread of its own, by ``handle``, which may break off."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(("::1" if family is socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen(256)
    server = Server(listener.getsockname()[1])

    def serve_one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
            handle(connection, server)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(30)
            server.accepted.append(connection)
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in server.accepted:
            connection.close()


def answering(*parts: bytes, lingers: bool = False) -> Callable[[socket.socket, Server], None]:
    """Answer each request with these bytes, one write each; then close, unless it lingers."""

    def handle(connection: socket.socket, server: Server) -> None:
        server.requests.append(read_head(connection))
        for part in parts:
            connection.sendall(part)
        if lingers:
            server.ended.wait(30)

    return handle


def ok(body: bytes = b"ok", *headers: str, status: str = "200 OK") -> bytes:
    """Write an answer with a length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """Write an answer that leads elsewhere."""
    return ok(b"", f"Location: {location}", status=status)
