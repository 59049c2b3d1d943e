"""What this process uses, and how full what it keeps is."""

import logging

import pytest

from pulse.core.networks import parse_address
from pulse.metrics import cache_metrics, exposition, pool_metrics, resources
from pulse.metrics.recorder import Seen, recorder
from pulse.metrics.resources import Usage
from pulse.store import heartbeat, processes
from pulse.store.connection import current_backend
from tests.store.conftest import LOCMEM


@pytest.fixture(autouse=True)
def nothing_warned():
    resources._warned.clear()
    yield
    resources._warned.clear()
    resources._caches.pop("mine", None)


def test_a_process_tells_what_it_uses(redis_cache) -> None:
    used = resources.standing()["resources"]
    assert used["memory_bytes"] > 10 * 2**20
    assert used["cpu_s"] > 0
    assert used["descriptors"] > 2
    assert used["threads"] >= 1
    assert "redis:default" in used["pools"]


def test_without_psutil_it_tells_the_same(monkeypatch) -> None:
    whole = resources._process()
    monkeypatch.setattr(resources, "psutil", None)
    found = resources._process()
    assert found["memory_bytes"] == pytest.approx(whole["memory_bytes"], rel=0.2)
    assert found["threads"] == whole["threads"]
    assert abs(found["descriptors"] - whole["descriptors"]) <= 1


def test_pools_and_caches_are_told_by_name(redis_cache, settings) -> None:
    assert set(pool_metrics()) == {"redis:default"}
    assert cache_metrics()["endpoints"].most == 1000
    settings.CACHES = LOCMEM
    assert pool_metrics() == {}


def test_what_is_nearly_full_is_warned_of_once_and_taken_back(caplog, settings) -> None:
    caplog.set_level(logging.INFO, "pulse.metrics.resources")
    usage = [Usage(81, 100)]
    resources.register_cache("mine", lambda: usage[0])
    for _ in range(3):
        resources.look()
    assert caplog.messages == ["The cache mine is 81 % full: 81 of 100"]
    usage[0] = Usage(75, 100)
    resources.look()
    assert len(caplog.messages) == 1  # It swings.
    usage[0] = Usage(60, 100)
    resources.look()
    assert caplog.messages[1:] == ["The cache mine has room again: 60 %"]
    settings.PULSE = {"USAGE_WARNING": 0.5}
    resources.look()
    assert len(caplog.messages) == 3


def test_what_has_no_bound_is_never_full() -> None:
    assert Usage(10, None).ratio is None
    resources.register_cache("mine", lambda: Usage(10, None))
    resources.look()


def test_pools_are_logged_without_an_address(redis_cache, caplog) -> None:
    caplog.set_level(logging.INFO, "pulse.metrics.resources")
    resources.log_setup.cache_clear()
    resources.look()
    resources.look()
    assert [message.partition(":")[0] for message in caplog.messages] == ["The pool redis"]
    assert "127.0.0.1" not in caplog.text


def test_caches_tell_of_hits_misses_and_what_had_to_go(redis_cache, settings) -> None:
    before = cache_metrics()["addresses"]
    for _ in range(3):
        parse_address("203.0.113.77")
    after = cache_metrics()["addresses"]
    assert after.hits >= before.hits + 2
    settings.PULSE = {**settings.PULSE, "MAX_ENDPOINTS": 2}
    gone = cache_metrics()["endpoints"].evictions
    for number in range(5):
        recorder.add(Seen("GET", f"gone{number}/", 200, 50))
    assert cache_metrics()["endpoints"].evictions >= gone + 3
    with heartbeat.suspended():
        processes.beat(current_backend())
        told = {family.name for family in exposition.families()}
    assert {"pulse_cache_hits", "pulse_cache_misses", "pulse_cache_evictions"} <= told
