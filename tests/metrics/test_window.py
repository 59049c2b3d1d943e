"""One reading of all processes: every answer once, whoever sends and whoever asks."""

import time

import pytest

from pulse.core.histogram import RELATIVE_ERROR
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.exceptions import StoreUnavailable
from pulse.metrics import flush, record_request, settling, totals, window
from pulse.metrics.recorder import Seen, recorder
from pulse.store import heartbeat, processes
from pulse.store.connection import Backend, current_backend
from tests.store.conftest import LOCMEM


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None):
    with heartbeat.suspended():
        yield


@pytest.fixture(params=["redis", "process"])
def store(request, settings):
    """Both ways of keeping measures tell the same."""
    if request.param == "redis":
        request.getfixturevalue("redis_cache")
    else:
        settings.CACHES = LOCMEM
    return request.param


def another_process() -> None:
    """What follows is recorded by another process; what is read is asked anew."""
    flush.forget()
    window.forget()


def test_an_answer_is_in_the_reading_after_one_flush(store) -> None:
    record_request("/api/products/<int:pk>/", "GET", 200, 12.5)
    record_request("/api/products/<int:pk>/", "get", 500, 800)
    record_request("/", "BREW", 404, 3000)
    flush.flush()
    found = window.read()
    assert found.scope == ("all" if store == "redis" else "process")
    assert set(found.endpoints) == {"GET /api/products/<int:pk>/", "OTHER /"}
    one = found.endpoints["GET /api/products/<int:pk>/"]
    assert one.statuses == {200: 1, 500: 1}
    assert (one.latencies.sum_us, one.latencies.min_us, one.latencies.max_us) == (
        *(812_500, 12_500),
        800_000,
    )
    assert (one.satisfied, one.tolerated) == (1, 1)
    assert (found.total.requests, found.total.errors) == (3, 1)
    assert (found.lifetime.requests, found.lifetime.errors, found.lifetime.refused) == (3, 1, 0)
    assert not found.is_stale
    assert 300 <= found.seconds <= 361
    assert found.covered_s < 5  # Before that there was nobody.


def test_refusals_are_counted_by_rule_and_are_in_no_latency(store) -> None:
    recorder.add(
        Seen("GET", "a/", 429, 50, refused="rate rate_tiers:default", would_refuse=("x:y",))
    )
    recorder.add(Seen("GET", "a/", 429, 50, refused="rate rate_tiers:default"))
    recorder.add(Seen("GET", "a/", 403, 50, refused="access access_rules:of two: words"))
    recorder.add(
        Seen("GET", "a/", 200, 50, is_slow=True, bytes_in=3, bytes_out=5, queries=2, query_us=9)
    )
    recorder.count("probes", 4)
    flush.flush()
    found = window.read()
    one = found.endpoints["GET /a/"]
    assert one.refused_by == {"rate_tiers:default": 2, "access_rules:of two: words": 1}
    assert (one.requests, one.refused, one.would_refuse, one.latencies.count) == (4, 3, 1, 1)
    assert (one.slow, one.bytes_in, one.bytes_out, one.queries, one.query_us) == (1, 3, 5, 2, 9)
    assert found.apart == {"probes": 4, "pulse": 0, "streams": 0}
    assert found.lifetime.refused == 3
    sums = totals.read()
    assert sums.refused == {
        ("rate", "rate_tiers:default"): 2,
        ("access", "access_rules:of two: words"): 1,
    }
    assert sums.would_refuse == {"x:y": 1}
    assert sums.apart == {"probes": 4}
    assert sums.endpoints["GET /a/"].statuses == {429: 2, 403: 1, 200: 1}
    assert sums.endpoints["GET /a/"].bits == {6: 1}  # 50 µs are below 2 ** 6.
    assert sums.endpoints["GET /a/"].sum_us == 50


@pytest.mark.parametrize("us", [0, 1, 31, 32, 33, 63, 64, 1000, 123_456, 2**40 - 1])
def test_a_latency_is_below_the_power_of_two_that_it_is_told_under(store, us) -> None:
    recorder.add(Seen("GET", "a/", 200, us))
    flush.flush()
    (bits,) = totals.read().endpoints["GET /a/"].bits
    assert us < 2**bits <= max(2 * us, 1)


def test_what_processes_measured_comes_together(redis_cache) -> None:
    for _ in range(3):
        record_request("/a/", "GET", 200, 1)
        flush.flush()
        another_process()
    assert window.read().total.requests == 3
    assert window.read().endpoints["GET /a/"].latencies.counts == {111: 3}


