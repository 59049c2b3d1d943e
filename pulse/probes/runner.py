"""A turn: probes are claimed, sent and recorded until nothing is due or the turn is over.

The calling thread has the database, an event loop in a thread of its own has the network, and only
plain values go from one to the other. Each cycle is one transaction under the engine's lock: what
finished is recorded, what is due becomes work, and of that so much is claimed as the caps and this
worker take. Where the transaction fails nothing of it is so, and the next cycle begins with the
same outcomes in hand.
"""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.db import (
    DatabaseError,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
)
from django.db import Error as AnyDatabaseError

from pulse.conf import conf
from pulse.policies import current
from pulse.probes import attempt, contracts, due, engine, leases, measures, recorder, workers
from pulse.probes.attempt import Attempt, Clock, Finished, Key, Send
from pulse.probes.engine import Engine
from pulse.probes.loop import Loop
from pulse.probes.models import LONGEST_TIMEOUT_S
from pulse.probes.plan import Plan, current_plan
from pulse.probes.transports import send

logger = logging.getLogger(__name__)

#: How long a turn claims, in seconds, and goes on waiting for what is due soon.
TURN_S: Final = 20.0
SOON_S: Final = 2.0
#: How long a turn may take, with what it claimed last.
LONGEST_TURN_S: Final = TURN_S + LONGEST_TIMEOUT_S + due.LEASE_MARGIN_S
#: Claimed at once, at most.
BATCH: Final = 200
#: Between two looks at what is due and at what was broken off.
PREPARED_EVERY_S: Final = 0.25
#: The database is asked so often whether another policy is in force.
POLICY_EVERY_S: Final = 1.0
#: Two cycles are so far apart at least, and at most while there is work; idle, so far.
LEAST_REST_S: Final = 0.01
MOST_REST_S: Final = 0.25
IDLE_S: Final = 0.5
#: What a cycle took, so many times over, is the rest after it: recording is not all there is to do.
RESTS: Final = 2.0
#: When it is told to stop: for what runs, and for the database to take what has ended.
STOPPED_WITHIN_S: Final = 3.0
RECORDED_WITHIN_S: Final = 2.0
#: Waits after the database failed, at first and at most.
FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 1.0

