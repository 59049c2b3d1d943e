"""What rules refused, gathered in processes and added up in Redis."""

import os
import time

import pytest

from pulse.exceptions import StoreUnavailable
from pulse.store import buckets, hourly
from pulse.store.connection import Backend, current_backend
from tests.store.conftest import LOCMEM

RULE = "rate_tiers:default"


def refused() -> int:
    return buckets.last_day()[buckets.REFUSED][RULE]


def test_what_is_flushed_is_counted_once(redis_cache) -> None:
    buckets.add(buckets.REFUSED, RULE, 3)
    assert refused() == 3
    buckets.flush()
    buckets.flush()
    buckets.add(buckets.REFUSED, RULE)
    assert refused() == 4


def test_without_redis_it_stays_here(settings) -> None:
    settings.CACHES = LOCMEM
    buckets.add(buckets.REFUSED, RULE, 3)
    buckets.flush()
    assert refused() == 3


def test_redis_that_is_away_is_told_and_not_left_out(mortal_cache) -> None:
    """What one process gathered is no answer to what all did."""
    buckets.add(buckets.REFUSED, RULE)
    mortal_cache.kill()
    with pytest.raises(StoreUnavailable):
        buckets.last_day()


def test_hours_that_were_not_sent_are_kept(redis_cache, monkeypatch) -> None:
    """That which was sent and not answered may have been counted: it is not sent again."""
    hour = int(time.time()) // hourly.HOUR_S
    for ago, amount in ((0, 1), (1, 10), (2, 100)):
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda ago=ago: (hour - ago) * hourly.HOUR_S)
            buckets.add(buckets.REFUSED, RULE, amount)
    sent = []

    def fail_once(self: Backend, *arguments: object) -> None:
        sent.append(arguments)
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Backend, "run", fail_once)
        with pytest.raises(StoreUnavailable):
            buckets.flush()
    assert len(sent) == 1
    lost = sent[0][2][-1]
    assert refused() == 111 - lost
    buckets.flush()
    assert current_backend() is not None
    assert refused() == 111 - lost
    buckets.forget()
    assert refused() == 111 - lost


def test_forked_child_begins_with_nothing(settings) -> None:
    """Else the parent's counts count twice, or a lock that a thread of it held is never free."""
    settings.CACHES = LOCMEM
    buckets.add(buckets.REFUSED, RULE)
    with buckets._gathered.lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if buckets._gathered.lock.acquire(timeout=1) and not refused_here() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert refused() == 1


def refused_here() -> bool:
    return bool(buckets._gathered.counts)
