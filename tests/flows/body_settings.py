"""The demonstration site, whose views leave a mark when they are called."""

from project.settings.test import *  # noqa: F403

ROOT_URLCONF = "tests.flows.body_urls"
