"""How long an answer may take: cancelled under ASGI, told to the view and logged under WSGI."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from pulse.logging import say
from pulse.middleware.context import Context, method_of, route_of
from pulse.middleware.responses import Refusal, refuse
from pulse.policies import texts
from pulse.store import buckets, refusals

logger = logging.getLogger(__name__)

CODE: Final = "timeout"


async def answer_in_time(
    get_response: Callable[[HttpRequest], Awaitable[Any]], request: HttpRequest, context: Context
) -> HttpResponseBase:
    """Await the answer, and refuse in its place when its time is over.

    The clock has no end until ``begin`` knows the endpoint. What cannot be cancelled ends in its
    own time, and its answer stands.
    """
    try:
        async with asyncio.timeout(None) as clock:
            context.clock = clock
            response: HttpResponseBase = await get_response(request)
            return response
    except TimeoutError:
        if not clock.expired() or context.bounds is None or context.bounds.timeout is None:
            raise  # The view's own.
        return _refuse(request, context.bounds.timeout.rule, context.bounds.timeout.timeout_s or 0)
    finally:
        context.clock = None


def begin(request: HttpRequest, context: Context, view: Callable[..., Any] | None) -> None:  # noqa: ARG001 - as every step
    """Tell the view until when it has time; under ASGI, also the clock that cancels it.

    A view that is no coroutine function runs in a thread, which nothing can cancel: asgiref would
    leave it running, and the client would be refused what is then done all the same.
    """
    held = None if context.bounds is None else context.bounds.timeout
    left_s = None
    if held is not None and held.timeout_s is not None:
        left_s = held.timeout_s - (time.perf_counter() - context.started)
    context.deadline = None if left_s is None else time.monotonic() + left_s
    if context.clock is None:
        return
    ends = None
    if left_s is not None and view is not None and iscoroutinefunction(view):
        # The loop's own clock: another loop than asyncio's counts from elsewhere.
        ends = asyncio.get_running_loop().time() + left_s
    context.clock.reschedule(ends)


def end(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:  # noqa: ARG001 - as every step
    """Log and count an answer that took longer than it may, and was not cancelled."""
    if context.bounds is None:
        return
    held, shadows = context.bounds.timeout, context.bounds.timeout_shadows
    if held is None and not shadows:
        return
    taken_s = time.perf_counter() - context.started
    was_cut = context.refusal is not None and context.refusal.code == CODE
    if held is not None and held.timeout_s is not None and taken_s > held.timeout_s and not was_cut:
        buckets.add(buckets.OVERRUN, held.rule)
        say(
            logger,
            logging.WARNING,
            "%s %s took %.2f s, longer than its limit of %g s (%s)",
            method_of(request),
            route_of(request),
            taken_s,
            held.timeout_s,
            held.rule,
            extra={"rule": held.rule},
        )
    for shadow in shadows:
        if shadow.timeout_s is not None and taken_s > shadow.timeout_s:
            context.shadowed += (shadow.rule,)
            buckets.add(buckets.WOULD_REFUSE, shadow.rule)


def _refuse(request: HttpRequest, rule: str, seconds: float) -> HttpResponse:
    refusals.add(request.pulse.stamp, rule)  # type: ignore[attr-defined]
    detail = texts.took_too_long(seconds)
    return refuse(request, Refusal(HTTPStatus.SERVICE_UNAVAILABLE, CODE, detail, rule))