#: The database is away, or has ended our session: by the last one PostgreSQL tells who was silent
#: in a transaction for too long.
AWAY: Final = (OperationalError, InterfaceError, InternalError)
#: What one outcome may make of a whole transaction, by what is in it. Others end the turn, among
#: them a time limit's.
POISON: Final = (DatabaseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

_one_turn: Final = threading.Lock()


@dataclass(slots=True)
class Turn:
    """What a turn did.

    Attributes:
        broken_off: Probes that were ended by others while they ran.
        given_back: Probes that it did not finish.
        late_s: The longest that one was claimed after its time.
    """

    claimed: int = 0
    ended: int = 0
    retried: int = 0
    refused: int = 0
    broken_off: int = 0
    given_back: int = 0
    late_s: float = 0.0


def take_turn(
    kind: str,
    *,
    most_turns: int | None = None,
    seconds: float = TURN_S,
    soon_s: float = SOON_S,
    stops: Callable[[], bool] = lambda: False,
    sends: Send = send,
) -> Turn | None:
    """Take a turn, if there is something to do and nobody else does it.

    Args:
        kind: Of this worker: ``celery`` or ``command``.
        most_turns: How many workers of the kind may be at theirs; None for any number.
        seconds: For how long it claims.
        soon_s: It waits for what is due within so many seconds.
        stops: Whether the worker is to stop.
        sends: What sends a call.

    Returns:
        What it did; None where there was nothing to do, or too many do it.

    Raises:
        django.db.Error: The database cannot be used now. Within the turn that is waited for.
    """
    if not conf.ENABLED or not _one_turn.acquire(blocking=False):
        return None
    try:
        current.look_at_database()
        using, name = engine.database(), workers.own_name()
        plan = current_plan(time.time())
        if not due.is_anything_due(plan, using, soon_s):
            workers.be_seen(name, kind, using)
            return None
        contracts.warm(plan.expects)
        with engine.locked(as_worker=True) as held:
            if not workers.begin_turn(name, kind, most_turns, held):
                return None
        return Runner(name, seconds=seconds, soon_s=soon_s, stops=stops, sends=sends).run()
    finally:
        _one_turn.release()


def settle() -> None:
    """Keep what lasts as long as this process from the collector's rounds; once, at its start.

    Otherwise it looks through a plan of thousands again and again: a twelfth of what a probe costs.
    """
    current_plan(time.time())
    gc.collect()
    gc.freeze()


class Runner:
    """One turn of one worker."""

    def __init__(
        self,
        name: str,
        *,
        seconds: float = TURN_S,
        soon_s: float = SOON_S,
        stops: Callable[[], bool] = lambda: False,
        sends: Send = send,
    ) -> None:
        self._name = name
        self._ends_s = time.monotonic() + seconds
        self._soon_s = soon_s
        self._stops = stops
        self._loop = Loop(sends)
        self._using = engine.database()
        self._turn = Turn()
        #: What is to be written with the next transaction.
        self._finished: list[Finished] = []
        self._unsent: list[Key] = []
        #: Until when it is worth waiting for a database that is away: until what is held may be
        #: another worker's.
        self._worth_until_s = 0.0
        self._prepare_at_s = self._policy_at_s = 0.0
        self._next_due_s: float | None = 0.0
        self._is_more = False
        self._took_s = 0.0
        self._failures = 0

    def run(self) -> Turn:
        """Take the turn. Leaves nothing behind that this worker would have to do."""
        with self._loop:
            try:
                while not self._stops():
                    self._cycle(longest_s=self._longest_s())
                    if self._is_over():
                        break
                    self._rest()
            finally:
                self._leave()
        return self._turn

    def _is_over(self) -> bool:
        if self._loop.in_flight:
            return False
        if self._failures:
            return time.monotonic() > self._worth_until_s
        if self._finished or self._unsent:
            return False
        soon = self._next_due_s is not None and self._next_due_s <= self._soon_s
        return time.monotonic() >= self._ends_s or not soon

    def _longest_s(self) -> float:
        """How long what is claimed now may take: no longer than the turn does anyway."""
        now = time.monotonic()
        if now < self._ends_s:
            return math.inf
        flying = self._loop.in_flight.values()
        begun = (each.begun_by - attempt.BEGUN_WITHIN_S + each.claimed.timeout_s for each in flying)
        return max(begun, default=0.0) - now

    def _cycle(self, *, longest_s: float) -> None:
        """Write what finished, and claim what is due; all of it or nothing."""
        began = time.monotonic()
        self._collect()
        try:
            if began >= self._policy_at_s:
                current.look_at_database()
                self._policy_at_s = began + POLICY_EVERY_S
            prepares = began >= self._prepare_at_s
            with engine.locked(as_worker=True) as held:
                plan = current_plan(held.now.timestamp())
                if self._failures:
                    leases.disown(self._name, self._known(), held)
                recorded = recorder.record(self._finished, plan, held)
                leases.give_back(self._unsent, plan, held, begun=False)
                broken: set[Key] = set()
                if prepares:
                    due.prepare(plan, held)
                    workers.go_on(self._name, len(self._loop.in_flight), held)
                    broken = self._broken(held)
                attempts = self._claim(plan, held, longest_s)
        except AWAY as error:
            self._fail(error)
        except POISON:
            logger.exception("What probes found cannot be written together")
            self._record_singly()
        else:
            if prepares:
                self._prepare_at_s = began + PREPARED_EVERY_S
            self._count(recorded)
            self._turn.retried += recorded.retried
            self._refuse(recorded.refused)
            self._turn.given_back += len(self._unsent)
            self._turn.broken_off += len(broken)
            self._finished, self._unsent, self._failures = [], [], 0
            self._loop.give_up(broken)
            self._submit(attempts)
        self._took_s = time.monotonic() - began

    def _count(self, recorded: recorder.Recorded) -> None:
        """Count what is certainly written."""
        self._turn.ended += recorded.ended
        measures.count(recorded.results)

    def _collect(self) -> None:
        finished, unsent = self._loop.take()
        self._finished += finished
        self._unsent += unsent

    def _known(self) -> set[Key]:
        finished = {each.claimed.key for each in self._finished}
        return finished | set(self._unsent) | self._loop.in_flight.keys()

    def _broken(self, held: Engine) -> set[Key]:
        """Find what runs here and was ended, or given to others, by somebody else."""
        flying = self._loop.in_flight.keys()
        return flying - recorder.still_ours(flying, held) if flying else set()

    def _claim(self, plan: Plan, held: Engine, longest_s: float) -> list[Attempt]:
        flying = self._loop.in_flight
        most = min(BATCH, plan.budget.max_concurrency - len(flying)) if longest_s > 0 else 0
        if any(each.claimed.is_last_try for each in flying.values()):
            most = 0
        claimed = due.claim(plan, held, self._name, most, longest_s=longest_s, is_idle=not flying)
        self._is_more = most > 0 and len(claimed) == most
        self._next_due_s = 0.0 if self._is_more else due.next_due_s(held)
        clock = Clock(held.now.timestamp(), held.monotonic_s)
        return attempt.ready(claimed, plan, held.using, clock)

    def _submit(self, attempts: list[Attempt]) -> None:
        self._turn.claimed += len(attempts)
        for each in attempts:
            self._turn.late_s = max(self._turn.late_s, each.claimed.late_s)
            self._worth_until_s = max(self._worth_until_s, each.lease_ends)
        self._loop.submit(attempts)

    def _rest(self) -> None:
        """Wait for outcomes, or until something is due."""
        if self._failures:
            rest = min(FIRST_RETRY_S * 2 ** (self._failures - 1), LAST_RETRY_S)
            time.sleep(rest)
            return
        rest = min(max(RESTS * self._took_s, LEAST_REST_S), MOST_REST_S)
        until = IDLE_S if self._next_due_s is None else min(self._next_due_s, IDLE_S)
        if self._next_due_s == 0 and not self._is_more:
            # What waits fits nowhere; who makes room may be another worker.
            until = MOST_REST_S
        self._loop.wait(rest, max(until, rest))

    def _refuse(self, number: int) -> None:
        if number:
            self._turn.refused += number
            logger.warning(
                "%d results are dropped: the probes are not this worker's any more", number
            )

    def _fail(self, error: AnyDatabaseError) -> None:
        if not self._failures:
            logger.warning("Probes wait for the database: %s", error)
            # What was claimed just now may be committed all the same.
            worth_until_s = time.monotonic() + due.LEASE_MARGIN_S
            self._worth_until_s = max(self._worth_until_s, worth_until_s)
        self._failures += 1
        connection = connections[self._using]
        if not connection.in_atomic_block:
            connection.close()

    def _record_singly(self) -> None:
        """Write outcomes one by one: the one that no database takes is written as a fault."""
        for each in list(self._finished):
            started_s, ended_s = each.outcome.started_s, each.outcome.ended_s
            fault = attempt.broken("what came of it cannot be written", started_s, ended_s)
            try:
                if not (self._writes(each) or self._writes(Finished(each.claimed, fault))):
                    with engine.locked(as_worker=True) as held:
                        leases.let_lapse(each.claimed.key, held)
            except AWAY as error:
                self._fail(error)
                return
            self._finished.remove(each)

    def _writes(self, each: Finished) -> bool:
        """Write one outcome; whether the database takes it."""
        try:
            with engine.locked(as_worker=True) as held:
                plan = current_plan(held.now.timestamp())
                written = recorder.record([each], plan, held)
        except AWAY:
            raise
        except POISON:
            logger.exception("What a probe of %s found is not written", each.claimed.target)
            return False
        self._count(written)
        return True

    def _leave(self) -> None:
        """Wait a little for what runs, and give back the rest."""
        stopped_by = time.monotonic() + STOPPED_WITHIN_S
        while self._loop.in_flight and time.monotonic() < stopped_by:
            self._cycle(longest_s=0.0)
            self._rest()
        self._collect()
        begun = set(self._loop.in_flight)
        self._loop.give_up(begun)
        recorded_by = time.monotonic() + RECORDED_WITHIN_S
        while not self._last(begun) and time.monotonic() < recorded_by:
            self._rest()
        try:
            workers.end_turn(self._name, self._using)
        except AnyDatabaseError as error:
            logger.warning("The end of a turn of probes cannot be told: %s", error)

    def _last(self, begun: set[Key]) -> bool:
        """Write what is left, and give back the rest; whether that could be done."""
        try:
            with engine.locked(as_worker=True) as held:
                plan = current_plan(held.now.timestamp())
                recorded = recorder.record(self._finished, plan, held)
                given = leases.give_back(begun, plan, held, begun=True)
                # Also what was claimed and, as the turn was cut short, never begun.
                given += leases.disown(self._name, begun, held)
        except AWAY as error:
            self._fail(error)
            return False
        except POISON:
            logger.exception("What probes found cannot be written together")
            self._record_singly()
            return False
        self._count(recorded)
        self._turn.retried += recorded.retried
        self._refuse(recorded.refused)
        self._turn.given_back += given
        self._finished, self._unsent = [], []
        return True
