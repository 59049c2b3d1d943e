"""Settings of the site whose probes are measured; the environment says which database."""

import os

from project.settings.sources import database_from

SECRET_KEY = "for-benchmarks-only"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "corsheaders",
    "rest_framework",
    "pulse",
]
MIDDLEWARE = ["pulse.middleware.PulseMiddleware"]
ROOT_URLCONF = "pulse.urls"
DATABASES = {"default": database_from(os.environ["BENCH_DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"handlers": [], "level": "WARNING"},
}
