"""What came of probes is written once, with all that follows from it."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulse.core.attempts import Failure
from pulse.core.judging import State
from pulse.core.schedules import Schedule
from pulse.probes import due, recorder, standings
from pulse.probes.attempt import Claimed, Finished
from pulse.probes.signals import probe_transition
from pulse.probes.state import (
    ItemState,
    ProbeHour,
    ProbeItem,
    ProbeScheduleState,
    ProbeTargetState,
    ProbeTransition,
)
from tests.probes.conftest import Apply
from tests.probes.engines import (
    claim,
    elsewhere,
    held,
    held_at,
    outcome,
    prepare,
    record,
    start,
    state_of,
    targets,
)

CORE: dict[str, Any] = {"name": "core", "every": "60s", "targets": ["t0"]}
#: The beginning of an hour, long ago enough for the engine's own clock never to meet it.
HOUR_S = 1_900_000_800 // 3600 * 3600


def claimed_at(epoch_s: float) -> Claimed:
    """Claim the one probe that is due then."""
    with held_at(epoch_s) as (plan, lock):
        due.prepare(plan, lock)
        (claimed,) = due.claim(plan, lock, "one", 10)
    return claimed


def record_at(epoch_s: float, claimed: Claimed, state: State, **fields: Any) -> recorder.Recorded:
    with held_at(epoch_s) as (plan, lock):
        ended = outcome(state, at_s=epoch_s, **fields)
        return recorder.record([Finished(claimed, ended)], plan, lock)


def run_slots(*states: State, first: int | None = None) -> list[int]:
    """Run a slot of ``core`` after another, to end so; returns the slots."""
    prepare()
    slot = first or int(state_of("core").next_at.timestamp())
    slots = []
    for state in states:
        record_at(slot + 1, claimed_at(slot), state)
        slots.append(slot)
        slot += 60
    return slots


def changes() -> list[tuple[str, str, str]]:
    rows = ProbeTransition.objects.order_by("pk")
    return list(rows.values_list("target", "before", "after"))


def test_a_result_is_written_whole(apply: Apply) -> None:
    apply(probe_targets=targets(1))
    job = start()
    (each,) = claim()
    at_s = 1_900_000_000.25
    ended = outcome(
        State.FAILED,
        at_s=at_s,
        detail="status 500, expected 200-399",
        latency_ms=12.5,
        phases_ms={"dns": 0.1, "connect": None},
        status_code=500,
        bytes=17,
        address="127.0.0.1",
        certificate_days=29.5,
        expectations=[{"name": "status", "expected": ["200-399"], "actual": 500, "ok": False}],
        evidence={"request": {"url": "http://x/"}, "response": None},
    )
    with held() as (plan, lock):
        recorder.record([Finished(each, ended)], plan, lock)
    item = ProbeItem.objects.get()
    assert item.job_id == job.pk
    assert (item.state, item.error, item.attempts) == ("failed", "expectation", 1)
    assert item.started_at == item.finished_at == datetime.fromtimestamp(at_s, UTC)
    assert (item.lease_until, item.owner) == (None, "")
    assert (item.detail, item.latency_ms, item.phases_ms) == (
        ended.detail,
        12.5,
        {"dns": 0.1, "connect": None},
    )
    assert (item.status_code, item.bytes, item.address) == (500, 17, "127.0.0.1")
    assert item.certificate_days == 29.5
    assert item.expectations == ended.expectations
    assert item.evidence == ended.evidence


def test_a_result_is_written_once(apply: Apply) -> None:
    """However often it is flushed, as where a commit was answered by an error."""
    apply(probe_targets=targets(1))
    start()
    claimed = claim()
    assert record(claimed).ended == 1
    assert record(claimed, State.FAILED) == recorder.Recorded(refused=1)
    assert ProbeItem.objects.get().state == ItemState.OK
    hour = ProbeHour.objects.get()
    assert (hour.ok, hour.failed, hour.attempts) == (1, 0, 1)


def test_a_failure_is_tried_again_after_a_while_that_doubles(apply: Apply) -> None:
    """Without a result and without a change of state, until no try is left."""
    apply(
        probe_targets=targets(1),
        probe_schedules=[CORE | {"retries": 2, "retry_backoff_s": 3}],
    )
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    at_s = slot
    for wait_s in (3, 6):
        claimed = claimed_at(at_s)
        assert record_at(at_s + 1, claimed, State.TIMEOUT).retried == 1
        assert not ProbeTargetState.objects.exists()
        assert not ProbeHour.objects.exists()
        item = ProbeItem.objects.get()
        assert item.state == ItemState.QUEUED
        assert item.due_at.timestamp() == at_s + 1 + wait_s
        assert item.fence > claimed.fence
        at_s += 1 + wait_s
    assert record_at(at_s + 1, claimed_at(at_s), State.FAILED).ended == 1
    assert ProbeItem.objects.get().attempts == 3
    assert changes() == [("t0", "not_watched", "down")]
    assert ProbeHour.objects.get().attempts == 3


def test_a_retry_that_is_well_is_all_that_is_known(apply: Apply) -> None:
    """A failure that a retry mends counts for nothing."""
    apply(probe_targets=targets(1), probe_schedules=[CORE | {"retries": 1}])
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    record_at(slot + 1, claimed_at(slot), State.FAILED)
    record_at(slot + 3, claimed_at(slot + 2), State.OK)
    item = ProbeItem.objects.get()
    assert (item.state, item.attempts) == (ItemState.OK, 2)
    assert changes() == [("t0", "not_watched", "up")]


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"retries": 1, "retry_backoff_s": 59}, {}),
        ({"deadline_s": 1}, {}),
        ({}, {"error": Failure.INTERNAL}),
        ({}, {"error": Failure.URL_FORBIDDEN}),
    ],
    ids=["next slot", "deadline", "own fault", "forbidden"],
)
def test_what_no_try_would_change_is_not_tried_again(
    apply: Apply, more: dict[str, Any], fields: dict[str, Any]
) -> None:
    """Nor what would come after its next slot, or its job's time."""
    apply(probe_targets=targets(1), probe_schedules=[CORE | {"retries": 3} | more])
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    assert record_at(slot + 1, claimed_at(slot), State.FAILED, **fields).ended == 1


