"""Measures while Redis is frozen, gone and empty: nothing twice, and what is missing is a gap."""

import time

import pytest
from django.test import override_settings

from pulse.metrics import flush, window
from tests.servers import RedisServer
from tests.sites import Site, running, statuses, wait_until


def test_nothing_is_counted_twice_and_what_is_missing_is_a_gap(
    tmp_path, mortal_redis: RedisServer
) -> None:
    site = Site(tmp_path, mortal_redis.url, processes=2)
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": mortal_redis.url}
    with override_settings(CACHES={"default": cache}):
        for started in running(site):
            ask(started, 30)
            wait_until(lambda: told() == 30)

            mortal_redis.freeze()
            try:
                ask(started, 30)
                assert window.read().is_stale
                assert told() == 30
                time.sleep(1.2)  # They try to send it, and hear nothing.
            finally:
                mortal_redis.thaw()
            ask(started, 1)
            wait_until(lambda: told() == 61)
            before = time.time()

            mortal_redis.kill()
            ask(started, 30)
            assert window.read().is_stale
            time.sleep(1.2)
            mortal_redis.start()
            wait_until(lambda: told() == 30)  # It has lost the rest.
            again = window.read()
            assert not again.is_stale
            assert again.dropped == 0
            (gone, *_) = again.gaps
            assert gone[0] == again.from_at
            assert gone[1].timestamp() <= before + 3
            time.sleep(1.2)
            assert told() == 30
            flush.forget()


def ask(site: Site, count: int) -> None:
    """Every request is answered, whatever becomes of its measures."""
    clients = site.together(count, "/api/echo/", "203.0.113.7")
    assert set(statuses(clients)) <= {200, 429}
    assert len(clients) == count


def told() -> int:
    found = window.read().endpoints.get("GET /api/echo/")
    return found.requests if found else 0


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None):
    from pulse.store import heartbeat

    with heartbeat.suspended():
        yield