def test_a_flush_that_is_sent_again_counts_once(redis_cache, monkeypatch) -> None:
    """It was carried out, and the answer was lost; what was measured meanwhile is added."""
    run = Backend.run
    record_request("/a/", "GET", 200, 1)

    def lose(self: Backend, *arguments: object) -> object:
        run(self, *arguments)
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Backend, "run", lose)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                flush.flush()
            record_request("/a/", "GET", 200, 1)
    flush.flush()
    assert window.read().total.requests == 4
    assert window.read().lifetime.requests == 4
    flush.flush()
    assert window.read().total.requests == 4


def test_many_endpoints_with_many_fields_are_sent_whole_in_parts(redis_cache) -> None:
    for number in range(40):
        for us in range(0, 40_000, 1000):
            recorder.add(Seen("GET", f"{number}/", 200 + number, us))
    flush.flush()
    found = window.read()
    assert len(found.endpoints) == 40
    for number in range(40):
        one = found.endpoints[f"GET /{number}/"]
        assert one.statuses == {200 + number: 40}
        assert one.latencies.count == 40
        assert (one.latencies.min_us, one.latencies.max_us) == (0, 39_000)


def test_twenty_endpoints_where_ten_are_kept_are_ten(store, settings, caplog) -> None:
    """S0-35, S0-13: the longest unused go, with all of their data; the sum keeps it."""
    settings.PULSE = {"MAX_ENDPOINTS": 10}
    with caplog.at_level("INFO", "pulse.metrics.recorder"):
        for number in range(20):
            record_request(f"/{number}/", "GET", 200, 1)
    assert len(recorder.tracked) == 10
    lines = [r for r in caplog.records if r.message.startswith("Evicted")]
    assert lines[0].message == "Evicted endpoint metrics due to max_endpoints limit"
    assert (lines[0].endpoint, lines[0].max_endpoints) == ("GET /0/", 10)
    flush.flush()
    found = window.read()
    kept = {f"GET /{number}/" for number in range(10, 20)}
    assert set(found.endpoints) == {*kept, OTHERS}
    assert found.endpoints[OTHERS].requests == 10
    assert found.total.requests == 20
    assert totals.read().evicted == 10


def test_who_was_used_last_stays(store, settings) -> None:
    settings.PULSE = {"MAX_ENDPOINTS": 2}
    for name in ("a", "b", "a", "c"):
        record_request(f"/{name}/", "GET", 200, 1)
    flush.flush()
    assert set(window.read().endpoints) == {"GET /a/", "GET /c/", OTHERS}


def test_a_scan_leaves_real_endpoints_in_place(store, settings) -> None:
    """However many there are that lead nowhere, they are one."""
    record_request("/real/", "GET", 200, 1)
    for _ in range(2000):
        recorder.add(Seen("", UNRESOLVED, 404, 10))
    flush.flush()
    found = window.read()
    assert set(found.endpoints) == {"GET /real/", UNRESOLVED}
    assert found.endpoints[UNRESOLVED].requests == 2000
    assert len(recorder.tracked) == 2


def test_of_all_processes_no_more_endpoints_are_kept_than_of_one(redis_cache, settings) -> None:
    settings.PULSE = {"MAX_ENDPOINTS": 10}
    for process in range(3):
        for number in range(10):
            record_request(f"/{process}/{number}/", "GET", 200, 1)
        flush.flush()
        another_process()
    found = window.read()
    assert len([name for name in found.endpoints if name != OTHERS]) == 10
    assert found.total.requests == 30
    sums = totals.read()
    assert sum(one.statuses.total() for one in sums.endpoints.values()) == 30
    assert len(sums.endpoints) <= 12


def test_a_reading_costs_two_calls_where_nothing_has_changed(redis_cache, monkeypatch) -> None:
    record_request("/a/", "GET", 200, 1)
    flush.flush()
    first = window.read()
    calls: list[object] = []
    run, call = Backend.run, Backend.call
    monkeypatch.setattr(Backend, "run", lambda *a: calls.append(a[1]) or run(*a))
    monkeypatch.setattr(Backend, "call", lambda *a: calls.append(a[1]) or call(*a))
    again = window.read()
    assert len(calls) == 2
    assert again.endpoints is first.endpoints


def test_where_redis_cannot_be_asked_the_last_reading_says_so(redis_cache, monkeypatch) -> None:
    record_request("/a/", "GET", 200, 1)
    flush.flush()
    before = window.read()
    assert not totals.read().is_stale

    def fail(*_: object) -> object:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(Backend, "run", fail)
    monkeypatch.setattr(Backend, "call", fail)
    after = window.read()
    assert after.is_stale
    assert after.endpoints == before.endpoints
    assert totals.read().is_stale
    window.forget()
    record_request("/b/", "GET", 200, 1)
    with pytest.raises(StoreUnavailable):
        flush.flush()
    own = window.read()
    assert own.is_stale
    assert (own.scope, set(own.endpoints)) == ("process", {"GET /b/"})


