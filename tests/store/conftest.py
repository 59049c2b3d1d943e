"""The counters under test: each store, with a clock that the test sets."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from pulse.core.claims import Claim, Decision
from pulse.store import heartbeat, limits, memory
from pulse.store.connection import Script, current_backend
from tests.servers import RedisServer

START_US = 1_800_000_000_000_000
TIME = "local time = call('TIME')\nlocal now = time[1] * 1000000 + time[2]\n"
CLOCK = "{pulse}:clock"


def cache_of(url: str, backend: str = "django_redis.cache.RedisCache") -> dict[str, object]:
    return {"default": {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "test"}}


CORE = "django.core.cache.backends.redis.RedisCache"
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


@dataclass
class Counters:
    """One store whose clock stands still until the test moves it."""

    kind: str
    set_clock: Callable[[int], object]
    now_us: int = START_US

    def __post_init__(self) -> None:
        self.advance(0)

    def advance(self, us: int) -> None:
        self.now_us += us
        self.set_clock(self.now_us)

    def decide(self, *claims: Claim, announcement: str | None = None) -> Decision:
        return limits.decide(claims, announcement)

    def peek(self, *claims: Claim) -> Decision:
        return limits.peek(claims)


class ClockedScript(Script):
    """A script whose clock is a key."""

    def __init__(self, name: str) -> None:
        source = Script(name).source.decode()
        assert TIME in source
        self.source = source.replace(
            TIME, f"local now = tonumber(call('GET', '{CLOCK}'))\n"
        ).encode()
        self.digest = hashlib.sha1(self.source).hexdigest()


@pytest.fixture(params=["memory", "tcp", "unix"])
def counters(request, settings, monkeypatch) -> Iterator[Counters]:
    """Every store by turns."""
    yield from make_counters(request.param, request, settings, monkeypatch)


@pytest.fixture
def redis_counters(request, settings, monkeypatch) -> Iterator[Counters]:
    yield from make_counters("tcp", request, settings, monkeypatch)


def make_counters(kind, request, settings, monkeypatch) -> Iterator[Counters]:
    if kind == "memory":
        clock = [START_US]
        settings.CACHES = LOCMEM
        monkeypatch.setattr(limits, "memory", memory.MemoryStore(lambda: clock[0]))
        yield Counters(kind, lambda now: clock.__setitem__(0, now))
    else:
        server = request.getfixturevalue("redis_server")
        settings.CACHES = cache_of(server.url) if kind == "tcp" else cache_of(server.unix_url, CORE)
        monkeypatch.setattr(limits, "DECIDE", ClockedScript("decide"))
        monkeypatch.setattr(limits, "READ", ClockedScript("read"))
        server.empty()
        with server.client() as client:
            yield Counters(kind, lambda now: client.set(CLOCK, now))
    heartbeat.stop()


@pytest.fixture
def redis_cache(settings, redis_server) -> Iterator[RedisServer]:
    """The cache is Redis, empty, on its own clock."""
    settings.CACHES = cache_of(redis_server.url)
    redis_server.empty()
    yield redis_server
    heartbeat.stop()


@pytest.fixture
def mortal_cache(settings, mortal_redis) -> Iterator[RedisServer]:
    """The cache is a Redis that the test may harm."""
    settings.CACHES = cache_of(mortal_redis.url)
    assert current_backend() is not None
    yield mortal_redis
    heartbeat.stop()


def keys_of(server: RedisServer) -> Sequence[str]:
    with server.client() as client:
        return sorted(key.decode() for key in client.keys("*pulse*:l:*"))
