"""The one way in which pulse refuses: logged, negotiated, and worded as asked for."""

import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.conf import conf

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
HTML: Final = "text/html"
PROBLEM: Final = "application/problem+json"


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
        request.method, request.path_info, context.client_address, refusal.rule, refusal.status,
        extra={"request_id": context.request_id, "rule": refusal.rule, "status": int(refusal.status)},
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


def too_many_requests(seconds: int) -> str:
    """Return the text of a 429: with the seconds where details are shown, else without."""
    if not conf.DETAILED_ERRORS:
        return _("Too many requests. Please try again later.")
    return ngettext(
        "Rate limit exceeded. Try again in %(seconds)d second",
        "Rate limit exceeded. Try again in %(seconds)d seconds",
        seconds,
    ) % {"seconds": seconds}


def _write(request: HttpRequest, refusal: Refusal, body: dict[str, Any]) -> HttpResponse:
    preferred = request.get_preferred_type([JSON, HTML, PROBLEM])
    if preferred == HTML:
        page = _page(request, refusal, body)
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


def _page(request: HttpRequest, refusal: Refusal, body: dict[str, Any]) -> str | None:
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
