"""The one middleware: its steps in order, under WSGI and ASGI."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Final, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import Resolver404, resolve

from pulse.conf import conf
from pulse.exceptions import StaleAnnouncement
from pulse.middleware import (
    access,
    body,
    csrf,
    headers,
    limits,
    measure,
    observe,
    sampling,
    timeouts,
)
from pulse.middleware.context import (
    Context,
    auser_of,
    facts_of,
    locate,
    may_have_user,
    user_of,
)
from pulse.middleware.cors import Cors
from pulse.middleware.errands import Errand, Steps, errand, run, run_async
from pulse.middleware.observe import swallow
from pulse.middleware.responses import list_at_once, put_over, say_method_not_allowed
from pulse.policies import current
from pulse.policies.routes import match_of
from pulse.store import heartbeat

T = TypeVar("T")
Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Any]
#: What may answer in the place of the view; None where it does not.
Step = Callable[[HttpRequest, Context], HttpResponse | None]

#: What a view does in answer to these can be left unsaid: it changes nothing (RFC 9110, 9.2.1).
SAFE: Final = ("GET", "HEAD", "OPTIONS")
#: The view that touches nothing.
LIFE: Final = "pulse.pages.health.healthz"
#: Reloads that one request sits through before it decides with what the process holds.
MAX_RELOADS: Final = 2


class PulseMiddleware:
    """Enforces the policy on every request; the first entry of ``MIDDLEWARE``, and the only one.

    On the way in, before anything else can answer: the request's id, preflights, access rules,
    the size of the body. Before the view, once its route is known: the endpoint's own bounds, and
    every limit that applies in one call to the store. What no view saw (a 404, a redirect by
    another middleware) is counted on the way back, where headers are added to whatever the answer
    is. Nothing that fails in here fails the request: it is logged, and the request goes on.

    A decision is one call of some 50 µs with a time budget, made as it is from the event loop
    too: it is over sooner than a hop to a thread would be. Loading a policy is not.
    """

    sync_capable: ClassVar[bool] = True
    async_capable: ClassVar[bool] = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        self.cors = Cors(get_response)
        #: In this order, each by itself: one that fails keeps none of the others from its work.
        self._on_the_way_in: tuple[tuple[str, Step], ...] = (
            ("observe", observe.begin),
            ("cors", self.cors.preflight),
        )
        self._on_the_way_back = (
            ("timeouts", timeouts.end),
            ("limits", limits.add_headers),
            ("cors", self.cors.add_headers),
            ("headers", headers.add),
            ("sample", sampling.note),
            ("observe", observe.end),
            ("metrics", measure.end),
        )
        #: Django calls it once it has found the view; a coroutine function under ASGI.
        self.process_view: Callable[..., Any] = self._process_view
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view = self._process_view_async
        _import_urls()

    def __call__(self, request: HttpRequest) -> Any:
        if not conf.ENABLED:
            return self.get_response(request)
        context = Context()
        request.pulse = context  # type: ignore[attr-defined]
        try:
            heartbeat.ensure()
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            swallow(request, "heartbeat", error)
        try:
            measure.begin(request, context)
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            swallow(request, "metrics", error)
        if self.is_async:
            return self._answer_async(request, context)
        try:
            return self._answer(request, context)
        except BaseException:
            measure.leave(context)
            raise

    def _answer(self, request: HttpRequest, context: Context) -> Response:
        _guarded("policy", _take_policy, request, context)
        response: Response | None = self._enter(request, context)
        if response is None:
            response = self.get_response(request)
            if not context.settled:
                context.refused = self._process_view(request)
            if context.deferred:
                self._settle(request, context, response)
        return self._finish(request, context, response)

    async def _answer_async(self, request: HttpRequest, context: Context) -> Response:
        try:
            return await self._answer_at_last(request, context)
        except BaseException:
            measure.leave(context)  # Cancelled, as a rule: its client is gone.
            raise

    async def _answer_at_last(self, request: HttpRequest, context: Context) -> Response:
        if _guarded("policy", _take_loaded_policy, request, context) is False:
            await sync_to_async(_guarded)("policy", _take_policy, request, context)
        response: Response | None = self._enter(request, context)
        if response is None:
            if context.snapshot is not None and context.snapshot.bounds.has_timeouts:
                response = await timeouts.answer_in_time(self.get_response, request, context)
            else:
                response = await self.get_response(request)
            if not context.settled:
                context.refused = await self._process_view_async(request)
            if context.deferred:
                await sync_to_async(self._settle)(request, context, response)
        return self._finish(request, context, response)

    def _enter(self, request: HttpRequest, context: Context) -> HttpResponse | None:
        """Take what can be decided before the route is known; return what answers already."""
        answer = _first_answer(self._on_the_way_in, request, context)
        return _admit(request, context) if answer is None else answer

    def _process_view(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        context: Context | None = getattr(request, "pulse", None)
        if context is None:
            return None
        try:
            return run(_judge(request, context, *view))
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _leave_undecided(request, context, error)
            return None

    async def _process_view_async(self, request: HttpRequest, *view: Any) -> HttpResponse | None:
        context: Context | None = getattr(request, "pulse", None)
        if context is None:
            return None
        try:
            return await run_async(_judge(request, context, *view))
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _leave_undecided(request, context, error)
            return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> Response | None:
        """Say what is too large where Django would say only that the request is bad."""
        context: Context | None = getattr(request, "pulse", None)
        if context is None or not isinstance(exception, RequestDataTooBig):
            return None
        return _guarded("body", body.refuse_unread, request, context)

    def _settle(self, request: HttpRequest, context: Context, response: Response) -> None:
        """Charge what no throttle came to: a cache, authentication or permissions were first."""
        try:
            # What a view has done is not answered as if it had not.
            refuses = request.method in SAFE or 400 <= response.status_code < 500
            context.refused = limits.settle(request, refuses=refuses)
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            _leave_undecided(request, context, error)

    def _finish(self, request: HttpRequest, context: Context, response: Response) -> Response:
        """Put into the answer what the client may know."""
        was_unread = context.is_unread and response.status_code == HTTPStatus.BAD_REQUEST
        if was_unread and context.refused is None:
            context.refused = _guarded("body", body.refuse_unread, request, context)
        if context.refused is not None:
            try:
                response = put_over(response, context.refused)
            except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
                swallow(request, "refusal", error)
        elif response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            try:
                say_method_not_allowed(request, response)
            except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
                swallow(request, "errors", error)
        for where, add in self._on_the_way_back:
            try:
                add(request, context, response)
            except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
                swallow(request, where, error)
        list_at_once(response)
        return response


def _take_policy(request: HttpRequest, context: Context) -> None:
    """Let the request be decided by the policy in force; the first of a process loads it.

    Save for who asks whether the process lives: it does, also where no database answers.
    """
    if not current.is_loaded() and _asks_for_life(request):
        return
    context.snapshot = current.current_snapshot()
    context.client = locate(context.snapshot, request)


def _asks_for_life(request: HttpRequest) -> bool:
    with suppress(Resolver404):
        return bool(resolve(request.path_info)._func_path == LIFE)
    return False


def _take_loaded_policy(request: HttpRequest, context: Context) -> bool:
    """Do the same where nothing blocks, and tell whether it could be done."""
    if current.is_loaded():
        _take_policy(request, context)
        return True
    return False


def _admit(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse what needs no route to be refused."""
    steps = (("access", access.judge), ("body", body.judge))
    refused = _first_answer(steps, request, context)
    # Cut off, and nothing said so where one of the two failed.
    return body.refuse_cut(request) if refused is None else refused


