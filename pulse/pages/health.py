"""Whether the process lives, and whether it can serve: for those who send traffic to it."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from pulse.access.principals import principal_of
from pulse.access.scopes import Scope
from pulse.doctor import readiness
from pulse.doctor.readiness import Health, Readiness
from pulse.exceptions import AccessError


def _open(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let everybody ask, nobody keep the answer, and no transaction be begun for it."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        response = view(request)
        response.headers["Cache-Control"] = "no-store"
        return response

    # A host with ATOMIC_REQUESTS would ask a database that may be what is away.
    return csrf_exempt(login_not_required(transaction.non_atomic_requests(require_safe(answer))))


@_open
def healthz(_request: HttpRequest) -> HttpResponse:
    """Say that the process answers; nothing else is touched."""
    return JsonResponse({"status": str(Health.HEALTHY)})


@_open
def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether requests should be sent here; 503 where not, and why to those who may know."""
    found = readiness.read()
    is_ready = found.status != Health.UNHEALTHY
    return JsonResponse(
        found.as_dict() if _may_see(request, found) else {"status": str(found.status)},
        status=HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
    )


def _may_see(request: HttpRequest, found: Readiness) -> bool:
    """Whether who asks holds ``view``; nobody does while the database cannot say so."""
    if found.says("database") != Health.HEALTHY:
        return False
    try:
        principal = principal_of(request)
    except (AccessError, DatabaseError):
        return False
    return principal is not None and principal.holds(Scope.VIEW)
