"""Failed logins and keys: the first of an address in a minute is written, the others are counted.

An attack makes thousands a second, and a row for each would be an attack of its own. What was
counted is written a minute later, as a number; a process that ends before takes it along.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from pulse.audit.models import Outcome
from pulse.audit.record import record
from pulse.policies.publisher import Actor

MINUTE_S: Final = 60
#: So many are written at once in a minute and process, and of so many addresses the count is.
MAX_WRITTEN: Final = 10
#: Of more addresses only the sum is kept.
MAX_ADDRESSES: Final = 10_000


class _Noted:
    """What this process noted in the current minute.

    Attributes:
        minute: Since the epoch.
        written: How many entries were written at once.
        seen: The addresses that have an entry.
        counted: By action, type of actor and address, what has none.
    """

    def __init__(self, minute: int = 0) -> None:
        self.minute = minute
        self.written = 0
        self.seen: set[tuple[str, str]] = set()
        self.counted: Counter[tuple[str, str, str]] = Counter()


class _Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.noted = _Noted()


_held: Final = _Holder()


def note(
    action: str,
    actor: Actor,
    *,
    request_id: str = "",
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a failure, or count it where its address, or too many others, had one this minute.

    Raises:
        DatabaseError: It could not be written.
    """
    over = _take_over(int(time.time()) // MINUTE_S)
    _write(over)
    with _held.lock:
        noted = _held.noted
        name = (action, actor.address)
        is_first = name not in noted.seen and noted.written < MAX_WRITTEN
        if is_first:
            noted.seen.add(name)
            noted.written += 1
        else:
            key = (action, actor.type, actor.address)
            is_known = key in noted.counted or len(noted.counted) < MAX_ADDRESSES
            noted.counted[key if is_known else (action, actor.type, "")] += 1
    if is_first:
        record(
            action,
            actor,
            outcome=Outcome.FAILURE,
            request_id=request_id,
            fields={**(fields or {}), **_attempts(1)},
        )


def flush() -> None:
    """Write what was counted in minutes that are over; the heartbeat calls this.

    Raises:
        DatabaseError: It could not be written; it is not tried again.
    """
    _write(_take_over(int(time.time()) // MINUTE_S))


def forget() -> None:
    """Have noted nothing, as a process that has just started."""
    _held.lock = threading.Lock()
    _held.noted = _Noted()


def _take_over(minute: int) -> _Noted | None:
    """Begin a minute, if another was noted; return that one."""
    with _held.lock:
        if _held.noted.minute == minute:
            return None
        over, _held.noted = _held.noted, _Noted(minute)
        return over


def _write(over: _Noted | None) -> None:
    """Write the most of an address each, and the rest as one number."""
    if over is None:
        return
    rest: Counter[tuple[str, str]] = Counter()
    for place, ((action, kind, address), number) in enumerate(over.counted.most_common()):
        if place < MAX_WRITTEN and address:
            actor = Actor(kind, address=address)
            record(action, actor, outcome=Outcome.FAILURE, fields=_attempts(number))
        else:
            rest[action, kind] += number
    for (action, kind), number in rest.items():
        record(action, Actor(kind), outcome=Outcome.FAILURE, fields=_attempts(number))


def _attempts(number: int) -> dict[str, dict[str, Any]]:
    return {"attempts": {"before": None, "after": number}}
