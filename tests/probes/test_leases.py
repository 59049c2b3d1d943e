"""What vanished workers had is taken back, and what a worker gives up is given back."""

import pytest

from pulse.probes import due, leases
from pulse.probes.state import (
    ItemState,
    JobStatus,
    ProbeHour,
    ProbeItem,
    ProbeJob,
    ProbeTargetState,
    ScheduleState,
)
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

UNSAFE = {"method": "POST", "allow_unsafe": True}
#: After every lease of these tests, and before every deadline.
LATER = 60


def test_a_lease_that_lasts_is_nobody_elses(apply: Apply) -> None:
    """A worker that lives is left alone until its lease is over."""
    apply(probe_targets=targets(1, timeout_s=10))
    start()
    claim()
    prepare(later=14)
    assert ProbeItem.objects.get().state == ItemState.RUNNING
    prepare(later=16)
    assert ProbeItem.objects.get().state == ItemState.QUEUED


def test_what_may_be_sent_again_is_run_again(apply: Apply) -> None:
    """Under a new fence: the worker that was only asleep records nothing."""
    apply(probe_targets=targets(1))
    start()
    (lost,) = claim("asleep")
    prepare(later=LATER)
    (again,) = claim("awake", later=LATER)
    assert (again.item, again.attempts) == (lost.item, 0)
    assert again.fence > lost.fence
    assert record([lost], later=LATER).refused == 1
    assert record([again], later=LATER).ended == 1
    item = ProbeItem.objects.get()
    assert (item.state, item.attempts, item.reclaims) == (ItemState.OK, 1, 1)
    assert ProbeHour.objects.get().ok == 1


def test_what_may_not_is_lost(apply: Apply) -> None:
    """It may have been sent; nobody sends it twice, and its job ends (S1-79)."""
    apply(probe_targets=targets(1, **UNSAFE))
    start("t0")
    claim()
    prepare(later=LATER)
    item = ProbeItem.objects.get()
    assert (item.state, item.error) == (ItemState.LOST, "internal")
    assert item.finished_at is not None
    assert ProbeJob.objects.get().status == JobStatus.COMPLETED
    assert ProbeHour.objects.get().lost == 1
    # A loss says nothing of the target.
    assert not ProbeTargetState.objects.exists()


@pytest.mark.parametrize(
    ("method", "on_crash", "state"),
    [
        ("GET", "mark_lost", ItemState.LOST),
        ("POST", "rerun", ItemState.QUEUED),
        ("HEAD", "", ItemState.QUEUED),
    ],
)
def test_the_target_says_what_a_crash_makes_of_it(
    apply: Apply, method: str, on_crash: str, state: str
) -> None:
    crash = {"on_crash": on_crash} if on_crash else {}
    apply(probe_targets=targets(1, method=method, allow_unsafe=True, **crash))
    start("t0")
    claim()
    prepare(later=LATER)
    assert ProbeItem.objects.get().state == state


def test_a_probe_that_ends_its_workers_is_quarantined(apply: Apply) -> None:
    """Lost for the fourth time it is not tried again, and its schedule rests for an hour."""
    apply(
        probe_targets=targets(1),
        probe_schedules=[{"name": "core", "every": "1d", "targets": ["t0"]}],
    )
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    for turn in range(4):
        with held_at(slot + turn * 30) as (plan, lock):
            due.prepare(plan, lock)
            assert len(due.claim(plan, lock, f"worker {turn}", 10)) == 1
    with held_at(slot + 120) as (plan, lock):
        due.prepare(plan, lock)
        assert due.claim(plan, lock, "last", 10) == []
    assert ProbeItem.objects.get().state == ItemState.LOST
    state = state_of("core")
    assert state.state == ScheduleState.QUARANTINED
    assert state.next_at.timestamp() >= slot + 3600
    apply(probe_schedules=[{"name": "core", "every": "2d", "targets": ["t0"]}])
    prepare()
    assert state_of("core").state == ScheduleState.IDLE


