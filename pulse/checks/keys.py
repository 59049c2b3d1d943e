"""Whether the keys of the API, and the host's own way of logging in, are what lasts."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import DatabaseError, connections
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.checks.findings import found, one_of

#: A key that counts for longer than this was made to be forgotten.
LONG: Final = timedelta(days=366)
SOON: Final = timedelta(days=14)
BASIC: Final = "rest_framework.authentication.BasicAuthentication"
#: Keys that are named by one finding.
MAX_NAMED: Final = 5


def check_keys(alias: str) -> Iterator[CheckMessage]:
    """Look at the keys that count: for how long they do. Two queries."""
    now = timezone.now()
    try:
        if ApiKey._meta.db_table not in connections[alias].introspection.table_names():
            return
        rows = list(ApiKey.objects.using(alias).filter(revoked_at=None).order_by("prefix"))
    except DatabaseError:
        return
    live = [row for row in rows if keys.is_live(row, now)]
    long = [row for row in live if row.expires_at is None or row.expires_at > now + LONG]
    soon = [row for row in live if row.expires_at is not None and row.expires_at <= now + SOON]
    if long:
        yield found("W130", names=_named(long), prefix=long[0].prefix)
    if soon:
        yield found("W131", names=_named(soon), prefix=soon[0].prefix)


def check_basic() -> Iterator[CheckMessage]:
    """See whether the host's API sends a password with every request, and takes nothing else."""
    given: Any = getattr(settings, "REST_FRAMEWORK", {})
    classes = given.get("DEFAULT_AUTHENTICATION_CLASSES") if isinstance(given, dict) else None
    if isinstance(classes, list | tuple) and list(classes) == [BASIC]:
        yield found("W132")


def _named(rows: list[ApiKey]) -> str:
    names = [f"{row.prefix} ({row.name})" for row in rows[:MAX_NAMED]]
    more = [f"{len(rows) - MAX_NAMED} more"] if len(rows) > MAX_NAMED else []
    return one_of([*names, *more])
