"""The demonstration site with room for a small sample: some clients of many are kept."""

from project.settings.test import *  # noqa: F403

# Patient, so that no load of the machine makes a process count alone.
PULSE = {"SAMPLE_BYTES": 300_000, "STORE_TIMEOUT_MS": 2000}
