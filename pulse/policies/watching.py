"""Guards at work: each process counts its refusals, and any of them ends a guard.

What a process has seen is written to the database as the whole of it, so that writing it again
counts nothing twice, and so that a guard needs no Redis. Times are the database's.
"""

import logging
import math
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, Sum
from django.db.models.functions import Now

from pulse.core.announcement import Announcement
from pulse.logging import say
from pulse.policies import current, undoing
from pulse.policies.publisher import database
from pulse.policies.state import GuardState, PolicyGuard, PolicyGuardCount
from pulse.policies.watched import rules_watched
from pulse.store import refusals
from pulse.store.refusals import Place

logger = logging.getLogger(__name__)

#: How often the heartbeat looks, in seconds.
LOOK_S: Final = 1.0
#: How often a process looks for guards when it holds the policy it held before, in seconds: a guard
#: begins with a revision. While one watches, it looks at every time.
SEARCH_S: Final = 30.0
#: How long after its time a guard passes: what was refused at its end is still to be written.
GRACE_S: Final = 3.0
#: How many sets of watched rules are remembered; one for each guard and each later revision.
MAX_SETS: Final = 1000


class _Process:
    """What this process has seen."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as another process: a forked child's counts are the parent's."""
        self.lock = threading.Lock()
        self.name = uuid.uuid4()
        self.guards: Sequence[PolicyGuard] = ()
        self.stamp: str | None = None
        self.searched_at = -math.inf
        #: Since when nothing has failed, on the monotonic clock.
        self.well_since = math.inf
        self.seen: dict[int, Counter[str]] = {}
        self.unsaved: set[int] = set()
        self.watched: dict[tuple[int, int], frozenset[str]] = {}


_here: Final = _Process()


def look(*, anew: bool = False) -> None:
    """Write what this process refused, and end the guards that are over, whichever way.

    The heartbeat calls this each second, and a task as a second pair of eyes. No query while no
    guard watches and the policy stays what it is.

    Args:
        anew: Search for guards at any rate, as where nobody keeps the policy up to date.

    Raises:
        DatabaseError: It is away. What was counted is kept for the next look.
    """
    with _here.lock:
        try:
            _look(anew=anew)
        except DatabaseError:
            _here.well_since = math.inf
            raise
        _here.well_since = min(_here.well_since, time.monotonic())


def forget() -> None:
    """Know nothing, as a process that has just started."""
    _here.reset()


def counts_of(guard: PolicyGuard) -> dict[str, int]:
    """Return what was refused so far, by rule, the most first."""
    if guard.state != GuardState.WATCHING:
        found: dict[str, int] = guard.by_rule
        return dict(Counter(found).most_common())
    return _sums([guard], guard._state.db).get(guard.pk, {})


def has_something_left(guard: PolicyGuard, newest: int) -> bool:
    """Whether the newest revision still has rules that a guard watches."""
    if guard.revision.number == newest:
        return True
    return bool(_watched(guard, newest, database()))


def _look(*, anew: bool) -> None:
    using = database()
    # In this order: what was refused by a revision was so after its guard was committed.
    taken = refusals.take()
    try:
        guards = _search(using, anew=anew)
        held = current.current_snapshot().announcement if guards else None
        places = _places(taken, held)
        watched = {
            (guard.pk, revision): _watched(guard, revision, using)
            for guard in guards
            for revision in {revision for revision, _rule in places}
            if revision >= guard.revision.number
        }
    except DatabaseError:
        refusals.give_back(taken)
        raise
    for (revision, rule), amount in places.items():
        for guard in guards:
            if rule in watched.get((guard.pk, revision), ()):
                _here.seen.setdefault(guard.pk, Counter())[rule] += amount
                _here.unsaved.add(guard.pk)
    _save(using)
    sums = _sums(guards, using) if guards else {}
    for guard in guards:
        _judge(guard, sums.get(guard.pk, {}), using)


