"""What is due becomes jobs, and jobs are claimed within the caps."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.probes import due, slots
from pulse.probes.plan import compile_plan
from pulse.probes.state import (
    ItemState,
    JobStatus,
    ProbeEngine,
    ProbeItem,
    ProbeJob,
    ProbeScheduleState,
    ProbeTargetState,
)
from tests import factories
from tests.probes.conftest import Apply
from tests.probes.engines import (
    claim,
    elsewhere,
    held,
    held_at,
    prepare,
    record,
    start,
    state_of,
    targets,
)

CORE = {"name": "core", "every": "60s", "targets": ["t0"]}


def next_slot(name: str = "core") -> int:
    """Bring the schedules up to date, and say when the next slot is."""
    prepare()
    return int(state_of(name).next_at.timestamp())


def prepare_at(epoch_s: float) -> None:
    with held_at(epoch_s) as (plan, lock):
        due.prepare(plan, lock)


def test_a_slot_becomes_one_job(apply: Apply) -> None:
    """However often, and by however many, it is looked at."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    slot = next_slot()
    prepare_at(slot - 1)
    assert not ProbeJob.objects.exists()
    for _ in range(3):
        prepare_at(slot)
    job = ProbeJob.objects.get()
    assert (job.schedule, job.trigger, job.total) == ("core", "schedule", 1)
    assert job.slot_at.timestamp() == slot
    assert state_of("core").next_at.timestamp() == slot + 60


def test_slots_that_nobody_ran_are_counted_and_not_made_up_for(apply: Apply) -> None:
    """After five intervals there is one job at most, on the grid (no storm)."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    slot = next_slot()
    prepare_at(slot + 5 * 60 + 1)
    assert not ProbeJob.objects.exists()
    state = state_of("core")
    assert (state.missed, state.next_at.timestamp()) == (6, slot + 6 * 60)
    assert ProbeEngine.objects.get().missed == 6
    prepare_at(slot + 6 * 60)
    assert ProbeJob.objects.count() == 1


def test_a_backlog_is_worked_off_bit_by_bit(apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    """No turn at the lock is longer than others can wait; the longest due come first."""
    names = [f"s{number}" for number in range(4)]
    apply(
        probe_targets=targets(1),
        probe_schedules=[{"name": name, "cron": "* * * * *", "targets": ["t0"]} for name in names],
    )
    slot = next_slot("s0")
    monkeypatch.setattr(slots, "MAX_DUE_S", 0.0)
    late = slot + 100 * 60 + 1
    for done in range(1, 5):
        prepare_at(late)
        caught_up = ProbeScheduleState.objects.filter(missed=101)
        assert caught_up.count() == done
    assert not ProbeJob.objects.exists()


def test_a_slot_that_is_late_by_less_than_an_interval_runs(apply: Apply) -> None:
    """And the next one is where it always was."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    slot = next_slot()
    prepare_at(slot + 59)
    assert ProbeJob.objects.get().slot_at.timestamp() == slot
    assert state_of("core").next_at.timestamp() == slot + 60


def test_a_schedule_whose_last_job_is_open_misses_its_slot(apply: Apply) -> None:
    """Jobs of one schedule never pile up."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    slot = next_slot()
    prepare_at(slot)
    prepare_at(slot + 60)
    assert ProbeJob.objects.count() == 1
    assert state_of("core").missed == 1
    assert state_of("core").next_at.timestamp() == slot + 120


def test_an_edit_of_when_is_in_force_at_once_and_of_else_moves_nothing(apply: Apply) -> None:
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    slot = next_slot()
    apply(probe_schedules=[CORE | {"retries": 2}])
    prepare_at(slot - 1)
    assert state_of("core").next_at.timestamp() == slot
    apply(probe_schedules=[CORE | {"every": "7s"}])
    with held() as (plan, lock):
        due.prepare(plan, lock)
        next_s = plan.schedules["core"].schedule.next_after(lock.now.timestamp())
    assert state_of("core").next_at.timestamp() == next_s


def test_a_longer_interval_leaves_no_gap_in_what_is_known(apply: Apply) -> None:
    """A result that spoke until the next slot speaks until the new one, if it still spoke."""
    three = targets(3)
    schedules = [CORE, {**CORE, "name": "other", "targets": ["t1"]}]
    apply(probe_targets=three, probe_schedules=schedules)
    prepare()
    for number in range(3):
        last_at = timezone.now() - timedelta(seconds=30)
        factories.target_state(f"t{number}", last_at=last_at)
    ProbeTargetState.objects.filter(name="t1").update(grace_s=20)
    wide = [{**each, "every": "1h"} for each in schedules]
    apply(probe_targets=three, probe_schedules=wide)
    prepare()
    graces = dict(ProbeTargetState.objects.values_list("name", "grace_s"))
    assert graces == {"t0": 7200, "t1": 20, "t2": 130}
    apply(probe_targets=three, probe_schedules=schedules)
    prepare()
    assert ProbeTargetState.objects.get(name="t0").grace_s == 7200, "results come soon now"


def test_a_schedule_that_is_gone_leaves_no_state(apply: Apply) -> None:
    apply(probe_targets=targets(1), probe_schedules=[CORE, CORE | {"name": "other"}])
    prepare()
    apply(probe_schedules=[CORE | {"mode": "off"}, CORE | {"name": "other"}])
    prepare()
    assert list(ProbeScheduleState.objects.values_list("name", flat=True)) == ["other"]


def test_a_process_behind_the_policy_does_not_undo_a_newer_one(apply: Apply) -> None:
    """It leaves the schedules as the newer policy made them."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    with held() as (old, _lock):
        pass
    apply(probe_schedules=[CORE, CORE | {"name": "new"}])
    prepare()
    with held() as (_plan, lock):
        due.prepare(old, lock)
    assert ProbeScheduleState.objects.count() == 2


