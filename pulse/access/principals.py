"""Who asks: a session of the staff, or a key of the API."""

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from pulse.access import failures, keys
from pulse.access.models import ApiKey
from pulse.access.scopes import Scope, scopes_of, with_lower
from pulse.access.signals import key_failed
from pulse.core.clients import ClientAddress
from pulse.core.keys import START, bearer_of, prefix_of
from pulse.exceptions import KeyRefused
from pulse.logging import say
from pulse.policies.clients import client_of
from pulse.policies.publisher import Actor, database

logger = logging.getLogger(__name__)

#: The attribute of a request that keeps who was found.
FOUND: Final = "pulse_principal"
#: Of how many keys is remembered when this process last noted their use.
MAX_NOTED: Final = 10_000
MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do.

    Attributes:
        actor: As edits and the audit know them.
        scopes: All that they hold, the lower ones too; none for a user without permission.
        key_prefix: Of the key that was sent; None for a session.
        user: Of the session; None for a key.
    """

    actor: Actor
    scopes: frozenset[Scope]
    key_prefix: str | None = None
    user: Any = None

    def holds(self, scope: Scope) -> bool:
        """Whether a scope is theirs."""
        return scope in self.scopes


def principal_of(request: HttpRequest) -> Principal | None:
    """Find out who asks pulse for something; None for nobody.

    A key of pulse's goes before a session. Another Bearer token counts for nothing beside a
    session, as proxies that log people in add theirs to every request; alone it is a wrong key.
    Whom it finds it finds once in a request. Queries the database, and may sleep
    (``AUTH_DELAY_MS``): never called in an event loop.

    Raises:
        KeyRefused: A key came that does not count.
        TooManyFailures: Too many such keys came from the address.
    """
    known: dict[str, Principal | None] = vars(request)
    if FOUND not in known:
        known[FOUND] = _find(request)
    return known[FOUND]


def visitor_of(request: HttpRequest) -> Principal | None:
    """Return who was found to ask; on pages that ask nobody, whose session it is."""
    known: dict[str, Principal | None] = vars(request)
    return known[FOUND] if FOUND in known else _by_session(request)


def asker_of(request: HttpRequest) -> Principal:
    """Return whom a guard has let in."""
    found: Principal = vars(request)[FOUND]
    return found


def _find(request: HttpRequest) -> Principal | None:
    text = bearer_of(request.META.get("HTTP_AUTHORIZATION", ""))
    if text is None or not text.startswith(START):
        found = _by_session(request)
        if found is not None or text is None:
            return found
    return _by_key(request, text)


def _by_session(request: HttpRequest) -> Principal | None:
    user: Any = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    actor = Actor("user", user.get_username(), str(client_of(request)))
    return Principal(actor, scopes_of(user), user=user)


def _by_key(request: HttpRequest, text: str) -> Principal:
    client = client_of(request)
    try:
        failures.check(client.prefix)
        key = keys.authenticate(text)
    except KeyRefused as refused:
        _note_failure(request, text, client, refused.reason)
        failures.charge(client.prefix)
        failures.delay()
        raise
    _note_use(key)
    actor = Actor("api_key", key.name, str(client))
    return Principal(actor, with_lower(key.scopes), key_prefix=key.prefix)


def _note_failure(request: HttpRequest, text: str, client: ClientAddress, reason: str) -> None:
    """Tell of a key that does not count. The key is told to nobody, only how it names itself."""
    prefix = prefix_of(text) or ""
    say(logger, logging.WARNING, "A key from %s does not count: %s", client, reason)
    actor = Actor("api_key", prefix, str(client))
    key_failed.send_robust(
        sender=ApiKey, prefix=prefix, reason=reason, actor=actor, request=request
    )


class _Noted:
    """Which minute of use of which key this process has written."""

    def __init__(self) -> None:
        self._minutes: OrderedDict[int, int] = OrderedDict()

    def is_new(self, pk: int, minute: int) -> bool:
        """Whether a minute is the first of a key's use, and note that it was asked."""
        if self._minutes.get(pk) == minute:
            return False
        self._minutes[pk] = minute
        self._minutes.move_to_end(pk)
        if len(self._minutes) > MAX_NOTED:
            self._minutes.popitem(last=False)
        return True

    def clear(self) -> None:
        self._minutes.clear()


_noted: Final = _Noted()


def forget() -> None:
    """Have noted no use of any key, as a process that has just started."""
    _noted.clear()


def _note_use(key: ApiKey) -> None:
    """Write down the minute in which a key was used, once in it and process.

    Where a request is one transaction, only after it: an edit locks the policy's state before
    it locks a key, and who went the other way about would meet it in a deadlock.
    """
    if not _noted.is_new(key.pk, int(time.time()) // MINUTE_S):
        return
    using = database()
    minute = timezone.now().replace(second=0, microsecond=0)

    def write() -> None:
        unused = Q(last_used_at=None) | Q(last_used_at__lt=minute)
        try:
            ApiKey.objects.using(using).filter(unused, pk=key.pk).update(last_used_at=minute)
        except DatabaseError as error:
            say(logger, logging.WARNING, "The use of a key cannot be noted: %s", error)

    transaction.on_commit(write, using=using, robust=True)