def test_a_target_is_down_after_as_many_failures_as_its_schedule_says(apply: Apply) -> None:
    apply(
        probe_targets=targets(1),
        probe_schedules=[CORE | {"failure_threshold": 2, "success_threshold": 2}],
    )
    ok, ill = State.OK, State.FAILED
    slots = run_slots(ok, ok, ill, ok, ill, ill, ok, ok)
    assert changes() == [
        ("t0", "not_watched", "up"),
        ("t0", "up", "down"),
        ("t0", "down", "up"),
    ]
    times = [row.at.timestamp() for row in ProbeTransition.objects.order_by("pk")]
    assert times == [slots[1] + 1, slots[5] + 1, slots[7] + 1]
    state = ProbeTargetState.objects.get()
    assert state.since.timestamp() == slots[7] + 1
    assert state.last_at.timestamp() == slots[7] + 1
    assert (state.last_state, state.last_item_id) == ("ok", ProbeItem.objects.latest("pk").pk)
    # Twice the interval, and the probe's own limit.
    assert state.grace_s == 2 * 60 + 10


def test_a_start_by_hand_speaks_no_longer_than_what_is_known(apply: Apply) -> None:
    """A probe by hand in between takes nothing from how long a schedule's result counts."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    (slot,) = run_slots(State.OK)
    watched_s = watched_until()
    start("t0")
    with held_at(slot + 10) as (plan, lock):
        (each,) = due.claim(plan, lock, "one", 10)
    record_at(slot + 11, each, State.OK)
    assert watched_until() == watched_s
    assert ProbeTargetState.objects.get().last_at.timestamp() == slot + 11


def watched_until() -> float:
    return standings.standing_of(ProbeTargetState.objects.get()).watched_until_s


def test_seconds_are_credited_to_the_hours_that_they_lie_in(apply: Apply) -> None:
    """Up until the failure was confirmed, down after it; each second once."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    prepare()
    phase = int(state_of("core").next_at.timestamp()) % 60
    first = HOUR_S - 60 + phase
    for number, state in enumerate((State.OK, State.FAILED, State.DEGRADED)):
        slot = first + 60 * number
        ProbeScheduleState.objects.update(next_at=datetime.fromtimestamp(slot, UTC))
        record_at(slot, claimed_at(slot), state, latency_ms=10.0 * (number + 1))
    before, after = ProbeHour.objects.order_by("at")
    assert after.at.timestamp() - before.at.timestamp() == 3600
    seconds = {
        name: getattr(before, name) + getattr(after, name)
        for name in ("up_s", "down_s", "degraded_s")
    }
    assert seconds == {"up_s": 60, "down_s": 60, "degraded_s": 0}
    assert before.up_s == HOUR_S - first
    counts = [(hour.ok, hour.failed, hour.degraded) for hour in (before, after)]
    assert [sum(each) for each in zip(*counts, strict=True)] == [1, 1, 1]
    assert before.sum_ms + after.sum_ms == 60.0
    assert (before.min_ms, after.max_ms) == (10.0, 30.0)
    buckets = [*before.histogram.values(), *after.histogram.values()]
    assert sum(buckets) == 3


