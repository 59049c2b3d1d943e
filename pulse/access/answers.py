"""Answers that are kept for a day, so that a request that is sent again does nothing again.

Whoever comes first claims the request; who comes meanwhile is told so, and who comes later is told
the same answer. A claim is a committed row: it holds between processes. That of a process which
was killed is free again after a time, so what it had done by then may be done twice.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from pulse.access.models import StoredAnswer
from pulse.exceptions import RequestMismatch, RequestRunning
from pulse.logging import say
from pulse.policies.publisher import database

logger = logging.getLogger(__name__)

KEPT: Final = timedelta(hours=24)
#: Far longer than any answer takes.
RUNNING: Final = timedelta(minutes=2)
#: Who loses a race so often meets a row that is deleted as fast as it is made.
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is this process's to answer.

    Attributes:
        pk: Of its row.
        at: Since when: who has claimed it after that is another.
    """

    pk: int
    at: datetime


def claim(digest: str, body_digest: str) -> Claim | StoredAnswer:
    """Claim a request, or find what was answered to it.

    Args:
        digest: Of what makes two requests the same.
        body_digest: Of what was sent.

    Raises:
        RequestRunning: Another is being answered.
        RequestMismatch: Something else was sent under this digest.
    """
    using = database()
    rows = StoredAnswer.objects.using(using).filter(digest=digest)
    for _attempt in range(ATTEMPTS):
        now = timezone.now()
        try:
            with transaction.atomic(using=using):
                made = StoredAnswer.objects.using(using).create(
                    digest=digest, body_digest=body_digest, created_at=now
                )
        except IntegrityError:
            known = rows.first()
            if known is None:
                continue
            if not _is_over(known, now):
                return _told(known, body_digest)
            # Another may take it over in this very moment: one of the two.
            taken = rows.filter(pk=known.pk, created_at=known.created_at).update(
                body_digest=body_digest, status=None, headers={}, body="", created_at=now
            )
            if taken:
                return Claim(known.pk, now)
        else:
            return Claim(made.pk, now)
    raise RequestRunning


def keep(claim: Claim, status: int, headers: Mapping[str, str], body: str) -> None:
    """Keep the answer to a request; a database that is gone leaves the claim to run out."""
    try:
        _mine(claim).update(status=status, headers=dict(headers), body=body)
    except DatabaseError as error:
        say(logger, logging.WARNING, "An answer cannot be kept for repetition: %s", error)


def release(claim: Claim) -> None:
    """Let the request be sent again, as nothing came of it."""
    try:
        _mine(claim).delete()
    except DatabaseError as error:
        say(logger, logging.WARNING, "A claim runs out by itself only: %s", error)


def too_old(now: datetime, using: str) -> QuerySet[Any]:
    """Select what nobody can ask for any more."""
    return StoredAnswer.objects.using(using).filter(created_at__lt=now - KEPT)


def _told(known: StoredAnswer, body_digest: str) -> StoredAnswer:
    if known.body_digest != body_digest:
        raise RequestMismatch
    if known.status is None:
        raise RequestRunning
    return known


def _is_over(known: StoredAnswer, now: datetime) -> bool:
    return known.created_at < now - (RUNNING if known.status is None else KEPT)


def _mine(claim: Claim) -> QuerySet[StoredAnswer]:
    """Select the row of a claim, unless another has taken it over."""
    return StoredAnswer.objects.using(database()).filter(pk=claim.pk, created_at=claim.at)