@pytest.mark.parametrize(
    ("endpoint", "method", "status", "ms"),
    [
        ("", "GET", 200, 1.0),
        ("/a\nb", "GET", 200, 1.0),
        ("/a", "GET", 1000, 1.0),
        ("/a", "GET", -1, 1.0),
        ("/a", "GET", 200, float("nan")),
        ("/a", "GET", 200, float("inf")),
        ("/a", None, 200, 1.0),
        (None, "GET", 200, 1.0),
        ("/a", "GET", "200", 1.0),
    ],
)
def test_what_cannot_be_counted_is_told_and_raises_nothing(
    store, caplog, endpoint, method, status, ms
) -> None:
    record_request(endpoint, method, status, ms)
    (line,) = [r for r in caplog.records if r.name == "pulse.metrics.requests"]
    assert line.message == "Failed to record metrics (non-fatal)"
    assert line.error
    flush.flush()
    assert window.read().total.requests == 0
    assert totals.read().swallowed == {"metrics": 1}


def test_odd_endpoints_and_times_are_kept_within_bounds(store) -> None:
    record_request("/" + "x" * 5000, "GET", 200, -5)
    record_request("/snow ☃ 'quoted\"", "GET", 999, 1e30)
    record_request(UNRESOLVED, "GET", 404, 0)
    record_request(OTHERS, "GET", 404, 0)
    flush.flush()
    found = window.read().endpoints
    assert max(map(len, found)) == 512
    assert found[UNRESOLVED].requests == 2
    assert found["GET /snow ☃ 'quoted\""].latencies.max_us == 2**40 - 1


def test_a_clock_that_is_set_back_or_forward_moves_nothing(redis_cache, monkeypatch) -> None:
    """Redis's clock counts, and between two looks at it one that nobody sets."""
    real = time.time
    for step in (0.0, -7200.0, 7200.0):
        monkeypatch.setattr(time, "time", lambda step=step: real() + step)
        record_request("/a/", "GET", 200, 1)
        flush.flush()
    found = window.read()
    assert found.total.requests == 3
    assert abs(found.to_at.timestamp() - real()) < 5


def test_the_clock_of_redis_that_was_set_back_leaves_nothing_in_the_future(redis_cache) -> None:
    record_request("/a/", "GET", 200, 1)
    flush.flush()
    backend = current_backend()
    ahead = int((time.time() + 3600) * 1_000_000)
    backend.call("HSET", flush.sums_key(backend), "at", ahead)
    window.forget()
    assert abs(window.read().to_at.timestamp() - time.time()) < 5
    record_request("/a/", "GET", 200, 1)
    flush.flush()
    at = int(backend.call("HGET", flush.sums_key(backend), "at"))
    assert abs(at / 1_000_000 - time.time()) < 5


def test_names_of_rules_that_are_gone_are_bounded(store, settings) -> None:
    settings.PULSE = {**settings.PULSE, "MAX_ENDPOINTS": 10}
    for number in range(30):
        rule = f"access_rules:10.0.{number}.0/24"
        seen = Seen("GET", "a/", 403, 50, refused=f"access {rule}", would_refuse=(rule,))
        recorder.add(seen)
        recorder.count(f"refused_of access 10.0.{number}.1")
        flush.flush()
    found = totals.read()
    for many, instead in (
        (found.refused, ("access", OTHERS)),
        (found.would_refuse, f":{OTHERS}"),
        (found.refused_of, ("access", OTHERS)),
    ):
        assert len(many) == 11
        assert sum(many.values()) == 30
        assert many[instead] == 20
    assert found.refused["access", "access_rules:10.0.0.0/24"] == 1


def test_a_worker_that_counts_probes_has_recorded_no_requests(store, monkeypatch) -> None:
    monkeypatch.setattr(processes, "is_web", lambda: False)
    recorder.count("probe ok shop")
    flush.flush()
    assert window.read().covered_s < 1
    recorder.add(Seen("GET", "a/", 200, 50))
    flush.flush()
    assert window.read().total.requests == 1


def test_two_routes_of_one_name_are_counted_together(store) -> None:
    recorder.add(Seen("GET", "a  b/", 200, 50))
    recorder.add(Seen("GET", "a b/", 200, 50))
    flush.flush()
    assert window.read().endpoints["GET /a b/"].requests == 2


def test_an_amount_that_cannot_be_added_takes_no_other_with_it(redis_cache) -> None:
    for number in range(12):
        seen = Seen("GET", f"a{number}/", 200, 50, bytes_out=999_999_999_999_999_999)
        recorder.add(seen)
        flush.flush()
    for _ in range(2000):
        recorder.add(Seen("GET", "a/", 200, 50, bytes_out=1 << 62))
    flush.flush()
    found = window.read()
    assert found.total.requests == 2012
    assert found.lifetime.requests == 2012


