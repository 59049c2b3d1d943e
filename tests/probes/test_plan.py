"""The plan that is compiled of the policy in force."""

from datetime import datetime, timedelta

from django.utils import timezone

from pulse.probes.plan import current_plan
from tests.probes.conftest import Apply
from tests.probes.engines import targets

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
