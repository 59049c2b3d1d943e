"""How targets stand, as their results come in; under the engine's lock.

What is recorded here is decided by ``core.health``. Results by a schedule in shadow move a
standing of their own, which nobody is told of.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction

from pulse.core.attempts import Failure
from pulse.core.health import Advance, Span, Standing, Status, Transition, advance
from pulse.core.judging import State
from pulse.core.windows import Opening, Scope, Window, openings_between
from pulse.probes import bulk
from pulse.probes.engine import Engine, moment_of
from pulse.probes.signals import probe_transition
from pulse.probes.state import ProbeTargetState, ProbeTransition

logger = logging.getLogger(__name__)

COLUMNS: Final = (
    *("id", "status", "since", "failures", "successes", "degraded", "well", "last_at"),
    *("last_state", "last_item_id", "grace_s", "shadow"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What the standing of a target needs to know of one result.

    Attributes:
        at_s: When it ended, in epoch seconds.
        grace_s: For how long it speaks for the target; None for one that speaks no longer than
            those before it do, as nobody said when the next one comes.
        in_shadow: It moves only the standing of schedules in shadow.
    """

    target: str
    item: int
    state: State
    error: Failure | None
    detail: str
    at_s: float
    timeout_s: float
    grace_s: float | None = None
    failure_threshold: int = 1
    success_threshold: int = 1
    group: str = ""
    in_shadow: bool = False


@dataclass(slots=True)
class _Kept:
    """A row as it is moved on."""

    pk: int | None
    real: Standing
    shadow: Standing | None
    last_state: str
    last_item: int | None


def take_in(
    results: Iterable[Result], windows: Mapping[str, Window], held: Engine
) -> dict[str, list[Span]]:
    """Take results in, each target's in order of time; insert transitions, and tell of them.

    Returns:
        The time that was credited, by target.
    """
    ordered = sorted(results, key=lambda result: (result.target, result.at_s))
    kept = _read({result.target for result in ordered}, held)
    spans: dict[str, list[Span]] = {}
    transitions: list[ProbeTransition] = []
    for result in ordered:
        row = kept.setdefault(result.target, _Kept(None, Standing(), None, "", None))
        before = (row.shadow or Standing()) if result.in_shadow else row.real
        moved = _advanced(before, result, windows)
        if result.in_shadow:
            row.shadow = moved.standing
        else:
            row.real = moved.standing
            spans.setdefault(result.target, []).extend(moved.spans)
        row.last_state, row.last_item = result.state, result.item
        if moved.transition is not None:
            transitions.append(_transition(moved.transition, result))
    _write(kept, held)
    if transitions:
        ProbeTransition.objects.using(held.using).bulk_create(transitions)
        transaction.on_commit(lambda: _tell(transitions), using=held.using, robust=True)
    return spans


def stretch(graces: Mapping[str, float], held: Engine) -> None:
    """Let the last results of targets speak for longer, as their schedules come less often now.

    Else nobody would know of them until the next slot, which an edit has put off. Who was not
    watched any more by then is not made so again.

    Args:
        graces: For how long at least, in seconds from the last result, by target.
        held: The lock.
    """
    rows = bulk.read(
        ProbeTargetState, held.using, ("id", "name", "last_at", "grace_s"), "name", sorted(graces)
    )
    longer = [
        (pk, graces[name])
        for pk, name, last_at, grace_s in rows
        if last_at is not None
        and grace_s < graces[name]
        and held.now <= last_at + timedelta(seconds=grace_s)
    ]
    bulk.update(ProbeTargetState, held.using, ("id", "grace_s"), longer)


def standing_of(row: ProbeTargetState) -> Standing:
    """Return what a row says, as ``core.health`` has it."""
    return _standing(
        row.status,
        row.since,
        (row.failures, row.successes, row.degraded, row.well),
        row.last_at,
        row.grace_s,
    )


def _advanced(before: Standing, result: Result, windows: Mapping[str, Window]) -> Advance:
    grace_s = result.grace_s
    if grace_s is None:
        grace_s = max(result.timeout_s, before.watched_until_s - result.at_s)
    openings: Sequence[Opening] = ()
    if windows:
        from_s = result.at_s if before.last_s is None else before.last_s
        scope = Scope(result.target, result.group)
        openings = openings_between(windows.values(), scope, from_s, result.at_s)
    return advance(
        before,
        result.state,
        result.at_s,
        error=result.error,
        failure_threshold=result.failure_threshold,
        success_threshold=result.success_threshold,
        grace_s=grace_s,
        maintenance=openings,
    )


def _read(targets: Iterable[str], held: Engine) -> dict[str, _Kept]:
    kept = {}
    columns = ("name", *COLUMNS)
    for name, *values in bulk.read(ProbeTargetState, held.using, columns, "name", sorted(targets)):
        pk, status, since, failures, successes, degraded, well, last_at = values[:8]
        last_state, last_item, grace_s, shadow = values[8:]
        kept[name] = _Kept(
            pk,
            _standing(status, since, (failures, successes, degraded, well), last_at, grace_s),
            None if shadow is None else Standing(**shadow | {"status": Status(shadow["status"])}),
            last_state,
            last_item,
        )
    return kept


def _standing(
    status: str,
    since: datetime,
    counts: tuple[int, int, int, int],
    last_at: datetime | None,
    grace_s: float,
) -> Standing:
    last_s = None if last_at is None else last_at.timestamp()
    return Standing(
        Status(status),
        since.timestamp(),
        *counts,
        last_s=last_s,
        watched_until_s=0.0 if last_s is None else last_s + grace_s,
    )


def _write(kept: Mapping[str, _Kept], held: Engine) -> None:
    old: list[tuple[Any, ...]] = []
    fresh: list[tuple[Any, ...]] = []
    for name in sorted(kept):
        pk, values = kept[name].pk, _values(kept[name], held)
        if pk is None:
            fresh.append((name, *values))
        else:
            old.append((pk, *values))
    bulk.update(ProbeTargetState, held.using, COLUMNS, old)
    bulk.insert(ProbeTargetState, held.using, ("name", *COLUMNS[1:]), fresh)


def _values(kept: _Kept, held: Engine) -> tuple[Any, ...]:
    real = kept.real
    return (
        real.status,
        moment_of(real.since_s) if real.since_s else held.now,
        *(real.failures, real.successes, real.degraded, real.well),
        None if real.last_s is None else moment_of(real.last_s),
        kept.last_state,
        kept.last_item,
        0.0 if real.last_s is None else real.watched_until_s - real.last_s,
        None if kept.shadow is None else kept.shadow._asdict(),
    )


def _transition(change: Transition, result: Result) -> ProbeTransition:
    before, after, at_s = change
    return ProbeTransition(
        target=result.target,
        at=moment_of(at_s),
        before=before,
        after=after,
        item_id=result.item,
        detail=result.detail,
        shadow=result.in_shadow,
    )


def _tell(transitions: Iterable[ProbeTransition]) -> None:
    for transition in transitions:
        # That a target is well from the first is worth a row, not a line for each of thousands.
        is_news = (transition.before, transition.after) != (Status.NOT_WATCHED, Status.UP)
        logger.log(
            logging.INFO if is_news else logging.DEBUG,
            "Target %s: %s, was %s%s",
            transition.target,
            transition.after,
            transition.before,
            " (in shadow)" if transition.shadow else "",
        )
        if not transition.shadow:
            probe_transition.send_robust(sender=ProbeTransition, transition=transition)
