"""What goes when."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulse import tasks
from pulse.probes import retention
from pulse.probes.state import (
    DiscoveredEndpoint,
    ItemState,
    JobStatus,
    ProbeDay,
    ProbeHour,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeStart,
    ProbeTargetState,
    ProbeTransition,
    ProbeWorker,
    Trigger,
)

NOW = datetime(2026, 3, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def job(age: timedelta = DAY, status: str = JobStatus.COMPLETED, **fields: Any) -> ProbeJob:
    told = {"trigger": Trigger.SCHEDULE, "schedule": "core", **fields}
    at = NOW - age
    return ProbeJob.objects.create(status=status, created_at=at, deadline_at=at, **told)


def items(
    of: ProbeJob, number: int, state: str = ItemState.OK, target: str = "shop"
) -> list[ProbeItem]:
    at = None if state in {ItemState.QUEUED, ItemState.RUNNING} else of.created_at
    return ProbeItem.objects.bulk_create(
        ProbeItem(
            job=of, target=target, host="h", state=state, due_at=of.created_at, finished_at=at
        )
        for _ in range(number)
    )


def kept(**filters: Any) -> list[int]:
    return list(ProbeItem.objects.filter(**filters).order_by("pk").values_list("pk", flat=True))


def test_the_last_fifty_ok_of_each_target_stay() -> None:
    """The newest, however old they are."""
    old, new = items(job(40 * DAY), 30), items(job(), 40)
    items(job(), 50, target="other")
    pruned = retention.prune(NOW)
    assert pruned.rows["results"] == 20
    assert kept(target="shop") == [item.pk for item in (old + new)[-50:]]
    assert len(kept(target="other")) == 50


def test_what_was_not_ok_stays_for_thirty_days() -> None:
    """Whatever it was, and however much of it."""
    states = (ItemState.FAILED, ItemState.DEGRADED, ItemState.TIMEOUT, ItemState.LOST)
    for state in states:
        items(job(31 * DAY), 3, state)
        items(job(29 * DAY), 60, state)
    assert retention.prune(NOW).rows["results"] == 12
    assert len(kept()) == 240


def test_what_is_open_is_left_alone() -> None:
    """Probes that wait or run, and the ended ones of a job that still does."""
    running = job(40 * DAY, JobStatus.RUNNING)
    items(running, 70)
    items(running, 5, ItemState.FAILED)
    items(job(), 2, ItemState.RUNNING)
    items(job(), 2, ItemState.QUEUED)
    assert retention.prune(NOW).rows["results"] == 0
    assert ProbeJob.objects.filter(pk=running.pk).exists()


def test_all_together_are_bounded(settings) -> None:
    """``PROBE_RESULTS_MAX``: the oldest go, failures among them."""
    settings.PULSE = {"PROBE_RESULTS_MAX": 1000}
    old = items(job(2 * DAY), 300, ItemState.FAILED)
    items(job(), 900, ItemState.FAILED)
    assert retention.prune(NOW).rows["results"] == 200
    assert kept()[0] == old[200].pk


def test_what_names_a_result_or_a_job_forgets_it() -> None:
    """And stays itself."""
    (item,) = items(gone := job(40 * DAY), 1, ItemState.FAILED)
    state = ProbeTargetState.objects.create(name="shop", since=NOW, last_item=item)
    change = ProbeTransition.objects.create(
        target="shop", at=NOW, before="up", after="down", item=item
    )
    schedule = ProbeScheduleState.objects.create(name="core", next_at=NOW, last_job=gone)
    pruned = retention.prune(NOW)
    assert (pruned.rows["results"], pruned.rows["jobs"]) == (1, 1)
    for row in (state, change, schedule):
        row.refresh_from_db()
    assert (state.last_item, change.item, schedule.last_job) == (None, None, None)


def test_jobs_go_when_they_have_nothing_to_tell() -> None:
    """Those of a schedule after a day, those by hand after thirty; with results they stay."""
    hand = {"trigger": Trigger.PAGE, "schedule": ""}
    stay = [
        job(timedelta(hours=23)),
        job(29 * DAY, **hand),
        job(99 * DAY, JobStatus.RUNNING),
        job(99 * DAY),
    ]
    items(stay[-1], 1)
    job(2 * DAY), job(31 * DAY, **hand)
    assert retention.prune(NOW).rows["jobs"] == 2
    assert set(ProbeJob.objects.all()) == set(stay)


def test_history_is_kept_as_long_as_it_is_shown() -> None:
    """Hours two weeks, days and transitions four hundred, routes ninety."""
    for back in (14, 15):
        ProbeHour.objects.create(target="shop", at=NOW - back * DAY, ok=1)
    for back in (399, 401):
        at = NOW - back * DAY
        ProbeDay.objects.create(target="shop", at=at.date())
        ProbeTransition.objects.create(target="shop", at=at, before="up", after="down")
    for number, vanished in enumerate((None, NOW - 89 * DAY, NOW - 91 * DAY)):
        DiscoveredEndpoint.objects.create(
            endpoint_id=f"GET /{number}",
            first_seen_at=NOW - 200 * DAY,
            last_seen_at=NOW,
            vanished_at=vanished,
        )
    for name, ago in (("alive", DAY / 2), ("dead", 2 * DAY)):
        ProbeWorker.objects.create(name=name, started_at=NOW - 9 * DAY, seen_at=NOW - ago)
        ProbeStart.objects.create(scope=name, started_at=NOW - 1.5 * ago)
    rows = retention.prune(NOW).rows
    assert (rows["hours"], rows["days"], rows["endpoints"]) == (1, 1, 1)
    assert (rows["workers"], rows["starts"], rows["transitions"]) == (1, 1, 1)
    assert list(ProbeWorker.objects.values_list("name", flat=True)) == ["alive"]
    # The hour that went is in its day.
    assert ProbeDay.objects.filter(at=(NOW - 15 * DAY).date(), ok=1).exists()


def test_an_hour_without_its_day_stays(monkeypatch) -> None:
    """Rolling up may fail; nothing is lost by it."""
    ProbeHour.objects.create(target="shop", at=NOW - 20 * DAY, ok=1)
    monkeypatch.setattr(retention.rollups, "roll_days", lambda _now: 0)
    assert retention.prune(NOW).rows["hours"] == 0


def test_a_dry_run_counts_and_removes_nothing() -> None:
    """The same numbers as the run itself."""
    items(job(40 * DAY), 60)
    items(job(40 * DAY), 5, ItemState.FAILED)
    job(2 * DAY)
    dry = retention.prune(NOW, dry_run=True)
    assert (ProbeItem.objects.count(), ProbeJob.objects.count()) == (65, 3)
    assert dry.rows["results"] == retention.prune(NOW).rows["results"] == 15


@pytest.mark.parametrize(("batch", "steps", "logged"), [(7, 15, 56), (1000, 1, 100)])
def test_it_goes_in_batches_and_tells_how_far(
    monkeypatch, caplog, batch: int, steps: int, logged: int
) -> None:
    """S1-13, S1-14: never one huge deletion; progress is told and logged."""
    monkeypatch.setattr(retention, "BATCH", batch)
    monkeypatch.setattr(retention, "LOGGED_EVERY", 50)
    items(job(40 * DAY), 100, ItemState.FAILED)
    told = []
    with caplog.at_level(logging.INFO, "pulse.probes.retention"):
        retention.prune(NOW, progress=lambda *step: told.append(step))
    results = [step for step in told if step[0] == "results"]
    assert (len(results), results[-1]) == (steps, ("results", 100, 100))
    assert f"Pruning results: {logged} of 100 looked at" in caplog.messages
    assert "Pruned results: 100, jobs: 1" in caplog.text


def test_what_an_interruption_left_goes_next_time(monkeypatch) -> None:
    """Whole batches are gone, the others are there."""
    monkeypatch.setattr(retention, "BATCH", 10)
    items(job(40 * DAY), 35, ItemState.FAILED)

    def interrupt(_name: str, looked: int, _total: int) -> None:
        if looked == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.prune(NOW, progress=interrupt)
    assert ProbeItem.objects.count() == 15
    assert retention.prune(NOW).rows["results"] == 15


def test_the_task_prunes() -> None:
    job(400 * DAY)
    assert tasks.prune.name == "pulse.prune"
    tasks.prune()
    assert not ProbeJob.objects.exists()
