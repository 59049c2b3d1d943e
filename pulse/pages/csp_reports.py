"""The machine door for what browsers report of Content-Security-Policies."""

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from pulse.core.csp import CSP_REPORT, MAX_BYTES, REPORTS, parse_reports
from pulse.envelope import answer
from pulse.exceptions import InvalidReport
from pulse.policies import current, texts
from pulse.policies.headers import collector, page_of
from pulse.store import csp


@csrf_exempt
@login_not_required
@require_POST
def collect(request: HttpRequest, name: str) -> HttpResponse:
    """Count the reports of a policy that is in force; 204, with nothing to read.

    What is sent of a policy that asks for no reports is not read: pages that were open as it was
    switched still send it.

    Anybody may send anything here: what is kept is bounded, and of each report only its
    directive, the origin that was blocked and the route of the page.
    """
    rule = current.current_snapshot().headers.named(name)
    if rule is None:
        return answer(request, HTTPStatus.NOT_FOUND, texts.no_reports())
    if not rule.asks(collector()):
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    if request.content_type not in {CSP_REPORT, REPORTS, "application/json"}:
        return answer(request, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, texts.no_kind_of_report())
    body = request.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        too_large = texts.body_too_large(MAX_BYTES)
        return answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large)
    try:
        violations = parse_reports(request.content_type, body)
    except InvalidReport as error:
        return answer(request, HTTPStatus.BAD_REQUEST, str(error))
    for violation in violations:
        csp.add(name, violation.directive, violation.source, page_of(violation.page))
    return HttpResponse(status=HTTPStatus.NO_CONTENT)
