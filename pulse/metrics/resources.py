"""What this process uses: memory, processor, descriptors; and how full its pools and caches are.

Asked by the heartbeat, never by a request, and told to all with the beat.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.core.cache import caches
from django.db import connections

from pulse.conf import conf
from pulse.core.charging import remembered as remembered_charges
from pulse.core.networks import remembered as remembered_addresses
from pulse.logging import say
from pulse.metrics.recorder import recorder
from pulse.store.memory import memory

try:
    import psutil
except ImportError:  # The extra "resources" is not installed.
    psutil = None  # type: ignore[assignment]  # as above

logger = logging.getLogger(__name__)

#: Between two looks, in seconds.
LOOK_S: Final = 10.0
#: Below so much of the threshold a warning is taken back: what swings about it is told once.
TAKEN_BACK: Final = 0.9


@dataclass(frozen=True, slots=True)
class Usage:
    """How full something is; None is what cannot be known.

    Attributes:
        size: What is in it, or in use.
        most: What it may hold; None for no bound.
        hits: How often something was found in it, since the process began.
        misses: How often it was not.
        evictions: How often something had to go for want of room.
    """

    size: int
    most: int | None
    hits: int | None = None
    misses: int | None = None
    evictions: int | None = None

    @property
    def ratio(self) -> float | None:
        """The share of its bound that is used, 0 to 1."""
        return self.size / self.most if self.most else None


def pool_metrics() -> dict[str, Usage]:
    """Return how full the pools of connections of this process are, by name.

    ``database:ALIAS`` where the backend has a pool, ``redis:ALIAS`` for each cache on Redis.
    """
    found = {}
    for alias in connections:
        if usage := _database_pool(alias):
            found[f"database:{alias}"] = usage
    for alias in caches:
        if usage := _redis_pool(alias):
            found[f"redis:{alias}"] = usage
    return found


def cache_metrics() -> dict[str, Usage]:
    """Return how full the local caches of this process are, by name."""
    return {name: read() for name, read in _caches.items()}


def register_cache(name: str, read: Callable[[], Usage]) -> None:
    """Have a local cache told of under a name."""
    _caches[name] = read


def of_lru(function: Any) -> Usage:
    """Read what ``functools.lru_cache`` says of itself."""
    hits, misses, most, size = function.cache_info()
    return Usage(size, most, hits, misses, max(0, misses - size))


def standing() -> Mapping[str, Any]:
    """Return what this process says of itself with each beat."""
    return {"resources": {**_process(), "pools": _ratios(pool_metrics()), "caches": _sizes()}}


def look() -> None:
    """Warn of what is nearly full: once, and again only after it had room."""
    log_setup()
    for kind, found in (("pool", pool_metrics()), ("cache", cache_metrics())):
        for name, usage in found.items():
            if (kind, name) not in MEMORIES:
                _judge(kind, name, usage)


@cache
def log_setup() -> None:
    """Say once how large the pools may grow; no address, no password."""
    for name, usage in pool_metrics().items():
        most = "no bound" if usage.most is None else f"at most {usage.most} connections"
        logger.info("The pool %s: %s", name, most)


def _judge(kind: str, name: str, usage: Usage) -> None:
    ratio, most = usage.ratio, conf.USAGE_WARNING
    if ratio is None:
        return
    place = f"{kind}:{name}"
    if ratio > most and place not in _warned:
        _warned.add(place)
        text = "The %s %s is %d %% full: %d of %s"
        say(logger, logging.WARNING, text, kind, name, ratio * 100, usage.size, usage.most)
    elif ratio < most * TAKEN_BACK and place in _warned:
        _warned.discard(place)
        say(logger, logging.INFO, "The %s %s has room again: %d %%", kind, name, ratio * 100)


def _process() -> dict[str, Any]:
    """Return memory in bytes, processor time in seconds, descriptors and threads."""
    if psutil is not None:
        own = psutil.Process()
        with own.oneshot():
            times = own.cpu_times()
            return {
                "memory_bytes": own.memory_info().rss,
                "cpu_s": round(times.user + times.system, 2),
                "descriptors": own.num_fds() if hasattr(own, "num_fds") else None,
                "threads": own.num_threads(),
            }
    return {
        "memory_bytes": _resident_bytes(),
        "cpu_s": round(time.process_time(), 2),
        "descriptors": _count("/proc/self/fd"),
        "threads": _count("/proc/self/task"),
    }


def _resident_bytes() -> int | None:
    """Read the resident set of Linux; None elsewhere."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None


def _count(directory: str) -> int | None:
    try:
        return len(os.listdir(directory))  # noqa: PTH208 - a listing of names costs least
    except OSError:
        return None


def _database_pool(alias: str) -> Usage | None:
    # Asked of the settings first: looking for a pool would open one.
    if not connections.settings[alias].get("OPTIONS", {}).get("pool"):
        return None
    with contextlib.suppress(Exception):  # Whatever a backend makes of it, this only tells.
        pool: Any = getattr(connections[alias], "pool", None)
        if pool is not None:
            said = pool.get_stats()
            used = said.get("pool_size", 0) - said.get("pool_available", 0)
            return Usage(used, said.get("pool_max"))
    return None


def _redis_pool(alias: str) -> Usage | None:
    with contextlib.suppress(Exception):  # As above.
        cache: Any = caches[alias]
        if hasattr(cache, "client"):
            pool = cache.client.get_client(write=True).connection_pool
        else:
            pool = cache._cache.get_client(None, write=True).connection_pool
        most = pool.max_connections
        # The client's own default, 2 ** 31, is no bound.
        return Usage(len(pool._in_use_connections), most if most < 2**31 else None)
    return None


def _ratios(found: Mapping[str, Usage]) -> dict[str, Any]:
    return {name: {"size": one.size, "most": one.most} for name, one in found.items()}


def _sizes() -> dict[str, Any]:
    return {name: asdict(usage) for name, usage in cache_metrics().items()}


_caches: Final[dict[str, Callable[[], Usage]]] = {
    "counters": lambda: Usage(len(memory), conf.LOCAL_MAX_KEYS, evictions=memory.evictions),
    "endpoints": lambda: Usage(
        len(recorder.tracked), conf.MAX_ENDPOINTS, evictions=recorder.evictions
    ),
    "addresses": lambda: of_lru(remembered_addresses),
    "charges": lambda: of_lru(remembered_charges),
}
#: What only spares work, and is full wherever there are many clients: no warning is due.
MEMORIES: Final = frozenset({("cache", "addresses"), ("cache", "charges")})
_warned: Final[set[str]] = set()
