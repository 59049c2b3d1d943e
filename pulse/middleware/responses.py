"""The one form of what goes wrong, negotiated; and the one way in which pulse refuses."""

import contextlib
import http.client
import logging
from collections.abc import Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.response import ResponseHeaders
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.urls import resolve

from pulse.conf import conf
from pulse.logging import say
from pulse.middleware.context import method_of, route_of

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
HTML: Final = "text/html"
PROBLEM: Final = "application/problem+json"
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
#: The longest ``Accept`` worth reading; those of browsers have some 150 characters.
MAX_ACCEPT: Final = 1000


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


def write(
    request: HttpRequest,
    status: HTTPStatus,
    code: str,
    body: dict[str, Any],
    pages: Sequence[str],
    *,
    page_request: HttpRequest | None = None,
    **context: Any,
) -> HttpResponse:
    """Write an error in the form that the client prefers.

    Args:
        request: What went wrong is told in answer to it.
        status: The answer's.
        code: The problem's name.
        body: The members of the answer, with at least ``detail`` and ``request_id``.
        pages: Templates for browsers, of which the first that is found is rendered.
        page_request: For context processors; None keeps them out of it.
        **context: What the templates are given beside ``body`` and ``title``.
    """
    preferred = preferred_type(request)
    if preferred == HTML:
        # The detail may say how long to wait; a page says it once.
        context |= {"title": status.phrase, "detailed": conf.DETAILED_ERRORS, **body}
        page = _page(pages, context, page_request)
        if page is not None:
            return HttpResponse(page, status=status)
    if preferred == PROBLEM:
        return JsonResponse(problem(status, code, body), status=status, content_type=PROBLEM)
    return JsonResponse(body, status=status)


def problem(
    status: int, code: str, body: dict[str, Any], title: str | None = None
) -> dict[str, Any]:
    """Make the members of a problem of those of an answer (RFC 9457).

    Args:
        status: The answer's.
        code: The problem's name.
        body: The members of the answer in plain JSON.
        title: What all problems of the name are; by default the status in words.
    """
    own = {
        "type": f"urn:pulse:{code}",
        "title": title or http.client.responses.get(status, "Error"),
        "status": int(status),
        "code": code,
    }
    return own | body


def preferred_type(request: HttpRequest) -> str | None:
    """Return which of the three forms a client prefers, None for none of them."""
    if len(request.META.get("HTTP_ACCEPT", "")) > MAX_ACCEPT:
        return None
    # What the parsers of Django and Python raise on a broken Accept is anybody's guess
    # (ValueError and TypeError so far), and must not spare the client its refusal.
    with contextlib.suppress(Exception):
        return request.get_preferred_type([JSON, HTML, PROBLEM])
    return None


def _page(names: Sequence[str], context: dict[str, Any], request: HttpRequest | None) -> str | None:
    """Render a page for people; None where the host's own template fails."""
    try:
        return render_to_string(names, context, request)
    except TemplateDoesNotExist:
        say(logger, logging.WARNING, "No template for errors: is APP_DIRS on? Answering in JSON")
    except Exception:  # noqa: BLE001 - a template may raise anything
        say(
            logger,
            logging.ERROR,
            "The template for errors failed; answering in JSON",
            exc_info=True,
        )
    return None