def _search(using: str, *, anew: bool) -> Sequence[PolicyGuard]:
    """Return the guards that watch, in the order of their revisions."""
    now, stamp = time.monotonic(), current.current_snapshot().stamp
    is_known = stamp == _here.stamp and now < _here.searched_at + SEARCH_S
    if anew or _here.guards or not is_known:
        over = Q(until_at__lte=Now() - timedelta(seconds=GRACE_S))
        found = PolicyGuard.objects.using(using).filter(state=GuardState.WATCHING)
        found = found.annotate(is_over=ExpressionWrapper(over, BooleanField()))
        _here.guards = list(
            found.select_related("revision").defer("revision__document").order_by("pk")
        )
        _here.stamp, _here.searched_at = stamp, now
        live = {guard.pk for guard in _here.guards}
        _here.seen = {pk: seen for pk, seen in _here.seen.items() if pk in live}
        _here.unsaved &= live
        _here.watched = {place: rules for place, rules in _here.watched.items() if place[0] in live}
    return _here.guards


def _places(taken: Counter[Place], held: Announcement | None) -> Counter[tuple[int, str]]:
    """Name what was refused by the number of the revision, of this database's own history."""
    found: Counter[tuple[int, str]] = Counter()
    for (stamp, rule), amount in taken.items():
        decided_by = Announcement.parse(stamp)
        if held is not None and decided_by is not None and decided_by.lineage == held.lineage:
            found[decided_by.revision, rule] += amount
    return found


def _watched(guard: PolicyGuard, revision: int, using: str) -> frozenset[str]:
    place = (guard.pk, revision)
    rules = _here.watched.get(place)
    if rules is None:
        number = guard.revision.number
        numbers = (revision, number, number - 1)
        later, made, before = (undoing.document_of(each, using) for each in numbers)
        rules = rules_watched(later, made, before)
        if len(_here.watched) >= MAX_SETS:
            _here.watched.clear()
        _here.watched[place] = rules
    return rules


def _save(using: str) -> None:
    """Write what this process has seen for each guard, over what it wrote before."""
    rows = [
        PolicyGuardCount(guard_id=pk, process=_here.name, rule=rule, refusals=amount)
        for pk in _here.unsaved
        for rule, amount in _here.seen[pk].items()
    ]
    if rows:
        PolicyGuardCount.objects.using(using).bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["guard", "process", "rule"],
            update_fields=["refusals"],
        )
    _here.unsaved = set()


def _sums(guards: Sequence[PolicyGuard], using: str | None) -> dict[int, dict[str, int]]:
    """Return what all processes have seen, by guard and rule, the most first."""
    counts = PolicyGuardCount.objects.using(using).filter(guard__in=guards)
    found: dict[int, dict[str, int]] = {}
    totals = counts.values_list("guard", "rule").annotate(total=Sum("refusals"))
    for pk, rule, total in totals.order_by("-total", "rule"):
        found.setdefault(pk, {})[rule] = total
    return found


def _judge(guard: PolicyGuard, by_rule: dict[str, int], using: str) -> None:
    seen = sum(by_rule.values())
    if seen > guard.refusals:
        undoing.undo(guard, by_rule, using)
        return
    watching = PolicyGuard.objects.using(using).filter(pk=guard.pk, state=GuardState.WATCHING)
    if seen > guard.seen:
        watching.filter(seen__lt=seen).update(seen=seen)
    # A process that was cut off from the database may not be the only one: all are back before
    # one of them lets a guard pass.
    if guard.is_over and time.monotonic() - _here.well_since >= GRACE_S:  # type: ignore[attr-defined]
        _let_pass(guard, by_rule, using)


def _let_pass(guard: PolicyGuard, by_rule: dict[str, int], using: str) -> None:
    watching = PolicyGuard.objects.using(using).filter(pk=guard.pk, state=GuardState.WATCHING)
    with transaction.atomic(using=using):
        if not watching.update(
            state=GuardState.PASSED, seen=sum(by_rule.values()), by_rule=by_rule
        ):
            return
        guard.counts.using(using).delete()
    say(
        logger,
        logging.INFO,
        "The guard of revision %d has passed: %d refusals of %d",
        guard.revision.number,
        sum(by_rule.values()),
        guard.refusals,
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
