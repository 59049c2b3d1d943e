"""Days made of hours, and percentiles over any window."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from pulse import tasks
from pulse.core.histogram import Histogram
from pulse.probes import rollups
from pulse.probes.state import ProbeDay, ProbeHour

NOON = datetime(2026, 3, 30, 12, tzinfo=UTC)


def hour(at: datetime, target: str = "shop", latencies: tuple[int, ...] = (), **sums: Any) -> None:
    histogram = Histogram()
    for us in latencies:
        histogram.add(us)
    told = {"sum_ms": histogram.sum_us / 1000, "histogram": histogram.to_json()}
    if latencies:
        told |= {"min_ms": histogram.min_us / 1000, "max_ms": histogram.max_us / 1000}
    ProbeHour.objects.create(target=target, at=at, **told, **sums)


def yesterday(o_clock: int) -> datetime:
    return NOON.replace(hour=o_clock) - timedelta(days=1)


def days(**filters: Any) -> dict[tuple[str, date], ProbeDay]:
    return {(day.target, day.at): day for day in ProbeDay.objects.filter(**filters)}


def test_a_day_is_what_its_hours_add_up_to() -> None:
    """In UTC: the hour before midnight is of it, the one after is not; today is not over."""
    hour(yesterday(0), latencies=(1000, 3000), ok=2, attempts=3, up_s=3600.0)
    hour(yesterday(23), latencies=(9000,), failed=1, timeout=2, attempts=4, down_s=600.0)
    hour(yesterday(5), lost=1, maintenance_s=60.0, degraded=1, degraded_s=5.5)
    hour(yesterday(23) + timedelta(hours=1), ok=50)
    hour(yesterday(7), target="other", ok=7)
    assert rollups.roll_days(NOON) == 2
    found = days()
    assert set(found) == {("shop", date(2026, 3, 29)), ("other", date(2026, 3, 29))}
    day = found["shop", date(2026, 3, 29)]
    assert (day.ok, day.degraded, day.failed, day.timeout, day.lost) == (2, 1, 1, 2, 1)
    assert (day.attempts, day.up_s, day.down_s) == (7, 3600.0, 600.0)
    assert (day.degraded_s, day.maintenance_s) == (5.5, 60.0)
    assert (day.sum_ms, day.min_ms, day.max_ms) == (13.0, 1.0, 9.0)
    assert sum(day.histogram.values()) == 3


def test_rolling_again_changes_nothing_and_a_late_result_is_taken_in() -> None:
    """A day follows its hours, for as long as these may still change."""
    hour(yesterday(1), ok=1)
    assert rollups.roll_days(NOON) == 1
    assert rollups.roll_days(NOON) == 0
    ProbeHour.objects.update(ok=2)
    assert rollups.roll_days(NOON) == 1
    assert [day.ok for day in ProbeDay.objects.all()] == [2]


def test_missed_days_are_caught_up() -> None:
    """Whole ones, and targets that an interruption left out; what is there is not made anew."""
    for back in (2, 5, 9):
        hour(NOON - timedelta(days=back), ok=back)
        hour(NOON - timedelta(days=back), target="other", ok=back)
    ProbeDay.objects.create(target="shop", at=date(2026, 3, 25), ok=5)
    assert rollups.roll_days(NOON) == 5
    assert len(days()) == 6
    assert rollups.roll_days(NOON) == 0


def test_many_targets_are_written_in_batches(monkeypatch) -> None:
    monkeypatch.setattr(rollups, "BATCH", 3)
    for number in range(8):
        hour(yesterday(2), target=f"t{number}", ok=number)
        hour(yesterday(3), target=f"t{number}", ok=1)
    assert rollups.roll_days(NOON) == 8
    assert {day.target: day.ok for day in ProbeDay.objects.all()} == {
        f"t{number}": number + 1 for number in range(8)
    }


def test_percentiles_are_of_all_latencies_together() -> None:
    """Not a mean of each hour's: one slow hour of few results moves the tail alone."""
    hour(yesterday(3), latencies=tuple(range(1000, 1099)))
    hour(yesterday(4), latencies=(500_000,))
    found = rollups.latencies("shop", yesterday(3), NOON)
    assert found.count == 100
    p50, p99, p100 = found.quantiles_ms((0.5, 0.99, 1.0))
    assert p50 == pytest.approx(1.049, rel=0.04)
    assert p99 == pytest.approx(1.098, rel=0.04)
    assert p100 == 500.0


def test_days_stand_for_hours_that_are_gone() -> None:
    """And are not counted beside those that are there."""
    hour(yesterday(3), latencies=(1000,), ok=1)
    hour(NOON - timedelta(days=40), latencies=(2000,), ok=1)
    rollups.roll_days(NOON)
    ProbeHour.objects.filter(at__lt=yesterday(0)).delete()
    assert rollups.latencies("shop", NOON - timedelta(days=90), NOON).count == 2
    assert rollups.latencies("shop", NOON - timedelta(days=3), NOON).count == 1


def test_the_task_rolls_up() -> None:
    hour(yesterday(1), ok=1)
    assert tasks.rollup_days.name == "pulse.rollup_days"
    tasks.rollup_days()
    assert days()
