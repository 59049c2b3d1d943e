"""The demonstration site, patient with its Redis.

On a busy machine a call may outlast its 50 ms, and a limit that is then decided in the process lets
a request pass that the spent one in Redis refuses: right, and not what these tests are about.
"""

from typing import Any

from project.settings import test
from project.settings.test import *  # noqa: F403  (settings modules are layered by star import)

PULSE: dict[str, Any] = {**getattr(test, "PULSE", {}), "STORE_TIMEOUT_MS": 5000}
