"""What the checks found, as their tests write it."""

from collections.abc import Iterable

from django.core.checks import CheckMessage

REDIS = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://192.0.2.1:6379/0"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def ids(messages: Iterable[CheckMessage]) -> list[str]:
    """Return the ids, in order; each message is whole and has a hint."""
    messages = list(messages)
    for message in messages:
        assert message.hint
        assert "%(" not in message.msg + message.hint
    return [str(message.id).removeprefix("pulse.") for message in messages]
