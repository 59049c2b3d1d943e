"""What is measured of a request: one step at its very end, which leaves all that can wait."""

import time
from contextlib import suppress
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import resolve

from pulse.conf import conf
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.metrics import backends, queries
from pulse.metrics.recorder import (
    FOLD,
    KNOWN_METHODS,
    MAX_STATUS,
    OTHER_METHOD,
    PROBES,
    PULSE,
    REFUSED_OF,
    STREAMS,
    Seen,
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
#: Of one body; what is more was never sent.
MAX_BYTES: Final = 1 << 36
#: What the names of pulse's own views begin with.
OWN_VIEWS: Final = "pulse."


def begin(request: HttpRequest, context: Context) -> None:
    """Note a request that has come."""
    if conf.METRICS:
        recorder.active[id(context)] = request
        if conf.COUNT_QUERIES:
            context.queries = queries.begin()


def leave(context: Context) -> None:
    """Note that a request has ended, be it without an answer: its client is gone."""
    recorder.active.pop(id(context), None)


def end(  # noqa: C901 - every request comes by here: calls cost more than branches
    request: HttpRequest, context: Context, response: HttpResponseBase
) -> None:
    """Queue an answer to be counted: by its endpoint, or apart."""
    if recorder.active.pop(id(context), None) is None:
        return  # None are measured.
    resolved, method = request.resolver_match, request.method
    if resolved is None and context.verdict == "preflight":
        # Answered before Django looked; what was asked for is an endpoint of the site's.
        with suppress(Exception):
            resolved = resolve(request.path_info)
    if context.queries is not None:
        queries.end()
    if context.probe is not None:
        recorder.count(PROBES)
        return
    if resolved is None:
        method, route = "", UNRESOLVED
    elif resolved._func_path.startswith(OWN_VIEWS):
        recorder.count(PULSE)
        return
    else:
        route = resolved.route or ""
        if method not in KNOWN_METHODS:
            method = OTHER_METHOD
    if response.streaming:
        recorder.count(STREAMS)
        return
    refusal, asked, status = context.refusal, context.queries, response.status_code
    seen = (
        method,
        route,
        status if 0 <= status <= MAX_STATUS else MAX_STATUS,
        int((time.perf_counter() - context.started) * 1_000_000),
        None if refusal is None else f"{_reason(refusal.code)} {refusal.rule}",
        context.shadowed,
        context.is_slow,
        # What a client only says, it may say of anything: nobody read the body of what was refused.
        min(context.body_bytes, MAX_BYTES) if context.body_bytes and refusal is None else 0,
        0 if method == "HEAD" or not isinstance(response, HttpResponse) else len(response.content),
        0 if asked is None else asked.count,
        0 if asked is None else asked.us,
    )
    if conf.METRICS_BACKEND and (instead := backends.current()) is not None:
        _tell(instead, request, Seen(*seen))
        return
    if refusal is not None and conf.PROMETHEUS_ADDRESSES:
        of = f"{REFUSED_OF} {_reason(refusal.code)}"
        recorder.count(f"{of} {context.client_address}", instead=f"{of} {OTHERS}")
    queue = recorder.queue
    queue.append(seen)
    if len(queue) >= FOLD:
        recorder.fold()


def _tell(instead: backends.MetricsBackend, request: HttpRequest, seen: Seen) -> None:
    method = request.method if request.method in KNOWN_METHODS else OTHER_METHOD
    instead.record_request(
        endpoint=seen.route if seen.route == UNRESOLVED else f"/{seen.route}",
        method=method or OTHER_METHOD,
        status_code=seen.status,
        duration_ms=seen.us / 1000,
    )


def _reason(code: str) -> str:
    return "nonce" if code.startswith("nonce_") else REASONS.get(code, "body")
