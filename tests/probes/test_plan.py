"""The plan that is compiled of the policy in force."""

from datetime import UTC, datetime, timedelta

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