def test_what_has_no_answer_has_no_latency(apply: Apply) -> None:
    """A connection that was refused at once is not a quick answer."""
    apply(probe_targets=targets(1))
    start()
    record(claim(), State.FAILED, error=Failure.CONNECT, status_code=None)
    hour = ProbeHour.objects.get()
    assert (hour.failed, hour.histogram, hour.max_ms) == (1, {}, None)


def test_a_schedule_in_shadow_moves_nothing_that_is_public(apply: Apply) -> None:
    """Its transitions are marked; the status is what the others say."""
    apply(probe_targets=targets(1), probe_schedules=[CORE | {"mode": "shadow"}])
    run_slots(State.OK, State.FAILED)
    rows = ProbeTransition.objects.order_by("pk").values_list("before", "after", "shadow")
    assert list(rows) == [("not_watched", "up", True), ("up", "down", True)]
    state = ProbeTargetState.objects.get()
    assert (state.status, state.last_at) == ("not_watched", None)
    assert state.shadow["status"] == "down"
    hours = ProbeHour.objects.all()
    assert sum(hour.ok + hour.failed for hour in hours) == 2
    assert sum(hour.up_s + hour.down_s for hour in hours) == 0


def test_nobody_is_told_of_what_is_in_shadow(
    apply: Apply, django_capture_on_commit_callbacks
) -> None:
    """Receivers need not ask."""
    apply(probe_targets=targets(2, mode="shadow"))
    heard: list[ProbeTransition] = []

    def hears(transition: ProbeTransition, **_: Any) -> None:
        heard.append(transition)

    probe_transition.connect(hears)
    try:
        start()
        with django_capture_on_commit_callbacks(execute=True):
            record(claim(), State.FAILED)
    finally:
        probe_transition.disconnect(hears)
    assert ProbeTransition.objects.filter(shadow=True).count() == 2
    assert heard == []


def test_nothing_is_confirmed_within_maintenance(apply: Apply) -> None:
    """Its time is credited to maintenance, and to nobody's uptime."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    window = {
        "name": "night",
        "starts_at": datetime.fromtimestamp(slot + 30, UTC).isoformat(),
        "ends_at": datetime.fromtimestamp(slot + 90, UTC).isoformat(),
        "targets": ["t0"],
    }
    apply(maintenance_windows=[window])
    run_slots(State.OK, State.FAILED, State.OK, first=slot)
    assert changes() == [("t0", "not_watched", "up")]
    hours = ProbeHour.objects.all()
    assert sum(hour.maintenance_s for hour in hours) == 60
    assert sum(hour.down_s for hour in hours) == 0


@pytest.mark.parametrize(("hours_ago", "most"), [(1, 10), (12, 5)])
def test_a_result_looks_no_further_into_windows_than_its_own_time(
    apply: Apply, monkeypatch: pytest.MonkeyPatch, hours_ago: int, most: int
) -> None:
    """It is asked for every result and window, while nobody else has the engine's lock."""
    cron = f"0 {(datetime.now(UTC) - timedelta(hours=hours_ago)).hour} * * *"
    window = {"name": "night", "cron": cron, "duration_s": 3 * 3600}
    apply(probe_targets=targets(1), probe_schedules=[CORE], maintenance_windows=[window])
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    asked: list[str] = []
    next_after = Schedule.next_after

    def counted(schedule: Schedule, at_s: float) -> int:
        asked.append(schedule.cron)
        return next_after(schedule, at_s)

    monkeypatch.setattr(Schedule, "next_after", counted)
    run_slots(State.OK, State.OK, first=slot)
    assert 0 < asked.count(cron) <= 2 * most


