"""The door of the counters: may this request pass?"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from pulse.conf import conf
from pulse.core.claims import (
    SLOTS,
    Claim,
    Decision,
    OnStoreError,
    Outcome,
    Store,
    counted_alone,
    decide_alone,
    settle,
)
from pulse.core.quotas import State, Verdict, standing
from pulse.exceptions import StaleAnnouncement, StoreUnavailable
from pulse.store import heartbeat
from pulse.store.connection import Argument, Backend, Script, current_backend
from pulse.store.memory import MemoryStore, memory

DECIDE: Final = Script("decide")
READ: Final = Script("read")
#: The highest number that a shadow claim may have; those beyond share it, and pass together.
MAX_GROUP: Final = 255


def decide(claims: Sequence[Claim], announcement: str | None = None) -> Decision:
    """Charge every claim of one request, or none.

    One command to Redis. Never waits for longer than the store's time budget, nor for any lock
    but that of the in-process counters; called as it is from an event loop, because it is
    shorter than the way to a thread.

    Args:
        claims: What the request asks; different keys.
        announcement: The policy that the claims were made by, None not to compare.

    Raises:
        StaleAnnouncement: Another policy is announced; nothing was charged.
    """
    if not claims:
        return Decision(allowed=True, outcomes=(), now_us=_wall_us(), store=Store.NONE)
    if _instead.store is not None:
        return _instead.store.decide(claims, max_keys=conf.LOCAL_MAX_KEYS)
    backend = current_backend()
    if backend is None:
        return memory.decide(claims, max_keys=conf.LOCAL_MAX_KEYS)
    try:
        return _decide_shared(backend, claims, announcement)
    except StoreUnavailable:
        parts = heartbeat.live_processes()
        return decide_alone(
            claims,
            _wall_us(),
            lambda local: memory.decide(local, max_keys=conf.LOCAL_MAX_KEYS, parts=parts),
        )


@dataclass(slots=True)
class Reading:
    """A copy of the counters at one instant.

    Attributes:
        states: What each quota of each claim that is counted keeps, in order.
        parts: Into how many parts each allowance is cut while Redis is away.
        is_alone: Redis is away, and each claim does as its rule says.
    """

    now_us: int
    states: list[State | None]
    store: Store
    parts: int = 1
    is_alone: bool = False

    def decide(self, claims: Sequence[Claim]) -> Decision:
        """Decide as ``decide`` would at this instant; only the copy is charged."""
        if self.is_alone:
            return decide_alone(claims, self.now_us, self._count)
        return self._count(claims)

    def standings(self, claims: Sequence[Claim]) -> list[tuple[Verdict, ...]]:
        """Return how each claim stands with each of its quotas, with nothing asked or charged.

        A claim that is not counted while Redis is away has none.
        """
        found = []
        states = iter(self.states)
        for claim in claims:
            counted = not self.is_alone or claim.on_store_error is OnStoreError.LOCAL
            allowance = claim.allowance if self.parts == 1 else claim.allowance.share(self.parts)
            quotas = allowance.quotas if counted else ()
            found.append(tuple(standing(quota, next(states), self.now_us) for quota in quotas))
        return found

    def _count(self, claims: Sequence[Claim]) -> Decision:
        outcomes, kept = settle(claims, self.states, self.now_us, parts=self.parts)
        self.states = [
            old if new is None else new for old, new in zip(self.states, kept, strict=True)
        ]
        allowed = all(outcome.passed for outcome in outcomes if outcome.claim.enforced)
        return Decision(allowed, outcomes, self.now_us, self.store)


def read(claims: Sequence[Claim]) -> Reading:
    """Read the counters that ``decide`` would judge by at this instant; nothing is charged."""
    if _instead.store is not None:
        return Reading(*_instead.store.read(claims), Store.LOCAL)
    backend = current_backend()
    if backend is None:
        return Reading(*memory.read(claims), Store.LOCAL)
    keys = [
        key for claim in claims for key in backend.keys.limits(claim.key, claim.allowance.slots)
    ]
    try:
        reply = backend.run(READ, keys, ())
    except StoreUnavailable:
        now_us, found = memory.read(counted_alone(claims))
        return Reading(now_us, found, Store.LOCAL, heartbeat.live_processes(), is_alone=True)
    now_us, *states = cast("list[Any]", reply)
    return Reading(now_us, [_state(text) for text in states], Store.REDIS)


def peek(claims: Sequence[Claim]) -> Decision:
    """What ``decide`` would answer at this instant; nothing is charged."""
    return read(claims).decide(claims)


def forget(claim_key: str) -> None:
    """Give a client back all that it has used of one rule.

    Args:
        claim_key: As in ``Claim.key``; its counters are deleted whatever the rule's limits are
            by now, the ones of this process too.

    Raises:
        StoreUnavailable: The shared counters cannot be reached, and stand as they are.
    """
    if _instead.store is not None:
        _instead.store.forget(claim_key)
        return
    memory.forget(claim_key)
    backend = current_backend()
    if backend is not None:
        backend.call("DEL", *backend.keys.limits(claim_key, SLOTS))


@contextmanager
def using_memory(store: MemoryStore) -> Iterator[None]:
    """Count in this in-process store and nowhere else, in every thread, while the block lasts."""
    before, _instead.store = _instead.store, store
    try:
        yield
    finally:
        _instead.store = before


class _Instead:
    """The counters that stand in for the shared ones."""

    store: MemoryStore | None = None


_instead: Final = _Instead()


def _decide_shared(backend: Backend, claims: Sequence[Claim], announcement: str | None) -> Decision:
    keys = [backend.keys.announcement]
    wire = b""
    groups = b""
    shadows = 0
    for key, allowance, enforced, _ in claims:
        keys += backend.keys.limits(key, allowance.slots)
        wire += allowance.wire
        if enforced:
            groups += bytes(len(allowance.slots))
        else:
            shadows += 1
            groups += bytes((min(shadows, MAX_GROUP),)) * len(allowance.slots)
    arguments: tuple[Argument, ...] = (announcement or "", wire, groups)
    reply = backend.run(DECIDE, keys, arguments)
    if not isinstance(reply, list):
        raise StaleAnnouncement(reply.decode() if isinstance(reply, bytes) else None)
    return _read(claims, reply)


def _read(claims: Sequence[Claim], reply: list[int]) -> Decision:
    outcomes = []
    at = 2
    for claim in claims:
        passed = True
        verdicts = []
        for _ in claim.allowance.slots:
            allowed = reply[at] == 1
            passed = passed and allowed
            verdicts.append(Verdict(allowed, *reply[at + 1 : at + 4]))
            at += 4
        outcomes.append(Outcome(claim, passed, tuple(verdicts)))
    return Decision(reply[1] == 1, tuple(outcomes), reply[0], Store.REDIS)


def _state(text: bytes | None) -> State | None:
    first, colon, second = (text or b"").partition(b":")
    return (int(first), int(second)) if colon else None


def _wall_us() -> int:
    return time.time_ns() // 1000
