"""Who is refused at this moment: gathered in each process, brought together by the heartbeat.

A refusal costs an entry in a dictionary, never a call. What a process gathered goes to Redis once
a second, where the entries of all processes become one; without Redis it stays here, and what
this process refused is all there is to tell.
"""

import json
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from typing import Any, Final, NamedTuple

from pulse.core.access import ACCESS
from pulse.core.endpoints import METHODS
from pulse.exceptions import StoreUnavailable
from pulse.store import heartbeat
from pulse.store.connection import Argument, Backend, Script, current_backend

BLOCK: Final = Script("block")
FLUSH_S: Final = 1.0
#: How long one is told of who asks no more, though a retry would pass.
QUIET_S: Final = 60
#: The longest unused go first.
MAX_ENTRIES: Final = 4096
#: Of a flood of clients one beat tells so many, those refused last.
MAX_SENT: Final = 500
#: As many in one call, so that no request waits long behind it.
BATCH: Final = 100
#: What begins the names of access rules, whose ends are not when their clients would pass.
DENIALS: Final = f"{ACCESS}:"
#: Redis forgets a site that refuses nobody for so long.
KEPT_S: Final = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Blocked:
    """One client that one rule refuses.

    Attributes:
        rule: Kind and natural key, such as ``endpoint_limits:login``.
        client: As it is counted, such as ``ip:203.0.113.9`` or ``user:5``; never a credential.
        address: Where the last of its refused requests came from.
        since: When it was refused first, in epoch seconds; ``last`` when last.
        until: When a retry passes, or when the rule ends; None if it does not.
        refused: How many requests were refused since.
        request: What was asked for last: method, and route where it is known; no path.
    """

    rule: str
    client: str
    address: str
    since: int
    last: int
    until: int | None = None
    refused: int = 1
    request: str = ""

    @property
    def name(self) -> str:
        """Rule and client; where a limit refuses, the key of its counters."""
        return f"{self.rule}:{self.client}"

    def is_over(self, now: float) -> bool:
        """Whether it would pass, and has not been refused for a while.

        Whom an access rule denies is told of while it asks: the rule itself is on another page.
        """
        quiet = self.last + QUIET_S
        return now >= (quiet if self.rule.startswith(DENIALS) else max(self.until or 0, quiet))

    def joined_with(self, other: "Blocked") -> "Blocked":
        """What two are together, of which either may be the later one; on a tie the other is."""
        first, later = (other, self) if other.last < self.last else (self, other)
        if first.is_over(later.since):
            return later
        since = min(first.since, later.since)
        return replace(later, since=since, refused=first.refused + later.refused)


FIELDS: Final = frozenset(field.name for field in fields(Blocked))
REQUIRED: Final = FIELDS - {"until", "refused", "request"}


class Listing(NamedTuple):
    """Who is refused at this moment, refused last first.

    Attributes:
        shared: Of all processes; else of this one alone.
        unavailable: There is a Redis, and it cannot be asked now.
    """

    entries: list[Blocked]
    shared: bool
    unavailable: bool = False


class _Gathered:
    """Entries that are not in Redis yet, or have no Redis to go to; the longest quiet first."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must: entries and lock are the parent's."""
        self.lock = threading.Lock()
        self.entries: OrderedDict[str, Blocked] = OrderedDict()


_gathered = _Gathered()


def note(
    rule: str,
    client: str,
    address: str,
    *,
    until: float | None,
    method: str | None,
    route: str | None = None,
) -> None:
    """Note that a request was refused, in this process.

    Args:
        rule: Kind and natural key of the rule that refused.
        client: As it is counted.
        address: Where the request came from.
        until: When a retry passes, in epoch seconds; None if that is not known.
        method: What was asked for, of any length: clients invent methods.
        route: The URL pattern; None where the path resolved to nothing, or was not looked at.
    """
    now = int(time.time())
    end = None if until is None else math.ceil(until)
    request = method if method in METHODS else ""
    if route is not None:
        request = f"{request} /{route}".lstrip()
    entry = Blocked(rule, client, address, now, now, end, 1, request)
    name = entry.name
    with _gathered.lock:
        entries = _gathered.entries
        before = entries.get(name)
        entries[name] = entry if before is None else before.joined_with(entry)
        entries.move_to_end(name)
        if len(entries) > MAX_ENTRIES:
            entries.popitem(last=False)


