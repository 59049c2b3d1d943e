"""Settings of the test suite: nothing is read from a running demonstration.

``DATABASE_URL`` and ``REDIS_URL`` choose the servers; without them the database is a SQLite
file of this run, and the cache is local memory unless a test brings a Redis.
"""

import os
import tempfile
from pathlib import Path

from project.settings.base import *  # noqa: F403  (settings modules are layered by star import)
from project.settings.base import INSTALLED_APPS
from project.settings.sources import broker_from, database_from

SECRET_KEY = "for-the-tests-only"  # noqa: S105  (guards nothing)
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "testserver"]

INSTALLED_APPS = [*INSTALLED_APPS, "project.demonstration"]

# A file, since threads and other processes of a test must see the same rows.
_file = Path(tempfile.gettempdir()) / f"pulse-tests-{os.getpid()}.sqlite3"
DATABASE_URL = os.environ.get("DATABASE_URL") or f"sqlite:///{_file}"
DATABASES = {"default": database_from(DATABASE_URL)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}

REDIS_URL = os.environ.get("REDIS_URL", "")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
        },
    }
else:
    CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
CELERY_BROKER_URL = broker_from(REDIS_URL) if REDIS_URL else "memory://"

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
