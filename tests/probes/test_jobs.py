"""Starting, cancelling, running again and ending jobs."""

import logging

import pytest
from django.db import transaction

from pulse.audit.models import AuditEntry
from pulse.core.judging import State
from pulse.exceptions import (
    CooldownActive,
    InvalidEndpointId,
    InvalidFields,
    JobFinished,
    TooManyJobs,
    UnknownJob,
    UnknownSchedule,
    UnknownTarget,
)
from pulse.policies.publisher import Actor
from pulse.probes import due, jobs
from pulse.probes.jobs import Order
from pulse.probes.state import (
    TRANSITIONS,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    ProbeStart,
    ScheduleState,
)
from tests.probes.conftest import Apply
from tests.probes.engines import (
    ANA,
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

CORE = {"name": "core", "every": "60s", "targets": ["t0", "t1"]}


def states() -> dict[str, str]:
    return dict(ProbeItem.objects.values_list("target", "state"))


def test_a_second_start_within_the_cooldown_is_refused(apply: Apply) -> None:
    """S0-15: the text names the seconds that are left, and nothing is left behind."""
    apply(probe_targets=targets(8))
    start("t0")
    with pytest.raises(CooldownActive, match=r"^Probe cooldown active\. Please wait (30|29)\.\ds "):
        start("t0", "t1")
    assert ProbeJob.objects.count() == 1
    start("t1")


def test_a_schedule_has_a_cooldown_of_its_own(apply: Apply) -> None:
    """Which neither its slots start, nor its targets' starts."""
    apply(probe_targets=targets(2), probe_schedules=[CORE | {"cooldown_s": 300}])
    prepare()
    with held_at(state_of("core").next_at.timestamp()) as (plan, lock):
        due.prepare(plan, lock)
    start("t0")
    jobs.start(Order(schedule="core"), ANA)
    with pytest.raises(CooldownActive) as refusal:
        jobs.start(Order(schedule="core"), ANA)
    assert 298 < refusal.value.retry_after_s <= 300
    ProbeStart.objects.update(started_at="2020-01-01T00:00:00Z")
    jobs.start(Order(schedule="core"), ANA)
    assert ProbeStart.objects.count() == 2


def test_a_fourth_job_is_refused(apply: Apply) -> None:
    """S0-16: three are queued or running at most."""
    apply(probe_targets=targets(8))
    for number in range(3):
        start(f"t{number}")
    with pytest.raises(TooManyJobs) as refusal:
        start("t3")
    assert str(refusal.value) == (
        "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete."
    )
    assert not ProbeStart.objects.filter(scope="target:t3").exists()


def test_jobs_of_schedules_do_not_count_among_them(apply: Apply) -> None:
    """Only the caps of concurrency bind them."""
    schedules = [CORE | {"name": f"s{number}"} for number in range(4)]
    apply(probe_targets=targets(5), probe_schedules=schedules)
    prepare()
    with held(later=60) as (plan, lock):
        due.prepare(plan, lock)
    assert ProbeJob.objects.count() == 4
    start("t4")


@pytest.mark.parametrize(
    ("order", "refusal", "text"),
    [
        (Order(targets=("nobody",)), UnknownTarget, "Unknown target: nobody"),
        (Order(targets=("POST /api/orders/",)), UnknownTarget, "Unknown target: POST /api/orders/"),
        (Order(targets=("GET /api/nope/",)), UnknownTarget, "Unknown target: GET /api/nope/"),
        (Order(schedule="never"), UnknownSchedule, "Unknown schedule: never"),
        (
            Order(targets=("../../../etc/passwd",)),
            InvalidEndpointId,
            "Invalid endpoint_id format: ../../../etc/passwd",
        ),
    ],
)
def test_what_there_is_not_is_not_started(
    apply: Apply, order: Order, refusal: type[Exception], text: str
) -> None:
    """S0-07: and nothing is left behind."""
    apply(probe_targets=targets(1))
    with pytest.raises(refusal) as raised:
        jobs.start(order, ANA)
    assert str(raised.value) == text
    assert not ProbeJob.objects.exists()
    assert not ProbeStart.objects.exists()


def test_everything_is_what_is_safe(apply: Apply) -> None:
    """A start that names nothing sends nothing that may change anything."""
    unsafe = {"name": "order", "path": "/api/x/", "method": "POST", "allow_unsafe": True}
    apply(probe_targets=[*targets(2), unsafe])
    start()
    assert set(states()) == {"t0", "t1"}


def test_nothing_to_probe_is_no_job(apply: Apply) -> None:
    apply()
    with pytest.raises(UnknownTarget, match="nothing to probe"):
        start()


def test_a_deadline_is_no_longer_than_the_budgets(apply: Apply) -> None:
    """S0-17: 600 seconds where nobody says otherwise, counted from the start; more is refused."""
    apply(probe_targets=targets(2))
    job = start("t0")
    assert (job.deadline_at - job.created_at).total_seconds() == 600
    with pytest.raises(InvalidFields, match="deadline_s: It is at most 600 s here"):
        start("t1", deadline_s=601)
    assert start("t1", deadline_s=600).pk, "what was refused has no cooldown"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({}, (3, 40)), ({"timeout_s": 2, "deadline_s": 20}, (2, 20)), ({"timeout_s": 9}, (3, 40))],
)
def test_a_schedule_that_is_started_by_hand_keeps_its_limits(
    apply: Apply, asked: dict[str, float], expected: tuple[float, float]
) -> None:
    """Who starts it may ask for less."""
    apply(probe_targets=targets(2), probe_schedules=[CORE | {"timeout_s": 3, "deadline_s": 40}])
    job = jobs.start(Order(schedule="core", **asked), ANA)
    first = claim()[0]
    assert (first.timeout_s, (job.deadline_at - job.created_at).total_seconds()) == expected


