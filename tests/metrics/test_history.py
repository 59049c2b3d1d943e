"""Minutes and hours that outlive the store: each once, whoever keeps it and however often."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from pulse.exceptions import StoreUnavailable
from pulse.metrics import flush, history, record_request, series, window
from pulse.metrics.history import Keeping, keep
from pulse.metrics.models import MetricHour, MetricMinute
from pulse.metrics.series import HOUR, floored, measures_of
from pulse.probes import retention
from pulse.store import heartbeat
from tests.servers import free_port
from tests.store.conftest import LOCMEM, cache_of

MINUTE = timedelta(minutes=1)
#: Within an hour, some minutes after its beginning.
START = datetime(2026, 3, 10, 9, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None, db: None, redis_cache: Any) -> Any:
    history.forget()
    with heartbeat.suspended():
        yield
    history.forget()


@pytest.fixture
def clock(monkeypatch: Any) -> Any:
    """The time at which something is recorded; set by calling it."""

    def at(moment: datetime) -> None:
        monkeypatch.setattr(flush, "now", moment.timestamp)

    at(START)
    return at


def answered(*statuses: int, taken_ms: float = 10.0, endpoint: str = "/a/") -> None:
    for status in statuses:
        record_request(endpoint, "GET", status, taken_ms)
    flush.flush()


def test_a_minute_that_is_over_is_kept_by_endpoint_and_in_all(clock) -> None:
    answered(200, 500, taken_ms=20.0)
    answered(429, endpoint="/b/")
    assert keep(START + MINUTE) == Keeping(0, 0)  # Its last flush may still come.
    assert keep(START + 2 * MINUTE) == Keeping(1, 0)
    rows = {row.endpoint: row for row in MetricMinute.objects.all()}
    assert set(rows) == {"", "GET /a/", "GET /b/"}
    assert (rows["GET /a/"].requests, rows["GET /a/"].errors) == (2, 1)
    assert (rows["GET /a/"].min_us, rows["GET /a/"].max_us) == (20_000, 20_000)
    assert rows[""].requests == 3
    assert rows[""].statuses == {"200": 1, "429": 1, "500": 1}
    assert rows[""].at == START
    assert 1 <= rows[""].seconds <= 2
    found = measures_of(rows[""])
    assert (found.requests, found.latencies.count) == (3, 3)


def test_what_is_kept_twice_is_there_once(clock) -> None:
    answered(200)
    assert keep(START + 2 * MINUTE).minutes == 1
    assert keep(START + 2 * MINUTE).minutes == 0
    history.forget()  # As by another process.
    assert keep(START + 2 * MINUTE).minutes == 1
    assert MetricMinute.objects.count() == 2
    assert MetricMinute.objects.get(endpoint="").requests == 1


def test_what_arrives_late_is_added(clock) -> None:
    answered(200)
    keep(START + 2 * MINUTE)
    clock(START + timedelta(seconds=30))
    answered(200, 200)
    assert keep(START + 20 * MINUTE).minutes == 1
    assert MetricMinute.objects.get(endpoint="").requests == 3


def test_ticks_that_were_missed_are_made_up_for(clock) -> None:
    for place in (0, 3, 70):
        clock(START + place * MINUTE)
        answered(200)
    clock(START + 72 * MINUTE)
    kept = keep(START + 72 * MINUTE)
    assert kept == Keeping(3, 1)
    hour = MetricHour.objects.get(endpoint="")
    assert (hour.at, hour.requests) == (floored(START, HOUR), 2)
    assert 2 <= hour.seconds <= 4
    assert MetricHour.objects.get(endpoint="GET /a/").requests == 2


def test_an_hour_is_made_anew_when_a_minute_of_it_comes_late(clock) -> None:
    answered(200)
    keep(START + 70 * MINUTE)
    clock(START + MINUTE)
    answered(500)
    assert keep(START + 71 * MINUTE) == Keeping(1, 1)
    hour = MetricHour.objects.get(endpoint="")
    assert (hour.requests, hour.errors) == (2, 1)


def test_an_hour_is_made_of_what_another_process_kept(clock) -> None:
    answered(200)
    keep(START + 2 * MINUTE)
    history.forget()
    flush.forget()
    assert keep(START + 100 * MINUTE).hours == 1


def test_percentiles_of_hours_are_of_all_their_answers(clock) -> None:
    for place, taken_ms in enumerate((10.0, 10.0, 10.0, 500.0)):
        clock(START + place * MINUTE)
        answered(200, taken_ms=taken_ms)
    keep(START + 70 * MINUTE)
    found = measures_of(MetricHour.objects.get(endpoint=""))
    p50, p99 = found.latencies.quantiles_ms((0.5, 0.99))
    assert p50 == pytest.approx(10, rel=0.032)
    assert p99 == 500


def test_a_redis_that_cannot_be_asked_loses_nothing_of_what_it_holds(clock, settings) -> None:
    answered(200)
    there = settings.CACHES
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable):
        keep(START + 2 * MINUTE)
    assert not MetricMinute.objects.exists()
    settings.CACHES = there
    assert keep(START + 2 * MINUTE).minutes == 1


def test_without_redis_nothing_is_kept_since_nobody_knows_all(clock, settings) -> None:
    settings.CACHES = LOCMEM
    answered(200)
    assert keep(START + 2 * MINUTE) == Keeping()


def test_what_is_old_goes(clock) -> None:
    now = START + timedelta(days=40)
    for model, age in (
        (MetricMinute, timedelta(hours=24)),
        (MetricMinute, timedelta(hours=26)),
        (MetricHour, timedelta(days=30)),
        (MetricHour, timedelta(days=32)),
    ):
        model.objects.create(at=now - age)
    pruned = retention.prune(now)
    assert (pruned.rows["minutes"], pruned.rows["measured hours"]) == (1, 1)
    assert (MetricMinute.objects.count(), MetricHour.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_two_who_keep_at_once_write_it_once(clock) -> None:
    for place in range(10):
        clock(START + place * MINUTE)
        answered(200)
    barrier, failed = threading.Barrier(2), []

    def work() -> None:
        try:
            barrier.wait()
            for number in range(10):
                at = START + number * MINUTE
                for minute in window.minutes(int(at.timestamp()) // 60, int(at.timestamp()) // 60):
                    history._write(
                        MetricMinute, minute.at, minute.seconds, minute.endpoints, "default"
                    )
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert MetricMinute.objects.filter(endpoint="").count() == 10
    assert sum(MetricMinute.objects.filter(endpoint="").values_list("requests", flat=True)) == 10


def test_a_chart_ends_with_what_no_worker_kept_yet(clock) -> None:
    answered(200)
    keep(START + 2 * MINUTE)
    clock(START + 2 * MINUTE)
    answered(200, 200)
    spans = series.read("1h", START + 2 * MINUTE)
    assert len(spans) == 60
    assert [span.measures.requests for span in spans[-3:]] == [1, 0, 2]
    assert [span.measures.requests for span in series.read("1h", START, "GET /a/")][-1] == 1


def test_an_endpoint_that_nobody_asked_for_is_nothing_and_no_gap(clock) -> None:
    answered(200, 200)
    clock(START + MINUTE)
    answered(200, endpoint="/b/")
    keep(START + 3 * MINUTE)
    clock(START + 3 * MINUTE)
    spans = series.read("1h", START + 3 * MINUTE, "GET /a/")
    told = [(span.measures.requests, span.seconds > 0) for span in spans[-4:-2]]
    assert told == [(2, True), (0, True)]


def test_minutes_that_no_worker_kept_are_told_while_the_store_has_them(clock) -> None:
    for ago in (50, 20, 7):
        clock(START - ago * MINUTE)
        answered(*[200] * ago)
    clock(START)
    spans = {span.at: span for span in series.read("1h", START)}
    for ago in (50, 20, 7):
        assert spans[floored(START - ago * MINUTE, MINUTE)].measures.requests == ago
