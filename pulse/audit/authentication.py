"""Logins of the staff and keys of the API, as Django and ``access`` tell of them.

Nothing here fails a login: what cannot be written is logged and let go.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections, router, transaction
from django.http import HttpRequest

from pulse.audit import failures
from pulse.audit.models import Action, AuditEntry
from pulse.audit.record import record
from pulse.envelope import request_id_of
from pulse.logging import NO_REQUEST_ID, request_id, say
from pulse.policies.clients import client_of
from pulse.policies.publisher import Actor

logger = logging.getLogger(__name__)

Receiver = Callable[..., None]


def connect() -> None:
    """Listen to Django's own signals."""
    for signal, receiver in (
        (user_logged_in, logged_in),
        (user_logged_out, logged_out),
        (user_login_failed, login_failed),
    ):
        signal.connect(receiver, dispatch_uid="pulse.audit")


def forgiving(receiver: Receiver) -> Receiver:
    """Let a receiver fail for itself alone, also within a transaction of its caller's."""

    @wraps(receiver)
    def call(*arguments: Any, **named: Any) -> None:
        try:
            with _apart():
                receiver(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - of a host's user model, too; the login goes on
            text = "An event of authentication is not in the audit: %s"
            say(logger, logging.ERROR, text, error)

    return call


@forgiving
def logged_in(*, user: Any, request: HttpRequest | None = None, **_: Any) -> None:
    """Write that one of the staff logged in."""
    if _is_staff(user):
        _record(Action.AUTH_LOGIN, user.get_username(), request)


@forgiving
def logged_out(*, user: Any = None, request: HttpRequest | None = None, **_: Any) -> None:
    """Write that one of the staff logged out."""
    if _is_staff(user):
        _record(Action.AUTH_LOGOUT, user.get_username(), request)


@forgiving
def login_failed(
    *, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Write that a login failed, unless it was that of a known user who is not of the staff.

    A name that nobody has is not kept: people write passwords into that field, too.
    """
    model: Any = get_user_model()
    name = credentials.get(model.USERNAME_FIELD, credentials.get("username"))
    user = _find(model, name)
    if user is None or _is_staff(user):
        actor = _actor("" if user is None else user.get_username(), request)
        failures.note(Action.AUTH_FAILED, actor, request_id=_request_id(request))


def current_request_id() -> str:
    """Return the id of the request that is being answered; empty where none is."""
    return _or_none(request_id.get())


@contextmanager
def _apart() -> Iterator[None]:
    using = router.db_for_write(AuditEntry)
    if connections[using].in_atomic_block:
        with transaction.atomic(using=using):
            yield
    else:
        yield


def _record(action: Action, name: str, request: HttpRequest | None) -> None:
    record(action, _actor(name, request), request_id=_request_id(request))


def _actor(name: str, request: HttpRequest | None) -> Actor:
    # Tests and shells log in without an address.
    if request is None or not request.META.get("REMOTE_ADDR"):
        return Actor("user", name)
    return Actor("user", name, str(client_of(request)))


def _request_id(request: HttpRequest | None) -> str:
    return current_request_id() if request is None else _or_none(request_id_of(request))


def _or_none(ident: str) -> str:
    return "" if ident == NO_REQUEST_ID else ident


def _find(model: Any, name: Any) -> Any:
    """Find whose name was given, as Django's backend does it."""
    if not isinstance(name, str) or not name or "\0" in name:
        return None
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        return None


def _is_staff(user: Any) -> bool:
    return bool(getattr(user, "is_staff", False))
