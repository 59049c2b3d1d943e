"""A host that had settings of ``django-cors-headers`` before it had pulse."""

import os

from tests.cors_settings import *  # noqa: F403  (settings modules are layered by star import)

CORS_ALLOWED_ORIGINS = ["https://app.example.com", "http://dev.localhost:3000"]
CORS_ALLOW_CREDENTIALS = True
# A grave mistake, and an error of the system checks': what is sent must be harmless all the same.
CORS_ALLOW_ALL_ORIGINS = os.environ.get("CORS_ALLOW_ALL") == "1"
SILENCED_SYSTEM_CHECKS = [f"pulse.E07{number}" for number in range(10)]
