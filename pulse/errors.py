"""The host's own errors, in the form in which pulse refuses: JSON, a page, or RFC 9457.

In the root URLconf and the settings::

    handler400 = "pulse.errors.bad_request"
    handler403 = "pulse.errors.permission_denied"
    handler404 = "pulse.errors.page_not_found"
    handler500 = "pulse.errors.server_error"

    CSRF_FAILURE_VIEW = "pulse.errors.csrf_failure"
    REST_FRAMEWORK = {"EXCEPTION_HANDLER": "pulse.errors.exception_handler"}

Outside of ``DEBUG`` an answer says what every answer of its kind says. What an exception tells
goes to the log, under the request's id, which the answer names.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views import csrf
from rest_framework.exceptions import APIException, NotAcceptable
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import exception_handler as handle_as_usual

from pulse.envelope import (
    CODES,
    HTML,
    PROBLEM,
    answer,
    flat_errors,
    preferred_type,
    problem,
    request_id_of,
    say_wrong,
)
from pulse.logging import say
from pulse.middleware.context import method_of, route_of

logger = logging.getLogger(__name__)

#: How much is logged of what an exception says.
MAX_REASON: Final = 500
#: What Django REST framework calls otherwise than pulse does.
RENAMED: Final = {
    "authentication_failed": "not_authenticated",
    "error": "server_error",
    "throttled": "rate_limited",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400. Django's ``handler400``."""
    detail = _("The request cannot be read.")
    return _answer(request, HTTPStatus.BAD_REQUEST, detail, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403. Django's ``handler403``."""
    return _answer(request, HTTPStatus.FORBIDDEN, _("You may not do this."), exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404. Django's ``handler404``."""
    return _answer(request, HTTPStatus.NOT_FOUND, _("There is nothing here."), exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500. Django's ``handler500``; Django has logged the exception with its traceback."""
    detail = _("Something broke on our side.")
    return _answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a request without a good CSRF token by 403. Django's ``CSRF_FAILURE_VIEW``.

    Django logs the reason, and in ``DEBUG`` its own page explains it to a browser.
    """
    detail = _("CSRF verification failed. Request aborted.")
    if settings.DEBUG:
        if preferred_type(request) == HTML:
            return csrf.csrf_failure(request, reason)
        detail = f"{detail} {reason}".strip()
    status = HTTPStatus.FORBIDDEN
    return answer(
        request,
        status,
        detail,
        code="csrf_failed",
        page_request=request,
        pages=("403_csrf.html",),
        reason=reason,
    )


def exception_handler(error: Exception, context: dict[str, Any]) -> HttpResponseBase | None:
    """Answer what a view of Django REST framework raised. Its ``EXCEPTION_HANDLER``.

    The body stays the framework's (``detail``, or errors by field) with ``request_id`` beside it;
    a list has no place for one. A client that prefers ``application/problem+json`` gets that, and
    who asks for it alone a 406 in it: what went well could not be told so. A 406 says what could be
    asked for as ``available``. What the framework does not answer goes on to ``server_error``.
    """
    response = handle_as_usual(_told_to_clients(error), context)
    if response is None:
        return None
    # The framework's request, of which Django's is a part; a host may call this with either.
    request = getattr(context.get("request"), "_request", context.get("request"))
    if not isinstance(request, HttpRequest):
        return response
    _log(request, response.status_code, error)
    added: dict[str, Any] = {"request_id": request_id_of(request)}
    waits = response.headers.get("Retry-After", "")
    if waits.isdecimal():
        added = {"retry_after": int(waits)} | added
    if isinstance(error, NotAcceptable):
        added = {"available": _media_types(error)} | added
    patch_vary_headers(response, ("Accept",))
    if preferred_type(request) == PROBLEM:
        return _as_problem(error, response.status_code, response.data, added, response.headers)
    if isinstance(response.data, Mapping):
        # A serializer may have fields of these names.
        response.data = {**response.data, **added, **response.data}
    return response


def _answer(
    request: HttpRequest, status: HTTPStatus, detail: str, exception: Exception | None = None
) -> HttpResponse:
    if exception is not None:
        _log(request, status, exception)
        if settings.DEBUG:
            detail = _reason(exception) or detail
    # What a context processor asks for may be what broke. Django gives these two none either.
    bare = status in {HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR}
    return answer(
        request,
        status,
        detail,
        page_request=None if bare else request,
        exception=_reason(exception),
    )


def _told_to_clients(error: Exception) -> Exception:
    """Return what may be told of an exception: that of Django was not written for clients."""
    if settings.DEBUG:
        return error
    if isinstance(error, Http404):
        return Http404()
    if isinstance(error, PermissionDenied):
        return PermissionDenied()
    if isinstance(error, APIException) and error.status_code == 500:
        return APIException()
    return error


def _media_types(error: NotAcceptable) -> list[str]:
    """Return what a view can answer in (RFC 9110, 15.5.7)."""
    renderers = error.available_renderers or ()
    named = [renderer.media_type for renderer in renderers if renderer.media_type]
    return list(dict.fromkeys(named))


def _as_problem(
    error: Exception,
    status: int,
    body: Any,
    added: Mapping[str, Any],
    headers: Mapping[str, str],
) -> JsonResponse:
    title, code = None, _code_of(error, status)
    if isinstance(body, Mapping) and isinstance(body.get("detail"), str):
        members = {**body, **added}
    else:
        errors = flat_errors(body)
        members = {"detail": say_wrong(errors), **added, "errors": errors}
        if status == 400:
            title, code = _("Invalid input"), "invalid"
    return JsonResponse(
        problem(status, code, members, title),
        encoder=JSONEncoder,
        status=status,
        content_type=PROBLEM,
        headers={name: value for name, value in headers.items() if name != "Content-Type"},
    )


def _code_of(error: Exception, status: int) -> str:
    codes = error.get_codes() if isinstance(error, APIException) else None
    if isinstance(codes, str):
        return RENAMED.get(codes, codes)
    return CODES.get(status, "error")


def _log(request: HttpRequest, status: int, exception: Exception) -> None:
    """Log what the answer does not say."""
    is_ours = status >= 500
    say(
        logger,
        logging.ERROR if is_ours else logging.INFO,
        "Answered %s %s by %d: %s",
        method_of(request),
        route_of(request),
        status,
        _reason(exception) or type(exception).__name__,
        exc_info=exception if is_ours else None,
        extra={"status": int(status), "error": type(exception).__name__},
    )


def _reason(exception: Exception | None) -> str:
    """Return what an exception says, on one line; nothing where it holds data instead of a text.

    Django's own for a path that resolves to nothing holds that path, and a validation error
    quotes what was sent.
    """
    if exception is None:
        return ""
    says: Any = getattr(exception, "detail", None) or (exception.args or ("",))[0]
    if not isinstance(says, str):
        return ""
    text = " ".join(says.split())[:MAX_REASON]
    return "".join(letter if letter.isprintable() else "?" for letter in text)
