"""The way to Redis: connections of pulse's own, made as the cache alias makes its own.

The alias's client waits for seconds and sends again what was lost. Counting needs the opposite:
a short time budget, nothing sent twice, and no reply ever read by another caller.
"""

import copy
import hashlib
import inspect
import logging
import os
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from redis import ConnectionPool, Redis
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from pulse.conf import conf
from pulse.exceptions import StoreUnavailable
from pulse.logging import say
from pulse.store import failures
from pulse.store.guard import Guard
from pulse.store.keys import Keys
from pulse.store.lines import Connection, Line

try:
    from hiredis import pack_command
except ImportError:
    from pulse.store.resp import pack_command  # type: ignore[assignment]  # the same, wider

logger = logging.getLogger(__name__)

Argument: TypeAlias = str | bytes | int
Reply: TypeAlias = int | bytes | list[int] | None

SCRIPTS: Final = Path(__file__).with_name("scripts")
MAX_IDLE: Final = 64
#: How many budgets the first call of a process has: it runs while all else is being imported, and
#: what it cannot count is counted wrong. It is paid once, as its failure opens the guard.
FIRST_BUDGETS: Final = 10
#: Servers and proxies close what rests. After this long a connection is looked at before use.
RESTED_S: Final = 1.0
#: What the alias's pool adds for its own sake, or what would retry, chat or decode.
DROPPED: Final = frozenset(
    {
        *("retry", "retry_on_error", "retry_on_timeout", "health_check_interval"),
        *("event_dispatcher", "himport_registry", "cache", "cache_config"),
        *("maint_notifications_config", "maint_notifications_pool_handler"),
        *("maintenance_state", "maintenance_notification_hash"),
        *("oss_cluster_maint_notifications_handler", "orig_host_address"),
        *("orig_socket_timeout", "orig_socket_connect_timeout"),
        *("lib_name", "lib_version", "driver_info"),
    }
)
PARAMETERS: Final = inspect.signature(AbstractConnection.__init__).parameters
#: Without these a connection introduces its library to the server, two commands each time.
INTRODUCTIONS: Final = (
    ("driver_info",) if "driver_info" in PARAMETERS else ("lib_name", "lib_version")
)
SILENT: Final[dict[str, None]] = dict.fromkeys(INTRODUCTIONS)


class AliasPool(Protocol):
    """What is used of the cache alias's connection pool."""

    connection_class: Callable[..., Connection]
    connection_kwargs: dict[str, Any]


class Script:
    """One Lua script, by its digest where the server knows it."""

    def __init__(self, name: str) -> None:
        self.source: Final = (SCRIPTS / f"{name}.lua").read_bytes()
        self.digest: Final = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()


BEAT: Final = Script("beat")
#: A process not heard of for so long is not alive.
SILENCE_S: Final = 10