def test_a_cancelled_job_sends_nothing_more(apply: Apply) -> None:
    """What waits is not sent, what runs is nobody's to record; again changes nothing."""
    apply(probe_targets=targets(3))
    job = start()
    running = claim()
    record(running[:1])
    cancelled = jobs.cancel(job.pk)
    assert cancelled.status == JobStatus.CANCELLED
    assert sorted(states().values()) == ["cancelled", "cancelled", "ok"]
    assert record(running[1:]).refused == 1
    assert claim() == []
    assert jobs.cancel(job.pk).finished_at == cancelled.finished_at


def test_who_starts_and_cancels_by_hand_is_in_the_audit(apply: Apply) -> None:
    """A refused start leaves no entry, and to cancel again does nothing."""
    apply(probe_targets=targets(2))
    job = start("t0")
    with pytest.raises(CooldownActive):
        start("t0")
    for _ in range(2):
        jobs.cancel(job.pk, Actor("user", "kim", "203.0.113.9"), "r1")
    entries = AuditEntry.objects.filter(kind="jobs").order_by("pk")
    assert list(entries.values_list("action", "actor_name", "address", "request_id")) == [
        ("job.start", ANA.actor.name, "", ""),
        ("job.cancel", "kim", "203.0.113.9", "r1"),
    ]
    assert [entry.key for entry in entries] == [{"id": str(job.pk)}] * 2
    assert entries[0].fields["probes"]["after"] == 1


def test_what_has_ended_is_not_cancelled(apply: Apply) -> None:
    apply(probe_targets=targets(1))
    job = start()
    record(claim())
    with pytest.raises(JobFinished, match="completed"):
        jobs.cancel(job.pk)
    with pytest.raises(UnknownJob):
        jobs.cancel(job.pk + 1)


def test_a_job_past_its_deadline_is_told_of(
    apply: Apply, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks
) -> None:
    """S0-18: timeout, what ended is kept, the rest is marked, and an ERROR with the details."""
    apply(
        probe_targets=elsewhere(3, timeout_s=1),
        probe_budgets=[{"name": "default", "max_concurrency": 2}],
    )
    job = start(deadline_s=5)
    first, second = claim()
    record([first], State.TIMEOUT)
    with (
        caplog.at_level(logging.ERROR, jobs.logger.name),
        django_capture_on_commit_callbacks(execute=True),
    ):
        prepare(later=4)
        assert ProbeJob.objects.get().status == JobStatus.RUNNING
        prepare(later=5.1)
    (told,) = [line for line in caplog.records if line.name == jobs.logger.name]
    assert told.getMessage() == "Probe job timed out"
    details = {"job": job.pk, "schedule": "", "limit_s": 5.0, "total": 3, "completed": 1}
    assert told.__dict__.items() >= details.items()
    job.refresh_from_db()
    assert job.status == JobStatus.TIMEOUT
    rows = ProbeItem.objects.order_by("pk").values_list("state", "error", "attempts")
    assert list(rows) == [
        ("timeout", "timeout", 1),
        ("timeout", "deadline", 1),
        ("timeout", "deadline", 0),
    ]
    begun = ProbeItem.objects.order_by("pk").values_list("started_at", flat=True)
    assert [at is not None for at in begun] == [True, True, False], "the last was never sent"
    assert record([second], later=6).refused == 1


