"""The one way in which pulse refuses: logged, negotiated, and worded as asked for."""

import contextlib
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.encoding import escape_uri_path

from pulse.conf import conf
from pulse.logging import say

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
    """

    status: HTTPStatus
    code: str
    detail: str
    rule: str
    retry_after_s: int | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def refuse(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Log a refusal and answer it in the form that the client prefers."""
    context = request.pulse  # type: ignore[attr-defined]
    context.refusal, context.verdict = refusal, "refused"
    say(
        logger,
        logging.INFO,
        "Refused %s %s from %s by %s: %d",
        request.method,
        escape_uri_path(request.path_info),
        context.client_address,
        refusal.rule,
        refusal.status,
        extra={
            "request_id": context.request_id,
            "rule": refusal.rule,
            "status": int(refusal.status),
        },
    )
    body: dict[str, Any] = {"detail": refusal.detail}
    if refusal.retry_after_s is not None:
        body["retry_after"] = refusal.retry_after_s
    body |= {"request_id": context.request_id, **refusal.fields}
    response = _write(request, refusal, body)
    # Django would log it again, and mail a 503 to the admins.
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    response.headers["Cache-Control"] = "no-store"
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


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


def _write(request: HttpRequest, refusal: Refusal, body: dict[str, Any]) -> HttpResponse:
    preferred = _preferred(request)
    if preferred == HTML:
        page = _page(refusal, body)
        if page is not None:
            return HttpResponse(page, status=refusal.status)
    if preferred == PROBLEM:
        problem = {
            "type": f"urn:pulse:{refusal.code}",
            "title": refusal.status.phrase,
            "status": int(refusal.status),
            "code": refusal.code,
            **body,
        }
        return JsonResponse(problem, status=refusal.status, content_type=PROBLEM)
    return JsonResponse(body, status=refusal.status)


def _preferred(request: HttpRequest) -> str | None:
    if len(request.META.get("HTTP_ACCEPT", "")) > MAX_ACCEPT:
        return None
    # What the parsers of Django and Python raise on a broken Accept is anybody's guess
    # (ValueError and TypeError so far), and must not spare the client its refusal.
    with contextlib.suppress(Exception):
        return request.get_preferred_type([JSON, HTML, PROBLEM])
    return None


def _page(refusal: Refusal, body: dict[str, Any]) -> str | None:
    """Render the refusal for people; None where the host's own template fails."""
    context = {
        "refusal": refusal,
        "title": refusal.status.phrase,
        "detailed": conf.DETAILED_ERRORS,  # The detail says how long to wait.
        **body,
    }
    names = [f"pulse/{int(refusal.status)}.html", "pulse/refused.html"]
    try:
        return render_to_string(names, context, request=None)
    except TemplateDoesNotExist:
        logger.warning("No template for refusals: is APP_DIRS on? Answering in JSON")
    except Exception:
        logger.exception("The template for refusals failed; answering in JSON")
    return None
