"""From this process to what all have measured: each second, under a number, so that it counts once.

What was taken of the recorder waits here until Redis has said that it is there. Without Redis it
is kept in this process, in the same form.
"""

import atexit
import itertools
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import uuid4

from pulse.conf import conf
from pulse.core.histogram import EXACT_BELOW_US, PRECISION_BITS
from pulse.core.measures import ERRORS_FROM, OTHERS
from pulse.metrics.recorder import (
    BUCKET,
    DOUBLING,
    OWN,
    REFUSED,
    REFUSED_OF,
    STATUS,
    SUM,
    WOULD_REFUSE,
    Fields,
    Groups,
    add_fields,
    recorder,
)
from pulse.store import failures, heartbeat, processes
from pulse.store.connection import Argument, Backend, Script, current_backend

logger = logging.getLogger(__name__)

MEASURE: Final = Script("measure")
FLUSH_S: Final = 1.0
#: Between two times that queued answers are counted: short, as all others wait meanwhile.
FOLD_S: Final = 0.25
#: Rows of minutes are made of buckets, by a task that may be late.
KEPT_S: Final = 2 * 3600
#: The sums of all time are kept while anybody adds to them, and so long after.
SUMS_KEPT_S: Final = 90 * 86_400
#: Fields in one call, so that no request waits long behind it.
BATCH: Final = 200
#: What waits for Redis is kept by endpoint for so many times as many as are measured; then the
#: oldest is kept in sum.
UNSENT: Final = 5
#: A process that was stopped for longer has not recorded meanwhile.
SILENT_S: Final = 10.0
SECOND_US: Final = 1_000_000

#: Names of rules and addresses, of which there are many; and what stands before those without room.
NAMED: Final = (
    (re.compile(rf"{REFUSED_OF} \S+ "), None),
    (re.compile(rf"{REFUSED}(?!{REFUSED_OF[1:]} )\S* "), None),
    (re.compile(rf"{WOULD_REFUSE}\S*:"), f"{WOULD_REFUSE}:"),
)

#: Everything about a bucket without Redis: fields by endpoint.
Hash = dict[str, Fields]


class Batch(NamedTuple):
    """What is sent in one call: again under the same number, if it is not answered.

    Attributes:
        bucket: Its number: buckets since the epoch.
        seconds: The first and the last of the epoch's in which this process recorded; None of none.
    """

    number: int
    size_s: int
    bucket: int
    seconds: tuple[int, int] | None
    groups: Groups


@dataclass(slots=True)
class Bucket:
    """What a process measured in a bucket and did not send, or has nowhere to send.

    Attributes:
        seconds: Of the epoch, in which it recorded.
    """

    groups: Groups = field(default_factory=dict)
    seconds: set[int] = field(default_factory=set)

    def add(self, groups: Groups) -> None:
        """Add fields by endpoint."""
        for endpoint, fields in groups.items():
            before = self.groups.get(endpoint)
            if before is None:
                self.groups[endpoint] = dict(fields)
            else:
                add_fields(before, fields)

    def fold(self, endpoints: set[str] | None = None) -> None:
        """Keep endpoints in sum alone; all of them if none are named."""
        names = self.groups.keys() if endpoints is None else endpoints & self.groups.keys()
        for name in [name for name in names if name not in (OWN, OTHERS)]:
            add_fields(self.groups.setdefault(OTHERS, {}), self.groups.pop(name))


class _Unsent:
    """What waits, and what is known of the time.

    Attributes:
        lock: Held by whoever flushes; no request waits for it.
        buckets: By size and number.
        sums: Of all time, where there is no Redis to keep them.
        flushed: When all that was taken had been sent, on ``time.monotonic``'s clock.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, as a forked child must."""
        self.lock = threading.RLock()
        self.process = uuid4().hex[:12]
        self.numbers = itertools.count(1)
        self.buckets: dict[tuple[int, int], Bucket] = {}
        self.pending: Batch | None = None
        self.sums: Groups = {}
        self.since = time.time()
        self.taken: float | None = None
        self.flushed = time.monotonic()
        self.offset: float | None = None


unsent: Final = _Unsent()


def now() -> float:
    """Return the time by Redis's clock, which is the same for all; in epoch seconds.

    Between two looks at it only this machine's monotonic clock is asked, which nobody sets.
    """
    offset = unsent.offset
    return time.time() if offset is None else time.monotonic() + offset


def forget() -> None:
    """Drop what this process measured."""
    recorder.reset()
    unsent.reset()


