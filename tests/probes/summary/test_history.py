"""What targets did: bars, percentiles of merged hours, and uptime by its formula."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pulse.probes.state import ProbeDay
from pulse.probes.summary import history
from tests import factories

NOW = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)


def day(name: str, back: int, **fields: float) -> None:
    ProbeDay.objects.create(target=name, at=NOW.date() - timedelta(days=back), **fields)


def test_uptime_is_the_share_of_the_watched_time_that_was_not_down():
    """Maintenance and what nobody watched are left out, degraded is up (M7)."""
    factories.hour(
        "a", NOW.replace(minute=0), up_s=600, degraded_s=300, down_s=100, maintenance_s=800
    )
    assert history.uptimes(["a"], NOW)["a"]["24h"] == pytest.approx(0.9)


def test_what_was_never_watched_has_no_uptime():
    assert history.uptimes(["a"], NOW) == {"a": {"24h": None, "7d": None, "30d": None, "90d": None}}


def test_each_window_counts_its_own_days():
    day("a", 5, up_s=900, down_s=100)
    day("a", 20, up_s=0, down_s=1000)
    day("a", 80, up_s=8000)
    day("a", 90, down_s=1_000_000)
    factories.hour("a", NOW.replace(minute=0), up_s=1000)
    assert history.uptimes(["a"], NOW)["a"] == {
        "24h": 1.0,
        "7d": pytest.approx(0.95),
        "30d": pytest.approx(1 - 1100 / 3000),
        "90d": pytest.approx(1 - 1100 / 11000),
    }


def test_24_hours_end_with_this_one_and_begin_23_before():
    factories.hour("a", NOW.replace(minute=0) - timedelta(hours=23), up_s=100)
    factories.hour("a", NOW.replace(minute=0) - timedelta(hours=24), down_s=100, up_s=0)
    assert history.uptimes(["a"], NOW)["a"]["24h"] == 1.0


def test_a_day_that_is_not_rolled_up_yet_is_what_its_hours_add_up_to():
    """Neither counted twice nor left out, whenever the rows of days are written."""
    yesterday = NOW.replace(hour=3, minute=0) - timedelta(days=1)
    factories.hour("a", yesterday, up_s=1800, down_s=1800)
    assert history.days(["a"], NOW, 7)["a"][yesterday.date()].known_s == 3600
    day("a", 1, up_s=1800, down_s=1800)
    assert history.days(["a"], NOW, 7)["a"][yesterday.date()].known_s == 3600
    day("a", 2, up_s=80_000)
    factories.hour("a", yesterday - timedelta(days=1), up_s=3600)
    assert history.days(["a"], NOW, 7)["a"][date(2026, 3, 8)].known_s == 80_000


def test_percentiles_come_of_merged_hours_not_of_averages():
    """The tail of a quiet hour does not weigh as much as that of a busy one."""
    this = NOW.replace(minute=0)
    factories.hour("a", this, *[10.0] * 99)
    factories.hour("a", this - timedelta(hours=1), 1000.0)
    p50, _p90, _p95, p99 = history.last_day(["a"], NOW)["a"].quantiles_ms()
    assert p50 == pytest.approx(10, rel=1 / 32)
    assert p99 == pytest.approx(10, rel=1 / 32)
    assert history.last_day(["a"], NOW)["a"].latencies.max_us == 1_000_000


def test_bars_are_the_newest_results_oldest_first():
    for number in range(history.BARS + 5):
        factories.job("ok" if number else "failed", targets=["a"])
    factories.target_state("a")
    factories.job("running", "degraded", "failed", targets=["a", "a", "b"], status="running")
    factories.target_state("b")
    found = history.bars(["a", "b", "c"])
    assert [bar.state for bar in found["a"]] == ["ok"] * (history.BARS - 1) + ["degraded"]
    assert [bar.state for bar in found["b"]] == ["failed"]
    assert found["c"] == []


def test_bars_of_many_targets_cost_as_many_queries_as_of_one():
    for number in range(8):
        factories.target_state(f"t{number}")
    factories.job(*["ok"] * 8)
    with CaptureQueriesContext(connection) as queries:
        history.bars([f"t{number}" for number in range(8)])
    assert len(queries) == 2