def test_a_process_that_could_load_no_policy_takes_no_schedule_away(apply: Apply) -> None:
    """That it knows of none does not mean that there is none."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    prepare()
    with held() as (_plan, lock):
        due.prepare(compile_plan({}, None, lock.now.timestamp()), lock)
    assert ProbeScheduleState.objects.count() == 1


def test_a_slot_that_comes_again_is_not_run_again(apply: Apply) -> None:
    """As after a clock was set back; the others of that look are run."""
    both = [CORE, CORE | {"name": "other", "every": "60s"}]
    apply(probe_targets=targets(1), probe_schedules=both)
    first, second = next_slot(), next_slot("other")
    prepare_at(first)
    ProbeJob.objects.update(status=JobStatus.COMPLETED)
    slot_at = ProbeJob.objects.get(schedule="core").slot_at
    ProbeScheduleState.objects.filter(name="core").update(next_at=slot_at, last_job=None)
    prepare_at(max(first, second))
    assert ProbeJob.objects.filter(schedule="core").count() == 1
    assert ProbeJob.objects.filter(schedule="other").count() == 1


def test_a_schedule_without_targets_makes_no_jobs(apply: Apply) -> None:
    """Whose targets are off, it only waits for its next slot."""
    apply(probe_targets=targets(1, mode="off"), probe_schedules=[CORE])
    slot = next_slot()
    prepare_at(slot)
    assert not ProbeJob.objects.exists()
    assert state_of("core").next_at.timestamp() == slot + 60


def test_the_caps_hold_whoever_asks(apply: Apply) -> None:
    """Two of one host, and so many in all."""
    apply(
        probe_targets=targets(4) + [t | {"name": f"u{t['name']}"} for t in elsewhere(9)],
        probe_budgets=[{"name": "default", "max_concurrency": 7, "max_per_host": 2}],
    )
    start()
    claimed = [*claim("one", 3), *claim("two", 100), *claim("three", 100)]
    assert len(claimed) == 7
    assert sum(each.target.startswith("t") for each in claimed) == 2
    assert ProbeItem.objects.filter(state=ItemState.RUNNING).count() == 7


def test_what_is_recorded_makes_room(apply: Apply) -> None:
    apply(probe_targets=targets(5))
    start()
    first = claim()
    assert claim() == []
    record(first[:1])
    assert len(claim()) == 1


def test_the_cap_of_a_host_holds_for_targets_that_move_to_it(apply: Apply) -> None:
    """What waits is sent where its target leads now, and that is whose cap it counts against."""
    budget = {"name": "default", "max_per_host": 2}
    apply(probe_targets=elsewhere(6), probe_budgets=[budget])
    start()
    first = claim(most=1)
    here = "http://h0.example.com/moved"
    moved = [{**item, "url": here} for item in elsewhere(6)]
    apply(probe_targets=moved, probe_budgets=[budget])
    assert len(claim()) == 1, "one of this host runs already, as it was before"
    assert claim() == []
    running = ProbeItem.objects.filter(state=ItemState.RUNNING)
    assert set(running.values_list("host", flat=True)) == {"h0.example.com:80"}
    record(first)
    assert len(claim()) == 1
    # And away from it: each has a host of its own again.
    apply(probe_targets=elsewhere(6), probe_budgets=[budget])
    assert len(claim()) == 3


def test_a_schedule_keeps_to_its_own_number(apply: Apply) -> None:
    """``max_concurrency`` of a schedule bounds it and nobody else."""
    apply(
        probe_targets=elsewhere(6),
        probe_schedules=[
            {"name": "core", "every": "60s", "max_concurrency": 2, "targets": ["t0", "t1", "t2"]},
            {"name": "other", "every": "60s", "targets": ["t3", "t4", "t5"]},
        ],
    )
    prepare_at(max(next_slot(), next_slot("other")))
    schedules = [each.schedule for each in claim(later=120)]
    assert sorted(schedules) == ["core", "core", "other", "other", "other"]


def test_a_crowded_host_does_not_starve_the_others(apply: Apply) -> None:
    """What waits behind four hundred of one host is claimed all the same."""
    crowd = [{"name": f"c{each}", "path": "/api/products/"} for each in range(400)]
    apply(probe_targets=[*crowd, *[t | {"name": f"z{t['name']}"} for t in elsewhere(3)]])
    start()
    assert sorted(each.target for each in claim())[2:] == ["zt0", "zt1", "zt2"]


def test_what_was_started_by_hand_goes_first(apply: Apply) -> None:
    apply(probe_targets=targets(3), probe_schedules=[CORE | {"targets": ["t0", "t1"]}])
    prepare_at(next_slot())
    start("t2")
    assert claim("one", 1, later=120)[0].target == "t2"


def test_nothing_is_sent_when_the_job_is_all_but_over(apply: Apply) -> None:
    """It would be broken off before it had begun."""
    apply(probe_targets=targets(1))
    start("t0", deadline_s=10)
    assert claim(later=9.99) == []
    assert len(claim(later=9)) == 1


def test_an_attempt_has_a_limit_of_its_own(apply: Apply) -> None:
    """The least of the target's and the job's for each; what the job has left says nothing of it.

    Else a target that is cut off by its job's end would be judged as one that took too long.
    """
    apply(probe_targets=elsewhere(1, timeout_s=8))
    start("t0", deadline_s=5, timeout_s=6)
    (each,) = claim()
    assert each.timeout_s == 6
    assert each.lease_s >= each.timeout_s + due.LEASE_MARGIN_S


def test_a_turn_that_ends_soon_claims_what_is_short(apply: Apply) -> None:
    apply(probe_targets=[*elsewhere(1, timeout_s=9), *targets(3, timeout_s=2)[1:]])
    start()
    assert [each.target for each in claim(longest_s=3)] == ["t1", "t2"]


def test_when_something_is_due_next(apply: Apply) -> None:
    """Now while something waits; else with the next slot."""
    apply(probe_targets=targets(3), probe_schedules=[CORE])
    prepare()
    with held() as (_plan, lock):
        upcoming = due.next_due_s(lock)
    assert 0 < upcoming <= 60
    start()
    claim()
    with held() as (_plan, lock):
        assert due.next_due_s(lock) == 0
    apply(probe_schedules=[CORE | {"mode": "off"}])


@pytest.mark.parametrize("what", ["waits", "lease", "deadline", "slot", "policy"])
def test_a_tick_finds_without_the_lock_that_there_is_work(apply: Apply, what: str) -> None:
    """And that there is none, where all that there is waits for its time or runs."""
    seldom = CORE | {"every": "1d"}
    apply(probe_targets=targets(1), probe_schedules=[seldom])
    prepare()
    start()
    claim()
    assert not is_anything_due()
    early = "2020-01-01T00:00:00Z"
    if what == "waits":
        ProbeItem.objects.update(state=ItemState.QUEUED)
    elif what == "lease":
        ProbeItem.objects.update(lease_until=early)
    elif what == "deadline":
        ProbeJob.objects.update(deadline_at=early)
    elif what == "slot":
        ProbeScheduleState.objects.update(next_at=early)
    else:
        apply(probe_schedules=[seldom | {"every": "2d"}])
    assert is_anything_due()


def is_anything_due() -> bool:
    with held() as (plan, lock):
        return due.is_anything_due(plan, lock.using, within_s=0)


def test_a_tick_and_a_turn_find_work_by_indexes(apply: Apply) -> None:
    """However much has ended: what is kept of that is millions of rows."""
    apply(probe_targets=targets(1), probe_schedules=[CORE])
    prepare()
    with CaptureQueriesContext(connection) as asked:
        assert not is_anything_due()
        with held() as (plan, lock):
            due.prepare(plan, lock)
            due.next_due_s(lock)
    reads = {
        query["sql"]
        for query in asked
        if query["sql"].startswith("SELECT") and 'FROM "pulse_probe' in query["sql"]
    }
    assert len(reads) >= 8
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # Which reads small tables whole.
            cursor.execute("SET LOCAL enable_seqscan = off")
        for read in reads:
            words = "QUERY PLAN " if connection.vendor == "sqlite" else ""
            cursor.execute(f"EXPLAIN {words}{read}")
            for step in cursor.fetchall():
                told = str(step[-1])
                assert "Seq Scan" not in told, read
                assert "SCAN" not in told or "USING" in told, read


def test_a_site_without_probes_has_no_work(apply: Apply) -> None:
    """From the first tick on."""
    with held() as (plan, lock):
        ProbeEngine.objects.all().delete()
        assert not due.is_anything_due(plan, lock.using, within_s=2)
