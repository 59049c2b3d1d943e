"""Processes tell of themselves with each beat, and are forgotten when they are silent."""

import time
from collections.abc import Iterator

import pytest

from pulse.store import processes
from pulse.store.connection import current_backend, member

ALIVE, RUNNING, SHARING = (f"test:1:{{pulse}}:{name}" for name in ("alive", "running", "processes"))


@pytest.fixture(autouse=True)
def own() -> Iterator[None]:
    """Who this process is, and how it is asked, is as before when a test is over."""
    says, more = processes._own.says, processes._own.more
    processes._own.more = ()
    yield
    processes.say_by(says)
    processes._own.more = more


def beat() -> int | None:
    backend = current_backend()
    assert backend is not None
    return processes.beat(backend)


def test_a_process_says_what_it_is_and_when_it_was_heard_of(redis_cache) -> None:
    processes.say_by(lambda: {"revision": 41})
    assert beat() == 1
    (one,) = processes.running() or []
    assert (one.id, one.kind, one.said) == (member(), "web", {"revision": 41})
    assert abs(one.seen - time.time()) < 5


def test_a_worker_is_seen_and_shares_no_counters(redis_cache) -> None:
    with redis_cache.client() as client:
        client.zadd(SHARING, {"elsewhere:1": client.time()[0]})
    processes.become_worker()
    assert beat() == 1
    assert [(one.id, one.kind) for one in processes.running() or []] == [(member(), "worker")]
    assert processes.this_process().kind == "worker"


def test_who_is_silent_is_forgotten_with_what_it_said(redis_cache) -> None:
    with redis_cache.client() as client:
        now = client.time()[0]
        client.zadd(ALIVE, {"near:1": now - 5, "gone:2": now - 11, "mute:3": now, "odd:4": now})
        client.hset(RUNNING, mapping={"near:1": '{"kind":"web"}', "gone:2": "{}", "odd:4": "[]"})
        assert [one.id for one in processes.running() or []] == ["near:1"]
        beat()
        assert client.hkeys(RUNNING) and b"gone:2" not in client.hkeys(RUNNING)
        assert 0 < client.ttl(RUNNING) <= 10
        assert 0 < client.ttl(ALIVE) <= 10


def test_without_redis_nobody_else_is_known(settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert processes.running() is None
    assert processes.this_process().id == member()


def test_a_trial_of_redis_does_not_make_a_worker_share_the_counters(redis_cache) -> None:
    processes.become_worker()
    backend = current_backend()
    assert backend is not None
    assert backend._passes_trial()
    with redis_cache.client() as client:
        assert not client.exists(SHARING)
