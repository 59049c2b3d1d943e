"""How a target stands, confirmed by its results, and to which status each second is credited."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

from pulse.core.attempts import Failure
from pulse.core.judging import State
from pulse.core.windows import Opening

HOUR_S: Final = 3600


class Status(StrEnum):
    """How a target stands."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    NOT_WATCHED = "not_watched"


#: In these somebody looked; the rest of an hour is neither for nor against a target.
WATCHED: Final = (Status.UP, Status.DEGRADED, Status.DOWN)
#: Errors of the engine's own making, which say nothing of the target.
NO_EVIDENCE: Final = frozenset({Failure.DEADLINE, Failure.INTERNAL})


class Span(NamedTuple):
    """A time credited to a status, in epoch seconds."""

    status: Status
    starts_s: float
    ends_s: float


class Transition(NamedTuple):
    """A change of the confirmed status."""

    before: Status
    after: Status
    at_s: float


class Standing(NamedTuple):
    """What is known of a target from its results; that of a new one has nothing.

    Attributes:
        status: ``up``, ``degraded`` or ``down`` as confirmed; ``not_watched`` until the first is.
        since_s: Since when, in epoch seconds.
        failures: Results in a row that failed.
        successes: Results in a row that did not.
        degraded: Results in a row that were degraded.
        well: Results in a row that were ``ok``.
        last_s: When the newest result came; None before the first.
        watched_until_s: Until when that result speaks for the target.
    """

    status: Status = Status.NOT_WATCHED
    since_s: float = 0.0
    failures: int = 0
    successes: int = 0
    degraded: int = 0
    well: int = 0
    last_s: float | None = None
    watched_until_s: float = 0.0


class Advance(NamedTuple):
    """What a result makes of a standing.

    Attributes:
        transition: The change of the confirmed status, None if there is none.
        spans: The time since the newest result before, without gaps, in order.
    """

    standing: Standing
    transition: Transition | None
    spans: tuple[Span, ...]


def advance(
    standing: Standing,
    state: State,
    at_s: float,
    *,
    error: Failure | None = None,
    failure_threshold: int = 1,
    success_threshold: int = 1,
    grace_s: float,
    maintenance: Sequence[Opening] = (),
) -> Advance:
    """Take in a result.

    So many failures in a row as ``failure_threshold`` make a target ``down``, so many results
    that did not fail as ``success_threshold`` bring it back. A degraded one did not fail; so many
    in a row as ``failure_threshold`` make ``up`` into ``degraded``, so many that are ``ok`` as
    ``success_threshold`` make it ``up`` again.

    What says nothing of the target moves nothing: what was lost, cancelled, cut off by its job's
    deadline or broken by the engine, and what is older than the newest result. Results within
    maintenance, and time that nobody watched, end what was in a row.

    Args:
        standing: As the results before left it.
        state: How the probe ended.
        at_s: When it ended, in epoch seconds.
        error: Why it failed.
        failure_threshold: At least 1.
        success_threshold: At least 1.
        grace_s: For how long this result speaks for the target: twice the time to the next one,
            and the probe's own timeout.
        maintenance: The openings that lie in the time since the newest result, or meet it.
    """
    is_evidence = state not in {State.LOST, State.CANCELLED} and error not in NO_EVIDENCE
    if not is_evidence or (standing.last_s is not None and at_s < standing.last_s):
        return Advance(standing, None, ())
    spans = credit(standing, at_s, maintenance)
    if any(opening.starts_s <= at_s < opening.ends_s for opening in maintenance):
        seen = _without_rows(standing)
    elif at_s > standing.watched_until_s:
        seen = _counted(_without_rows(standing), state)
    else:
        seen = _counted(standing, state)
    seen = seen._replace(last_s=at_s, watched_until_s=at_s + grace_s)
    status = _confirmed(seen, failure_threshold, success_threshold)
    if status is standing.status:
        return Advance(seen, None, spans)
    transition = Transition(standing.status, status, at_s)
    return Advance(seen._replace(status=status, since_s=at_s), transition, spans)


