"""The one reading of measures: all processes merged, the same from any of them.

A reading is of whole buckets: the one that has begun, and as many before it as the time asked for
needs. So it is up to a bucket longer than asked for; ``from_at`` and ``to_at`` tell. Buckets that
have not changed are kept in this process, so that another reading costs a call and little more.
"""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from pulse.conf import conf
from pulse.core.measures import OTHERS, Lifetime, Measures, Window, merged
from pulse.exceptions import StoreUnavailable
from pulse.logging import say
from pulse.metrics import backends, buckets, flush
from pulse.metrics.buckets import Measured
from pulse.metrics.recorder import APART, OWN, recorder
from pulse.store import processes
from pulse.store.connection import Backend, Script, current_backend

logger = logging.getLogger(__name__)

MEASURED: Final = Script("measured")
MINUTE_S: Final = 60
SECOND_US: Final = 1_000_000
#: Where nobody was heard for longer, a reading ends now: what is missing is a gap.
SILENT_S: Final = 10
#: Endpoints of buckets, and readings, that are kept in this process.
MAX_KNOWN: Final = 20_000
MAX_READINGS: Final = 16

Named = Mapping[str, Measures]


@dataclass(frozen=True, slots=True)
class Minute:
    """One minute as all processes measured it.

    Attributes:
        at: Its beginning.
        endpoints: By endpoint id.
        apart: What is in none of them.
        seconds: How much of it was recorded; 0: nobody was there.
    """

    at: datetime
    endpoints: Named
    apart: Mapping[str, int]
    seconds: float

    @property
    def total(self) -> Measures:
        """Of all endpoints."""
        return merged(self.endpoints.values())


@dataclass(slots=True)
class _Heard:
    """What the store says before any bucket is read."""

    now: float
    at: float | None
    lifetime: Lifetime
    versions: Sequence[int]


@dataclass(slots=True)
class _Known:
    """What this process read before.

    Attributes:
        buckets: By size and number.
        sums: Endpoints of settled buckets, merged, by which buckets those are.
        windows: The last reading of each length.
    """

    buckets: dict[tuple[int, int], Measured] = field(default_factory=dict)
    sums: dict[tuple[tuple[int, int], ...], Named] = field(default_factory=dict)
    windows: dict[int, tuple[object, Window]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.Lock)


_known = _Known()


def read(seconds: int | None = None) -> Window:
    """Return what was measured lately, by all processes; of this one alone without Redis.

    Makes two calls, and one for each bucket that has changed. Never fails: where Redis cannot be
    asked it is the last reading, and says so.

    Args:
        seconds: How far to look back, at most ``flush.KEPT_S``; None for ``METRICS_WINDOW_S``.
    """
    wanted = min(max(conf.METRICS_WINDOW_S if seconds is None else seconds, 1), flush.KEPT_S)
    instead = backends.current()
    if instead is not None:
        try:
            return instead.read(wanted)
        except Exception as error:  # noqa: BLE001 - a host's own code
            say(logger, logging.ERROR, "METRICS_BACKEND cannot be read: %s", error)
            return replace(_alone(wanted), is_stale=True)
    backend = current_backend()
    if backend is None:
        flush.flush()
        return _alone(wanted)
    try:
        return _shared(backend, wanted)
    except StoreUnavailable:
        known = _known.windows.get(wanted)
        if known is None:
            return replace(_alone(wanted), is_stale=True)
        return replace(known[1], is_stale=True, lag_s=max(known[1].lag_s, flush.lag_s()))


def minutes(first: int, last: int) -> Iterator[Minute]:
    """Yield minutes as they were measured, at most the last two hours; one call and one for each.

    Args:
        first: The number of a minute, in minutes since the epoch.
        last: That of the last one.

    Raises:
        StoreUnavailable: Redis cannot be asked.
    """
    size_s = conf.METRICS_BUCKET_S
    parts = MINUTE_S // size_s
    backend = current_backend()
    if backend is None:
        flush.flush()
    own = {} if backend is not None else flush.own_buckets()[0]
    for minute in range(first, last + 1):
        numbers = range(minute * parts, (minute + 1) * parts)
        if backend is None:
            waiting = [own[size_s, number] for number in numbers if (size_s, number) in own]
            found = [buckets.of_groups(one.groups, one.seconds) for one in waiting]
        else:
            heard = _hear(backend, size_s, numbers)
            found = _fetch(backend, size_s, numbers, heard.versions)
        seconds = set[int]().union(*(one.seconds for one in found))
        yield Minute(
            _moment(minute * MINUTE_S),
            _bounded(_merged(one.endpoints for one in found)),
            _apart(found),
            float(len(seconds)),
        )


