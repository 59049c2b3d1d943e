"""A sample of the requests of the last day, so that another policy can be tried on them.

A request costs the hash of its client, and an entry in a queue where its client is kept. The
heartbeat makes of it what may be kept, and brings the sample of all processes together in Redis;
without Redis it stays here. What it takes is bounded: the more traffic, the fewer clients are kept,
each of them whole. Flushes are numbered, so that one that is sent again counts once.
"""

import itertools
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import uuid4

from pulse.conf import conf
from pulse.core.recording import (
    NOBODY,
    SLOT_S,
    SLOT_US,
    TIME,
    Seen,
    Slot,
    encode,
    limit_of,
    record,
)
from pulse.exceptions import StoreUnavailable
from pulse.store import heartbeat
from pulse.store.connection import Argument, Backend, Script, current_backend

logger = logging.getLogger(__name__)

RECORD: Final = Script("record")
FLUSH_S: Final = 1.0
#: How many slots are kept: a day, and the one that has begun.
SLOTS: Final = 86_400 // SLOT_S + 1
KEPT_S: Final = SLOTS * SLOT_S
#: So many of them have half of the room, the others the other half.
RECENT: Final = 7
#: So many requests wait for the heartbeat at most; then fewer clients are kept.
MAX_SEEN: Final = 2000
#: So long before a slot begins it is made out how many clients it keeps.
LEAD_S: Final = 3
#: More clients are kept in the next slot where this share of the room was not used.
SPARE: Final = 0.4
#: Different requests in one call, so that no request waits long behind it.
BATCH: Final = 100
MINUTE_S: Final = 60


class Batch(NamedTuple):
    """What is sent in one call: again under the same number, if it is not answered."""

    number: int
    slot: int
    level: int
    minutes: list[tuple[int, int]]
    times: list[tuple[str, bytes]]


@dataclass
class Sample:
    """What was recorded.

    Attributes:
        slots: By their number: slots since the epoch.
        shared: Of all processes; else of this one alone.
        unavailable: There is a Redis, and it cannot be asked now.
    """

    slots: dict[int, Slot] = field(default_factory=dict)
    shared: bool = True
    unavailable: bool = False


