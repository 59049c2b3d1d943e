"""What is noted of a request: its id, how long it took, and what came of it."""

import logging
import time
from contextlib import suppress
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse import logging as pulse_logging
from pulse.conf import conf
from pulse.core import marks
from pulse.core.answers import refusing
from pulse.core.clients import digest
from pulse.core.traces import is_request_id, is_traceparent
from pulse.logging import say
from pulse.metrics.recorder import recorder
from pulse.middleware.context import Context, is_secure, method_of, route_of
from pulse.middleware.responses import fields_of
from pulse.store import buckets

logger = logging.getLogger(__name__)

#: Where an id may come in, in this order; only from a trusted proxy.
INBOUND: Final = ("HTTP_X_REQUEST_ID", "HTTP_X_CORRELATION_ID")
PROBE_MARK: Final = f"HTTP_{marks.HEADER.upper().replace('-', '_')}"
#: Steps that decide nothing: what fails in them is missing from a log or a count.
BOOKKEEPING: Final = frozenset({"observe", "metrics", "sample"})
#: How much of an error's text is logged beside its traceback.
MAX_ERROR: Final = 500
#: Cookies that are told of; a site that makes names up is not told of each.
MAX_COOKIES: Final = 100

#: Cookies that this process has told of.
_insecure: Final[set[str]] = set()


def begin(request: HttpRequest, context: Context) -> None:
    """Take or make the request's id, for all that is logged from here on."""
    meta = request.META
    if context.client is not None and context.client.peer_trusted:
        for name in INBOUND:
            if is_request_id(given := meta.get(name)):
                context.request_id = given
                break
    if is_traceparent(trace := meta.get("HTTP_TRACEPARENT")):
        context.traceparent = trace
    if mark := meta.get(PROBE_MARK):
        context.probe = marks.verify(mark, conf.probe_secret)
    request_id = context.request_id
    request.request_id = request_id  # type: ignore[attr-defined]  # for the host's views
    pulse_logging.request_id.set(request_id)
    pulse_logging.traceparent.set(context.traceparent)


def end(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Put the id into the answer, log what came of the request, and look at its cookies."""
    fields_of(response)["x-request-id"] = ("X-Request-ID", context.request_id)
    taken_ms = (time.perf_counter() - context.started) * 1000
    slow_ms = conf.SLOW_REQUEST_MS
    if context.bounds is not None and context.bounds.slow is not None:
        slow_ms = context.bounds.slow.slow_ms or 0
    if slow_ms and taken_ms > slow_ms:
        context.is_slow = True
        say(
            logger,
            logging.WARNING,
            "Slow request: %s %s took %.0f ms",
            method_of(request),
            route_of(request),
            taken_ms,
            extra=_facts(request, context, response, taken_ms),
        )
    if conf.ACCESS_LOG and logger.isEnabledFor(logging.INFO):
        say(
            logger,
            logging.INFO,
            "%s %s %d %.1f ms from %s: %s",
            method_of(request),
            route_of(request),
            response.status_code,
            taken_ms,
            context.client_address,
            context.verdict,
            extra=_facts(request, context, response, taken_ms),
        )
    if response.cookies and is_secure(request, context):
        _audit_cookies(response)


def swallow(request: HttpRequest, where: str, error: Exception) -> None:
    """Log and count what failed in pulse; the request goes on."""
    # Whatever is asked for here may be what failed.
    with suppress(Exception):
        context: Context = request.pulse  # type: ignore[attr-defined]
        message = f"The step {where} failed (non-fatal)"
        if where in BOOKKEEPING:
            message = "Failed to record metrics (non-fatal)"
        say(
            logger,
            logging.ERROR,
            message,
            exc_info=error,
            extra={
                "error": f"{type(error).__name__}: {error}"[:MAX_ERROR],
                "endpoint": f"{method_of(request)} {route_of(request)}",
                "correlation_id": context.request_id,
            },
        )
    with suppress(Exception):
        buckets.add(buckets.SWALLOWED, where)
        recorder.count(f"swallowed {where}")


def forget_cookies() -> None:
    """Tell anew of every cookie that is not secure."""
    _insecure.clear()


def _facts(
    request: HttpRequest, context: Context, response: HttpResponseBase, taken_ms: float
) -> dict[str, Any]:
    """What a line says, apart. No path, query or header: they may hold what is secret."""
    refusal = context.refusal
    return {
        "method": method_of(request),
        "route": route_of(request),
        "status": response.status_code,
        "duration_ms": round(taken_ms, 1),
        "client": context.client_address,
        "client_key": _client_key(context),
        "verdict": context.verdict,
        "rule": None if refusal is None else refusal.rule,
        "probe": context.probe,
    }


def _client_key(context: Context) -> str | None:
    """Hash the name under which the client was counted: the refusing rule's, or its first."""
    decision = context.decision
    if not context.charges or decision is None:
        return None
    charge = context.charges[0]
    if not decision.allowed:
        charge, _ = refusing(context.charges, decision)
    return digest(charge.claim.key, conf.client_secret)


def _audit_cookies(response: HttpResponseBase) -> None:
    """Tell of cookies that a browser would also send without encryption; change none."""
    for name, morsel in response.cookies.items():
        if morsel["secure"] or morsel["max-age"] == 0:  # One that goes takes nothing with it.
            continue
        if name not in _insecure:
            if len(_insecure) >= MAX_COOKIES:
                continue
            _insecure.add(name)
            say(
                logger,
                logging.WARNING,
                "The cookie %s is set over HTTPS without Secure: a browser also sends it without "
                "encryption",
                name,
            )
        buckets.add(buckets.INSECURE_COOKIE, name)
