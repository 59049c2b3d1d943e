"""The test settings, with views and tasks that log, each line as JSON."""

from project.settings.test import *  # noqa: F403  (settings modules are layered by star import)
from project.settings.test import LOGGING

ROOT_URLCONF = "tests.flows.id_urls"
CELERY_IMPORTS = ["tests.flows.id_tasks"]
LOGGING = {
    **LOGGING,
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
    # What the site leaves out of its logs, a tick each second, is looked at here.
    "loggers": {
        name: logger for name, logger in LOGGING["loggers"].items() if not name.startswith("celery")
    },
}