def test_an_endpoint_that_is_let_go_is_no_traffic_of_others(redis_cache, settings) -> None:
    settings.PULSE = {**settings.PULSE, "MAX_ENDPOINTS": 10}
    for number in range(40):
        recorder.add(Seen("GET", f"a{number}/", 200, 50))
        flush.flush()
        if number % 10 == 9:
            another_process()
    found = totals.read()
    assert found.endpoints.get(OTHERS) is None or found.endpoints[OTHERS].statuses[200] <= 30
    assert window.read().lifetime.requests == 40


def test_minutes_tell_what_was_recorded_and_what_was_not(store) -> None:
    recorder.add(Seen("GET", "a/", 200, 50))
    recorder.count("streams")
    flush.flush()
    now = int(flush.now()) // 60
    before, *last = window.minutes(now - 2, now)
    assert (before.seconds, dict(before.endpoints)) == (0, {})
    assert sum(one.total.requests for one in last) == 1
    assert sum(one.apart["streams"] for one in last) == 1
    assert 1 <= sum(one.seconds for one in last) <= 5


def test_what_was_measured_while_redis_was_away_is_there_once(redis_cache, monkeypatch) -> None:
    run, call = Backend.run, Backend.call

    def fail(*_: object) -> object:
        raise StoreUnavailable("gone")

    record_request("/a/", "GET", 200, 1)
    flush.flush()
    monkeypatch.setattr(Backend, "run", fail)
    monkeypatch.setattr(Backend, "call", fail)
    for _ in range(5):
        record_request("/a/", "GET", 200, 1)
        with pytest.raises(StoreUnavailable):
            flush.flush()
    monkeypatch.setattr(Backend, "run", run)
    monkeypatch.setattr(Backend, "call", call)
    flush.flush()
    flush.flush()
    assert window.read().total.requests == 6
    assert window.read().dropped == 0


def test_a_bucket_that_is_over_is_packed_and_tells_the_same(redis_cache, monkeypatch) -> None:
    """Also what comes later yet; one process packs it for all."""
    for number in range(100):
        for us in range(30):
            recorder.add(Seen("GET", f"{number}/", 200, 1000 * us, "rate x:y" if us == 7 else None))
    recorder.count("streams", 3)
    flush.flush()
    before = window.read(600)
    (key,) = (key for key in keys(redis_cache) if b":measures:60:" in key)
    with redis_cache.client() as client:
        room = client.memory_usage(key, samples=0)
        now = flush.now()
        monkeypatch.setattr(flush, "now", lambda: now + 66)
        settling.look()
        assert client.memory_usage(key, samples=0) < room / 10
        assert client.hlen(key) == 3
        assert 7000 < client.ttl(key) <= 7260
    window.forget()
    after = window.read(600)
    assert after.endpoints == before.endpoints
    assert after.apart == before.apart
    assert after.covered_s == before.covered_s
    monkeypatch.undo()
    recorder.add(Seen("GET", "7/", 200, 70_000))
    flush.flush()
    late = window.read(600).endpoints["GET /7/"]
    assert late.requests == 31
    assert late.latencies.max_us == 70_000
    assert late.latencies.min_us == 0


def test_a_bucket_that_is_added_to_is_not_packed(redis_cache, monkeypatch) -> None:
    record_request("/a/", "GET", 200, 1)
    flush.flush()
    size_s, number = 60, int(flush.now()) // 60
    backend = current_backend()
    call = Backend.call

    def add_meanwhile(*arguments: object) -> object:
        reply = call(*arguments)
        monkeypatch.setattr(Backend, "call", call)
        record_request("/a/", "GET", 200, 1)
        flush.flush()
        return reply

    monkeypatch.setattr(Backend, "call", add_meanwhile)
    assert not settling.settle(backend, size_s, number)
    assert window.read().total.requests == 2
    assert not settling.settle(backend, size_s, number - 1)


def keys(server) -> list[bytes]:
    with server.client() as client:
        return list(client.scan_iter("*"))


def test_percentiles_are_within_the_stated_error(redis_cache) -> None:
    known = sorted(int(1.0007**n * 100) for n in range(10_000))
    for us in known:
        recorder.add(Seen("GET", "a/", 200, us))
    flush.flush()
    for share in (0.5, 0.9, 0.95, 0.99):
        true = known[int(share * len(known)) - 1] / 1000
        told = window.read().total.latencies.quantile_ms(share)
        assert told is not None
        assert abs(told - true) <= RELATIVE_ERROR * true
