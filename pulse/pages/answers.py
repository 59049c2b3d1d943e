"""How pages answer: as a page or as JSON, with a tag by which the next request costs little."""

import hashlib
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.access.principals import visitor_of
from pulse.access.scopes import Scope
from pulse.envelope import HTML, PROBLEM, preferred_type, problem, request_id_of

#: Masked anew in each page: what differs in it is no difference.
TOKEN: Final = re.compile(rb'(name="csrfmiddlewaretoken" value=")[^"]*')
DASHBOARD: Final = "pulse:dashboard"
#: Text, and the address's name; each but the first begins the addresses below it.
NAVIGATION: Final = (
    (_("Dashboard"), DASHBOARD),
    (_("Policies"), "pulse:policies"),
    (_("Explain"), "pulse:explain"),
    (_("Probes"), "pulse:probes"),
    (_("Jobs"), "pulse:jobs"),
    (_("Endpoints"), "pulse:endpoints"),
    (_("Incidents"), "pulse:incidents"),
    (_("Timeline"), "pulse:timeline"),
    (_("Doctor"), "pulse:doctor"),
    (_("Status"), "pulse:status"),
)
#: Of the number of a page, in digits; no list is longer.
MAX_DIGITS: Final = 6
#: Kept by the browser alone, and asked for anew each time.
PRIVATE: Final = "private, no-cache"


def wants_json(request: HttpRequest) -> bool:
    """Whether a client gets JSON: it says so in the query, or does not prefer a page."""
    named = request.GET.get("format")
    if named in {"json", "html"}:
        return named == "json"
    return preferred_type(request) != HTML


def number_of(request: HttpRequest) -> int:
    """Return which page of a list a query asks for, from 1; the first where it names none."""
    text = request.GET.get("page", "")
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return max(1, int(text)) if is_number else 1


def page(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> HttpResponse:
    """Answer with a page; 304 where the browser has it as it is."""
    text = render_to_string(template, {**_around(request), **context}, request)
    response = HttpResponse(text, status=status)
    return _tagged(request, response, weak=True)


def data(
    request: HttpRequest, body: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    """Answer with JSON; 304 where the client has it as it is."""
    response = JsonResponse(body, encoder=DjangoJSONEncoder, status=status)
    return _tagged(request, response, weak=False)


def refusal(
    request: HttpRequest,
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    retry_after_s: float | None = None,
    **members: Any,
) -> HttpResponse:
    """Answer that something cannot be done: a problem for machines, a page for people.

    Args:
        request: In answer to which.
        status: The answer's.
        code: The problem's name.
        detail: Why, in words.
        retry_after_s: When it could be, in seconds from now.
        **members: Further members of the problem, such as ``errors``.
    """
    body: dict[str, Any] = {"detail": str(detail), "request_id": request_id_of(request), **members}
    if retry_after_s is not None:
        body["retry_after"] = _whole(retry_after_s)
    response: HttpResponse
    if wants_json(request):
        response = JsonResponse(problem(status, code, body), status=status, content_type=PROBLEM)
    else:
        shown = {"title": status.phrase, **body}
        text = render_to_string("pulse/problem.html", {**_around(request), **shown}, request)
        response = HttpResponse(text, status=status)
    return private(response, retry_after_s)


def unavailable(request: HttpRequest) -> HttpResponse:
    """Answer while there is no database: nobody is asked who they are, nothing is looked up."""
    status, retry_after_s = HTTPStatus.SERVICE_UNAVAILABLE, 5.0
    detail = __("The database cannot be asked now. What this site serves goes on by what it holds.")
    body = {"detail": detail, "request_id": request_id_of(request), "retry_after": 5}
    response: HttpResponse
    if wants_json(request):
        told = problem(status, "unavailable", body)
        response = JsonResponse(told, status=status, content_type=PROBLEM)
    else:
        context = {**body, "title": status.phrase, "poll_ms": 0}
        response = HttpResponse(render_to_string("pulse/problem.html", context), status=status)
    return private(response, retry_after_s)


def refuse_unknown(request: HttpRequest, *known: str) -> HttpResponse | None:
    """Refuse a query with other names than a machine's door knows; None where it has none.

    A page shows what it can of any query: people arrive by links that others have lengthened.
    """
    names = sorted(request.GET.keys() - {*known, "format"})
    if not names or not wants_json(request):
        return None
    text = __("Unknown parameter. Known are: %s.") % ", ".join(sorted({*known, "format"}))
    errors = {name[:100]: [text] for name in names[:20]}
    return refusal(request, HTTPStatus.BAD_REQUEST, "invalid", text, errors=errors)


def private(response: HttpResponse, retry_after_s: float | None = None) -> HttpResponse:
    """Keep an answer out of shared caches, and say when to try again."""
    response.headers["Cache-Control"] = PRIVATE
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(_whole(retry_after_s))
    patch_vary_headers(response, ("Accept", "Authorization", "Cookie"))
    return response


def admin_url(name: str, *arguments: Any) -> str:
    """Return the address of a screen of the admin; empty where the host has none of it."""
    try:
        return reverse(f"admin:{name}", args=arguments)
    except NoReverseMatch:
        return ""


def _around(request: HttpRequest) -> dict[str, Any]:
    """Return what every page has around what it shows."""
    here = request.path
    visitor = visitor_of(request)
    scopes = visitor.scopes if visitor else frozenset()
    is_user = visitor is not None and visitor.user is not None
    return {
        "request": request,
        "navigation": [
            {
                "text": text,
                "address": address,
                "is_here": here == address if name == DASHBOARD else here.startswith(address),
            }
            for text, name in NAVIGATION
            if (address := reverse(name))
        ],
        "admin_index": admin_url("index") if scopes and is_user else "",
        "username": visitor.actor.name if visitor and scopes else "",
        "may_operate": Scope.OPERATE in scopes,
        "may_administer": Scope.ADMINISTER in scopes,
        "zone": timezone.get_current_timezone_name(),
    }


def _whole(seconds: float) -> int:
    """Round up: who waits so long is not refused for the fraction that was cut."""
    return max(1, math.ceil(seconds))


def _tagged(request: HttpRequest, response: HttpResponse, *, weak: bool) -> HttpResponse:
    private(response)
    if response.status_code != HTTPStatus.OK:
        return response
    content, tokens = TOKEN.subn(rb"\1", response.content)
    # Of another secret, as after a login, the token in the browser's copy is good no more.
    secret = str(request.META.get("CSRF_COOKIE", "")) if tokens else ""
    digest = hashlib.sha256(content + secret.encode()).hexdigest()[:32]
    etag = f'W/"{digest}"' if weak else f'"{digest}"'
    response.headers["ETag"] = etag
    found = get_conditional_response(request, etag=etag, response=response)
    if found is None or found is response:
        return response
    return private(found)