class _Gathered:
    """What this process keeps, and has not sent or has nowhere to send.

    Attributes:
        limit: The marks of clients that are kept are below this text.
        level: Of it.
        seen: Requests that the heartbeat has yet to record.
        count: Counts every request, kept or not.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self.lock = threading.Lock()
        self.process = uuid4().hex[:8]
        self.seen: deque[Seen] = deque()
        self.count = itertools.count()
        self.counted = 0
        self.numbers = itertools.count()
        self.slots: dict[int, Slot] = {}
        self.levels: dict[int, int] = {}
        self.current = 0
        self.pending: Batch | None = None
        self.set_level(0)

    def set_level(self, level: int) -> None:
        self.level, self.limit = level, limit_of(level)


gathered: Final = _Gathered()


def add(seen: Seen) -> None:
    """Keep a request whose mark is below ``gathered.limit``."""
    queue = gathered.seen
    queue.append(seen)
    if len(queue) > MAX_SEEN:
        with gathered.lock:
            _make_room(queue)


def forget() -> None:
    """Drop what this process gathered."""
    gathered.reset()


def flush() -> None:
    """Record what was seen, and bring it together with what all processes saw.

    Raises:
        StoreUnavailable: Redis failed. What was not sent stays here; what was sent and not
            answered is sent again under its number.
    """
    room = conf.SAMPLE_BYTES
    now = time.time()
    current = int(now) // SLOT_S
    with gathered.lock:
        if not room:
            gathered.seen.clear()
            gathered.slots.clear()
            return
        last, gathered.current = gathered.current or current, current
        _note_levels(last, current)
        _record(current, int(now) // MINUTE_S)
        for old in [number for number in gathered.slots if number <= current - SLOTS]:
            del gathered.slots[old]
        for number, slot in gathered.slots.items():
            slot.shrink(0, _room(number, current))
        backend = current_backend()
        used = _adopt(current)
        if backend is not None and not backend.guard.is_open:
            used = max(used, _send_all(backend, current))
            for old in range(max(last, current - SLOTS) - RECENT + 1, current - RECENT + 1):
                _send(backend, Batch(0, old, 0, [], []), current)
        _plan(now, current, used)


def read(numbers: Iterable[int]) -> Sample:
    """Return what was kept of slots; of all processes with Redis.

    Makes two calls for each slot.
    """
    wanted = set(numbers)
    with gathered.lock:
        own = {number: slot for number, slot in gathered.slots.items() if number in wanted}
        backend = current_backend()
        if backend is None:
            return Sample({number: _copy(slot) for number, slot in own.items()}, shared=False)
        try:
            found = {number: _read(backend, number) for number in sorted(wanted)}
        except StoreUnavailable:
            copies = {number: _copy(slot) for number, slot in own.items()}
            return Sample(copies, shared=False, unavailable=True)
    return Sample({number: slot for number, slot in found.items() if slot is not None})


def _make_room(queue: "deque[Seen]") -> None:
    """Keep half of the clients from now on, and of what waits; no request is lost on the way."""
    while len(queue) > MAX_SEEN and gathered.level < NOBODY:
        gathered.set_level(gathered.level + 1)
        for _ in range(len(queue)):
            seen = queue.popleft()
            if seen.mark < gathered.limit:
                queue.append(seen)


def _note_levels(last: int, current: int) -> None:
    """Note for the slots since the last flush that no more were kept than now are."""
    levels = gathered.levels
    for slot in (last, current):
        levels[slot] = max(levels.get(slot, 0), gathered.level)
    for slot in [slot for slot in levels if slot < last]:
        del levels[slot]


def _record(current: int, minute: int) -> None:
    queue, slots = gathered.seen, gathered.slots
    rooms: dict[int, int] = {}
    # So many and no more: under load others come in as fast as these go out.
    for _ in range(len(queue)):
        seen = queue.popleft()
        number, offset_us = divmod(seen.at_us, SLOT_US)
        if abs(number - current) > 1:
            continue  # By a clock that is wrong.
        if number not in rooms:
            rooms[number] = _room(number, current)
        if number not in gathered.levels:
            gathered.levels[number] = gathered.level
        slot = slots.get(number)
        if slot is None:
            slot = slots[number] = Slot(gathered.levels[number])
        slot.shrink(gathered.levels[number], rooms[number])
        text = encode(record(seen, conf.client_secret))
        slot.add(seen.mark + text, TIME.pack(offset_us), rooms[number])
    counted = next(gathered.count) - gathered.counted
    gathered.counted += counted + 1  # This look counted one too.
    if counted:
        number = minute * MINUTE_S // SLOT_S
        slots.setdefault(number, Slot(gathered.level)).minutes[minute] += counted


def _send_all(backend: Backend, current: int) -> float:
    """Send what there is; return which share of its room the current slot uses."""
    used = 0.0
    while True:
        if gathered.pending is None:
            gathered.pending = _next_batch()
        batch = gathered.pending
        if batch is None:
            return used
        level, taken = _send(backend, batch, current)
        gathered.pending = None
        if batch.slot == current:
            used = taken / _room(current, current)
            _keep_no_more(current, level)


def _next_batch() -> Batch | None:
    for number in sorted(gathered.slots):
        slot = gathered.slots[number]
        fields = list(itertools.islice(slot.times, BATCH))
        times = [(name, bytes(slot.times.pop(name))) for name in fields]
        minutes, slot.minutes = list(slot.minutes.items()), Counter()
        if not slot.times:
            # Who was left out here comes too often for the others too.
            del gathered.slots[number]
        return Batch(next(gathered.numbers) + 1, number, slot.level, minutes, times)
    return None


def _send(backend: Backend, batch: Batch, current: int) -> tuple[int, int]:
    arguments: list[Argument] = [
        gathered.process if batch.number else "",
        batch.number,
        batch.level,
        _room(batch.slot, current),
        KEPT_S,
        len(batch.minutes),
    ]
    arguments += itertools.chain.from_iterable(batch.minutes)
    arguments += itertools.chain.from_iterable(batch.times)
    reply: Any = backend.run(RECORD, _keys(backend, batch.slot), arguments)
    return int(reply[0]), int(reply[1])


def _plan(now: float, current: int, used: float) -> None:
    """Make out, just before a slot begins, whether it keeps more clients than this one."""
    if current + 1 in gathered.levels or now % SLOT_S < SLOT_S - LEAD_S:
        return
    level = gathered.levels.get(current, gathered.level)
    if used < SPARE:
        level = max(0, level - 1)
    gathered.levels[current + 1] = level
    gathered.set_level(level)


def _adopt(current: int) -> float:
    """Go by what the current slot has room for here; return which share of it is used."""
    slot = gathered.slots.get(current)
    if slot is None:
        return 0.0
    _keep_no_more(current, slot.level)
    return slot.bytes / _room(current, current)


def _keep_no_more(current: int, level: int) -> None:
    gathered.levels[current] = max(gathered.levels.get(current, 0), level)
    # Unless the next slot is near, which this level is not for.
    if level > gathered.level and current + 1 not in gathered.levels:
        gathered.set_level(level)


def _room(number: int, current: int) -> int:
    """Return how many bytes a slot may take."""
    half = conf.SAMPLE_BYTES // 2
    return half // RECENT if number > current - RECENT else half // (SLOTS - RECENT)


def _read(backend: Backend, number: int) -> Slot | None:
    requests, about = _keys(backend, number)
    known = dict(_pairs(backend.call("HGETALL", about)))
    if not known:
        return None
    slot = Slot(int(known.get("level", 0)))
    slot.bytes = int(known.get("bytes", 0))
    slot.left = int(known.get("left", 0))
    for name, value in known.items():
        if name.startswith("m"):
            slot.minutes[int(name[1:])] += int(value)
        elif name.startswith("x"):
            slot.left_out.add(name[1:])
    for name, times in _pairs(backend.call("HGETALL", requests)):
        slot.times[name] = bytearray(times)
    return slot


def _pairs(reply: Any) -> Iterator[tuple[str, bytes]]:
    found = reply if isinstance(reply, list) else []
    for name, value in zip(found[::2], found[1::2], strict=True):
        yield name.decode(), value


def _copy(slot: Slot) -> Slot:
    copy = Slot(slot.level)
    copy.join(slot)
    copy.bytes = slot.bytes
    return copy


def _keys(backend: Backend, number: int) -> tuple[str, str]:
    return backend.keys.named(f"sample:{number}"), backend.keys.named(f"sample:{number}:about")


heartbeat.register("sample", FLUSH_S, flush)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gathered.reset)
