"""What the environment asks of the demonstration."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from project.settings.sources import database_from

DEFAULT_PORT = 8000
DEFAULT_WEB_PROCESSES = 2
MAX_WEB_PROCESSES = 32
REDIS_SCHEMES = {"redis", "rediss", "unix"}

Server = Literal["wsgi", "asgi"]


class BadOption(ValueError):
    """A value in the environment that cannot be used, and why."""


@dataclass(frozen=True, slots=True)
class Options:
    port: int
    server: Server
    web_processes: int
    traffic: bool
    database_url: str
    redis_url: str
    """Empty: the demonstration starts a server of its own."""

    @classmethod
    def read(cls, environment: Mapping[str, str], directory: Path) -> "Options":
        """Read the variables; ``directory`` holds the database where none is named.

        Raises:
            BadOption: On the first value that cannot be used.
        """
        values = {name: value.strip() for name, value in environment.items() if value.strip()}
        return cls(
            port=_whole(values, "PORT", DEFAULT_PORT, 0, 65535),
            server=_server(values),
            web_processes=_whole(
                values, "WEB_PROCESSES", DEFAULT_WEB_PROCESSES, 1, MAX_WEB_PROCESSES
            ),
            traffic=_flag(values, "TRAFFIC", default=True),
            database_url=_database_url(values, directory),
            redis_url=_redis_url(values),
        )


def _whole(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = values.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not low <= number <= high:
        raise BadOption(f"{name} must be a whole number from {low} to {high}, not {text!r}.")
    return number


def _server(values: Mapping[str, str]) -> Server:
    match values.get("SERVER", "wsgi").lower():
        case "wsgi":
            return "wsgi"
        case "asgi":
            return "asgi"
        case other:
            raise BadOption(f"SERVER must be wsgi or asgi, not {other!r}.")


def _flag(values: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = values.get(name, "1" if default else "0").lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise BadOption(f"{name} must be 1 or 0, not {text!r}.")


def _database_url(values: Mapping[str, str], directory: Path) -> str:
    url = values.get("DATABASE_URL", f"sqlite:///{directory / 'db.sqlite3'}")
    try:
        name = database_from(url)["NAME"]
    except ImproperlyConfigured as error:
        raise BadOption(str(error)) from None
    if name == ":memory:":
        raise BadOption("DATABASE_URL must be a database that several processes can share.")
    return url


def _redis_url(values: Mapping[str, str]) -> str:
    url = values.get("REDIS_URL", "")
    if url and urlsplit(url).scheme not in REDIS_SCHEMES:
        raise BadOption("REDIS_URL must begin with redis://, rediss:// or unix://.")
    return url
