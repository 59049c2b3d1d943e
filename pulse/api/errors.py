"""Every error of the API as one problem (RFC 9457), whatever the client accepts."""

import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import exceptions as framework
from rest_framework.utils.encoders import JSONEncoder

from pulse.envelope import CODES, PROBLEM, WHOLE, flat_errors, problem, request_id_of, say_wrong
from pulse.exceptions import (
    CooldownActive,
    InvalidFields,
    JobFinished,
    KeyRefused,
    LockOut,
    PolicyError,
    ProbeError,
    PulseError,
    RequestMismatch,
    RequestRunning,
    StoreError,
    TooManyFailures,
    TooManyJobs,
    UnknownJob,
)
from pulse.logging import say
from pulse.policies.consistency import still_used

logger = logging.getLogger(__name__)

#: After how many seconds to try again what a store or a database kept from being done.
RETRY_S: Final = 1


class Problem(Exception):
    """Something that cannot be done, as the API tells it.

    Attributes:
        status: Of the answer.
        code: The problem's name.
        members: Further members, such as ``current_version``.
        retry_after_s: When it could be, in seconds from now.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members = members


class VersionMismatch(Problem):
    """Somebody else was faster: what the client writes to is no longer what it has read."""

    def __init__(self, current: int, *, is_drafted: bool = False) -> None:
        detail = _("It was changed in the meantime: read it again. Its version is %d now.")
        if is_drafted:
            detail = _("There is a draft beside revision %d: read policy/?draft=1, and name that.")
        super().__init__(
            HTTPStatus.PRECONDITION_FAILED,
            "version_mismatch",
            detail % current,
            current_version=current,
        )


def invalid(errors: Mapping[str, Any]) -> Problem:
    """Make a problem of what is wrong with fields, by their dotted names."""
    members = {name: [str(text) for text in texts] for name, texts in errors.items()}
    return Problem(HTTPStatus.BAD_REQUEST, "invalid", say_wrong(members), errors=members)


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Answer what a view raised. The framework's ``EXCEPTION_HANDLER``, of these views alone.

    Returns:
        None for what nobody expects: the host's own handlers tell and log that.
    """
    found = problem_of(error)
    if found is None:
        return None
    request = getattr(context["request"], "_request", context["request"])
    body = {"detail": found.detail, "request_id": request_id_of(request), **found.members}
    headers = {}
    if found.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if found.retry_after_s is not None:
        body["retry_after"] = max(1, math.ceil(found.retry_after_s))
        headers["Retry-After"] = str(body["retry_after"])
    if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        say(logger, logging.ERROR, "The API answered %d: %s", found.status, error)
    title = _("Invalid input") if found.code == "invalid" else None
    return JsonResponse(
        problem(found.status, found.code, body, title),
        encoder=JSONEncoder,
        status=found.status,
        content_type=PROBLEM,
        headers=headers,
    )


def problem_of(error: Exception) -> Problem | None:
    """Return an exception as a problem; None if nobody expects it."""
    if isinstance(error, Problem):
        return error
    for kind, make in _TABLE:
        if isinstance(error, kind):
            return make(error)
    return None


def _invalid_fields(error: Any) -> Problem:
    return invalid(error.errors)


def _validation(error: Any) -> Problem:
    if isinstance(error, framework.ValidationError):
        return invalid(flat_errors(error.detail))
    told = error.message_dict if hasattr(error, "error_dict") else {WHOLE: error.messages}
    return invalid({WHOLE if name == "__all__" else name: texts for name, texts in told.items()})


def _whole(error: Any) -> Problem:
    return invalid({WHOLE: [str(error)]})


def _simple(status: int, code: str | None = None, detail: str = "") -> Callable[[Any], Problem]:
    def make(error: Any) -> Problem:
        return Problem(status, code or CODES[status], detail or str(error))

    return make


def _refused_key(error: Any) -> Problem:
    del error  # No, wrong, expired or revoked alike.
    detail = _("Log in, or send a key that is in force: Authorization: Bearer pulse_….")
    return Problem(HTTPStatus.UNAUTHORIZED, "not_authenticated", detail)


def _too_many_failures(error: Any) -> Problem:
    detail = _("Too many wrong keys came from your address. Try again later.")
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", detail, retry_after_s=error.retry_after_s
    )


def _running(error: Any) -> Problem:
    status = HTTPStatus.CONFLICT
    return Problem(status, "idempotency_running", str(error), retry_after_s=RETRY_S)


def _cooldown(error: Any) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS, "cooldown", str(error), retry_after_s=error.retry_after_s
    )


def _unavailable(error: Any) -> Problem:
    detail = _("The counters cannot be reached just now.")
    if isinstance(error, DatabaseError | InterfaceError):
        detail = _("The database cannot be reached just now, or is busy.")
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, retry_after_s=RETRY_S)


def _in_use(error: Any) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "in_use", still_used(error))


def _of_framework(error: Any) -> Problem:
    status = error.status_code
    return Problem(status, CODES.get(status, "error"), str(error.detail))


#: The first class that an error is of makes it a problem.
_TABLE: Final[tuple[tuple[Any, Callable[[Any], Problem]], ...]] = (
    (InvalidFields, _invalid_fields),
    (LockOut, _simple(HTTPStatus.CONFLICT, "lock_out")),
    ((ValidationError, framework.ValidationError), _validation),
    (KeyRefused, _refused_key),
    (TooManyFailures, _too_many_failures),
    (RequestRunning, _running),
    (RequestMismatch, _simple(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_mismatch")),
    (CooldownActive, _cooldown),
    (TooManyJobs, _simple(HTTPStatus.CONFLICT, "too_many_jobs")),
    (JobFinished, _simple(HTTPStatus.CONFLICT, "job_finished")),
    (UnknownJob, _simple(HTTPStatus.NOT_FOUND)),
    ((PolicyError, ProbeError), _whole),
    (StoreError, _unavailable),
    (PulseError, _whole),
    (ProtectedError, _in_use),
    (IntegrityError, lambda _error: _whole(_("It contradicts what is there already."))),
    ((OperationalError, InterfaceError), _unavailable),
    ((Http404, ObjectDoesNotExist), lambda _error: not_found()),
    (PermissionDenied, lambda error: forbidden(str(error))),
    (RequestDataTooBig, lambda _error: _too_large()),
    ((framework.NotAuthenticated, framework.AuthenticationFailed), _refused_key),
    (framework.ParseError, lambda error: _unreadable(str(error.detail))),
    (framework.APIException, _of_framework),
    (
        (SuspiciousOperation, BadRequest, UnreadablePostError),
        lambda _error: _unreadable(_("The request cannot be read.")),
    ),
)


def not_found(detail: str = "") -> Problem:
    """There is no such thing, or never was."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", detail or _("There is nothing here."))


def forbidden(detail: str = "") -> Problem:
    """Whoever asks may not."""
    detail = detail or _("You may not do this.")
    return Problem(HTTPStatus.FORBIDDEN, "permission_denied", detail)


def _unreadable(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "parse_error", detail)


def _too_large() -> Problem:
    detail = _("The body is larger than this site takes.")
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", detail)