def versions(first: int, last: int) -> dict[int, int]:
    """Return a number for each minute that is another one once something was added; one call.

    Empty where no Redis brings processes together; 0 for a minute that is not there.

    Args:
        first: The number of a minute, in minutes since the epoch.
        last: That of the last one.

    Raises:
        StoreUnavailable: Redis cannot be asked.
    """
    backend = current_backend()
    if backend is None:
        return {}
    size_s = conf.METRICS_BUCKET_S
    parts = MINUTE_S // size_s
    heard = _hear(backend, size_s, range(first * parts, (last + 1) * parts))
    return {
        minute: sum(heard.versions[place * parts : (place + 1) * parts])
        for place, minute in enumerate(range(first, last + 1))
    }


def forget() -> None:
    """Ask for everything anew."""
    global _known  # noqa: PLW0603 - a forked child must not take the parent's lock
    _known = _Known()


def _shared(backend: Backend, wanted: int) -> Window:
    size_s = conf.METRICS_BUCKET_S
    ends = int(flush.now()) // size_s
    numbers = range(ends - -(-wanted // size_s), ends + 1)
    heard = _hear(backend, size_s, numbers)
    found = _fetch(backend, size_s, numbers, heard.versions)
    alive = processes.running() or []
    state = (size_s, numbers, tuple(heard.versions), heard.at, conf.MAX_ENDPOINTS)
    known = _known.windows.get(wanted)
    if known is not None and known[0] == state and _is_heard(heard):
        window = known[1]
    else:
        to = heard.at if heard.at is not None and _is_heard(heard) else heard.now
        endpoints = _endpoints(size_s, numbers, found)
        window = _window(found, endpoints, numbers.start * size_s, to, heard.lifetime)
    told = [one for one in alive if one.kind == processes.WEB]
    window = replace(
        window,
        processes=len(told),
        in_flight=sum(_number(one.said.get("in_flight")) for one in told),
        in_flight_by=_added(one.said.get("in_flight_by") for one in told),
        lag_s=max(map(_lag, told), default=_silence(heard)),
    )
    with _known.lock:
        _known.windows.pop(wanted, None)
        _known.windows[wanted] = (state, window)
        while len(_known.windows) > MAX_READINGS:
            del _known.windows[next(iter(_known.windows))]
    return window


def _alone(wanted: int) -> Window:
    size_s = conf.METRICS_BUCKET_S
    now = flush.now()
    ends = int(now) // size_s
    first = ends - -(-wanted // size_s)
    waiting, sums = flush.own_buckets()
    found = [
        buckets.of_groups(one.groups, one.seconds)
        for (size, number), one in sorted(waiting.items())
        if size == size_s and first <= number <= ends
    ]
    own = sums.get(OWN, {})
    since = _moment(flush.unsent.since)
    lifetime = Lifetime(since, own.get("requests", 0), own.get("errors", 0), own.get("refused", 0))
    endpoints = _bounded(_merged(one.endpoints for one in found))
    window = _window(found, endpoints, first * size_s, now, lifetime)
    return replace(
        window,
        scope="process",
        processes=1,
        in_flight=recorder.in_flight(),
        in_flight_by=recorder.in_flight_by(),
        lag_s=flush.lag_s(),
    )


def _hear(backend: Backend, size_s: int, numbers: Sequence[int]) -> _Heard:
    keys = [flush.bucket_key(backend, size_s, number) for number in numbers]
    reply: Any = backend.run(MEASURED, (flush.sums_key(backend), *keys), ())
    seconds, microseconds, at, since, requests, errors, refused, *versions = reply
    return _Heard(
        int(seconds) + int(microseconds) / SECOND_US,
        None if at is None else int(at) / SECOND_US,
        Lifetime(
            None if since is None else _moment(int(since)),
            *(int(amount or 0) for amount in (requests, errors, refused)),
        ),
        [int(version or 0) for version in versions],
    )


def _fetch(
    backend: Backend, size_s: int, numbers: Sequence[int], versions: Sequence[int]
) -> list[Measured]:
    """Return buckets, in order; those that changed are asked for."""
    found = []
    known = _known.buckets
    for number, version in zip(numbers, versions, strict=True):
        place = (size_s, number)
        measured = known.get(place)
        if version == 0:
            measured = Measured()
        elif measured is None or measured.version != version:
            key = flush.bucket_key(backend, size_s, number)
            measured = buckets.of_reply(backend.call("HGETALL", key))
            with _known.lock:
                known[place] = measured
                _let_go(known)
        found.append(measured)
    return found


def _let_go(known: dict[tuple[int, int], Measured]) -> None:
    """Forget the oldest buckets where there is too much in them, but for the newest one."""
    size = sum(len(one.endpoints) for one in known.values())
    for place in sorted(known)[:-1]:
        if size <= MAX_KNOWN:
            break
        size -= len(known.pop(place).endpoints)


def _endpoints(size_s: int, numbers: range, found: Sequence[Measured]) -> Named:
    """Merge endpoints; what is settled is merged once."""
    place = (
        (size_s, numbers.start),
        *((number, one.version) for number, one in zip(numbers, found, strict=True)),
    )[:-1]
    settled = _known.sums.get(place)
    if settled is None:
        settled = _merged(one.endpoints for one in found[:-1])
        with _known.lock:
            if len(_known.sums) >= MAX_READINGS:
                _known.sums.clear()
            _known.sums[place] = settled
    return _bounded(_merged((settled, found[-1].endpoints)))


def _merged(parts: Iterable[Named]) -> Named:
    """Merge endpoints of several buckets; what is in one alone is not copied."""
    total: dict[str, Measures] = {}
    copied = set()
    for part in parts:
        for name, measures in part.items():
            before = total.get(name)
            if before is None:
                total[name] = measures
                continue
            if name not in copied:
                copied.add(name)
                total[name] = merged((before, measures))
            else:
                before.merge(measures)
    return total


def _bounded(endpoints: Named) -> Named:
    """Keep as many endpoints as are measured, the busiest; the others in sum."""
    names = [name for name in endpoints if name != OTHERS]
    surplus = len(names) - conf.MAX_ENDPOINTS
    if surplus <= 0:
        return endpoints
    names.sort(key=lambda name: endpoints[name].requests)
    kept = {name: endpoints[name] for name in names[surplus:]}
    rest = [endpoints[name] for name in names[:surplus]]
    if OTHERS in endpoints:
        rest.append(endpoints[OTHERS])
    return {**kept, OTHERS: merged(rest)}


def _window(
    found: Sequence[Measured], endpoints: Named, since: float, until: float, lifetime: Lifetime
) -> Window:
    seconds = set[int]().union(*(one.seconds for one in found))
    return Window(
        from_at=_moment(since),
        to_at=_moment(until),
        scope="all",
        processes=0,
        total=merged(endpoints.values()),
        endpoints=endpoints,
        lifetime=lifetime,
        gaps=list(_gaps(seconds, since, until)),
        apart=_apart(found),
        dropped=sum(one.own["dropped"] for one in found),
    )


def _gaps(seconds: set[int], since: float, until: float) -> Iterator[tuple[datetime, datetime]]:
    """Yield spans in which nobody recorded, in whole seconds within the window."""
    begins: int | None = None
    for second in range(int(since), int(until)):
        if second in seconds:
            if begins is not None:
                yield _moment(begins), _moment(second)
            begins = None
        elif begins is None:
            begins = second
    if begins is not None:
        yield _moment(begins), _moment(int(until))


def _apart(found: Iterable[Measured]) -> dict[str, int]:
    apart = dict.fromkeys(APART, 0)
    for one in found:
        for name in apart:
            apart[name] += one.own[name]
    return apart


def _is_heard(heard: _Heard) -> bool:
    # What lies far ahead was said before the store's clock was set back.
    return heard.at is not None and abs(heard.now - heard.at) <= SILENT_S


def _silence(heard: _Heard) -> float:
    """How long ago anybody was heard, in seconds, where nobody is alive."""
    return 0.0 if heard.at is None else round(max(heard.now - heard.at, 0.0), 2)


def _lag(one: processes.Running) -> float:
    """How long ago what a process had measured was sent, by what it said and when."""
    lag = one.said.get("lag")
    said = float(lag) if isinstance(lag, int | float) else 0.0
    return round(max(said + time.time() - one.seen, 0.0), 2)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _added(parts: Iterable[Any]) -> dict[str, int]:
    """Add up what processes say by name; what is no such thing is of another release."""
    total: Counter[str] = Counter()
    for part in parts:
        if isinstance(part, Mapping):
            total.update({name: _number(amount) for name, amount in part.items()})
    return dict(total)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
