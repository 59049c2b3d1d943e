"""The counts of one process: exact from many threads, bounded, new in a forked child."""

import os
import random
import sys
import threading
import tracemalloc
from http import HTTPStatus
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import resolve

from pulse.core.claims import Store
from pulse.core.histogram import RELATIVE_ERROR
from pulse.core.measures import OTHERS
from pulse.metrics import flush, record_request, totals, window
from pulse.metrics.recorder import FOLD, Seen, recorder
from pulse.middleware.stack import PulseMiddleware
from pulse.store import heartbeat, processes
from pulse.store.connection import current_backend


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None):
    with heartbeat.suspended():
        yield


def queue(route: str, status: Any = 200, us: int = 50) -> None:
    """What the middleware does at the end of a request."""
    taken_s = us / 1_000_000
    recorder.queue.append(("GET", route, "", status, taken_s, None, (), False, 0, 0, 0, 0))
    if len(recorder.queue) >= FOLD:
        recorder.fold()


def test_eight_threads_at_once_count_exactly(redis_cache) -> None:
    """While a ninth flushes without rest, and with threads changing places all the time."""
    over = threading.Event()

    def add(number: int) -> None:
        for at in range(2000):
            if at % 2:
                queue(f"{number % 3}/", 200 + at % 4)
            else:
                record_request(f"/{number % 3}/", "GET", 200 + at % 4, 0.05)
            recorder.decisions.append((Store.REDIS, True, 7e-6))

    def flush_on() -> None:
        while not over.is_set():
            flush.flush()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
        flusher = threading.Thread(target=flush_on)
        for thread in (*threads, flusher):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        flusher.join()
    finally:
        sys.setswitchinterval(before)
    flush.flush()
    found = window.read()
    assert found.total.statuses == dict.fromkeys((200, 201, 202, 203), 4000)
    assert found.total.latencies.count == 16_000
    assert totals.read().decisions == {("allowed", "redis"): 16_000}
    assert recorder.in_flight() == 0


def test_a_status_that_is_none_is_counted_as_the_last() -> None:
    """Django serves some that a host has set, and one must not keep others from being counted."""
    for status in (HTTPStatus.OK, 200.0, "200", None, -1, 1 << 40, 999):
        queue("a/", status)
    groups, _evicted = recorder.take()
    counted = groups["GET /a/"]
    assert {name: count for name, count in counted.items() if name[0] == "c"} == {
        "c200": 2,
        "c999": 5,
    }
    assert (counted["u"], counted["a"]) == (7 * 50, 7)


def test_no_more_waits_than_is_counted_at_once(redis_cache) -> None:
    for _ in range(10 * FOLD):
        queue("a/")
        assert len(recorder.queue) < FOLD
    assert recorder.in_flight() == 0


def test_in_flight_is_what_has_begun_and_not_ended(redis_cache, db) -> None:
    """Of each endpoint, and of all; told by every process with its beat."""
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append((recorder.in_flight(), recorder.in_flight_by()))  # Its route is not known yet.
        request.resolver_match = resolve(request.path_info)
        processes.beat(current_backend())
        window.forget()
        reading = window.read()
        seen.append((reading.in_flight, reading.in_flight_by))
        return HttpResponse()

    request = RequestFactory().get("/api/products/1/")
    assert PulseMiddleware(view)(request).status_code == 200
    assert seen == [(1, {}), (1, {"GET /api/products/<int:pk>/": 1})]
    assert (recorder.in_flight(), recorder.in_flight_by()) == (0, {})


def test_memory_is_bounded_whatever_is_counted(settings) -> None:
    """Twenty thousand invented endpoints take no more than the thousand that are kept."""
    settings.PULSE = {"MAX_ENDPOINTS": 1000}

    def scan(names: range) -> None:
        for number in names:
            recorder.add(Seen("GET", f"{number}/", 404, number, "rate x:y", ("a:b",)))

    scan(range(2000))
    tracemalloc.start()
    scan(range(2000, 5000))
    before = tracemalloc.get_traced_memory()[0]
    scan(range(5000, 20_000))
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(recorder.tracked) == 1000
    assert after - before < 200_000
    groups, _ = recorder.take()
    assert groups[OTHERS]["c404"] == 19_000


def test_a_forked_child_begins_anew_and_counts_with_the_others(redis_cache) -> None:
    """Four processes forked of one that has counted: each answer once, p99 within its error."""
    for us in range(1000):
        queue("parent/", us=us)
    chosen = random.Random(7)
    known = [[int(chosen.lognormvariate(9, 1)) for _ in range(2000)] for _ in range(4)]
    children = []
    recorder.lock.acquire()  # As a thread may hold it at that moment.
    for part in known:
        child = os.fork()
        if not child:
            for us in part:
                record_request("/child/", "GET", 200, us / 1000)
                recorder.fold()
            flush.flush()
            own = window.read()
            ends = 0 if own.endpoints["GET /child/"].requests >= len(part) else 3
            os._exit(ends if "GET /parent/" not in own.endpoints else 4)
        children.append(child)
    recorder.lock.release()
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    flush.flush()
    found = window.read().endpoints
    assert found["GET /parent/"].requests == 1000
    assert found["GET /child/"].requests == 8000
    every = sorted(us for part in known for us in part)
    assert found["GET /child/"].latencies.sum_us == sum(every)
    for share in (0.5, 0.9, 0.95, 0.99):
        true = every[int(share * len(every)) - 1] / 1000
        told = found["GET /child/"].latencies.quantile_ms(share)
        assert told is not None
        assert abs(told - true) <= RELATIVE_ERROR * true


def test_the_endpoint_unused_for_longest_goes_first(settings) -> None:
    """However uses, evictions and flushes follow one another."""
    settings.PULSE = {"MAX_ENDPOINTS": 10}
    chance = random.Random(7)
    expected: dict[str, None] = {}
    for turn in range(3000):
        route = f"{min(int(chance.expovariate(0.15)), 40)}/"
        recorder.add(Seen("GET", route, 200, 50))
        expected.pop(route, None)
        if len(expected) == 10:
            del expected[next(iter(expected))]
        expected[route] = None
        assert {route for _, route in recorder.tracked} == set(expected)
        if not turn % 100:
            recorder.take()
