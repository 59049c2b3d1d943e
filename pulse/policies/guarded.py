"""A guard: the budget of refusals that a revision is published with."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models.functions import Now
from django.utils.translation import gettext as _

from pulse.exceptions import InvalidDocument
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

    The database's clock says until when: no process has to have the right time.
    """
    begun = PolicyGuard.objects.using(using).create(
        revision=revision,
        refusals=guard.refusals,
        minutes=guard.minutes,
        until_at=Now() + timedelta(minutes=guard.minutes),
    )
    begun.refresh_from_db(fields=["until_at"])
    return begun


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