def _first_answer(
    steps: Iterable[tuple[str, Step]], request: HttpRequest, context: Context
) -> HttpResponse | None:
    """Take steps that fail no request, until one answers."""
    for where, step in steps:
        try:
            answer = step(request, context)
        except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
            swallow(request, where, error)
        else:
            if answer is not None:
                return answer
    return None


def _judge(
    request: HttpRequest,
    context: Context,
    view: Callable[..., Any] | None = None,
    *arguments: Any,
) -> Steps[HttpResponse | None]:
    """Refuse the request if its body is too large or any limit that applies is spent.

    A process that is behind the announcement loads the policy and decides anew from the start:
    trusted address, access, bounds, client, rules, call.
    """
    snapshot = context.snapshot
    if snapshot is None:
        return None
    resolved = request.resolver_match
    context.match = None if resolved is None else match_of(resolved)
    announcement = snapshot.stamp
    for reloads in range(MAX_RELOADS + 1):
        refused = _guarded("body", body.judge_endpoint, request, context)
        if refused is not None:
            context.settled = True
            return refused
        bounds = context.bounds
        if context.clock is not None or (bounds is not None and bounds.timeout is not None):
            _guarded("timeouts", partial(timeouts.begin, view=view), request, context)
        user = None
        if may_have_user(snapshot, request):
            user = yield Errand(
                partial(user_of, snapshot, request), partial(auser_of, snapshot, request)
            )
        assert context.client is not None  # noqa: S101 - located with the snapshot
        facts = facts_of(snapshot, request, context.client, user)
        defers = limits.is_deferred(snapshot, request, user)
        try:
            limits.decide(snapshot, facts, context, announcement, defers=defers)
        except StaleAnnouncement as stale:
            snapshot = yield errand(partial(current.catch_up, stale.announced))
            context.snapshot, context.client = snapshot, locate(snapshot, request)
            # None compares nothing: nothing newer is to be had, so this one decides.
            announcement = snapshot.stamp if reloads + 1 < MAX_RELOADS else None
            refused = _admit(request, context)
            if refused is not None:
                context.settled = True
                return refused
        else:
            refused = limits.refusal(request, facts, context)
            if refused is None and view is not None and csrf.may_vouch(request, context):
                yield errand(partial(csrf.vouch, request, view, *arguments))
            return refused
    return None


def _import_urls() -> None:
    """Import the site's URLs with the process, not with its first requests.

    Those that come at once would wait for it together, and what they then ask Redis would be late
    by it, so that a process that has just started would decide alone for a moment.
    """
    # What is wrong with them is told by the first request, as ever.
    with suppress(Exception):
        resolve("/")


def _guarded(
    where: str,
    step: Callable[[HttpRequest, Context], T],
    request: HttpRequest,
    context: Context,
) -> T | None:
    """Take a step that fails no request."""
    try:
        return step(request, context)
    except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
        swallow(request, where, error)
        return None


def _leave_undecided(request: HttpRequest, context: Context, error: Exception) -> None:
    """Note what failed; the request goes on, and is not decided twice."""
    context.settled = True
    swallow(request, "limits", error)
