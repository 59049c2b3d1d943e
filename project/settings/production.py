"""A model of a real host's settings: all from the environment, and no start without a secret.

Needed: SECRET_KEY, ALLOWED_HOSTS, DATABASE_URL, REDIS_URL.
Optional: SECRET_KEY_FALLBACKS, CSRF_TRUSTED_ORIGINS, STATIC_ROOT, BEHIND_TLS_PROXY, SSL_REDIRECT,
HSTS_SECONDS, HSTS_SUBDOMAINS, CONN_MAX_AGE, LOG_LEVEL, LOG_FORMAT (json or line).
"""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from project.settings.base import *  # noqa: F403  (settings modules are layered by star import)
from project.settings.base import BASE_DIR, CACHES, LOGGING
from project.settings.sources import broker_from, database_from, flag, number, required, words

SECRET_KEY = required("SECRET_KEY")
SECRET_KEY_FALLBACKS = words("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = words("ALLOWED_HOSTS")
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("Set ALLOWED_HOSTS in the environment, as in shop.example.com.")
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS")

DATABASE_URL = required("DATABASE_URL")
DATABASES = {
    "default": database_from(DATABASE_URL) | {"CONN_MAX_AGE": number("CONN_MAX_AGE", 0)},
}

REDIS_URL = required("REDIS_URL")
CACHES = {"default": CACHES["default"] | {"LOCATION": REDIS_URL}}
CELERY_BROKER_URL = broker_from(REDIS_URL)

# `manage.py collectstatic` runs at deployment; WhiteNoise serves what it gathered, with its
# compressed copies, under the files' own names.
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or BASE_DIR / "build" / "static")
WHITENOISE_USE_FINDERS = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

# Only where a proxy in front really sets X-Forwarded-Proto and drops the client's own.
if flag("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = flag("SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = number("HSTS_SECONDS", 3600)
SECURE_HSTS_INCLUDE_SUBDOMAINS = flag("HSTS_SUBDOMAINS", default=False)
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

_console = LOGGING["handlers"]["console"] | {"formatter": os.environ.get("LOG_FORMAT") or "json"}
LOGGING = LOGGING | {
    "handlers": {"console": _console},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO").upper()},
}
