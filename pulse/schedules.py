"""What beat does: fixed entries, each a nudge that may come twice or not at all.

Imports nothing of Django's, so that settings may import it.
"""

from typing import Any, Final

#: A tick that nobody took within so many seconds is stale: the next one is there.
TICK_EXPIRES_S: Final = 2
#: What does nothing where it was done a moment ago; so a missed one is made up for by the next.
HOURLY: Final = ("discover", "rollup-days", "prune")
#: A second pair of eyes on guards, beside those of the serving processes, in seconds.
GUARDS_S: Final = 5.0
#: The store holds minutes for two hours, so that a hundred ticks may be lost.
KEEP_MEASURES_S: Final = 60.0
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
        "pulse-guards": {
            "task": "pulse.guards",
            "schedule": GUARDS_S,
            "options": {"expires": int(GUARDS_S), "ignore_result": True},
        },
        "pulse-keep-measures": {
            "task": "pulse.keep_measures",
            "schedule": KEEP_MEASURES_S,
            "options": {"expires": int(KEEP_MEASURES_S), "ignore_result": True},
        },
        **{
            f"pulse-{name}": {
                "task": f"pulse.{name.replace('-', '_')}",
                "schedule": HOUR_S,
                "options": {"expires": int(HOUR_S), "ignore_result": True},
            }
            for name in HOURLY
        },
    }
