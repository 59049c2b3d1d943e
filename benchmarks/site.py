"""The site of one case: Django as a host sets it up, with nothing that the case does not need."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Case
from benchmarks.policies import ORIGIN, database

HUNDRED = "100/h"
AMPLE = "1000000/h"


class Bench(NamedTuple):
    """What views and calls want to know, as ``settings.BENCH``.

    Attributes:
        prefix: Begins every key that the case writes.
    """

    case: Case
    rate: str
    redis_url: str
    prefix: str


def bench() -> Bench:
    """The case that this process is set up for."""
    from django.conf import settings

    found: Bench = settings.BENCH  # type: ignore[misc]  # the setting is ours
    return found


def set_up(case: Case, directory: Path, redis_url: str) -> None:
    """Configure Django for a case, in this process."""
    import django
    from django.conf import settings

    settings.configure(**settings_of(case, directory, redis_url))
    # Refusals are logged; where the lines go is not what is measured.
    logging.getLogger().addHandler(logging.NullHandler())
    django.setup()


def settings_of(case: Case, directory: Path, redis_url: str) -> dict[str, Any]:
    prefix = f"bench:{case.name}"
    rate = HUNDRED if case.group == "exact" else AMPLE
    apps = ["django.contrib.contenttypes", "django.contrib.auth", "pulse", "rest_framework"]
    apps += [
        name
        for name in ("django_guid", "django_prometheus")
        if any(entry.startswith(name) for entry in case.middleware)
    ]
    return {
        "BENCH": Bench(case, rate, redis_url, prefix),
        "SECRET_KEY": "for-benchmarks-only",
        "ALLOWED_HOSTS": ["*"],
        "LOGGING_CONFIG": None,
        "USE_TZ": True,
        "ROOT_URLCONF": "benchmarks.urls",
        "INSTALLED_APPS": apps,
        "MIDDLEWARE": list(case.middleware),
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(database(directory, case.policy or "template")),
            }
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "CACHES": {"default": _cache(case.store, redis_url, prefix)},
        # Beneath pulse's rules they would be a layer of their own; pulse's cases have policies.
        "CORS_ALLOWED_ORIGINS": [] if case.is_pulse else [ORIGIN],
        "CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"default-src": ["'self'"]}},
        "DJANGO_GUID": {"GUID_HEADER_NAME": "X-Request-ID", "VALIDATE_GUID": False},
        "REST_FRAMEWORK": {
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_THROTTLE_RATES": {"anon": rate},
        },
        "RATELIMIT_BACKEND": "redis" if case.store == "redis" else "memory",
        "RATELIMIT_REDIS": {"url": redis_url} if case.store == "redis" else {},
        "RATELIMIT_KEY_PREFIX": f"{prefix}:",
        "RATELIMIT_ALGORITHM": "fixed_window",
        "RATELIMIT_MIDDLEWARE": {"DEFAULT_RATE": rate},
        # django-ratelimit refuses to start on a cache that is not shared.
        "SILENCED_SYSTEM_CHECKS": ["django_ratelimit.E003", "django_ratelimit.W001"],
    }


def _cache(store: str, redis_url: str, prefix: str) -> dict[str, Any]:
    if store == "redis":
        return {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": redis_url,
            "KEY_PREFIX": prefix,
        }
    return {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "KEY_PREFIX": prefix,
        # The default of 300 would throw limiters' counters away.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