def flush() -> None:
    """Bring what was measured together with what all processes did.

    Raises:
        StoreUnavailable: Redis failed. What was not sent stays here; what was sent and not
            answered is sent again under its number.
    """
    backend = current_backend()
    with unsent.lock:
        if backend is None:
            unsent.offset = None
        elif unsent.offset is None and not backend.guard.is_open:
            _set_clock(backend.call("TIME"))
        _take(is_shared=backend is not None)
        if backend is None:
            unsent.flushed = time.monotonic()
        elif not backend.guard.is_open:
            _send_all(backend)
            unsent.flushed = time.monotonic()


def flush_at_end(**_: object) -> None:
    """Send what is left before the process ends; nobody is left to be told of what fails."""
    with suppress(Exception):
        if recorder.queue or recorder.tracked or unsent.buckets or unsent.pending:
            flush()


def lag_s() -> float:
    """How long ago all that was measured here had been sent, in seconds."""
    return max(time.monotonic() - unsent.flushed, 0.0)


def standing() -> dict[str, Any]:
    """What this process says of its measures, with every beat."""
    return {
        "in_flight": recorder.in_flight(),
        "in_flight_by": recorder.in_flight_by(),
        "lag": round(lag_s(), 2),
    }


def bucket_key(backend: Backend, size_s: int, number: int) -> str:
    """Return where a bucket is kept."""
    return backend.keys.named(f"measures:{size_s}:{number}")


def sums_key(backend: Backend) -> str:
    """Return where the sums of all time are kept."""
    return backend.keys.named("measures:sums")


def own_buckets() -> tuple[dict[tuple[int, int], Bucket], Groups]:
    """Return copies of what waits in this process: buckets and sums of all time."""
    with unsent.lock:
        buckets = {}
        for place, bucket in unsent.buckets.items():
            copy = buckets[place] = Bucket(seconds=set(bucket.seconds))
            copy.add(bucket.groups)
        waiting = unsent.pending
        if waiting is not None:
            place = (waiting.size_s, waiting.bucket)
            first, last = waiting.seconds or (0, -1)
            bucket = buckets.setdefault(place, Bucket())
            bucket.add(waiting.groups)
            bucket.seconds.update(range(first, last + 1))
        sums = Bucket()
        sums.add(unsent.sums)
    return buckets, sums.groups


