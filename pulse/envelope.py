"""The one form of what goes wrong, negotiated: JSON, a page for browsers, or RFC 9457."""

import contextlib
import http.client
import logging
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.translation import ngettext

from pulse import logging as pulse_logging
from pulse.conf import conf
from pulse.logging import say

logger = logging.getLogger(__name__)

JSON: Final = "application/json"
HTML: Final = "text/html"
PROBLEM: Final = "application/problem+json"
#: Under this name stands what is wrong with no field in particular.
WHOLE: Final = "non_field_errors"
#: The longest ``Accept`` worth reading; those of browsers have some 150 characters.
MAX_ACCEPT: Final = 1000
#: Names of problems by status, where an exception has none of its own.
CODES: Final = {
    400: "bad_request",
    401: "not_authenticated",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "body_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    500: "server_error",
    503: "unavailable",
}


def answer(
    request: HttpRequest,
    status: HTTPStatus,
    detail: str,
    *,
    code: str | None = None,
    pages: Sequence[str] = (),
    page_request: HttpRequest | None = None,
    **context: Any,
) -> HttpResponse:
    """Answer an error; a page by the host's own template for it, where there is one.

    Args:
        request: What went wrong is told in answer to it.
        status: The answer's.
        detail: What went wrong, in words for the client.
        code: The problem's name; by default that of the status.
        pages: Templates that go before those of the status.
        page_request: For context processors; None keeps them out of it.
        **context: What the templates are given besides.
    """
    number = int(status)
    response = write(
        request,
        status,
        code or CODES.get(number, "error"),
        {"detail": detail, "request_id": request_id_of(request)},
        (*pages, f"{number}.html", f"pulse/{number}.html", "pulse/error.html"),
        page_request=page_request,
        request_path=quote(request.path),
        **context,
    )
    # A cache may keep a 404.
    patch_vary_headers(response, ("Accept",))
    return response


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


def flat_errors(detail: Any) -> dict[str, list[str]]:
    """Return the texts of a nested error by the dotted name of the field that they are about."""
    return dict(_flat(detail))


def say_wrong(errors: Mapping[str, Any]) -> str:
    """Say in words how many fields are wrong."""
    wrong = ngettext("%(count)d field is wrong.", "%(count)d fields are wrong.", len(errors))
    return wrong % {"count": len(errors)}


def request_id_of(request: HttpRequest) -> str:
    """Return the request's id; without pulse in front, whatever the log says."""
    context = getattr(request, "pulse", None)
    ident: str = pulse_logging.request_id.get() if context is None else context.request_id
    return ident


def preferred_type(request: HttpRequest) -> str | None:
    """Return which of the three forms a client prefers, None for none of them."""
    if len(request.META.get("HTTP_ACCEPT", "")) > MAX_ACCEPT:
        return None
    # What the parsers of Django and Python raise on a broken Accept is anybody's guess
    # (ValueError and TypeError so far), and must not spare the client its refusal.
    with contextlib.suppress(Exception):
        return request.get_preferred_type([JSON, HTML, PROBLEM])
    return None


def _flat(detail: Any, name: str = "") -> Iterator[tuple[str, list[str]]]:
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(detail, list | tuple):
        texts = [str(inner) for inner in detail if not isinstance(inner, Mapping | list | tuple)]
        if texts:
            yield name or WHOLE, texts
        for place, inner in enumerate(detail):
            if isinstance(inner, Mapping | list | tuple):
                yield from _flat(inner, f"{name}.{place}" if name else str(place))
    else:
        yield name or WHOLE, [str(detail)]


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
