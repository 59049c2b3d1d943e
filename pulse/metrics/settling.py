"""Buckets that are over are packed: a thirtieth of the room, for two hours of them.

One process does it for all, some seconds after. What comes later yet is added beside.
"""

import time
from typing import Any, Final

from pulse.conf import conf
from pulse.metrics import buckets, flush
from pulse.store.connection import Backend, Script, current_backend

SETTLE: Final = Script("settle")
#: So long after its end a bucket is packed: what all processes measured in it is there.
AFTER_S: Final = 5
#: How often it is looked whether one is over.
LOOK_S: Final = 5.0


class _Last:
    """The last bucket that this process saw packed, by itself or another."""

    place = (0, 0)


_last: Final = _Last()


def look() -> None:
    """Pack the bucket that ended last, unless another process has.

    Raises:
        StoreUnavailable: Redis failed; the bucket stays as it is, and is read all the same.
    """
    backend = current_backend()
    size_s = conf.METRICS_BUCKET_S
    place = (size_s, int(flush.now() - AFTER_S) // size_s - 1)
    if backend is None or backend.guard.is_open or place == _last.place:
        return
    _last.place = place
    name = backend.keys.named(f"measures:settling:{size_s}:{place[1]}")
    if backend.call("SET", name, int(time.time()), "NX", "EX", 2 * 60) is not None:
        settle(backend, *place)


def settle(backend: Backend, size_s: int, number: int) -> bool:
    """Pack a bucket; whether there was one that nobody was adding to.

    Raises:
        StoreUnavailable: As above.
    """
    key = flush.bucket_key(backend, size_s, number)
    reply: Any = backend.call("HGETALL", key)
    measured = buckets.groups_of(reply) if isinstance(reply, list) else None
    if measured is None or not measured.version:
        return False
    packed = buckets.pack(measured)
    arguments = (measured.version, packed, flush.KEPT_S + size_s)
    return backend.run(SETTLE, (key,), arguments) == 1


def forget() -> None:
    """Know of no bucket that is packed."""
    _last.place = (0, 0)
