"""The site of the tests, on a machine that may be slow: what is counted is counted in Redis."""

from project.settings.test import *  # noqa: F403 - settings

PULSE = {"STORE_TIMEOUT_MS": 5000}