def test_a_schedule_whose_every_job_is_lost_is_quarantined(apply: Apply) -> None:
    """Also where nothing is tried twice; a job that ends well sets it to rights."""
    apply(
        probe_targets=targets(1, **UNSAFE),
        probe_schedules=[{"name": "core", "every": "60s", "targets": ["t0"], "deadline_s": 50}],
    )
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    ends_well = 2
    for number in range(7):
        with held_at(slot + 60 * number) as (plan, lock):
            due.prepare(plan, lock)
            (each,) = due.claim(plan, lock, "worker", 10)
        if number == ends_well:
            record([each])
            assert state_of("core").failed_claims == 0
        with held_at(slot + 60 * number + 40) as (plan, lock):
            due.prepare(plan, lock)
        expected = ScheduleState.QUARANTINED if number == 6 else ScheduleState.IDLE
        assert state_of("core").state == expected


def test_one_worker_that_vanishes_is_counted_once(apply: Apply) -> None:
    """However many leases it had of a job, and whenever each of them ends."""
    many = [
        {"name": f"t{number}", "path": "/api/products/", "timeout_s": 5 + 5 * number} | UNSAFE
        for number in range(5)
    ]
    names = [target["name"] for target in many]
    apply(
        probe_targets=many,
        probe_budgets=[{"name": "default", "max_per_host": 10}],
        probe_schedules=[{"name": "core", "every": "1d", "targets": names}],
    )
    prepare()
    slot = int(state_of("core").next_at.timestamp())
    with held_at(slot) as (plan, lock):
        due.prepare(plan, lock)
        assert len({each.lease_s for each in due.claim(plan, lock, "killed", 10)}) == 5
    for later in range(10, 40, 5):
        with held_at(slot + later) as (plan, lock):
            due.prepare(plan, lock)
    assert set(ProbeItem.objects.values_list("state", flat=True)) == {ItemState.LOST}
    state = state_of("core")
    assert (state.failed_claims, state.state) == (1, ScheduleState.IDLE)


def test_what_was_not_begun_is_given_back_for_others(apply: Apply) -> None:
    """Whatever it is: it was not sent."""
    apply(probe_targets=targets(2, **UNSAFE))
    start("t0", "t1")
    claimed = claim("one")
    with held() as (plan, lock):
        given = leases.give_back([each.key for each in claimed], plan, lock, begun=False)
    assert given == 2
    assert len(claim("two")) == 2


def test_what_was_begun_is_given_back_or_lost(apply: Apply) -> None:
    apply(probe_targets=[*targets(1), *targets(2, **UNSAFE)[1:]])
    start("t0", "t1")
    keys = [each.key for each in claim("one")]
    with held() as (plan, lock):
        assert leases.give_back(keys, plan, lock, begun=True) == 2
        # What is not one's own any more is not given back again.
        assert leases.give_back(keys, plan, lock, begun=True) == 0
    states = dict(ProbeItem.objects.values_list("target", "state"))
    assert states == {"t0": ItemState.QUEUED, "t1": ItemState.LOST}


def test_what_a_worker_does_not_know_of_goes_back(apply: Apply) -> None:
    """As what it claimed in a transaction whose answer never came."""
    apply(probe_targets=targets(2))
    start()
    known, strange = claim("one")
    with held() as (_plan, lock):
        assert leases.disown("one", [known.key], lock) == 1
        assert leases.disown("another", [], lock) == 0
    (again,) = claim("two")
    assert again.item == strange.item


def test_the_last_try_has_a_worker_to_itself(apply: Apply) -> None:
    """Whatever was near a probe that ends its workers is not lost with it."""
    apply(probe_targets=elsewhere(4))
    start()
    ProbeItem.objects.filter(target__in=["t1", "t2"]).update(reclaims=3)
    assert [each.target for each in claim("one", is_idle=False)] == ["t0", "t3"]
    assert [(each.target, each.is_last_try) for each in claim("two")] == [("t1", True)]
    assert [each.target for each in claim("three")] == ["t2"]
