"""What measures in the place of pulse, where ``PULSE["METRICS_BACKEND"]`` names it (S0-25)."""

import logging
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pulse.conf import conf
from pulse.core.measures import Window
from pulse.logging import say

logger = logging.getLogger(__name__)


@runtime_checkable
class MetricsBackend(Protocol):
    """What a host's own backend must do; made once in a process, and called from every thread.

    What it raises is logged, and fails no request.
    """

    def record_request(
        self, *, endpoint: str, method: str, status_code: int, duration_ms: float
    ) -> None:
        """Count one answer. Called on every request: it must be short, and must not wait.

        Args:
            endpoint: Where it came from, such as ``/api/products/<int:pk>/``; a route, not a
                path. ``* (unresolved)`` for all that lead nowhere.
            method: Of the request; ``OTHER`` for what no standard names.
            status_code: Of the answer.
            duration_ms: What it took, in milliseconds.
        """

    def read(self, seconds: int) -> Window:
        """Return what was measured in the last so many seconds."""


def current() -> MetricsBackend | None:
    """Return the backend that the settings name; None where pulse measures itself."""
    path = conf.METRICS_BACKEND
    return _make(path) if path else None


@lru_cache(maxsize=8)
def _make(path: str) -> MetricsBackend | None:
    try:
        made: Any = import_string(path)
        made = made() if callable(made) else made
    except Exception as error:  # noqa: BLE001 - a host's code; pulse measures in its place
        say(logger, logging.ERROR, "The metrics backend %s cannot be had: %s", path, error)
        return None
    if not isinstance(made, MetricsBackend):
        say(logger, logging.ERROR, "%s has not all methods of a metrics backend", path)
        return None
    return made


def _forget(*, setting: str, **_: object) -> None:
    if setting == "PULSE":
        _make.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pulse.metrics.backends")