def _take(*, is_shared: bool) -> None:
    """Put what the recorder has into its bucket."""
    groups, evicted = recorder.take()
    for kind, count in failures.take().items():
        own = groups.setdefault(OWN, {})
        own[f"store_error {kind}"] = own.get(f"store_error {kind}", 0) + count
    size_s = conf.METRICS_BUCKET_S
    until = now()
    since = until if unsent.taken is None else unsent.taken
    if not 0 <= until - since <= SILENT_S:  # Stopped meanwhile, or the clock was set.
        since = until
    unsent.taken = until
    if groups:
        _bucket(size_s, int(since) // size_s).add(groups)
    # A worker that counts its probes has recorded no requests.
    if any(name != OWN for name in groups) or (conf.METRICS and processes.is_web()):
        for second in range(int(since), int(until) + 1):
            _bucket(size_s, second // size_s).seconds.add(second)
    if not is_shared:
        if evicted:
            for bucket in unsent.buckets.values():
                bucket.fold(evicted)
        _sum_up(groups)
    _prune(until, conf.METRICS_WINDOW_S + 2 * size_s if not is_shared else KEPT_S)


def _bucket(size_s: int, number: int) -> Bucket:
    return unsent.buckets.setdefault((size_s, number), Bucket())


def _prune(until: float, kept_s: int) -> None:
    """Drop what is too old, and keep the oldest in sum where there is too much."""
    buckets, lost = unsent.buckets, 0
    for place in [place for place in buckets if place[0] * (place[1] + 1) < until - kept_s]:
        lost += _answers(buckets.pop(place).groups)
    pending = unsent.pending
    if pending is not None and pending.size_s * (pending.bucket + 1) < until - kept_s:
        lost += _answers(pending.groups)
        unsent.pending = None
    if lost and current_backend() is not None:
        recorder.count("dropped", lost)
    room = UNSENT * conf.MAX_ENDPOINTS
    for place in sorted(buckets, reverse=True):
        room -= len(buckets[place].groups)
        if room < 0:
            buckets[place].fold()


def _answers(groups: Groups) -> int:
    return sum(
        amount
        for endpoint, fields in groups.items()
        if endpoint != OWN
        for name, amount in fields.items()
        if name.startswith(STATUS)
    )


def _send_all(backend: Backend) -> None:
    while True:
        if unsent.pending is None:
            unsent.pending = _next_batch()
        if unsent.pending is None:
            return
        _set_clock(_send(backend, unsent.pending))
        unsent.pending = None


def _next_batch() -> Batch | None:
    if not unsent.buckets:
        return None
    place = min(unsent.buckets)
    bucket = unsent.buckets[place]
    groups: Groups = {}
    room = BATCH
    while bucket.groups and room > 0:
        endpoint, fields = bucket.groups.popitem()
        if len(fields) > room:
            rest = dict(itertools.islice(fields.items(), room, None))
            bucket.groups[endpoint] = rest
            fields = dict(itertools.islice(fields.items(), room))
        groups[endpoint] = fields
        room -= len(fields) + 1
    seconds = _run_of(bucket.seconds)
    if not bucket.groups and not bucket.seconds:
        del unsent.buckets[place]
    return Batch(next(unsent.numbers), *place, seconds, groups)


def _run_of(seconds: set[int]) -> tuple[int, int] | None:
    """Take the first seconds that follow on each other."""
    if not seconds:
        return None
    first = last = min(seconds)
    seconds.discard(first)
    while last + 1 in seconds:
        last += 1
        seconds.discard(last)
    return first, last


def _send(backend: Backend, batch: Batch) -> Any:
    first, last = batch.seconds or (-1, -1)
    arguments: list[Argument] = [
        *(batch.number, KEPT_S + batch.size_s, SUMS_KEPT_S, conf.MAX_ENDPOINTS, OTHERS),
        *(first, last, int((unsent.taken or 0.0) * SECOND_US)),
        # What is no character would end the script, each time that the batch is sent again.
        json.dumps(batch.groups, ensure_ascii=False).encode(errors="replace"),
    ]
    keys = (
        bucket_key(backend, batch.size_s, batch.bucket),
        sums_key(backend),
        backend.keys.named("measures:used"),
        backend.keys.named(f"measures:said:{unsent.process}"),
    )
    return backend.run(MEASURE, keys, arguments)


def _set_clock(reply: Any) -> None:
    seconds, microseconds = reply
    unsent.offset = int(seconds) + int(microseconds) / SECOND_US - time.monotonic()


def _sum_up(groups: Groups) -> None:
    """Add to the sums of all time as the script does."""
    sums = unsent.sums
    for endpoint, fields in groups.items():
        for name, total in _summed(endpoint, fields):
            is_known = name in sums or len(sums) <= conf.MAX_ENDPOINTS + 1
            known = sums.setdefault(name if is_known else OTHERS, {})
            if name == OWN:
                for each, amount in total.items():
                    add_fields(known, {_named(each, known): amount})
            else:
                add_fields(known, total)


def _named(name: str, known: Fields) -> str:
    """Return what a name is summed up under, as there is room for so many of its kind."""
    if name in known:
        return name
    for kind, instead in NAMED:
        found = kind.match(name)
        if found is not None:
            is_room = sum(map(bool, map(kind.match, known))) < conf.MAX_ENDPOINTS
            return name if is_room else f"{instead or found[0]}{OTHERS}"
    return name


def _summed(endpoint: str, fields: Fields) -> Iterator[tuple[str, Fields]]:
    if endpoint == OWN:
        yield OWN, fields
        return
    for name, amount in fields.items():
        letter = name[:1]
        if letter in (STATUS, SUM):
            yield endpoint, {name: amount}
        elif letter == BUCKET:
            yield endpoint, {f"{DOUBLING}{_doubling(int(name[1:]))}": amount}
        elif letter in (REFUSED, WOULD_REFUSE):
            yield OWN, {name: amount}
        if letter == STATUS:
            yield OWN, {"requests": amount}
            if int(name[1:]) >= ERRORS_FROM:
                yield OWN, {"errors": amount}
        elif letter == REFUSED:
            yield OWN, {"refused": amount}


def _doubling(number: int) -> int:
    """Return how many bits the latencies of a histogram's bucket have."""
    if number < EXACT_BELOW_US:
        return number.bit_length()
    return (number >> PRECISION_BITS) + PRECISION_BITS


heartbeat.register("measures", FLUSH_S, flush)
heartbeat.register("answers", FOLD_S, recorder.fold)

atexit.register(flush_at_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=unsent.reset)
