"""Who may open a page: nobody without a session of the staff, and then by scope."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect

from pulse.access.scopes import Scope, holds
from pulse.pages.answers import private, refusal, wants_json

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
SAFE: tuple[str, ...] = ("GET", "HEAD")


def guarded(
    scope: Scope, methods: tuple[str, ...] = SAFE
) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Let a view answer only who holds a scope, and only some methods.

    Whoever is not logged in is led to the login; a client that wants JSON gets 401. Who is, and
    does not hold the scope, gets 403. Unsafe methods need a CSRF token, whatever the host has in
    its middleware.
    """

    def decorate(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        protected = csrf_protect(view)

        # The guard itself asks for a login, in the form that the client reads.
        @login_not_required
        @wraps(view)
        def guard(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            user: Any = getattr(request, "user", None)
            if user is None or not user.is_authenticated:
                return _ask_for_login(request)
            if not holds(user, scope):
                detail = _("You may not see this. It takes the permission %s.") % scope.permission
                return refusal(request, HTTPStatus.FORBIDDEN, "permission_denied", detail)
            if request.method not in methods:
                return _not_allowed(request, methods)
            return protected(request, *args, **kwargs)

        return guard

    return decorate


def _ask_for_login(request: HttpRequest) -> HttpResponseBase:
    if wants_json(request):
        detail = _("Log in, or send a key.")
        response = refusal(request, HTTPStatus.UNAUTHORIZED, "not_authenticated", detail)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    # After a login, what was posted is not: the page that it was posted from is shown.
    back = request.get_full_path() if request.method in SAFE else resolve_url("pulse:probes")
    return private(redirect_to_login(back, resolve_url(settings.LOGIN_URL)))


def _not_allowed(request: HttpRequest, methods: tuple[str, ...]) -> HttpResponse:
    detail = _("The method %s is not for this address.") % request.method
    response = refusal(request, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    response.headers["Allow"] = ", ".join(methods)
    return response
