"""One Redis counts for every process, and what anything else means is said."""

import pytest

from pulse.checks import caches
from tests.checks.messages import LOCMEM, REDIS, ids


def sharded(name: str, **options: object) -> dict[str, object]:
    return REDIS | {"OPTIONS": {name: options["of"]}}


@pytest.mark.parametrize(
    ("cache", "expected", "deployed"),
    [
        (REDIS, [], []),
        (
            {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://x"},
            [],
            [],
        ),
        (REDIS | {"LOCATION": ["redis://a", "redis://b"]}, [], []),
        (LOCMEM, ["W020"], ["E021"]),
        ({"BACKEND": "django.core.cache.backends.dummy.DummyCache"}, ["W020"], ["E021"]),
        ({"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"}, ["W021"], ["E021"]),
        ({"BACKEND": "django.core.cache.backends.db.DatabaseCache"}, ["W021"], ["E021"]),
        ({"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}, ["W021"], ["E021"]),
        (sharded("CLIENT_CLASS", of="django_redis.client.ShardClient"), ["E022"], []),
        (sharded("REDIS_CLIENT_CLASS", of="redis.cluster.RedisCluster"), ["E022"], []),
        (sharded("CLIENT_CLASS", of="django_redis.client.HerdClient"), [], []),
        (sharded("CLIENT_CLASS", of="no.such.Client"), [], []),
        ({"BACKEND": "no.such.Cache"}, ["E023"], []),
        ({}, ["E023"], []),
    ],
)
def test_cache(settings, cache, expected, deployed) -> None:
    """One Redis counts for all; what anything else means is said, and in production is an error."""
    settings.CACHES = {"default": cache}
    assert ids(caches.check_cache()) == expected
    assert ids(caches.check_deployed_cache()) == deployed


def test_alias_that_is_not_there(settings) -> None:
    """The alias is named, and the one that was meant."""
    settings.CACHES = {"default": LOCMEM, "redis": REDIS}
    settings.PULSE = {"CACHE": "redsi"}
    (message,) = caches.check_cache()
    assert ids([message]) == ["E020"]
    assert 'Did you mean "redis"?' in message.msg
    assert ids(caches.check_deployed_cache()) == []
    settings.PULSE = {"CACHE": "redis"}
    assert ids(caches.check_cache()) == []
