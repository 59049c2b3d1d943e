"""Where settings come from: the environment, and what a running demonstration wrote down."""

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

POSTGRES_SCHEMES = {"postgres", "postgresql", "pgsql"}


def required(name: str) -> str:
    """The environment variable, or a refusal to start that names it."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ImproperlyConfigured(
            f"Set {name} in the environment: this site has no default for it."
        )
    return value


def words(name: str, default: str = "") -> list[str]:
    """The environment variable as a list, split at commas."""
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def flag(name: str, *, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def number(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def demonstration_state(directory: Path) -> dict[str, str]:
    """What `manage.py demo` left in ``state.json``; empty if that is missing or unreadable."""
    try:
        state = json.loads((directory / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(state, dict):
        return {}
    return {key: value for key, value in state.items() if isinstance(value, str)}


def database_from(url: str) -> dict[str, Any]:
    """Django's description of the database at ``url``.

    Args:
        url: ``sqlite:////absolute/path.sqlite3`` (three slashes for a relative one),
            ``sqlite://:memory:``, or ``postgres://user:password@host:port/name?sslmode=require``.
            A query parameter becomes an option of the driver.

    Raises:
        ImproperlyConfigured: If the scheme is another, or a part cannot be read. The
            message leaves out the password.
    """
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        return _sqlite(url)
    if scheme in POSTGRES_SCHEMES:
        return _postgres(url)
    raise ImproperlyConfigured(
        f"DATABASE_URL must begin with sqlite:// or postgres://, not {scheme[:20]!r}."
    )


def broker_from(redis_url: str) -> str:
    """Celery's spelling of a Redis URL: a Unix socket has another scheme there."""
    if not redis_url.startswith("unix://"):
        return redis_url
    parts = urlsplit(redis_url)
    database = dict(parse_qsl(parts.query)).get("db", "0")
    credentials, at, _ = parts.netloc.rpartition("@")
    return f"redis+socket://{credentials}{at}{parts.path}?virtual_host={database}"


def _sqlite(url: str) -> dict[str, Any]:
    rest = url[len("sqlite://") :].partition("?")[0]
    name = ":memory:" if rest.strip("/") in {"", ":memory:"} else unquote(rest.removeprefix("/"))
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        # Web, worker and beat write to one file: readers must not block the writer (WAL),
        # and a transaction that will write must say so when it begins, since a read that
        # turns into a write fails at once however long the timeout is.
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }


def _postgres(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(
            "DATABASE_URL has a host or port that cannot be read."
        ) from error
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise ImproperlyConfigured("DATABASE_URL names no database: add /name after the host.")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    # A socket directory cannot stand in a URL's host as it is: libpq's own way is ?host=/path.
    host = options.pop("host", None) or unquote(parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port or options.pop("port", "")),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
