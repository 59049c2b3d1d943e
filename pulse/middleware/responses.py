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

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
HTML: Final = "text/html"
PROBLEM: Final = "application/problem+json"
#: Header fields that say something of the content they came with.
DESCRIBING: Final = (
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Range",
    "ETag",
    "Last-Modified",
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
    logger.info(
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
    response.headers["Cache-Control"] = "no-store"
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    return response


def put_over(response: HttpResponseBase, refusal: HttpResponse) -> HttpResponseBase:
    """Write a refusal over the answer that a view gave, keeping what others put beside it.

    Middlewares have had the answer already: their cookies, CORS and security headers stay.
    """
    if not isinstance(response, HttpResponse):
        response.close()
        return refusal
    for name in DESCRIBING:
        response.headers.pop(name, None)
    response.status_code = refusal.status_code
    response.content = refusal.content
    for name, value in refusal.headers.items():
        response.headers[name] = value
    if response.has_header("Content-Length"):
        response.headers["Content-Length"] = str(len(response.content))
    return response


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
    # What the parsers of Django and Python raise on a broken Accept is anybody's guess
    # (ValueError and TypeError so far), and must not spare the client its refusal.
    with contextlib.suppress(Exception):
        return request.get_preferred_type([JSON, HTML, PROBLEM])
    return None


def _page(refusal: Refusal, body: dict[str, Any]) -> str | None:
    """Render the refusal for people; None where the host's own template fails."""
    context = {"refusal": refusal, "title": refusal.status.phrase, **body}
    names = [f"pulse/{int(refusal.status)}.html", "pulse/refused.html"]
    try:
        return render_to_string(names, context, request=None)
    except TemplateDoesNotExist:
        logger.warning("No template for refusals: is APP_DIRS on? Answering in JSON")
    except Exception:
        logger.exception("The template for refusals failed; answering in JSON")
    return None
