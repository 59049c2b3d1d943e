"""What every log record knows of its request, and logging that cannot fail a request."""

import logging
from contextvars import ContextVar
from typing import Any, Final

#: Stands for the request id outside of requests.
NO_REQUEST_ID: Final = "no-request-id"

request_id: Final[ContextVar[str]] = ContextVar("pulse_request_id", default=NO_REQUEST_ID)


def say(logger: logging.Logger, level: int, message: str, *args: object, **options: Any) -> None:
    """Log on the request's way, where a handler that fails must not fail the request."""
    try:
        if logger.isEnabledFor(level):
            logger.log(level, message, *args, stacklevel=2, **options)
    except Exception:  # noqa: BLE001, S110 - there is nobody left to tell
        pass
