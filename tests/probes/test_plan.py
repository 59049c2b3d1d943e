"""The plan that is compiled of the policy in force."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from pulse.policies import current, publisher
from pulse.policies.models import PolicyRevision
from pulse.probes.models import MaintenanceWindow, ProbeSchedule, ProbeTarget
from pulse.probes.plan import compile_plan, current_plan
from tests.probes.conftest import Apply
from tests.probes.engines import claim, elsewhere, prepare, start, targets

CORE = {"name": "core", "every": "60s", "targets": ["t0"]}
NIGHT = {"name": "night", "cron": "0 3 * * *", "duration_s": 3600}


def names_at(moment: datetime) -> tuple[str, ...]:
    return tuple(current_plan(moment.timestamp()).windows)


def test_a_window_that_opens_again_and_again_ends_with_its_policy(apply: Apply) -> None:
    """One that opens once stays: those times are its own, and results of then may come late."""
    now = timezone.now().replace(microsecond=0)
    times = {
        "starts_at": (now - timedelta(days=2)).isoformat(),
        "ends_at": (now + timedelta(days=2)).isoformat(),
    }
    apply(maintenance_windows=[NIGHT | times, {"name": "once"} | times])
    assert names_at(now - timedelta(days=3)) == ("once",)
    assert names_at(now) == ("night", "once")
    assert names_at(now + timedelta(days=3)) == ("once",)


def test_a_plan_holds_neither_before_nor_after_its_time(apply: Apply) -> None:
    """A process whose clock is ahead of the database's does not start a schedule too early."""
    begins = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    apply(probe_targets=targets(1), probe_schedules=[CORE | {"starts_at": begins.isoformat()}])
    ahead = current_plan(begins.timestamp() + 1)
    assert set(ahead.schedules) == {"core"}
    assert current_plan(begins.timestamp() + 2) is ahead
    assert not current_plan(begins.timestamp() - 1).schedules
    assert set(current_plan(begins.timestamp()).schedules) == {"core"}


@pytest.mark.parametrize(
    ("model", "written"),
    [
        (ProbeSchedule, {"every": "banana"}),
        (ProbeSchedule, {"every": "", "cron": "99 * * * *"}),
        (MaintenanceWindow, {"duration_s": 1}),
    ],
)
def test_what_is_due_at_no_time_is_not_published(
    apply: Apply, caplog: pytest.LogCaptureFixture, model: type, written: dict[str, object]
) -> None:
    """Also where it was written past every validator: the last revision stays in force."""
    apply(probe_targets=targets(1), probe_schedules=[CORE], maintenance_windows=[NIGHT])
    before = PolicyRevision.objects.count()
    model.objects.update(**written)
    publisher.publish_pending()
    assert PolicyRevision.objects.count() == before
    assert "cannot be published" in caplog.text
    current.forget()
    assert set(current_plan(timezone.now().timestamp()).schedules) == {"core"}


def test_what_this_machine_cannot_read_is_left_out(
    apply: Apply, caplog: pytest.LogCaptureFixture
) -> None:
    """A time zone that only others have stops none of the other schedules."""
    cron = {"name": "far", "cron": "0 3 * * *", "time_zone": "UTC", "targets": ["t0"]}
    apply(
        probe_targets=targets(1),
        probe_schedules=[CORE, cron],
        maintenance_windows=[NIGHT],
    )
    current.current_snapshot()
    document = dict(current.document_in_force())
    for kind in ("probe_schedules", "maintenance_windows"):
        document[kind] = [
            item | {"time_zone": "Mars/Olympus"} if item.get("cron") else item
            for item in document[kind]
        ]
    plan = compile_plan(document, None, timezone.now().timestamp())
    assert set(plan.schedules) == {"core"}
    assert not plan.windows
    assert "far of probe_schedules is left out" in caplog.text


def test_a_target_that_cannot_be_read_stops_nobody(apply: Apply) -> None:
    """What was written past every validator is told of by its own result."""
    apply(probe_targets=elsewhere(2), probe_schedules=[CORE | {"targets": ["t0", "t1"]}])
    ProbeTarget.objects.filter(name="t0").update(headers=["no mapping"])
    publisher.publish_pending()
    current.forget()
    prepare()
    start()
    assert {each.target for each in claim()} == {"t0", "t1"}
    target = current_plan(timezone.now().timestamp()).target("t0")
    assert target.problem == "What is written of it cannot be read: TypeError."
