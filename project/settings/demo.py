"""The demonstration: everything on one machine, started by `manage.py demo`."""

import os

from project.demonstration.secret import read_or_create_secret
from project.settings.base import *  # noqa: F403  (settings modules are layered by star import)
from project.settings.base import DEMO_DIR, INSTALLED_APPS
from project.settings.sources import demonstration_state

SECRET_KEY = read_or_create_secret(DEMO_DIR / "secret_key")
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [*INSTALLED_APPS, "project.demonstration"]

# Where it listens: its processes are told, and others of the checkout read it, such as a worker
# that somebody starts beside it.
_url = os.environ.get("DEMO_URL") or demonstration_state(DEMO_DIR).get("url", "")

PULSE = {
    # Refusals say what was exceeded: here the reader is the operator.
    "DETAILED_ERRORS": True,
    "PROBE_BASE_URL": _url.rstrip("/"),
    "SITE_URL": _url.rstrip("/"),
}
if os.environ.get("PULSE_STUB_NETWORK"):
    # Other sites are what that file says: for who tries hostile ones.
    PULSE["OUTBOUND_NETWORK"] = "pulse.testing.StubNetwork"

# Mail goes to the log of whoever sends it: alerts to the worker's.
EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
