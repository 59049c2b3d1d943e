"""Starts the whole demonstration, keeps it running, and ends it."""

import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from project.demonstration import redis_server, serving, state, web
from project.demonstration.options import Options
from project.demonstration.processes import Child, end, launch, wake

LOOK_EVERY_S = 0.1
START_WITHIN_S = 60.0
GIVE_UP_AFTER_FAILURES = 3
STOP_WITHIN_S = 5.0
REDIS_STOP_WITHIN_S = 2.0

Say = Callable[[str], None]


class CannotStart(Exception):
    """The demonstration could not be started, and why."""


class Supervisor:
    """The demonstration while it runs.

    Used from the main thread of a process of its own, which holds no database connection and
    no thread: what needs Django's models runs in children.
    """

    def __init__(self, options: Options, base: Path, directory: Path, say: Say) -> None:
        self.options = options
        self.base = base
        self.directory = directory
        self.say = say
        self.logs = directory / "logs"
        self.marks = directory / "serving"
        self.children: list[Child] = []
        self.state = state.State()
        self.database_was_empty = False
        self.listener: socket.socket | None = None

    def run(self, greet: Callable[["Supervisor"], None]) -> None:
        """Start everything, ``greet``, and keep it running until Ctrl-C or SIGTERM.

        Raises:
            CannotStart: If a part of it does not come up.
            NoServer: If there is no Redis to start.
            NoPort: If there is no port to listen on.
        """
        self._make_room()
        with _signals_interrupt():
            try:
                self._start()
                greet(self)
                while True:
                    time.sleep(LOOK_EVERY_S)
                    self._look_after()
            except KeyboardInterrupt:
                self.say("Ending the demonstration.")
            finally:
                self._end()

    def _make_room(self) -> None:
        for folder in (self.logs, self.marks):
            folder.mkdir(parents=True, exist_ok=True)
        serving.forget_all(self.marks)
        for log in self.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.old"))

    def _start(self) -> None:
        last = state.read(self.directory)
        self.state.password = last.password or secrets.token_urlsafe(12)
        self.state.api_key = last.api_key
        self.state.database_url = self.options.database_url
        self.state.redis_url = self.options.redis_url or self._start_redis(last.redis_url)
        if not redis_server.answers(self.state.redis_url):
            raise CannotStart("The Redis named in REDIS_URL does not answer.")
        self.listener = listener = web.listen(self.options.port, self.say)
        port = listener.getsockname()[1]
        self.state.url = f"http://{web.HOST}:{port}/"
        self._prepare()
        environment = self._environment()
        for child in (
            *web.children(self.options, listener, self.marks, environment, self.logs),
            self._celery("worker", "--pool", "prefork", "--concurrency", "2"),
            self._celery("beat", "--schedule", str(self.directory / "beat-schedule"), "--pidfile="),
        ):
            self.children.append(child)
            child.start()
        self._wait("web", lambda: self._all_serve() and web.answers(port))
        if self.options.traffic:
            command = [sys.executable, "-m", "project.demonstration.traffic", self.state.url]
            traffic = Child("traffic", command, environment, self.logs / "traffic.log")
            self.children.append(traffic)
            traffic.start()
        self._write_state()

    def _start_redis(self, last_url: str) -> str:
        port = redis_server.choose_port(last_url)
        command = redis_server.command(redis_server.find_binary(), port, self.directory / "redis")
        child = Child("redis", command, os.environ, self.logs / "redis.log", niceness=0)
        self.children.append(child)
        child.start()
        url = redis_server.url_of(port)
        self._wait("redis", lambda: redis_server.answers(url))
        return url

    def _prepare(self) -> None:
        """Migrate and fill the database, in a process that has nothing else to do."""
        log = self.logs / "prepare.log"
        result = self.directory / "prepared.json"
        command = [sys.executable, "manage.py", "demo_prepare", str(result)]
        environment = self._environment() | {
            "DEMO_PASSWORD": self.state.password,
            "DEMO_API_KEY": self.state.api_key,
        }
        with log.open("wb") as file:
            process = launch(command, environment, file)
        child = Child("prepare", command, environment, log)
        child.process = process
        self.children.append(child)
        if process.wait() != 0:
            raise CannotStart(f"The database could not be prepared ({log}):\n{child.tail()}")
        self.children.remove(child)
        prepared = json.loads(result.read_text())
        result.unlink()
        self.state.username, self.state.token = prepared["username"], prepared["token"]
        self.state.api_key = prepared["api_key"]
        self.database_was_empty = prepared["applied"]

    def _celery(self, role: str, *arguments: str) -> Child:
        quiet = ["--without-gossip", "--without-mingle"] if role == "worker" else []
        celery = [sys.executable, "-m", "celery", "-q", "-A", "project", role, "--loglevel", "INFO"]
        return Child(
            role, [*celery, *arguments, *quiet], self._environment(), self.logs / f"{role}.log"
        )

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.state.database_url,
            "REDIS_URL": self.state.redis_url,
            "DEMO_URL": self.state.url,
            "PYTHONUNBUFFERED": "1",
        }

    def _wait(self, role: str, ready: Callable[[], bool]) -> None:
        """Look after the children until ``ready``; give up when ``role`` keeps failing."""
        deadline = time.monotonic() + START_WITHIN_S
        while not ready():
            self._look_after(quietly=True)
            for child in self.children:
                failing = child.role == role and child.failures >= GIVE_UP_AFTER_FAILURES
                if failing or (child.role == role and time.monotonic() > deadline):
                    raise CannotStart(f"{role} does not start ({child.log}):\n{child.tail()}")
            time.sleep(LOOK_EVERY_S / 2)

    def _all_serve(self) -> bool:
        return len(serving.ready_pids(self.marks)) >= self.options.web_processes

    def _look_after(self, *, quietly: bool = False) -> None:
        for child in self.children:
            news = child.watch()
            if news and not quietly:
                self.say(f"{time.strftime('%H:%M:%S')} {news}.")
        if not quietly and self._pids() != self.state.pids:
            self._write_state()

    def _pids(self) -> dict[str, list[int]]:
        pids = {"web": serving.ready_pids(self.marks)}
        for role in ("worker", "beat", "redis", "traffic"):
            pids[role] = [child.pid for child in self.children if child.role == role and child.pid]
        return pids

    def _write_state(self) -> None:
        self.state.pids = self._pids()
        state.write(self.directory, self.state)

    def _end(self) -> None:
        """End all children, Redis last; what others may read then says that nothing runs."""
        with _signals_ignored():
            if self.listener:
                self.listener.close()
            wake(self.children)
            end([child for child in self.children if child.role != "redis"], STOP_WITHIN_S)
            end([child for child in self.children if child.role == "redis"], REDIS_STOP_WITHIN_S)
            serving.forget_all(self.marks)
            self.children.clear()
            if self.state.url and self.state.username:
                self._write_state()


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt, also where a shell had SIGINT ignored."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # under nohup a closed terminal is no end
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """While the end is under way, a second Ctrl-C changes nothing: it takes seconds at most."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
