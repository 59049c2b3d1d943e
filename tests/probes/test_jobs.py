"""Starting, cancelling and ending jobs."""

import pytest

from pulse.exceptions import CooldownActive, TooManyJobs
from pulse.policies.publisher import Actor
from pulse.probes import due, engine, jobs
from pulse.probes.jobs import Order, Starter
from pulse.probes.plan import current_plan
from pulse.probes.state import ItemState, JobStatus, ProbeItem, ProbeJob, Trigger
from tests.probes.conftest import Apply

ANA = Starter(Actor("user", "ana"), Trigger.PAGE)
TARGETS = [{"name": f"t{number}", "path": "/api/products/"} for number in range(8)]


def test_a_second_start_within_the_cooldown_is_refused(apply: Apply) -> None:
    """S0-15: the text names the seconds that are left, and nothing is left behind."""
    apply(probe_targets=TARGETS)
    jobs.start(Order(targets=("t0",)), ANA)
    with pytest.raises(CooldownActive, match=r"^Probe cooldown active\. Please wait (30|29)\.\ds "):
        jobs.start(Order(targets=("t0", "t1")), ANA)
    assert ProbeJob.objects.count() == 1


def test_a_fourth_job_is_refused(apply: Apply) -> None:
    """S0-16: three are queued or running at most."""
    apply(probe_targets=TARGETS)
    for number in range(3):
        jobs.start(Order(targets=(f"t{number}",)), ANA)
    with pytest.raises(TooManyJobs) as refusal:
        jobs.start(Order(targets=("t3",)), ANA)
    assert str(refusal.value) == (
        "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete."
    )


def test_a_claim_keeps_to_the_caps(apply: Apply) -> None:
    """Two at once of one host, whoever asks."""
    apply(probe_targets=TARGETS)
    job = jobs.start(Order(), ANA)
    with engine.locked() as held:
        plan = current_plan(held.now.timestamp())
        due.prepare(plan, held)
        first = due.claim(plan, held, "one", 100)
    with engine.locked() as held:
        assert due.claim(plan, held, "two", 100) == []
    assert len(first) == 2
    assert ProbeItem.objects.filter(state=ItemState.RUNNING).count() == 2
    job.refresh_from_db()
    assert job.status == JobStatus.RUNNING


def test_a_schedule_becomes_a_job_once_a_slot(apply: Apply) -> None:
    """Its slot is one job, however often one looks."""
    apply(
        probe_targets=TARGETS[:1],
        probe_schedules=[{"name": "core", "every": "5s", "targets": ["t0"]}],
    )
    with engine.locked() as held:
        plan = current_plan(held.now.timestamp())
        due.prepare(plan, held)
        held.now = held.now.replace(microsecond=0) + (held.now - held.now)
        held.now = due._moment(plan.schedules["core"].schedule.next_after(held.now.timestamp()))
        due.prepare(plan, held)
        due.prepare(plan, held)
    job = ProbeJob.objects.get()
    assert (job.schedule, job.trigger, job.total) == ("core", "schedule", 1)
