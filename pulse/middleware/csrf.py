"""Origins that a policy trusts for CSRF, vouched for before Django looks.

Django's own check refuses a form of another origin, whatever its token, unless a setting names
the origin. Here that one question is answered by the policy; the token is checked by Django's own
code, and what is not vouched for is left to Django as if nobody had looked.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.middleware.csrf import CsrfViewMiddleware

from pulse.conf import conf
from pulse.middleware.context import Context

#: What changes nothing needs no token (RFC 9110, 9.2.1).
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
MULTIPART: Final = "multipart/form-data"


def may_vouch(request: HttpRequest, context: Context) -> bool:
    """Whether the request comes from an origin that a policy trusts for CSRF."""
    snapshot = context.snapshot
    if snapshot is None or not snapshot.cors.trusts_csrf or request.method in SAFE:
        return False
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None or not conf.CORS:
        return False
    return snapshot.cors.trusts(request.path_info, origin)


def vouch(
    request: HttpRequest,
    view: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> None:
    """Check the token as Django would, the origin trusted; may read the body and the session.

    A view that is exempt may ask for the check all the same, as those of REST framework do for
    users with a session. Others that are exempt may read an upload themselves, which reading its
    form would spoil.
    """
    del args, kwargs
    if request.content_type == MULTIPART and _reads_for_itself(view):
        return
    # What cannot be read is nothing to vouch for, and Django's to refuse.
    with suppress(BadRequest, SuspiciousOperation, MultiPartParserError):
        # Not of the view itself, as Django's exemption would end the check before it begins.
        _Vouching(_no_response).process_view(request, _no_response, (), {})


class _Vouching(CsrfViewMiddleware):
    """Django's check of a request whose origin is trusted: a good token marks it, no more."""

    def _origin_verified(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return True

    def _reject(self, request: HttpRequest, reason: str) -> Any:  # noqa: ARG002 - as above
        return reason


def _reads_for_itself(view: Callable[..., Any]) -> bool:
    if not getattr(view, "csrf_exempt", False):
        return False
    return not getattr(getattr(view, "cls", None), "authentication_classes", ())


def _no_response(request: HttpRequest) -> HttpResponse:
    """Stand for the view that Django's class asks for: its check is called, it is never."""
    raise NotImplementedError(request)
