"""Whether the cache that ``PULSE["CACHE"]`` names can count for every process.

Backends are judged by their classes: making one might connect.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from pulse.checks.findings import did_you_mean, found
from pulse.conf import conf

DJANGO_REDIS: Final = "django_redis.cache.RedisCache"
REDIS: Final = frozenset({DJANGO_REDIS, "django.core.cache.backends.redis.RedisCache"})
LOCAL: Final = frozenset(
    {
        "django.core.cache.backends.locmem.LocMemCache",
        "django.core.cache.backends.dummy.DummyCache",
    }
)
SHARDED: Final = "django_redis.client.sharded.ShardClient"
CLUSTERS: Final = frozenset(
    {
        "redis.cluster.RedisCluster",
        "redis.asyncio.cluster.RedisCluster",
        "rediscluster.RedisCluster",
    }
)


def check_cache() -> Iterator[CheckMessage]:
    """The alias is there, and is one Redis; where it is not, say what that means."""
    alias = conf.CACHE
    entries = _entries()
    if alias not in entries:
        close = get_close_matches(alias, entries, n=1)
        yield found(
            "E020",
            alias=alias,
            close=did_you_mean(close[0] if close else None),
            example=close[0] if close else "default",
        )
        return
    entry = entries[alias]
    backend = str(entry.get("BACKEND", ""))
    try:
        lineage = _lineage(backend)
    except ImportError as error:
        yield found("E023", alias=alias, error=error, redis=_redis_line(alias))
        return
    if lineage & REDIS:
        client = _spreading_client(entry, lineage)
        if client:
            yield found("E022", client=client, alias=alias)
    else:
        ident = "W020" if lineage & LOCAL else "W021"
        yield found(ident, alias=alias, backend=backend, redis=_redis_line(alias))


def check_deployed_cache() -> Iterator[CheckMessage]:
    """In production every process counts in one place."""
    alias = conf.CACHE
    backend = str(_entries().get(alias, {}).get("BACKEND", ""))
    try:
        lineage = _lineage(backend)
    except ImportError:
        return  # E020 or E023 says so.
    if not lineage & REDIS:
        yield found("E021", alias=alias, backend=backend, redis=_redis_line(alias))


def _entries() -> dict[str, Mapping[str, Any]]:
    """Return what ``CACHES`` says of each alias; what is no dictionary says nothing."""
    entries: Any = settings.CACHES
    if not isinstance(entries, Mapping):
        return {}
    return {
        str(alias): entry if isinstance(entry, Mapping) else {} for alias, entry in entries.items()
    }


def _lineage(dotted: str) -> frozenset[str]:
    """Name a class and its bases.

    Raises:
        ImportError: It cannot be imported.
    """
    bases = getattr(import_string(dotted), "__mro__", ())
    return frozenset(f"{base.__module__}.{base.__qualname__}" for base in bases)


def _spreading_client(entry: Mapping[str, Any], lineage: frozenset[str]) -> str | None:
    """Return the client that sends keys to several servers, None if they stay together.

    Several locations alone are a primary and its replicas, and counting asks the primary.
    """
    options = entry.get("OPTIONS")
    if DJANGO_REDIS not in lineage or not isinstance(options, Mapping):
        return None
    for name in ("CLIENT_CLASS", "REDIS_CLIENT_CLASS"):
        dotted = options.get(name)
        if not isinstance(dotted, str):
            continue
        try:
            bases = _lineage(dotted)
        except ImportError:
            continue
        if SHARDED in bases or bases & CLUSTERS:
            return dotted
    return None


def _redis_line(alias: str) -> str:
    return (
        f'Write CACHES["{alias}"] = {{"BACKEND": "{DJANGO_REDIS}", '
        '"LOCATION": "redis://127.0.0.1:6379/0"}, or name an alias that is so in PULSE["CACHE"].'
    )
