"""Who may open a page: who holds its scope, by a session of the staff or by a key."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, Final, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from pulse.access.principals import principal_of
from pulse.access.scopes import Scope
from pulse.core.keys import START, bearer_of
from pulse.exceptions import KeyRefused, TooManyFailures
from pulse.logging import say
from pulse.pages.answers import private, refusal, unavailable, wants_json

logger = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
#: There is no database now, or none in time; what else goes wrong with one is a fault.
AWAY: Final = (OperationalError, InterfaceError)
SAFE: tuple[str, ...] = ("GET", "HEAD")


def guarded(
    scope: Scope, methods: tuple[str, ...] = SAFE
) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Let a view answer only who holds a scope, and only some methods.

    Whoever is nobody is led to the login; a client that wants JSON, or whose key does not count,
    gets 401. Who is somebody, and does not hold the scope, gets 403. Unsafe methods of a session
    need a CSRF token, whatever the host has in its middleware; a key is sent on purpose.
    """

    def decorate(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        protected = csrf_protect(view)

        # The guard itself asks for a login, and for the token, in the form that the client reads.
        @login_not_required
        @csrf_exempt
        @wraps(view)
        def guard(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                return let_in(request, *args, **kwargs)
            except AWAY as error:
                say(logger, logging.WARNING, "A page waits for the database: %s", error)
                return unavailable(request)

        def let_in(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                principal = principal_of(request)
            except KeyRefused:
                return _refuse_key(request)
            except TooManyFailures as error:
                return _refuse_for_now(request, error)
            if principal is None:
                return _ask_for_login(request)
            if not principal.holds(scope):
                return forbidden(request, scope)
            if request.method not in methods:
                return _not_allowed(request, methods)
            answer = protected if principal.key_prefix is None else view
            return answer(request, *args, **kwargs)

        return guard

    return decorate


def forbidden(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Answer somebody who does not hold a scope."""
    detail = _("You may not do this. It takes the permission %s.") % scope.permission
    return refusal(request, HTTPStatus.FORBIDDEN, "permission_denied", detail)


def _ask_for_login(request: HttpRequest) -> HttpResponseBase:
    if wants_json(request):
        return _unauthorized(request, _("Log in, or send a key."))
    # After a login, what was posted is not: the page that it was posted from is shown.
    back = request.get_full_path() if request.method in SAFE else resolve_url("pulse:dashboard")
    return private(redirect_to_login(back, resolve_url(settings.LOGIN_URL)))


def _refuse_key(request: HttpRequest) -> HttpResponseBase:
    token = bearer_of(request.META.get("HTTP_AUTHORIZATION", "")) or ""
    if not token.startswith(START) and not wants_json(request):
        # A proxy that logs people in has added its own: who reads pages logs in here as well.
        return _ask_for_login(request)
    return _unauthorized(request, _("The key is not valid."))


def _unauthorized(request: HttpRequest, detail: str) -> HttpResponse:
    response = refusal(request, HTTPStatus.UNAUTHORIZED, "not_authenticated", detail)
    response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _refuse_for_now(request: HttpRequest, error: TooManyFailures) -> HttpResponse:
    detail = _("Too many keys from this address were not valid. Try again later.")
    return refusal(
        request,
        HTTPStatus.TOO_MANY_REQUESTS,
        "rate_limited",
        detail,
        retry_after_s=error.retry_after_s,
    )


def _not_allowed(request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    detail = _("The method %s is not for this address.") % request.method
    response = refusal(request, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    response.headers["Allow"] = ", ".join(methods)
    return response
