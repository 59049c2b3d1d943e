"""A guard: the budget of refusals that a revision is published with."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.core.document import key_of
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds, watched
from pulse.policies.models import PolicyRevision
from pulse.policies.state import PolicyGuard

REFUSALS: Final = "guard_refusals"
MINUTES: Final = "guard_minutes"
MOST_REFUSALS: Final = 1_000_000_000
#: Whoever wants to be warned for longer than a day wants an alert.
MOST_MINUTES: Final = 24 * 60
DEFAULT_MINUTES: Final = 10


@dataclass(frozen=True, slots=True)
class Guard:
    """So many refusals within so many minutes are borne; one more undoes the revision.

    Raises:
        InvalidDocument: A number is out of its bounds.
    """

    refusals: int
    minutes: int = DEFAULT_MINUTES

    def __post_init__(self) -> None:
        errors = {
            name: [_("Write a whole number from 1 to %d.") % most]
            for name, value, most in (
                (REFUSALS, self.refusals, MOST_REFUSALS),
                (MINUTES, self.minutes, MOST_MINUTES),
            )
            if not 1 <= value <= most
        }
        if errors:
            raise InvalidDocument(errors)


def read_guard(refusals: str | int | None, minutes: str | int | None) -> Guard | None:
    """Read a guard as it is written in a query, a form or on a command line.

    Args:
        refusals: The budget; None or empty for no guard.
        minutes: For how long; None or empty for ten.

    Raises:
        InvalidDocument: It is no guard; each error by ``guard_refusals`` or ``guard_minutes``.
    """
    if refusals in (None, ""):
        if minutes in (None, ""):
            return None
        raise InvalidDocument({REFUSALS: [_("Say how many refusals are borne for that long.")]})
    return Guard(_number(refusals), DEFAULT_MINUTES if minutes in (None, "") else _number(minutes))


def begin(revision: PolicyRevision, guard: Guard, using: str) -> PolicyGuard:
    """Have a revision watched, from its own transaction on.

    The database's clock says until when: no process has to have the right time. What the revision
    schedules for later is watched for as long after its start.
    """
    starts_at = last_start(revision)
    begins = Now() if starts_at is None or starts_at <= timezone.now() else starts_at
    begun = PolicyGuard.objects.using(using).create(
        revision=revision,
        refusals=guard.refusals,
        minutes=guard.minutes,
        until_at=begins + timedelta(minutes=guard.minutes),
    )
    begun.refresh_from_db(fields=["until_at"])
    return begun


def last_start(revision: PolicyRevision) -> datetime | None:
    """Return when the last of what a revision changed starts, if any of it is scheduled."""
    starts: list[datetime] = []
    for change in revision.changes:
        kind = kinds.find_kind(change["kind"])
        names = kind.key if kind and change["kind"] in watched.KINDS else ()
        starts += [
            datetime.fromisoformat(item["starts_at"])
            for item in revision.document.get(change["kind"], ())
            if item.get("starts_at") and names and key_of(item, names) == change["key"]
        ]
    return max(starts, default=None)


def guard_of(revision: PolicyRevision) -> PolicyGuard | None:
    """Return what a revision was published with; ask for ``select_related("guard")`` in lists."""
    return getattr(revision, "guard", None)


def as_dict(guard: PolicyGuard | None) -> dict[str, Any] | None:
    """Return the ``guard`` of a revision, as the wire contract has it but for the time's form."""
    if guard is None:
        return None
    return {
        "refusals": guard.refusals,
        "minutes": guard.minutes,
        "until_at": guard.until_at,
        "seen": guard.seen,
        "state": guard.state,
    }


def _number(value: str | int | None) -> int:
    """Read a whole number; what is none is out of all bounds."""
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
