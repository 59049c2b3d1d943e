"""The test site with the views of ``in_process_urls``."""

from project.settings.test import *  # noqa: F403 - settings modules are layered by star import

ROOT_URLCONF = "tests.probes.in_process_urls"
SECURE_CONTENT_TYPE_NOSNIFF = True
