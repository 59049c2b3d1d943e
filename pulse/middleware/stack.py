"""The one middleware: its steps in order, under WSGI and ASGI."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from pulse.conf import conf
from pulse.exceptions import StaleAnnouncement
from pulse.middleware import limits
from pulse.middleware.context import (
    Context,
    auser_of,
    facts_of,
    locate,
    may_have_user,
    user_of,
)
from pulse.middleware.errands import Errand, Steps, errand, run, run_async
from pulse.middleware.responses import put_over
from pulse.policies import current
from pulse.store import heartbeat

logger = logging.getLogger(__name__)

Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Any]

#: What a view does in answer to these can be left unsaid: it changes nothing (RFC 9110, 9.2.1).
SAFE: Final = ("GET", "HEAD", "OPTIONS")
#: Reloads that one request sits through before it decides with what the process holds.
MAX_RELOADS: Final = 2


class PulseMiddleware:
    """Enforces the policy on every request; the first entry of ``MIDDLEWARE``, and the only one.

    Before the view, once its route is known, every limit that applies is decided in one call to
    the store. What no view saw (a 404, a redirect by another middleware) is counted on the way
    back. Nothing that fails in here fails the request: it is logged, and the request goes on.

    A decision is one call of some 50 µs with a time budget, made as it is from the event loop
    too: it is over sooner than a hop to a thread would be. Loading a policy is not.
    """

    sync_capable: ClassVar[bool] = True
    async_capable: ClassVar[bool] = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        #: Django calls it once it has found the view; a coroutine function under ASGI.
        self.process_view: Callable[..., Any] = self._process_view
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view = self._process_view_async

    def __call__(self, request: HttpRequest) -> Any:
        if not conf.ENABLED:
            return self.get_response(request)
        request.pulse = Context()  # type: ignore[attr-defined]
        heartbeat.ensure()
        if self.is_async:
            return self._answer_async(request)
        response = self.get_response(request)
        if not request.pulse.settled:  # type: ignore[attr-defined]
            request.pulse.refused = self._process_view(request)  # type: ignore[attr-defined]
        if request.pulse.deferred:  # type: ignore[attr-defined]
            self._settle(request, response)
        return self._finish(request, response)

    async def _answer_async(self, request: HttpRequest) -> Response:
        response: Response = await self.get_response(request)
        if not request.pulse.settled:  # type: ignore[attr-defined]
            request.pulse.refused = await self._process_view_async(request)  # type: ignore[attr-defined]
        if request.pulse.deferred:  # type: ignore[attr-defined]
            await sync_to_async(self._settle)(request, response)
        return self._finish(request, response)

    def _process_view(self, request: HttpRequest, *_view: object) -> HttpResponse | None:
        context: Context | None = getattr(request, "pulse", None)
        if context is None:
            return None
        try:
            return run(_judge(request, context))
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _swallow(context, error)
            return None

    async def _process_view_async(
        self, request: HttpRequest, *_view: object
    ) -> HttpResponse | None:
        context: Context | None = getattr(request, "pulse", None)
        if context is None:
            return None
        try:
            return await run_async(_judge(request, context))
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _swallow(context, error)
            return None

    def _settle(self, request: HttpRequest, response: Response) -> None:
        """Charge what no throttle came to: a cache, authentication or permissions were first."""
        context: Context = request.pulse  # type: ignore[attr-defined]
        try:
            # What a view has done is not answered as if it had not.
            refuses = request.method in SAFE or 400 <= response.status_code < 500
            context.refused = limits.settle(request, refuses=refuses)
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _swallow(context, error)

    def _finish(self, request: HttpRequest, response: Response) -> Response:
        """Put into the answer what the client may know."""
        context: Context = request.pulse  # type: ignore[attr-defined]
        try:
            if context.refused is not None:
                response = put_over(response, context.refused)
            limits.add_headers(context, response)
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _swallow(context, error)
        response.headers["X-Request-ID"] = context.request_id
        return response


def _judge(request: HttpRequest, context: Context) -> Steps[HttpResponse | None]:
    """Refuse the request if any limit that applies is spent; else remember the verdict.

    A process that is behind the announcement loads the policy and decides anew from the start:
    trusted address, client, rules, call.
    """
    if current.is_loaded():
        snapshot = current.current_snapshot()
    else:
        snapshot = yield errand(current.current_snapshot)
    announcement = snapshot.stamp
    for reloads in range(MAX_RELOADS + 1):
        user = None
        if may_have_user(snapshot, request):
            user = yield Errand(
                partial(user_of, snapshot, request), partial(auser_of, snapshot, request)
            )
        facts = facts_of(request, locate(snapshot, request), user)
        defers = limits.is_deferred(snapshot, request, user)
        try:
            limits.decide(snapshot, facts, context, announcement, defers=defers)
        except StaleAnnouncement as stale:
            snapshot = yield errand(partial(current.catch_up, stale.announced))
            # None compares nothing: nothing newer is to be had, so this one decides.
            announcement = snapshot.stamp if reloads + 1 < MAX_RELOADS else None
        else:
            return limits.refusal(request, facts, context)
    return None


def _swallow(context: Context, error: Exception) -> None:
    """Log what failed in pulse; the request goes on, and is not decided twice."""
    context.settled = True
    logger.error(
        "pulse failed on request %s (non-fatal): %s", context.request_id, error, exc_info=error
    )
