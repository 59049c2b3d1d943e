"""A process of the site that answers a worker's requests, one at a time, without a network.

``python -m pulse.probes.site_process SOCKET LIFE``: two open file descriptors. Each request goes
through the site's own WSGI application, with every middleware. It ends with its worker, whatever a
view does meanwhile: the kernel sends SIGIO when the worker's end of LIFE closes, and a timer's
SIGALRM some time after each request's limit; neither asks the interpreter.
"""

import contextlib
import fcntl
import io
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pulse.core.attempts import MAX_BODY_BYTES, MAX_HEADER_BYTES, Failure
from pulse.probes import frames

#: After a request's limit, at which its worker ends it; for one that is stopped itself.
GRACE_S: Final = 1.0
#: Nobody asked for so long: it ends, in seconds.
IDLE_S: Final = 300.0

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def main(arguments: list[str]) -> None:
    """Answer until the worker hangs up, or does not ask for long."""
    asked, life = (int(text) for text in arguments)
    _end_with_worker(life)
    os.set_inheritable(asked, False)  # noqa: FBT003 - the standard library's own
    worker = socket.socket(fileno=asked)
    application = _application()
    worker.sendall(frames.READY)
    worker.settimeout(IDLE_S)
    with contextlib.suppress(EOFError, TimeoutError, ConnectionError):
        while True:
            head, body = _receive(worker)
            signal.setitimer(signal.ITIMER_REAL, head["limit_s"] + GRACE_S)
            answer = answered(application, head, body)
            signal.setitimer(signal.ITIMER_REAL, 0)
            worker.sendall(answer)


def answered(application: Application, head: dict[str, Any], body: bytes) -> bytes:
    """Take one request through the application; its answer as a frame, within bounds."""
    began = time.perf_counter()
    told: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> Any:
        told["status"] = int(status.split(" ", 1)[0])
        told["headers"] = headers
        return _not_written

    chunks = application(_environ(head, body), start_response)
    first_byte = time.perf_counter()
    try:
        read, failure = _read(chunks, is_head=head["method"] == "HEAD")
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if sum(len(name) + len(value) for name, value in told["headers"]) > MAX_HEADER_BYTES:
        told["headers"], read, failure = [], b"", Failure.TOO_LARGE
    told |= {
        "failure": failure,
        "first_byte_ms": (first_byte - began) * 1000,
        "body_ms": (time.perf_counter() - first_byte) * 1000,
    }
    return frames.packed(told, read)


def _end_with_worker(life: int) -> None:
    """Have the kernel end this process when the other end of a pipe closes."""
    os.set_inheritable(life, False)  # noqa: FBT003 - as above
    for number in (signal.SIGIO, signal.SIGALRM):
        # What a worker ignores would be ignored here, too.
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO, signal.SIGALRM})
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:  # It closed before the kernel was told.
        sys.exit(1)


def _application() -> Application:
    import django
    from django.core.servers.basehttp import get_internal_wsgi_application

    django.setup()
    application: Application = get_internal_wsgi_application()
    return application


def _receive(worker: socket.socket) -> tuple[dict[str, Any], bytes]:
    head, body = frames.lengths_of(_exactly(worker, frames.LENGTHS.size))
    return frames.head_of(_exactly(worker, head)), _exactly(worker, body)


def _exactly(worker: socket.socket, number: int) -> bytes:
    parts = bytearray()
    while len(parts) < number:
        part = worker.recv(number - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _environ(head: dict[str, Any], body: bytes) -> dict[str, Any]:
    path, _, query = head["target"].partition("?")
    host, _, port = head["authority"].rpartition(":")
    if not port.isdecimal():
        host, port = head["authority"], "443" if head["scheme"] == "https" else "80"
    environ = {
        "REQUEST_METHOD": head["method"],
        "SCRIPT_NAME": "",
        # As WSGI has it: each byte one character (PEP 3333).
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": head["authority"],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": head["scheme"],
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if body or head["method"] in {"POST", "PUT", "PATCH"}:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in head["headers"].items():
        key = name.upper().replace("-", "_")
        raw = value.encode().decode("latin-1")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = raw
    return environ


def _read(chunks: Iterable[bytes], *, is_head: bool) -> tuple[bytes, str | None]:
    read = bytearray()
    for chunk in _nonempty(chunks):
        if is_head:
            continue
        read += chunk
        if len(read) > MAX_BODY_BYTES:
            return b"", Failure.TOO_LARGE
    return bytes(read), None


def _nonempty(chunks: Iterable[bytes]) -> Iterator[bytes]:
    return (chunk for chunk in chunks if chunk)


def _not_written(_data: bytes) -> None:
    raise NotImplementedError("No Django response writes by itself.")


if __name__ == "__main__":
    main(sys.argv[1:])