def test_a_job_that_nobody_takes_ends_too(apply: Apply) -> None:
    """Its deadline counts from its creation."""
    apply(probe_targets=targets(1))
    start(deadline_s=5)
    prepare(later=6)
    assert ProbeJob.objects.get().status == JobStatus.TIMEOUT


def test_many_jobs_past_their_deadline_end_by_few_queries(
    apply: Apply, django_assert_max_num_queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that come back find the last job of every schedule overdue, and hold up nobody."""
    names = [f"s{number}" for number in range(30)]
    apply(
        probe_targets=targets(1),
        probe_schedules=[
            {"name": name, "every": "1d", "targets": ["t0"], "deadline_s": 60} for name in names
        ],
    )
    prepare()
    last_slot = max(state_of(name).next_at for name in names).timestamp()
    with held_at(last_slot) as (plan, lock):
        due.prepare(plan, lock)
    monkeypatch.setattr(jobs, "MAX_OVERDUE", 20)
    with held_at(last_slot + 60) as (_plan, lock):
        with django_assert_max_num_queries(6):
            assert len(jobs.end_overdue(lock)) == 20
        assert len(jobs.end_overdue(lock)) == 10
        assert jobs.end_overdue(lock) == []
    assert set(ProbeItem.objects.values_list("state", "error")) == {("timeout", "deadline")}
    assert set(ProbeJob.objects.values_list("status", flat=True)) == {"timeout"}
    assert {state_of(name).state for name in names} == {ScheduleState.IDLE}


def test_a_job_without_open_probes_is_completed(apply: Apply) -> None:
    """Whatever came of them; its schedule waits for the next slot."""
    apply(probe_targets=elsewhere(2), probe_schedules=[CORE])
    prepare()
    slot = state_of("core").next_at.timestamp()
    with held_at(slot) as (plan, lock):
        due.prepare(plan, lock)
        claimed = due.claim(plan, lock, "one", 10)
    assert state_of("core").state == ScheduleState.CLAIMED
    record(claimed[:1], State.FAILED)
    assert ProbeJob.objects.get().status == JobStatus.RUNNING
    record(claimed[1:])
    assert ProbeJob.objects.get().status == JobStatus.COMPLETED
    assert state_of("core").state == ScheduleState.IDLE


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_a_job_goes_only_where_it_may(apply: Apply, status: JobStatus, after: JobStatus) -> None:
    """S0-19: exactly these states, and none leads out of an end."""
    apply(probe_targets=targets(1))
    job = start()
    ProbeJob.objects.update(status=status)
    with held() as (_plan, lock):
        went = jobs.end(job, after, lock)
    assert went == (after in TRANSITIONS.get(status, ()))
    assert ProbeJob.objects.get().status == (after if went else status)


def test_states_are_as_they_were_asked_for() -> None:
    """S0-19, and cancelled beside."""
    asked = ["queued", "running", "completed", "timeout", "failed"]
    assert list(JobStatus.values) == [*asked, "cancelled"]


def test_what_did_not_end_well_is_run_again(apply: Apply) -> None:
    """For the same schedule, whose expectations hold; the targets' cooldowns count."""
    apply(probe_targets=elsewhere(3), probe_schedules=[CORE | {"targets": ["t0", "t1", "t2"]}])
    job = jobs.start(Order(schedule="core"), ANA)
    well, ill, late = claim()
    record([well])
    record([ill], State.FAILED)
    record([late], State.TIMEOUT)
    again = jobs.rerun(job.pk, ANA)
    assert (again.schedule, again.total) == ("core", 2)
    assert set(again.items.values_list("target", flat=True)) == {ill.target, late.target}
    with pytest.raises(CooldownActive):
        jobs.rerun(job.pk, ANA)


def test_what_is_gone_is_left_out_when_run_again(apply: Apply) -> None:
    apply(probe_targets=elsewhere(2))
    job = start()
    record(claim(), State.FAILED)
    apply(probe_targets=[elsewhere(2)[0], elsewhere(2)[1] | {"mode": "off"}])
    assert jobs.rerun(job.pk, ANA).total == 1
    apply(probe_targets=[each | {"mode": "off"} for each in elsewhere(2)])
    with pytest.raises(UnknownTarget):
        jobs.rerun(job.pk, ANA)


def test_counts_are_of_all_states(apply: Apply) -> None:
    apply(probe_targets=targets(3))
    job = start()
    record(claim()[:1])
    with transaction.atomic():
        told = jobs.counts([job.pk], "default")[job.pk]
    assert told == {
        "total": 3,
        "queued": 1,
        "running": 1,
        "ok": 1,
        **dict.fromkeys(("degraded", "failed", "timeout", "lost", "cancelled"), 0),
    }
    assert list(told) == ["total", *ItemState.values]
