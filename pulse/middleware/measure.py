"""What is measured of a request: one step at its very end."""

import time
from contextlib import suppress
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve

from pulse.conf import conf
from pulse.core.histogram import MAX_US
from pulse.core.measures import UNRESOLVED
from pulse.metrics import backends, queries
from pulse.metrics.recorder import (
    KNOWN_METHODS,
    MAX_STATUS,
    OTHER_METHOD,
    PROBES,
    PULSE,
    STREAMS,
    recorder,
)
from pulse.middleware.context import Context

#: Why a request was refused, by the code of the refusal; what is not here is about its body.
REASONS: Final = {
    "rate_limited": "rate",
    "unavailable": "store",
    "permission_denied": "access",
    "timeout": "timeout",
}
#: pulse's views, and the application namespace of its addresses.
OWN_VIEWS: Final = "pulse."
OWN_NAMESPACE: Final = "pulse"


def begin(context: Context) -> None:
    """Count a request that has come."""
    if conf.METRICS:
        next(recorder.began)
        context.is_measured = True
        if conf.COUNT_QUERIES:
            context.queries = queries.begin()


def leave(context: Context) -> None:
    """Count a request that ends without an answer: its client is gone, or the process goes."""
    if context.is_measured:
        context.is_measured = False
        next(recorder.ended)


def end(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Count an answer, by its endpoint or apart."""
    if not context.is_measured:
        return
    leave(context)
    us = int((time.perf_counter() - context.started) * 1_000_000)
    if context.queries is not None:
        queries.end()
    if context.probe is not None:
        recorder.count(PROBES)
        return
    resolved = request.resolver_match
    if resolved is None and context.verdict == "preflight":
        # Answered before Django looked; what was asked for is an endpoint of the site's.
        with suppress(Exception):
            resolved = resolve(request.path_info)
    if resolved is not None and _is_own(resolved):
        recorder.count(PULSE)
        return
    if response.streaming:
        recorder.count(STREAMS)
        return
    _add(request, context, response, resolved, min(us, MAX_US))


def _add(
    request: HttpRequest,
    context: Context,
    response: HttpResponseBase,
    resolved: ResolverMatch | None,
    us: int,
) -> None:
    method = request.method or ""
    if method not in KNOWN_METHODS:
        method = OTHER_METHOD
    route = UNRESOLVED
    if resolved is None:
        method = ""
    else:
        route = resolved.route or ""
    if conf.METRICS_BACKEND and (instead := backends.current()) is not None:
        instead.record_request(
            endpoint=route if resolved is None else f"/{route}",
            method=request.method if request.method in KNOWN_METHODS else OTHER_METHOD,
            status_code=response.status_code,
            duration_ms=us / 1000,
        )
        return
    refusal = context.refusal
    asked = context.queries
    status = response.status_code
    recorder.add(
        method,
        route,
        status if 0 <= status <= MAX_STATUS else MAX_STATUS,
        us,
        refused=None if refusal is None else f"{_reason(refusal.code)} {refusal.rule}",
        would_refuse=context.shadowed,
        is_slow=context.is_slow,
        bytes_in=context.body_bytes,
        bytes_out=_length(request, response),
        queries=0 if asked is None else asked.count,
        query_us=0 if asked is None else asked.us,
    )


def _is_own(resolved: ResolverMatch) -> bool:
    return OWN_NAMESPACE in resolved.app_names or resolved._func_path.startswith(OWN_VIEWS)


def _length(request: HttpRequest, response: HttpResponseBase) -> int:
    if request.method == "HEAD" or not isinstance(response, HttpResponse):
        return 0
    return len(response.content)


def _reason(code: str) -> str:
    if code.startswith("nonce_"):
        return "nonce"
    return REASONS.get(code, "body")
