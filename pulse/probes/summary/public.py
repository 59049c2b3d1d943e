"""What everybody may see of targets: those with a public name, without URLs or errors."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.utils.text import slugify

from pulse.core.health import Status
from pulse.core.snapshot import Mode
from pulse.core.windows import Scope, Window, next_openings, opening_at
from pulse.policies import current
from pulse.policies.kinds import time_to_text
from pulse.probes import engine
from pulse.probes.engine import moment_of
from pulse.probes.kinds import TARGETS
from pulse.probes.plan import INFINITY, Plan
from pulse.probes.state import ProbeTargetState
from pulse.probes.summary import history
from pulse.probes.summary.history import Tally
from pulse.probes.summary.targets import status_of

DAYS: Final = 90
#: Maintenance is told so long ahead.
AHEAD: Final = timedelta(days=7)
MAX_MAINTENANCE: Final = 20
#: The share of a day's watched time from which on it is told as what it was worst.
NOTABLE: Final = 0.01

OPERATIONAL: Final = "operational"
DEGRADED: Final = "degraded"
OUTAGE: Final = "outage"
MAINTENANCE: Final = "maintenance"
NOT_WATCHED: Final = "not_watched"
PUBLIC: Final = {
    Status.UP: OPERATIONAL,
    Status.DEGRADED: DEGRADED,
    Status.DOWN: OUTAGE,
    Status.MAINTENANCE: MAINTENANCE,
    Status.NOT_WATCHED: NOT_WATCHED,
}
#: The worst first; of several together, the first that any has.
WORST: Final = (OUTAGE, DEGRADED, MAINTENANCE, OPERATIONAL, NOT_WATCHED)


def status_as_dict(plan: Plan, now: datetime) -> dict[str, Any]:
    """Write the public status as JSON tells it; four queries.

    Beside what the contract names, each day has ``seconds`` by status, which its bar is made of.
    """
    items = sorted(
        (
            item
            for item in current.document_in_force().get(TARGETS, ())
            if item.get("public_name") and item["mode"] != Mode.OFF
        ),
        key=lambda item: (item.get("public_group") or "", item["public_name"], item["name"]),
    )
    names = [item["name"] for item in items]
    rows = ProbeTargetState.objects.using(engine.database()).filter(name__in=names)
    states = {state.name: state for state in rows}
    by_hour, by_day = history.last_day(names, now), history.days(names, now, DAYS)
    components = [
        {
            "name": item["public_name"],
            "group": item.get("public_group") or None,
            "status": PUBLIC[
                status_of(
                    states.get(item["name"]),
                    item["name"],
                    item.get("public_group") or "",
                    plan,
                    now,
                )
            ],
            "uptime": {
                window: tally.uptime
                for window, tally in history.windows_of(
                    by_hour[item["name"]], by_day[item["name"]], now
                ).items()
            },
            "days": _days(by_day[item["name"]], now),
        }
        for item in items
    ]
    return {
        "status": worst_of([component["status"] for component in components]),
        "updated_at": time_to_text(now.replace(microsecond=0)),
        "stale": False,
        "components": components,
        "incidents": [],  # Rooms above this one tell of them.
        "maintenance": _maintenance(
            plan, [Scope(item["name"], item.get("public_group") or "") for item in items], now
        ),
    }


def worst_of(statuses: Sequence[str]) -> str:
    """Return the worst status of several; of none, that nobody looks."""
    return next((status for status in WORST if status in statuses), NOT_WATCHED)


def slug_of(public_name: str) -> str:
    """Name a component in a URL."""
    return slugify(public_name, allow_unicode=True)


def status_of_day(tally: Tally | None) -> str:
    """Say what a day was: the worst that lasted for a notable part of the time watched."""
    if tally is None or not tally.known_s:
        return NOT_WATCHED
    if not tally.watched_s:
        return MAINTENANCE
    down = tally.seconds.get(Status.DOWN, 0.0) / tally.watched_s
    degraded = tally.seconds.get(Status.DEGRADED, 0.0) / tally.watched_s
    if down >= NOTABLE:
        return OUTAGE
    return DEGRADED if down or degraded >= NOTABLE else OPERATIONAL


def _days(by_day: Mapping[date, Tally], now: datetime) -> list[dict[str, Any]]:
    today = now.astimezone(UTC).date()
    found = []
    for back in range(DAYS - 1, -1, -1):
        day = today - timedelta(days=back)
        tally = by_day.get(day)
        seconds = {} if tally is None else tally.seconds
        found.append(
            {
                "date": day.isoformat(),
                "status": status_of_day(tally),
                "uptime": None if tally is None else tally.uptime,
                "seconds": {PUBLIC[name]: round(each) for name, each in seconds.items() if each},
            }
        )
    return found


def _maintenance(plan: Plan, scopes: Sequence[Scope], now: datetime) -> list[dict[str, Any]]:
    """Tell the windows that are open, or open soon, of what is shown."""
    found = []
    for name, window in plan.windows.items():
        if any(window.covers(scope) for scope in scopes):
            found += [(starts, ends, name) for starts, ends in _openings(window, now)]
    return [
        {
            "name": name,
            "starts_at": time_to_text(starts),
            "ends_at": time_to_text(ends),
        }
        for starts, ends, name in sorted(found)[:MAX_MAINTENANCE]
    ]


def _openings(window: Window, now: datetime) -> list[tuple[datetime, datetime]]:
    now_s, until_s = now.timestamp(), (now + AHEAD).timestamp()
    here = opening_at(window, now_s)
    openings = ([here] if here else []) + next_openings(window, now_s, 1)
    return [
        (moment_of(opening.starts_s), moment_of(opening.ends_s))
        for opening in openings
        if opening.starts_s < until_s and opening.ends_s < INFINITY
    ]
