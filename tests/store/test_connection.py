import asyncio
import os
import random
import signal
import threading
import time

import pytest
import redis
from django_redis.cache import RedisCache

from pulse.core.claims import Allowance, Claim, Store
from pulse.core.quotas import Quota
from pulse.store import connection, limits
from pulse.store.connection import backend_for, current_backend
from pulse.store.resp import pack_command
from tests.servers import Sentinel
from tests.store.conftest import CORE, LOCMEM, cache_of

HOURLY = Allowance((Quota(10, 3_600_000_000, 10),))


class Own(RedisCache):
    """A host's own subclass."""


@pytest.mark.parametrize(
    "name", ["django_redis.cache.RedisCache", CORE, "tests.store.test_connection.Own"]
)
def test_redis_backends_are_known(settings, redis_server, name: str) -> None:
    settings.CACHES = cache_of(redis_server.url, name)
    backend = backend_for("default")
    assert backend is not None
    assert backend.call("PING") == b"PONG"


@pytest.mark.parametrize(
    "caches",
    [
        LOCMEM,
        {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "t"}},
        {
            "default": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": "/tmp/x",
            }
        },
        {"default": {"BACKEND": "no.such.Cache"}},
    ],
)
def test_anything_else_counts_in_memory(settings, caches) -> None:
    settings.CACHES = caches
    assert backend_for("default") is None
    assert limits.decide([Claim("a", HOURLY)]).store is Store.LOCAL


def test_unknown_alias_is_no_redis(settings) -> None:
    settings.PULSE = {"CACHE": "nowhere"}
    assert current_backend() is None


def test_settings_that_change_make_another_backend(settings, redis_server) -> None:
    settings.CACHES = cache_of(redis_server.url)
    first = current_backend()
    assert current_backend() is first
    settings.PULSE = {"STORE_TIMEOUT_MS": 70}
    assert current_backend() is not first


def test_connection_says_nothing_of_its_own(redis_cache) -> None:
    """No HELLO, no CLIENT SETINFO, no SELECT of the database that is selected anyway."""
    with redis_cache.client() as client:
        client.config_resetstat()
        current_backend().call("ECHO", "a")
        called = set(client.info("commandstats"))
    assert called - {"cmdstat_config|resetstat", "cmdstat_info"} == {"cmdstat_echo"}


def test_script_that_was_flushed_is_sent_once_more(redis_cache) -> None:
    with redis_cache.client() as client:
        limits.decide([Claim("a", HOURLY)])
        client.script_flush()
        client.config_resetstat()
        for remaining in (8, 7):
            decision = limits.decide([Claim("a", HOURLY)])
            assert decision.outcomes[0].verdicts[0].remaining == remaining
        calls = {name: row["calls"] for name, row in client.info("commandstats").items()}
    assert (calls["cmdstat_evalsha"], calls["cmdstat_eval"]) == (2, 1)


def test_threads_never_read_each_others_replies(redis_cache) -> None:
    backend = current_backend()
    wrong = []

    def hammer(name: int) -> None:
        for number in range(400):
            text = f"{name}:{number}:{'x' * random.randrange(300)}".encode()
            if backend.call("ECHO", text) != text:
                wrong.append(text)

    threads = [threading.Thread(target=hammer, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_interrupted_call_leaves_no_reply_behind(mortal_cache) -> None:
    """Cancelled between command and reply, the connection is not used again (CVE-2023-28858)."""
    backend = current_backend()
    backend.call("ECHO", "before")

    class Cancelled(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Cancelled

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        mortal_cache.freeze()
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(Cancelled):
            backend.call("ECHO", "mine")
        mortal_cache.thaw()
        assert backend.call("ECHO", "yours") == b"yours"
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_connection_that_the_server_closed_costs_nothing(redis_cache) -> None:
    """Servers close what rests; that is seen before the next use, not by failing a request."""
    backend = current_backend()
    backend.call("ECHO", "a")
    with redis_cache.client() as client:
        me = client.client_id()
        for row in client.client_list():
            if int(row["id"]) != me:
                client.client_kill_filter(_id=row["id"])
    time.sleep(1.05)
    assert backend.call("ECHO", "b") == b"b"
    assert not backend.guard.is_suspicious


def test_error_reply_is_unavailable_and_not_read_twice(redis_cache) -> None:
    backend = current_backend()
    with pytest.raises(connection.StoreUnavailable) as caught:
        backend.call("INCR", "a", "b", "c")
    assert isinstance(caught.value.__cause__, redis.ResponseError)
    assert backend.call("ECHO", "a") == b"a"


def test_key_that_cannot_be_sent_is_no_error(redis_cache) -> None:
    """A lone surrogate cannot be encoded: decided in memory, never a 500, and for it alone."""
    for _ in range(5):
        assert limits.decide([Claim("a\udcff", HOURLY)]).store is Store.LOCAL
        assert not current_backend().guard.is_suspicious
    assert limits.decide([Claim("a", HOURLY)]).store is Store.REDIS


def test_request_that_the_server_refuses_is_the_only_one(redis_cache, monkeypatch) -> None:
    """An error reply to a strange request keeps nobody else from the counters."""
    broken = connection.Script("decide")
    monkeypatch.setattr(broken, "source", b"return redis.error_reply('ERR strange')")
    monkeypatch.setattr(broken, "digest", "0" * 40)
    with monkeypatch.context() as patched:
        patched.setattr(limits, "DECIDE", broken)
        for _ in range(3):
            assert limits.decide([Claim("a", HOURLY)]).store is Store.LOCAL
            assert not current_backend().guard.is_suspicious
    assert limits.decide([Claim("a", HOURLY)]).store is Store.REDIS


def test_forked_child_has_connections_of_its_own(redis_cache) -> None:
    backend = current_backend()
    backend.call("ECHO", "parent")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = all(backend.call("ECHO", f"c{n}") == f"c{n}".encode() for n in range(300))
            os.write(writer, b"y" if same else b"n")
        finally:
            os._exit(0)
    same = all(backend.call("ECHO", f"p{n}") == f"p{n}".encode() for n in range(300))
    os.waitpid(child, 0)
    assert same
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.close(writer)


def test_event_loop_may_call_it(redis_cache) -> None:
    async def several() -> list[bool]:
        return [limits.decide([Claim("a", HOURLY)]).allowed for _ in range(12)]

    assert sum(asyncio.run(several())) == 10


def test_packer_without_c_is_the_same() -> None:
    hiredis = pytest.importorskip("hiredis")
    command = ("EVALSHA", "a" * 40, 2, "k:é", b"\x00\xff", "", 1234)
    assert pack_command(command) == hiredis.pack_command(command)


def test_primary_that_sentinel_names(settings, redis_server) -> None:
    sentinel = Sentinel(redis_server)
    try:
        settings.DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
        settings.CACHES = {
            "default": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": "redis://primary/0",
                "OPTIONS": {
                    "CLIENT_CLASS": "django_redis.client.SentinelClient",
                    "SENTINELS": [("127.0.0.1", sentinel.port)],
                },
            }
        }
        backend = current_backend()
        assert backend.call("ECHO", "a") == b"a"
        backend.close()
        sentinel.freeze()
        before = time.perf_counter()
        with pytest.raises(connection.StoreUnavailable):
            backend.call("ECHO", "a")
        assert time.perf_counter() - before < 0.2
        sentinel.thaw()
        assert backend.call("ECHO", "b") == b"b"
    finally:
        sentinel.thaw()
        sentinel.close()
