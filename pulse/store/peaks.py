"""How much of each limit its busiest client has used, by hour.

A request compares what is left with the highest mark of the hour, and only a new mark costs more.
Marks of all processes meet in Redis, where the highest stands; without Redis they stay here.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from pulse.core.charging import Charge
from pulse.core.claims import Decision, Store
from pulse.store import heartbeat
from pulse.store.connection import Argument, Backend, Script, current_backend
from pulse.store.hourly import FLUSH_S, HOUR_S, HOURS, KEPT_S

RAISE: Final = Script("raise")
#: Rules are bounded by the policy; this bounds what a policy edited in a loop leaves behind.
MAX_RULES: Final = 50_000
#: Marks in one call, so that no request waits long behind it.
BATCH: Final = 1000
#: Named, as finding it in its enumeration takes a while.
REDIS: Final = Store.REDIS
#: A whole capacity, as marks are kept: in whole numbers.
WHOLE: Final = 1_000_000


class _Noted:
    """The marks of this process.

    Attributes:
        lock: Held while marks are set; they are compared without it.
        highest: Of the hour, by the rule's prefix: shares from 0 to 1.
        hour: The hour that they are of, in hours since the epoch.
        unsent: Marks that are not in Redis yet, or have no Redis to go to; by hour and rule.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: marks and lock are the parent's."""
        self.lock = threading.Lock()
        self.highest: dict[str, float] = {}
        self.hour = 0
        self.unsent: dict[int, dict[str, int]] = {}


_noted: Final = _Noted()


def note(found: Sequence[Charge], decision: Decision) -> None:
    """Note how much of each limit a request's client has used by now.

    Who is refused has used all. While Redis is away each process grants a part of each limit,
    and nothing is noted.

    Args:
        found: What the request was charged to, in the order of the decision's outcomes.
        decision: The verdict on it.
    """
    if decision.store is not REDIS and _is_alone():
        return
    highest = _noted.highest
    # To ask zip for equal lengths costs more than all of this.
    for charge, (claim, passed, verdicts) in zip(found, decision.outcomes):  # noqa: B905
        prefix = charge.rule.prefix
        before = highest.get(prefix, 0.0)
        if before >= 1:
            continue
        if not passed:
            _mark(prefix, 1.0)
            continue
        for quota, verdict in zip(claim.allowance.quotas, verdicts):  # noqa: B905
            used = 1 - verdict.remaining / quota.capacity
            if used > before:
                _mark(prefix, used)
                before = used


def forget() -> None:
    """Drop the marks of this process."""
    with _noted.lock:
        _noted.highest, _noted.unsent = {}, {}


def flush() -> None:
    """Bring the marks of this process together with those of all, as the heartbeat does.

    Raises:
        StoreUnavailable: Redis failed. The marks stay here: sent twice they count once.
    """
    backend = current_backend()
    hour = int(time.time()) // HOUR_S
    with _noted.lock:
        if _noted.hour != hour:
            _noted.hour, _noted.highest = hour, {}
        for old in [old for old in _noted.unsent if old < hour - HOURS]:
            del _noted.unsent[old]
        if backend is None or backend.guard.is_open:
            return
        sent, _noted.unsent = _noted.unsent, {}
    try:
        while sent:
            hour = next(iter(sent))
            _send(backend, hour, sent[hour])
            del sent[hour]
    finally:
        with _noted.lock:
            for hour, marks in sent.items():
                _raise(_noted.unsent.setdefault(hour, {}), marks.items())


def last_day() -> dict[str, float]:
    """Return the highest share of its capacity that a client used of each rule in 24 hours.

    Makes one call for each hour.

    Returns:
        Shares from 0 to 1, by kind and name, such as ``endpoint_limits:login``; rules that
        nobody was charged to are left out.

    Raises:
        StoreUnavailable: Redis cannot be asked for what it holds.
    """
    hour = int(time.time()) // HOUR_S
    marks: dict[str, int] = {}
    with _noted.lock:
        for at, own in _noted.unsent.items():
            if at >= hour - HOURS:
                _raise(marks, own.items())
    backend = current_backend()
    if backend is not None:
        for at in range(hour - HOURS, hour + 1):
            _raise(marks, _read(backend, at))
    return {rule: mark / WHOLE for rule, mark in marks.items()}


def _is_alone() -> bool:
    backend = current_backend()
    return backend is not None and backend.guard.is_suspicious


def _mark(prefix: str, used: float) -> None:
    hour = int(time.time()) // HOUR_S
    with _noted.lock:
        if prefix not in _noted.highest and len(_noted.highest) >= MAX_RULES:
            return
        _noted.highest[prefix] = used
        marks = _noted.unsent.setdefault(hour, {})
        _raise(marks, ((prefix.rstrip(":"), round(used * WHOLE)),))


def _raise(marks: dict[str, int], others: Any) -> None:
    for rule, mark in others:
        if mark > marks.get(rule, -1):
            marks[rule] = mark


def _send(backend: Backend, hour: int, marks: Mapping[str, int]) -> None:
    left = iter(marks.items())
    while batch := list(islice(left, BATCH)):
        arguments: list[Argument] = [KEPT_S]
        for rule, mark in batch:
            arguments += (rule, mark)
        backend.run(RAISE, (_key(backend, hour),), arguments)


def _read(backend: Backend, hour: int) -> Iterator[tuple[str, int]]:
    reply: Any = backend.call("HGETALL", _key(backend, hour))
    found = reply if isinstance(reply, list) else []
    for rule, mark in zip(found[::2], found[1::2], strict=True):
        yield rule.decode(), int(mark)


def _key(backend: Backend, hour: int) -> str:
    return backend.keys.named(f"peaks:{hour}")


heartbeat.register("peaks", FLUSH_S, flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_noted.reset)
