"""The demonstration site served by real processes, for tests of what holds between them."""

import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from tests.servers import end_with_parent, free_port
from tests.zygote import ROOT, Commands

PROXY = {"network": "127.0.0.0/8"}
START_WITHIN_S = 60


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """One database, one Redis, some serving processes."""

    def __init__(
        self,
        directory: Path,
        redis_url: str,
        *,
        server: str = "wsgi",
        processes: int = 4,
        **environment: str,
    ) -> None:
        self.server, self.processes, self.port = server, processes, free_port()
        self.log = directory / "site.log"
        settings = {"DJANGO_SETTINGS_MODULE": "project.settings.test", **environment}
        self.environment = {
            **os.environ,
            **settings,
            "DATABASE_URL": _copied(_migrated(tuple(sorted(settings.items()))), directory),
            "REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = Commands(self.environment)
        self.manage, self.python = self._commands.manage, self._commands.python

    def apply(self, document: dict[str, Any], *, prune: bool = False) -> None:
        document = {"trusted_proxies": [PROXY], **document}
        self.manage("pulse_apply", "-", *(["--prune"] if prune else []), stdin=json.dumps(document))

    def start(self) -> None:
        bind = f"127.0.0.1:{self.port}"
        if self.server == "wsgi":
            command = [
                "gunicorn",
                "project.wsgi:application",
                "--bind",
                bind,
                "--workers",
                str(self.processes),
                "--threads",
                "8",
                "--log-level",
                "warning",
            ]
        else:
            command = [
                "uvicorn",
                "project.asgi:application",
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--workers",
                str(self.processes),
                "--log-level",
                "warning",
                "--no-access-log",
                "--timeout-graceful-shutdown",
                "1",
            ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # They stand back for the Redis that all of them wait for.
                ["nice", "-n", "5", sys.executable, "-m", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
                start_new_session=True,
            )
        wait_until(self._answers, START_WITHIN_S)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self._commands.close()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def get(self, path: str, client: str = "203.0.113.1", **headers: str) -> Answer:
        return self.request("GET", path, client, **headers)

    def request(
        self,
        method: str,
        path: str,
        client: str = "203.0.113.1",
        body: bytes | None = None,
        **headers: str,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"X-Forwarded-For": client, **named})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def together(
        self, count: int, path: str, client: str = "203.0.113.1", **headers: str
    ) -> list[Answer]:
        """Make so many requests at once."""
        barrier = threading.Barrier(count)

        def one(_: int) -> Answer:
            barrier.wait()
            return self.get(path, client, **headers)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    def logged(self) -> str:
        return self.log.read_text()


@cache
def _migrated(settings: tuple[tuple[str, str], ...]) -> str:
    """Migrate a database that the sites of these settings begin with; its URL."""
    directory = Path(tempfile.mkdtemp(prefix="pulse-migrated-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    url = f"sqlite:///{directory / 'site.sqlite3'}" if _postgres() is None else _new_database()
    environment = {**os.environ, **dict(settings), "DATABASE_URL": url}
    with contextlib.closing(Commands(environment)) as commands:
        commands.manage("migrate", "--verbosity", "0")
    return url


def _copied(url: str, directory: Path) -> str:
    """Make a database of a site's own, where the suite has its own: SQLite, or that PostgreSQL."""
    if _postgres() is not None:
        return _new_database(like=url)
    file = directory / "site.sqlite3"
    shutil.copy(url.removeprefix("sqlite:///"), file)
    return f"sqlite:///{file}"


def _postgres() -> str | None:
    url = os.environ.get("DATABASE_URL", "")
    return url if url.startswith("postgres") else None


def _new_database(like: str = "") -> str:
    url = urlsplit(_postgres() or "")
    name = f"site_{uuid4().hex}"
    template = f' TEMPLATE "{urlsplit(like).path[1:]}"' if like else ""
    with psycopg.connect(url.geturl(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{template}')
    return url._replace(path=f"/{name}").geturl()


def statuses(answers: Sequence[Answer]) -> dict[int, int]:
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status] = found.get(answer.status, 0) + 1
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def running(site: Site) -> Iterator[Site]:
    """Start a site and stop it whatever happens."""
    try:
        site.start()
        yield site
    finally:
        site.stop()