def listing() -> Listing:
    """Return who is refused at this moment: by all processes with Redis, else by this one.

    Makes one call. What other processes refused is there a second later.
    """
    now = time.time()
    with _gathered.lock:
        own = list(_gathered.entries.values())
    backend = current_backend()
    if backend is None:
        return Listing(_in_order(own, now), shared=False)
    try:
        known = _read(backend)
    except StoreUnavailable:
        return Listing(_in_order(own, now), shared=False, unavailable=True)
    for entry in own:
        before = known.get(entry.name)
        if isinstance(before, Blocked):
            entry = before.joined_with(entry)  # noqa: PLW2901 - the same, with what was before
        elif before is not None and entry.last <= before:
            continue
        known[entry.name] = entry
    blocked = [entry for entry in known.values() if isinstance(entry, Blocked)]
    return Listing(_in_order(blocked, now), shared=True)


def find(name: str) -> Blocked | None:
    """Return one entry by its name, None where nobody is refused under it."""
    return next((entry for entry in listing().entries if entry.name == name), None)


def forget(name: str) -> None:
    """Drop an entry, everywhere: its client was let go.

    Raises:
        StoreUnavailable: Redis cannot be told; this process has dropped it.
    """
    with _gathered.lock:
        _gathered.entries.pop(name, None)
    backend = current_backend()
    if backend is not None:
        _send(backend, [(name, {"forgotten": True, "last": int(time.time())})])


def forget_all() -> None:
    """Drop what this process gathered and did not yet send."""
    with _gathered.lock:
        _gathered.entries.clear()


def flush() -> None:
    """Send what this process gathered; without Redis it stays here.

    Raises:
        StoreUnavailable: Redis failed. What was not sent yet stays here; what was sent and not
            answered is not sent again, so that nothing counts twice.
    """
    backend = current_backend()
    if backend is None or backend.guard.is_open:
        _drop_over()
        return
    with _gathered.lock:
        last = list(islice(reversed(_gathered.entries.items()), MAX_SENT))
        for name, _entry in last:
            del _gathered.entries[name]
    left = iter(last)
    try:
        while batch := [(name, asdict(entry)) for name, entry in islice(left, BATCH)]:
            _send(backend, batch)
    finally:
        _put_back(left)


def _put_back(unsent: Iterator[tuple[str, Blocked]]) -> None:
    with _gathered.lock:
        for name, entry in unsent:
            later = _gathered.entries.get(name)
            _gathered.entries[name] = entry if later is None else entry.joined_with(later)


def _drop_over() -> None:
    now = time.time()
    with _gathered.lock:
        entries = _gathered.entries
        for name in [name for name, entry in entries.items() if entry.is_over(now)]:
            del entries[name]


def _send(backend: Backend, entries: Iterable[tuple[str, dict[str, Any]]]) -> None:
    arguments: list[Argument] = [MAX_ENTRIES, KEPT_S, QUIET_S, DENIALS]
    for name, entry in entries:
        # A missing end is left out: null would come back as something else.
        told = {field: value for field, value in entry.items() if value is not None}
        arguments += (name, json.dumps(told))
    backend.run(BLOCK, _keys(backend), arguments)


def _read(backend: Backend) -> dict[str, Blocked | int]:
    """Return every entry by its name; of one that was let go, when."""
    reply: Any = backend.call("HGETALL", _keys(backend)[0])
    found = reply if isinstance(reply, list) else []
    known: dict[str, Blocked | int] = {}
    for name, text in zip(found[::2], found[1::2], strict=True):
        entry = _parsed(text)
        if entry is not None:
            known[name.decode()] = entry
    return known


def _parsed(text: bytes) -> Blocked | int | None:
    """Read an entry; None for one of another shape, as another release may write them."""
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("last"), int):
        return None
    if "forgotten" in entry:
        return int(entry["last"])
    if not REQUIRED <= entry.keys() <= FIELDS:
        return None
    numbers = (entry["since"], entry.get("until") or 0, entry.get("refused", 1))
    whole = all(isinstance(number, int) for number in numbers)
    words = (entry["rule"], entry["client"], entry["address"], entry.get("request", ""))
    return Blocked(**entry) if whole and all(isinstance(word, str) for word in words) else None


def _keys(backend: Backend) -> tuple[str, str]:
    return backend.keys.named("blocked"), backend.keys.named("blocked:by_time")


def _in_order(entries: Iterable[Blocked], now: float) -> list[Blocked]:
    current = [entry for entry in entries if not entry.is_over(now)]
    return sorted(current, key=lambda entry: (-entry.last, entry.name))


heartbeat.register("blocked", FLUSH_S, flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_gathered.reset)
