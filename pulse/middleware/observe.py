"""What is noted of a request: its id, how long it took, and what came of it."""

import logging
from contextlib import suppress

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse.logging import say
from pulse.middleware.context import Context
from pulse.store import buckets

logger = logging.getLogger(__name__)


def begin(request: HttpRequest, context: Context) -> None:
    """Take or make the request's id, and start the clock."""


def end(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Put the id into the answer, and log what came of the request."""
    response.headers["X-Request-ID"] = context.request_id


def swallow(context: Context, where: str, error: Exception) -> None:
    """Log and count what failed in pulse; the request goes on."""
    say(
        logger,
        logging.ERROR,
        "pulse failed at %s on request %s (non-fatal): %s",
        where,
        context.request_id,
        error,
        exc_info=error,
    )
    with suppress(Exception):  # What failed may be the counting.
        buckets.add(buckets.SWALLOWED, where)
