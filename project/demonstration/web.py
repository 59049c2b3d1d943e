"""The web processes: one listening socket, shared by however many serve it."""

import errno
import http.client
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from project.demonstration import serving
from project.demonstration.options import Options
from project.demonstration.processes import Child

HOST = "127.0.0.1"
PORTS_TRIED = 100
BACKLOG = 2048


class NoPort(Exception):
    """No port to listen on could be had, and why."""


def listen(port: int, say: Callable[[str], None]) -> socket.socket:
    """Listen on ``port``, or on the next free one, said aloud; 0 takes any.

    The socket is opened here, once: a port found free cannot be lost again, and while a web
    process is brought back, its clients wait instead of being turned away.

    Raises:
        NoPort: If none is to be had.
    """
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise NoPort(f"Port {candidate} cannot be used: {error.strerror}.") from None
        if candidate != port:
            say(f"Port {port} is busy: taking {candidate} instead.")
        return listener
    raise NoPort(f"No port from {port} on is free.")


def children(
    options: Options,
    listener: socket.socket,
    marks: Path,
    environment: Mapping[str, str],
    logs: Path,
) -> list[Child]:
    """gunicorn with its workers, or as many uvicorn processes."""
    descriptor = listener.fileno()
    environment = {
        **environment,
        **serving.environment(marks),
        "DEMO_LISTEN_FD": str(descriptor),
        "DEMO_WEB_PROCESSES": str(options.web_processes),
    }
    python = [sys.executable, "-m"]
    if options.server == "asgi":
        command = [*python, "project.demonstration.asgi_server"]
        return [
            Child("web", command, environment, logs / "web.log", (descriptor,))
            for _ in range(options.web_processes)
        ]
    settings = str(Path(__file__).with_name("gunicorn_conf.py"))
    command = [*python, "gunicorn", "--config", settings, "project.wsgi:application"]
    return [
        Child(
            "web",
            command,
            environment,
            logs / "web.log",
            (descriptor,),
            # Its workers die with it, without a farewell.
            before_start=lambda: serving.forget_all(marks),
        )
    ]


def answers(port: int) -> bool:
    """Whether the site answers over the wire."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
