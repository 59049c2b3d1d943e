"""The door by which a host counts what its requests, or anything like them, took."""

import logging
import math

from pulse import logging as pulse_logging
from pulse.conf import conf
from pulse.core.endpoints import known_method
from pulse.core.histogram import MAX_US
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.core.targets import MAX_ENDPOINT_ID
from pulse.logging import say
from pulse.metrics import backends
from pulse.metrics.recorder import MAX_STATUS, Seen, recorder
from pulse.store import heartbeat

logger = logging.getLogger(__name__)


def record_request(endpoint: str, method: str, status_code: int, duration_ms: float) -> None:
    """Count one answer that no middleware saw, such as a consumer's or a task's (S0-26).

    Short, makes no call, and may be called from any thread. What cannot be counted is logged, and
    raises nothing.

    ::

        record_request("/ws/orders/", "GET", 200, duration_ms=12.5)

    Args:
        endpoint: A route, not a path: each is measured by itself, and ``MAX_ENDPOINTS`` are kept.
        method: As HTTP has it; what no standard names is counted as ``OTHER``.
        status_code: From 100 to 999; 500 and more are errors.
        duration_ms: What it took, in milliseconds.
    """
    if not conf.METRICS:
        return
    try:
        instead = backends.current()
        if instead is not None:
            instead.record_request(
                endpoint=endpoint, method=method, status_code=status_code, duration_ms=duration_ms
            )
            return
        _add(endpoint, method, status_code, duration_ms)
        heartbeat.ensure()
    except Exception as error:  # noqa: BLE001 - nothing that fails here fails the host
        say(
            logger,
            logging.ERROR,
            "Failed to record metrics (non-fatal)",
            extra={
                "error": f"{type(error).__name__}: {error}",
                "endpoint": str(endpoint)[:MAX_ENDPOINT_ID],
                "correlation_id": pulse_logging.request_id.get(),
            },
        )
        recorder.count("swallowed metrics")


def _add(endpoint: str, method: str, status_code: int, duration_ms: float) -> None:
    if not endpoint or not endpoint.isprintable():
        raise ValueError("The endpoint is empty, or has characters that cannot be printed.")
    if not 100 <= status_code <= MAX_STATUS:
        raise ValueError(f"The status code is not one from 100 to {MAX_STATUS}.")
    if not math.isfinite(duration_ms):
        raise ValueError("The duration is no finite number.")
    us = min(max(round(duration_ms * 1000), 0), MAX_US)
    status = int(status_code)
    if endpoint in (UNRESOLVED, OTHERS):
        recorder.add(Seen("", UNRESOLVED, status, us))
        return
    recorder.add(Seen(known_method(method.upper()), endpoint.removeprefix("/"), status, us))