class Pool:
    """Connections that are alone with one caller at a time.

    Taken from and given back to a deque, whose operations are atomic: no caller waits for
    another. As many are open as callers were ever at work together; at most 64 rest.
    """

    def __init__(self, template: AliasPool, timeout_ms: int) -> None:
        # Sentinel's connections ask the pool by a weak reference where the primary is.
        self._template = template
        self._class = template.connection_class
        self._parameters = _own_parameters(template.connection_kwargs, timeout_ms)
        if "connection_pool" in self._parameters:
            finder = self._parameters["connection_pool"]
            self._parameters["connection_pool"] = _impatient(finder, timeout_ms)
        self._first = self._parameters | {"socket_timeout": FIRST_BUDGETS * timeout_ms / 1000}
        self._idle: deque[Line] = deque()
        #: A call of this process has come back.
        self.is_proven = False
        _pools.add(self)

    def call(self, *arguments: Argument) -> Reply:
        """Send one command and read its reply.

        Raises:
            RedisError: It could not be sent, or not answered in time, or was answered by an
                error. The connection is gone, unless the server merely lacks the script.
        """
        packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # stub: of one
        line = self._take()
        try:
            reply: Reply = line.exchange(packed)
        except NoScriptError:
            self._give_back(line)
            raise
        except BaseException:
            # Also when a caller is cancelled: its reply is still to come, and must not be
            # the answer to somebody else (CVE-2023-28858).
            line.connection.disconnect()
            raise
        self.is_proven = True
        self._give_back(line)
        return reply

    def call_anew(self, *arguments: Argument) -> None:
        """Send one command over a connection made for it.

        Raises:
            RedisError: As for ``call``.
        """
        packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # as above
        connection = self._open(self._parameters)
        try:
            connection.send_packed_command((packed,), check_health=False)
            connection.read_response()
        finally:
            connection.disconnect()

    def clear(self) -> None:
        """Close the connections that rest."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return
            line.connection.disconnect()

    def _take(self) -> Line:
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                is_patient = not self.is_proven
                connection = self._open(self._first if is_patient else self._parameters)
                return Line(connection, is_patient=is_patient)
            if time.monotonic() - line.used_at < RESTED_S or _is_alive(line.connection):
                return line
            line.connection.disconnect()

    def _give_back(self, line: Line) -> None:
        if line.is_patient or len(self._idle) >= MAX_IDLE:
            line.connection.disconnect()
        else:
            line.used_at = time.monotonic()
            self._idle.append(line)

    def _open(self, parameters: dict[str, Any]) -> Connection:
        connection = self._class(**parameters)
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection


class Backend:
    """One Redis that counts: its keys, its connections and the guard before them."""

    def __init__(self, keys: Keys, pool: Pool) -> None:
        self.keys = keys
        self.guard = Guard(time.monotonic())
        self._pool = pool

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        """Run a script, in one command if the server knows it.

        Raises:
            StoreUnavailable: Redis is not to be asked now, or did not answer in time, or
                answered by an error.
        """
        self._admit()
        try:
            try:
                reply = self._pool.call("EVALSHA", script.digest, len(keys), *keys, *arguments)
            except NoScriptError:
                # Refused before it began: nothing was counted, and EVAL also loads it.
                reply = self._pool.call("EVAL", script.source, len(keys), *keys, *arguments)
        except (RedisError, OSError, ValueError) as error:
            raise self._unavailable(error) from error
        if self.guard.is_suspicious:
            self.guard.succeeded()
        return reply

    def call(self, *arguments: Argument) -> Reply:
        """Send one command.

        Raises:
            StoreUnavailable: As for ``run``.
        """
        self._admit()
        try:
            reply = self._pool.call(*arguments)
        except (RedisError, OSError, ValueError) as error:
            raise self._unavailable(error) from error
        if self.guard.is_suspicious:
            self.guard.succeeded()
        return reply

    def beat(self, told: str = "", *, shares: bool = True) -> Reply:
        """Tell that this process is alive, and return how many share the counters.

        Args:
            told: What it says of itself; empty for nothing new.
            shares: Whether it is one of those that do.

        Raises:
            StoreUnavailable: As for ``run``.
        """
        return self.run(BEAT, self._places(), (member(), SILENCE_S, int(shares), told))

    def attempt_recovery(self) -> bool:
        """Try Redis while the guard is open; True if it is closed afterwards."""
        if not self.guard.is_open:
            return True
        self.guard.tried(time.monotonic())
        if not self._passes_trial():
            return False
        if self.guard.recovered():
            say(logger, logging.INFO, "The counters are in Redis again")
        return True

    def close(self) -> None:
        """Close the connections that rest."""
        self._pool.clear()

    def _places(self) -> tuple[str, str, str]:
        return self.keys.processes, self.keys.alive, self.keys.running

    def _admit(self) -> None:
        guard = self.guard
        if guard.is_open and not (
            guard.is_unattended(time.monotonic()) and self.attempt_recovery()
        ):
            raise StoreUnavailable("Redis did not answer lately")

    def _passes_trial(self) -> bool:
        """Whether a script that writes runs: one that is full or a replica answers a PING too."""
        places = self._places()
        # That it shares the counters is told by the next beat.
        arguments = (len(places), *places, member(), SILENCE_S, 0, "")
        try:
            self._pool.call_anew("EVAL", BEAT.source, *arguments)
        except (RedisError, OSError):
            return False
        return True

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, UnicodeError):
            # The key's fault. No client may talk everybody out of Redis by a strange name.
            return StoreUnavailable("the key cannot be sent")
        failures.add(error)
        at_once = not self._pool.is_proven
        if isinstance(error, ResponseError):
            # What the server says of one request may be true of that one alone.
            if self._passes_trial():
                say(
                    logger,
                    logging.WARNING,
                    "Redis refused one request, which is decided without it: %s",
                    error,
                )
                return StoreUnavailable(f"the request cannot be answered: {error}")
            at_once = True
        if self.guard.failed(error, time.monotonic(), at_once=at_once):
            self._pool.clear()
            say(
                logger,
                logging.WARNING,
                "Redis does not answer; requests are decided without it: %s",
                error,
            )
        return StoreUnavailable(f"{type(error).__name__}: {error}")


def backend_for(alias: str) -> Backend | None:
    """The Redis behind a cache alias, None if it is no Redis or cannot be made one."""
    if alias in _backends:
        return _backends[alias]
    # Two threads may both make one; the first stands.
    return _backends.setdefault(alias, _make_backend(alias))


def current_backend() -> Backend | None:
    """The Redis behind the alias that ``PULSE["CACHE"]`` names, None if it is no Redis."""
    try:
        return _backends[_current["alias"]]
    except KeyError:
        alias = _current["alias"] = conf.CACHE
        return backend_for(alias)


def _make_backend(alias: str) -> Backend | None:
    try:
        # One of pulse's own, as Django would close the thread's after every request.
        cache = caches.create_connection(alias)
        template = _template_of(cache)
        if template is None:
            return None
        return Backend(Keys(cache.make_key), Pool(template, conf.STORE_TIMEOUT_MS))
    except (
        *(InvalidCacheBackendError, ImproperlyConfigured, RedisError),
        *(AttributeError, ImportError, LookupError, TypeError, ValueError),
    ):
        say(
            logger,
            logging.ERROR,
            "No counters can be kept behind the cache %s",
            alias,
            exc_info=True,
        )
        return None


def _template_of(cache: object) -> AliasPool | None:
    # By name, because neither backend need be installed for the other to work.
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(cache).__mro__}
    if "django_redis.cache.RedisCache" in names:
        client = cast("Any", cache).client.get_client(write=True)
    elif "django.core.cache.backends.redis.RedisCache" in names:
        client = cast("Any", cache)._cache.get_client(None, write=True)
    else:
        return None
    return cast("AliasPool", client.connection_pool)


def _own_parameters(theirs: Mapping[str, Any], timeout_ms: int) -> dict[str, Any]:
    return {
        **{name: value for name, value in theirs.items() if name not in DROPPED},
        **SILENT,
        "socket_timeout": timeout_ms / 1000,
        "socket_connect_timeout": timeout_ms / 1000,
        "decode_responses": False,
        "protocol": 2,
    }


def _impatient(finder: Any, timeout_ms: int) -> Any:
    """Sentinel's finder of the primary, which asks each sentinel once and within the budget."""
    sentinels = [
        Redis(
            connection_pool=ConnectionPool(
                connection_class=sentinel.connection_pool.connection_class,
                **_own_parameters(sentinel.connection_pool.connection_kwargs, timeout_ms),
            )
        )
        for sentinel in finder.sentinel_manager.sentinels
    ]
    impatient = copy.copy(finder)
    impatient.sentinel_manager = copy.copy(finder.sentinel_manager)
    impatient.sentinel_manager.sentinels = sentinels
    return impatient


def member() -> str:
    """Name this process: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_alive(connection: Connection) -> bool:
    try:
        # What can be read here is the end of the stream, or an answer nobody waited for.
        return not connection.can_read(0)
    except (RedisError, OSError):
        return False


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"CACHES", "PULSE"}:
        closed = [backend for backend in _backends.values() if backend]
        _backends.clear()
        _current.clear()
        for backend in closed:
            backend.close()


def _abandon() -> None:
    # The sockets belong to the parent. Dropped, they are closed here without a word to the
    # server; locks may have been held by threads that do not exist here.
    for pool in _pools:
        pool._idle = deque()
        pool.is_proven = False
    for backend in _backends.values():
        if backend is not None:
            backend.guard = Guard(time.monotonic())


_backends: Final[dict[str, Backend | None]] = {}
_current: Final[dict[str, str]] = {}
_pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()

setting_changed.connect(_forget, dispatch_uid="pulse.store.connection")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon)
