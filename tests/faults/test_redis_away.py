"""Redis frozen, killed and back under load: the site's clients notice nothing but their limits."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers import RedisServer
from tests.sites import Answer, Site, running, statuses, wait_until

SEARCH = {"name": "search", "url_name": "search", "key": "ip", "limits": ["20/h"]}
LOGIN = {
    "name": "login",
    "path": "/accounts/login/",
    "key": "ip",
    "limits": ["1000/h"],
    "on_store_error": "closed",
}
WIDE = {"name": "default", "default": True, "limits": [{"rate": "10000/s"}]}


@pytest.fixture(params=["wsgi", "asgi"])
def site(request, tmp_path, mortal_redis: RedisServer) -> Iterator[Site]:
    site = Site(tmp_path, mortal_redis.url, server=request.param, processes=2)
    site.apply({"rate_tiers": [WIDE], "endpoint_limits": [SEARCH, LOGIN]})
    for started in running(site):
        wait_until(lambda: counted_processes(site, mortal_redis) == 2)
        time.sleep(2.5)  # each has heard of the other
        yield started


def counted_processes(site: Site, redis: RedisServer) -> int:
    """How many processes have served by now, and said so."""
    site.together(8, "/api/echo/")
    with redis.client() as client:
        return sum(client.zcard(key) for key in client.scan_iter("*processes"))


@contextmanager
def load(site: Site) -> Iterator[list[Answer]]:
    """Four clients that ask without rest; what they were answered."""
    answers: list[Answer] = []
    over = threading.Event()

    def ask(number: int) -> None:
        while not over.is_set():
            answers.append(site.get("/api/echo/", f"203.0.113.{number}"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def passed_alone(site: Site, client: str) -> int:
    """How many of many pass without Redis: two processes share twenty, half each."""
    found = statuses(site.together(60, "/api/search/?q=a", client))
    assert set(found) == {200, 429}
    return found[200]


def decisions(redis: RedisServer) -> int:
    """How many scripts the server has run."""
    with redis.client() as client:
        found = client.info("commandstats")
    return sum(values["calls"] for name, values in found.items() if "evalsha" in name)


def is_counting(site: Site, redis: RedisServer) -> bool:
    before = decisions(redis)
    for _ in range(8):
        site.get("/api/echo/", "203.0.113.99")
    return decisions(redis) - before >= 8


def test_frozen_redis_fails_no_request(site: Site, mortal_redis: RedisServer) -> None:
    """No error and no hang; limits hold in each process, and Redis counts again once it thaws."""
    with load(site) as answers:
        wait_until(lambda: len(answers) > 20)
        mortal_redis.freeze()
        try:
            reached = len(answers)
            wait_until(lambda: len(answers) > reached + 100)
            assert 10 <= passed_alone(site, "198.51.100.1") <= 20
            assert site.get("/accounts/login/", "198.51.100.1").status == 503
        finally:
            mortal_redis.thaw()
        wait_until(lambda: is_counting(site, mortal_redis))
        wait_until(lambda: site.get("/accounts/login/", "198.51.100.1").status == 200)
    assert statuses(answers) == {200: len(answers)}


def test_killed_redis_fails_no_request(site: Site, mortal_redis: RedisServer) -> None:
    """The same where nobody listens; a Redis that comes back empty is told the policy."""
    with load(site) as answers:
        wait_until(lambda: len(answers) > 20)
        mortal_redis.kill()
        reached = len(answers)
        wait_until(lambda: len(answers) > reached + 100)
        assert 10 <= passed_alone(site, "198.51.100.2") <= 20
        # Nobody can announce an edit now: it is found in the database.
        site.apply({"endpoint_limits": [SEARCH | {"limits": ["2/h"]}]})
        clients = (f"198.51.101.{number}" for number in itertools.count(1))
        wait_until(
            lambda: (
                statuses(site.together(16, "/api/search/?q=a", next(clients)))
                in ({200: 2, 429: 14}, {200: 1, 429: 15})
            )
        )
        mortal_redis.start()
        wait_until(lambda: is_counting(site, mortal_redis))
    assert statuses(answers) == {200: len(answers)}
    with mortal_redis.client() as client:
        wait_until(lambda: any(key.endswith(b"announcement") for key in client.keys("*")))


def test_flushed_redis_is_told_the_policy_again(site: Site, mortal_redis: RedisServer) -> None:
    """A missing announcement is restored from the database by the request that misses it."""
    with mortal_redis.client() as client:
        client.flushall()
        assert site.get("/api/echo/").status == 200
        assert any(key.endswith(b"announcement") for key in client.keys("*"))
