"""The one way in which pulse refuses, and what is put into an answer."""

import contextlib
import logging
from collections.abc import Mapping, ValuesView
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import ResponseHeaders
from django.urls import resolve
from django.utils.cache import patch_vary_headers

from pulse.envelope import answer, write
from pulse.logging import say
from pulse.middleware.context import method_of, route_of
from pulse.policies.texts import method_not_allowed

logger = logging.getLogger(__name__)

#: Methods whose errors say nothing but their status and headers.
BODILESS: Final = frozenset({"HEAD", "OPTIONS"})
#: Header fields that say something of the content they came with, or where else it is.
DESCRIBING: Final = frozenset(
    {
        "accept-ranges",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "etag",
        "last-modified",
        "location",
        "repr-digest",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        code: The problem's name, such as ``rate_limited``.
        detail: Why, in words for the client.
        rule: The rule that refused, for the log.
        retry_after_s: Seconds until the same request would pass; None where waiting is no help.
        fields: Further members of the body.
        reason: What the rule's author gave as its reason, for the log alone.
    """

    status: HTTPStatus
    code: str
    detail: str
    rule: str
    retry_after_s: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


def refuse(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Log a refusal and answer it in the form that the client prefers."""
    context = request.pulse  # type: ignore[attr-defined]
    context.refusal, context.verdict = refusal, "refused"
    if request.resolver_match is None:
        # Refused before Django looked; whoever reads the log wants to know what was asked for.
        with contextlib.suppress(Exception):
            request.resolver_match = resolve(request.path_info)
    say(
        logger,
        logging.INFO,
        "Refused %s %s from %s by %s: %d",
        method_of(request),
        route_of(request),
        context.client_address,
        f"{refusal.rule} ({refusal.reason})" if refusal.reason else refusal.rule,
        refusal.status,
        extra={"rule": refusal.rule, "status": int(refusal.status)},
    )
    body: dict[str, Any] = {"detail": refusal.detail}
    if refusal.retry_after_s is not None:
        body["retry_after"] = refusal.retry_after_s
    body |= {"request_id": context.request_id, **refusal.fields}
    pages = (f"pulse/{int(refusal.status)}.html", "pulse/refused.html")
    response = write(request, refusal.status, refusal.code, body, pages, refusal=refusal)
    # Django would log it again, and mail a 503 to the admins.
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Length"] = str(len(response.content))
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def say_method_not_allowed(request: HttpRequest, response: HttpResponseBase) -> None:
    """Say in words what a view says by its status alone, as Django's own 405 does.

    Its headers stay, ``Allow`` above all. HEAD has no body to be told in, and that of OPTIONS
    nobody reads.
    """
    if request.method in BODILESS or not isinstance(response, HttpResponse) or response.content:
        return
    told = answer(request, HTTPStatus.METHOD_NOT_ALLOWED, method_not_allowed())
    response.content = told.content
    response.headers["Content-Type"] = told.headers["Content-Type"]
    response.headers["Content-Length"] = str(len(told.content))
    patch_vary_headers(response, ("Accept",))


def fields_of(response: HttpResponseBase) -> dict[str, tuple[str, str]]:
    """Return an answer's header fields, name and value by the name in small letters.

    What is put there is not checked: only for what pulse made and is known to be a header. Django
    checks each again for what cannot be sent, for 0.7 µs.
    """
    fields: dict[str, tuple[str, str]] = response.headers._store  # Django's own, since 3.2
    return fields


def put(response: HttpResponseBase, headers: Mapping[str, str]) -> None:
    """Set headers that pulse made, and that are known to be such."""
    response.headers._store.update(zip(map(str.lower, headers), headers.items()))  # noqa: B905 - of one mapping


class ListedHeaders(ResponseHeaders):
    """The headers of an answer, listed as they are kept: each a name and a value."""

    def items(self) -> ValuesView[tuple[str, str]]:  # type: ignore[override]  # of the same pairs
        return self._store.values()


def list_at_once(response: HttpResponseBase) -> None:
    """Have an answer's headers listed at once as it is sent.

    Django looks each up again by its name: of a dozen that makes 4 µs.
    """
    if type(response.headers) is ResponseHeaders:
        response.headers.__class__ = ListedHeaders


def put_over(response: HttpResponseBase, refusal: HttpResponse) -> HttpResponse:
    """Put a refusal in the place of the answer that a view gave, with what others put beside that.

    Middlewares have had the answer already: their cookies, CORS and security headers stay.
    """
    for name, value in response.headers.items():
        if name.lower() not in DESCRIBING:
            refusal.headers.setdefault(name, value)
    refusal.headers["Content-Length"] = str(len(refusal.content))
    refusal.cookies = response.cookies
    # What a streaming answer holds open is closed with the refusal: an answer's own close()
    # tells that the request is over, which is told once.
    refusal._resource_closers += response._resource_closers  # type: ignore[attr-defined]
    return refusal
