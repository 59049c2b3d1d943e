"""Reports of all processes, added up by hour, within bounds, with Redis and without."""

import os

import pytest

from pulse.exceptions import StoreUnavailable
from pulse.store import csp, hourly
from tests.store.conftest import LOCMEM

NOW = 1_800_000_000 // 3600 * 3600


@pytest.fixture
def clock(monkeypatch):
    """The time, to be moved."""
    here = {"now": float(NOW)}
    monkeypatch.setattr(hourly.time, "time", lambda: here["now"])
    return here


def counts() -> dict[str, int]:
    return {each.source: each.count for each in csp.last_day()[0]}


def add(source: str, times: int = 1) -> None:
    for _ in range(times):
        csp.add("site", "script-src", source, "/")


def test_without_redis_the_process_keeps_them(clock) -> None:
    add("inline", 3)
    csp.flush()
    assert counts() == {"inline": 3}


def test_first_and_last_are_told_to_the_hour(redis_cache, clock) -> None:
    for hours in (0, 2, 5):
        clock["now"] = NOW + hours * 3600 + 1799
        add("eval")
        csp.flush()
    (found,) = csp.last_day()[0]
    assert (found.count, found.first, found.last) == (3, NOW, NOW + 5 * 3600)
    assert (found.policy, found.directive, found.page) == ("site", "script-src", "/")


def test_after_a_day_they_are_gone(redis_cache, clock) -> None:
    add("old")
    csp.flush()
    add("unsent")
    clock["now"] = NOW + 25 * 3600
    assert csp.last_day() == ([], 0)
    csp.flush()
    with redis_cache.client() as client:
        (key,) = client.keys("*csp:*")
        assert 0 < client.ttl(key) <= hourly.KEPT_S


def test_every_process_adds_to_the_same(redis_cache, clock) -> None:
    add("inline", 2)
    csp.flush()
    # Another process: what is here is not yet there.
    add("inline", 3)
    assert counts() == {"inline": 5}
    csp.flush()
    csp.forget()
    assert counts() == {"inline": 5}


def test_redis_keeps_so_many_and_counts_the_rest(redis_cache, clock, monkeypatch) -> None:
    """Each process is bounded, and all of them together."""
    monkeypatch.setattr(csp, "MAX_FIELDS", 10)
    for process in range(5):
        for number in range(4):
            add(f"https://p{process}n{number}.example")
        csp.flush()
    add("https://p0n0.example", 7)
    csp.flush()
    reported, rest = csp.last_day()
    assert len(reported) == 10
    assert rest == 10
    assert counts()["https://p0n0.example"] == 8
    with redis_cache.client() as client:
        (key,) = client.keys("*csp:*")
        assert client.hlen(key) == 11


def test_long_texts_are_cut(clock) -> None:
    csp.add("site", "script-src", "https://a.example", "/" + "a" * 10_000)
    (found,) = csp.last_day()[0]
    assert len(found.page) == csp.MAX_TEXT


def test_redis_that_is_away_is_told_and_nothing_is_lost(mortal_cache) -> None:
    """What one process gathered is no answer to what all did; it is sent when Redis is back."""
    add("inline", 2)
    mortal_cache.kill()
    with pytest.raises(StoreUnavailable):
        csp.last_day()
    csp.flush()
    assert [dict(counts) for counts in csp._gathered.counts.values()] == [
        {"site\nscript-src\ninline\n/": 2}
    ]


def test_forked_child_begins_with_nothing(settings) -> None:
    """Else the parent's counts count twice, or a lock that a thread of it held is never free."""
    settings.CACHES = LOCMEM
    add("inline")
    with csp._gathered.lock:
        child = os.fork()
        if child == 0:
            free = csp._gathered.lock.acquire(timeout=1)
            os._exit(0 if free and not csp._gathered.counts else 1)
    assert os.waitpid(child, 0)[1] == 0
