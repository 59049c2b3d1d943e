"""What is measured of a request: one step at its very end, which leaves all that can wait."""

from contextlib import suppress
from time import perf_counter
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, resolve

from pulse.conf import conf
from pulse.core.endpoints import known_method
from pulse.core.measures import OTHERS, UNRESOLVED
from pulse.core.quotas import SECOND_US
from pulse.metrics import backends, queries
from pulse.metrics.recorder import (
    FOLD,
    MAX_STATUS,
    OWN_VIEWS,
    PROBES,
    PULSE,
    REFUSED_OF,
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


def begin(request: HttpRequest, context: Context) -> None:
    """Note a request that has come."""
    if conf.METRICS:
        recorder.active[context] = request
        if conf.COUNT_QUERIES:
            context.queries = queries.begin()


def leave(context: Context) -> None:
    """Note that a request has ended, be it without an answer: its client is gone."""
    recorder.active.pop(context, None)


def end(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Queue an answer to be counted: by its endpoint, or apart.

    Every request comes by here, with none of this in the processor's caches: each look at another
    object costs some tenths of a microsecond. What can wait is done by who counts what is queued.
    """
    if recorder.active.pop(context, None) is None:
        return  # None are measured.
    resolved, asked, refusal = request.resolver_match, context.queries, context.refusal
    if resolved is None and context.verdict == "preflight":
        # Answered before Django looked; what was asked for is an endpoint of the site's.
        with suppress(Exception):
            resolved = resolve(request.path_info)
    if asked is not None:
        queries.end()
    if context.probe is not None:
        recorder.count(PROBES)
        return
    if response.streaming:
        recorder.count(PULSE if _is_own(resolved) else STREAMS)
        return
    taken_s = perf_counter() - context.started
    if conf.METRICS_BACKEND and (instead := backends.current()) is not None:
        _tell(instead, request, resolved, response.status_code, taken_s)
        return
    if refusal is not None and conf.PROMETHEUS_ADDRESSES and not _is_own(resolved):
        of = f"{REFUSED_OF} {_reason(refusal.code)}"
        recorder.count(f"{of} {context.client_address}", instead=f"{of} {OTHERS}")
    queue = recorder.queue
    queue.append(
        (
            request.method,
            UNRESOLVED if resolved is None else resolved.route,
            "" if resolved is None else resolved._func_path,
            response.status_code,
            taken_s,
            None if refusal is None else f"{_reason(refusal.code)} {refusal.rule}",
            context.shadowed,
            context.is_slow,
            context.body_bytes,
            len(response.content),  # type: ignore[attr-defined]  # no stream, so it has one
            # As they are now: what its view left running may ask on.
            0 if asked is None else asked.count,
            0 if asked is None else asked.us,
        )
    )
    if len(queue) >= FOLD:
        recorder.fold()


def _is_own(resolved: ResolverMatch | None) -> bool:
    return resolved is not None and resolved._func_path.startswith(OWN_VIEWS)


def _tell(
    instead: backends.MetricsBackend,
    request: HttpRequest,
    resolved: ResolverMatch | None,
    status: int,
    taken_s: float,
) -> None:
    if _is_own(resolved):
        recorder.count(PULSE)
        return
    instead.record_request(
        endpoint=UNRESOLVED if resolved is None else f"/{resolved.route or ''}",
        method=known_method(request.method),
        status_code=status if 0 <= status <= MAX_STATUS else MAX_STATUS,
        duration_ms=int(taken_s * SECOND_US) / 1000,
    )


def _reason(code: str) -> str:
    return "nonce" if code.startswith("nonce_") else REASONS.get(code, "body")