def credit(
    standing: Standing, until_s: float, maintenance: Iterable[Opening] = ()
) -> tuple[Span, ...]:
    """Credit the time since the newest result: to maintenance, the confirmed status, or nobody.

    Args:
        standing: Whose time it is; before its first result there is none.
        until_s: Epoch seconds.
        maintenance: Openings in any order, which may overlap.
    """
    if standing.last_s is None or until_s <= standing.last_s:
        return ()
    openings = list(maintenance)
    edges = {standing.last_s, until_s, standing.watched_until_s}
    edges |= {edge for opening in openings for edge in opening}
    within = sorted(edge for edge in edges if standing.last_s <= edge <= until_s)
    spans: list[Span] = []
    for starts_s, ends_s in pairwise(within):
        if any(opening.starts_s <= starts_s < opening.ends_s for opening in openings):
            status = Status.MAINTENANCE
        elif starts_s < standing.watched_until_s:
            status = standing.status
        else:
            status = Status.NOT_WATCHED
        if spans and spans[-1].status is status:
            spans[-1] = spans[-1]._replace(ends_s=ends_s)
        else:
            spans.append(Span(status, starts_s, ends_s))
    return tuple(spans)


def status_at(standing: Standing, now_s: float, *, in_maintenance: bool = False) -> Status:
    """Say how a target stands: as confirmed, unless it is maintained, or nobody looks any more."""
    if in_maintenance:
        return Status.MAINTENANCE
    return standing.status if now_s <= standing.watched_until_s else Status.NOT_WATCHED


def uptime(seconds: Mapping[Status, float]) -> float | None:
    """Return the share of the watched time in which a target was not down.

    Maintenance and time that nobody watched are left out; degraded is up.

    Returns:
        0 to 1; None if it was never watched.
    """
    watched = sum(seconds.get(status, 0.0) for status in WATCHED)
    return 1 - seconds.get(Status.DOWN, 0.0) / watched if watched > 0 else None


def by_hour(spans: Iterable[Span]) -> dict[int, dict[Status, float]]:
    """Add up the seconds of each status by the hour that they lie in.

    What was not watched is left out, as it may be years: it is what an hour lacks of 3600.

    Returns:
        By the epoch second at which the hour begins.
    """
    hours: dict[int, dict[Status, float]] = {}
    for status, starts_s, ends_s in spans:
        if status is Status.NOT_WATCHED:
            continue
        hour = int(starts_s // HOUR_S) * HOUR_S
        while hour < ends_s:
            seconds = min(ends_s, hour + HOUR_S) - max(starts_s, hour)
            of_hour = hours.setdefault(hour, {})
            of_hour[status] = of_hour.get(status, 0.0) + seconds
            hour += HOUR_S
    return hours


def _counted(standing: Standing, state: State) -> Standing:
    if state not in {State.OK, State.DEGRADED}:
        return _without_rows(standing)._replace(failures=standing.failures + 1)
    is_well = state is State.OK
    return standing._replace(
        failures=0,
        successes=standing.successes + 1,
        degraded=0 if is_well else standing.degraded + 1,
        well=standing.well + 1 if is_well else 0,
    )


def _without_rows(standing: Standing) -> Standing:
    return standing._replace(failures=0, successes=0, degraded=0, well=0)


def _confirmed(seen: Standing, failure_threshold: int, success_threshold: int) -> Status:
    if seen.failures >= failure_threshold:
        return Status.DOWN
    if seen.status in {Status.DOWN, Status.NOT_WATCHED}:
        if seen.successes < success_threshold:
            return seen.status
        return Status.DEGRADED if seen.degraded else Status.UP
    if seen.degraded >= failure_threshold:
        return Status.DEGRADED
    return Status.UP if seen.well >= success_threshold else seen.status
