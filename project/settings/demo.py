"""The demonstration: everything on one machine, started by `manage.py demo`."""

from project.demonstration.secret import read_or_create_secret
from project.settings.base import *  # noqa: F403  (settings modules are layered by star import)
from project.settings.base import DEMO_DIR, INSTALLED_APPS

SECRET_KEY = read_or_create_secret(DEMO_DIR / "secret_key")
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [*INSTALLED_APPS, "project.demonstration"]

# Refusals say what was exceeded: here the reader is the operator.
PULSE = {"DETAILED_ERRORS": True}
