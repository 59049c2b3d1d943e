"""Whatever pulse, Django or REST framework raises has one problem."""

import pytest
from django.core import exceptions as django
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions as framework

from pulse import exceptions
from pulse.api.errors import problem_of
from pulse.policies.models import PolicyRevision

GIVEN = {
    exceptions.InvalidDocument: ({"a.0.b": ["wrong"]},),
    exceptions.ForbiddenAddress: ("10.0.0.1", "private"),
    exceptions.CallFailed: ("dns", "no such name"),
    exceptions.CooldownActive: (15.3,),
    exceptions.TooManyJobs: (3, 3),
    exceptions.JobFinished: (7, "completed"),
    exceptions.LockOut: (["you"],),
    exceptions.TooManyFailures: (4.2,),
    exceptions.RequestRunning: (),
    exceptions.RequestMismatch: (),
}


def family(cls: type) -> list[type]:
    found = [cls]
    for child in cls.__subclasses__():
        found += family(child)
    return [one for one in found if one.__module__ == exceptions.__name__]


@pytest.mark.parametrize("cls", family(exceptions.PulseError), ids=lambda cls: cls.__name__)
def test_every_error_of_pulse_is_a_problem(cls) -> None:
    made = cls.__new__(cls)
    for arguments in (GIVEN.get(cls, ()), ("a",), ("a", "b"), ({"a": ["b"]},)):
        try:
            made = cls(*arguments)
        except (TypeError, AttributeError):
            continue
        break
    found = problem_of(made)
    assert found is not None
    assert 400 <= found.status < 500 or found.status == 503
    assert found.detail


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.InvalidDocument({"a": ["b"]}), 400, "invalid"),
        (exceptions.KeyRefused("wrong"), 401, "not_authenticated"),
        (exceptions.TooManyFailures(4.2), 429, "rate_limited"),
        (exceptions.CooldownActive(15.3), 429, "cooldown"),
        (exceptions.TooManyJobs(3, 3), 409, "too_many_jobs"),
        (exceptions.JobFinished(7, "completed"), 409, "job_finished"),
        (exceptions.LockOut(["you"]), 409, "lock_out"),
        (exceptions.RequestRunning(), 409, "idempotency_running"),
        (exceptions.RequestMismatch(), 422, "idempotency_mismatch"),
        (exceptions.UnknownJob("7"), 404, "not_found"),
        (exceptions.UnknownTarget("x"), 400, "invalid"),
        (exceptions.StoreUnavailable(), 503, "unavailable"),
        (OperationalError(), 503, "unavailable"),
        (InterfaceError(), 503, "unavailable"),
        (IntegrityError(), 400, "invalid"),
        (Http404(), 404, "not_found"),
        (PolicyRevision.DoesNotExist(), 404, "not_found"),
        (django.PermissionDenied(), 403, "permission_denied"),
        (django.ValidationError({"a": "b"}), 400, "invalid"),
        (django.ValidationError("b"), 400, "invalid"),
        (django.RequestDataTooBig(), 413, "body_too_large"),
        (django.TooManyFieldsSent(), 400, "parse_error"),
        (UnreadablePostError(), 400, "parse_error"),
        (framework.ParseError(), 400, "parse_error"),
        (framework.ValidationError({"a": [{"b": ["c"]}]}), 400, "invalid"),
        (framework.NotAuthenticated(), 401, "not_authenticated"),
        (framework.PermissionDenied(), 403, "permission_denied"),
        (framework.NotFound(), 404, "not_found"),
        (framework.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (framework.NotAcceptable(), 406, "not_acceptable"),
        (framework.UnsupportedMediaType("a/b"), 415, "unsupported_media_type"),
        (framework.Throttled(), 429, "rate_limited"),
    ],
)
def test_errors_have_the_names_of_the_contract(error, status, code) -> None:
    found = problem_of(error)
    assert (found.status, found.code) == (status, code)


def test_what_nobody_expects_is_no_problem_of_ours() -> None:
    assert problem_of(RuntimeError("a bug")) is None


def test_nested_errors_are_told_by_dotted_names() -> None:
    found = problem_of(framework.ValidationError({"a": [{"b": ["c"]}, {}]}))
    assert found.members["errors"] == {"a.0.b": ["c"]}
    found = problem_of(django.ValidationError("c"))
    assert found.members["errors"] == {"non_field_errors": ["c"]}
