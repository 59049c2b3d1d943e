"""What beat does: fixed entries, each a nudge that may come twice or not at all.

Imports nothing of Django's, so that settings may import it.
"""

from typing import Any, Final

#: A tick that nobody took within so many seconds is stale: the next one is there.
TICK_EXPIRES_S: Final = 2
#: What does nothing where it was done a moment ago; so a missed one is made up for by the next.
HOURLY: Final = ("discover", "rollup-days", "prune")
#: What is done more often, in seconds: a second pair of eyes on guards; looks at the alert rules,
#: and at what is to be told; and measures, which the store holds for two hours.
OFTEN: Final = {"guards": 5.0, "alerts": 10.0, "deliver": 5.0, "keep-measures": 60.0}
HOUR_S: Final = 3600.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return the entries for ``CELERY_BEAT_SCHEDULE``; ``pulse_worker`` goes by the same.

    When probes are due is for the database to say, whatever number of beats there are.
    """
    return {
        "pulse-tick": {
            "task": "pulse.tick",
            "schedule": 1.0,
            "options": {"expires": TICK_EXPIRES_S, "ignore_result": True},
        },
        **{f"pulse-{name}": _entry(name, every_s) for name, every_s in OFTEN.items()},
        **{f"pulse-{name}": _entry(name, HOUR_S) for name in HOURLY},
    }


def _entry(name: str, every_s: float) -> dict[str, Any]:
    """Return an entry that is stale once the next one is there."""
    return {
        "task": f"pulse.{name.replace('-', '_')}",
        "schedule": every_s,
        "options": {"expires": int(every_s), "ignore_result": True},
    }
