"""What each serving process does before it counts as ready: answer once, and say so.

The mark is a file named by the process id, so that the supervisor knows which processes serve
under any server.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication
from wsgiref.util import setup_testing_defaults

PROBE = "/readyz"
MARKS = "DEMO_MARKS"
"""The environment variable that names the directory of marks."""

Message = Mapping[str, Any]
AsgiApplication = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


class NotReady(RuntimeError):
    """The site was loaded, and does not answer well."""


def answer_once(application: WSGIApplication) -> None:
    """Ask the WSGI ``application`` whether it is ready; this imports what is imported late."""
    environ: dict[str, Any] = {"PATH_INFO": PROBE, "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    status: list[str] = []

    def start_response(line: str, _headers: object, _error: object = None) -> Callable[..., object]:
        status.append(line)
        return status.append

    body = application(environ, _as_start_response(start_response))
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close:
        close()
    _require_ok(int(status[0].split()[0]))


async def answer_once_async(application: AsgiApplication) -> None:
    """Ask the ASGI ``application`` the same."""
    status: list[int] = []
    messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()  # this client stays until it is answered
        return messages.pop()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": PROBE,
        "raw_path": PROBE.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80),
    }
    await application(scope, receive, send)
    _require_ok(status[0])


def mark_ready() -> None:
    _mark(os.getpid()).touch()


def unmark(pid: int) -> None:
    _mark(pid).unlink(missing_ok=True)


def ready_pids(marks: Path) -> list[int]:
    """The processes that are ready, oldest first."""
    found = []
    for mark in marks.iterdir():
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(mark.name), 0)
            found.append((mark.stat().st_mtime_ns, int(mark.name)))
    return [pid for _, pid in sorted(found)]


def forget_all(marks: Path) -> None:
    for mark in marks.iterdir():
        mark.unlink(missing_ok=True)


def environment(marks: Path) -> Mapping[str, str]:
    return {MARKS: str(marks)}


def _mark(pid: int) -> Path:
    return Path(os.environ[MARKS]) / str(pid)


def _require_ok(status: int) -> None:
    if status != 200:
        raise NotReady(f"{PROBE} answered {status}")


def _as_start_response(function: Callable[..., Callable[..., object]]) -> StartResponse:
    return function