def test_a_change_is_told_after_commit(apply: Apply, django_capture_on_commit_callbacks) -> None:
    """Each receiver by itself: one that fails keeps none of the others from hearing."""
    apply(probe_targets=targets(1))
    heard: list[str] = []

    def fails(**_: Any) -> None:
        raise RuntimeError("the host's own")

    def hears(transition: ProbeTransition, **_: Any) -> None:
        heard.append(f"{transition.target} {transition.after}")

    probe_transition.connect(fails)
    probe_transition.connect(hears)
    try:
        start()
        with django_capture_on_commit_callbacks(execute=True):
            record(claim())
            assert heard == []
        assert heard == ["t0 up"]
    finally:
        probe_transition.disconnect(fails)
        probe_transition.disconnect(hears)
    assert ProbeTransition.objects.get().told_at is None


def test_a_target_that_is_well_from_the_first_is_no_news(
    apply: Apply, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks
) -> None:
    """Of thousands each has a row, and none a line in the log."""
    apply(probe_targets=elsewhere(2))
    start()
    one, two = claim()
    with (
        caplog.at_level(logging.INFO, standings.logger.name),
        django_capture_on_commit_callbacks(execute=True),
    ):
        record([one])
        record([two], State.FAILED)
    told = [line.getMessage() for line in caplog.records if line.name == standings.logger.name]
    assert told == ["Target t1: down, was not_watched"]


def test_a_fault_of_the_engines_own_says_nothing_of_the_target(apply: Apply) -> None:
    apply(probe_targets=targets(1))
    start()
    record(claim(), State.FAILED, error=Failure.INTERNAL, latency_ms=None)
    state = ProbeTargetState.objects.get()
    assert (state.status, state.last_at, state.last_state) == ("not_watched", None, "failed")
    assert not ProbeTransition.objects.exists()


def test_results_of_a_target_count_in_the_order_of_their_time(apply: Apply) -> None:
    """Whatever the order in which one flush has them."""
    apply(probe_targets=targets(1), probe_schedules=[CORE, CORE | {"name": "other"}])
    prepare()
    slots = [state_of(name).next_at.timestamp() for name in ("core", "other")]
    with held_at(max(slots)) as (plan, lock):
        due.prepare(plan, lock)
        claimed = due.claim(plan, lock, "one", 10)
        now_s = lock.now.timestamp()
        finished = [
            Finished(claimed[0], outcome(State.FAILED, at_s=now_s + 2)),
            Finished(claimed[1], outcome(State.OK, at_s=now_s + 1)),
        ]
        recorder.record(finished, plan, lock)
    assert changes() == [("t0", "not_watched", "up"), ("t0", "up", "down")]


def test_a_flush_of_many_writes_each_its_own(apply: Apply) -> None:
    """Of a batch larger than one statement takes, no row has another's values."""
    apply(
        probe_targets=elsewhere(1200),
        probe_budgets=[{"name": "default", "max_concurrency": 2000}],
    )
    start()
    claimed = claim(most=2000)
    assert len(claimed) == 1200
    with held() as (plan, lock):
        now_s = lock.now.timestamp()
        finished = [
            Finished(each, outcome(State.OK, at_s=now_s, bytes=each.item, latency_ms=1.5))
            for each in claimed
        ]
        recorded = recorder.record(finished, plan, lock)
    assert recorded.ended == 1200
    assert all(pk == written for pk, written in ProbeItem.objects.values_list("pk", "bytes"))
    assert ProbeHour.objects.count() == ProbeTargetState.objects.count() == 1200
