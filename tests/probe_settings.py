"""The test site as the processes of the fault tests run it; the environment says with what."""

import os
from typing import Any

from project.settings import test
from project.settings.test import *  # noqa: F403  (settings modules are layered by star import)
from pulse.schedules import beat_schedule

PULSE: dict[str, Any] = {
    **getattr(test, "PULSE", {}),
    "OUTBOUND_NETWORK": os.environ.get("PULSE_TEST_NETWORK", ""),
}
if "timeout" in (options := test.DATABASES["default"]["OPTIONS"]):
    # Who waits for SQLite in vain says so sooner.
    options["timeout"] = 5
CELERY_BEAT_SCHEDULE = beat_schedule()
