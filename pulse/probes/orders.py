"""What a client that starts a job asks for, read from JSON; one form of it for pages and API."""

from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.exceptions import (
    InvalidEndpointId,
    InvalidFields,
    UnknownSchedule,
    UnknownTarget,
)
from pulse.probes.jobs import Order

FIELDS: Final = ("schedule", "targets", "timeout_s", "deadline_s")
MAX_TARGETS: Final = 10_000
#: Of one job, in seconds; the budget has the last word.
MAX_S: Final = 24 * 3600
#: What a start raises where what it was asked for is not there, and which field named that.
BLAMED: Final[Mapping[type[Exception], str]] = {
    InvalidEndpointId: "targets",
    UnknownTarget: "targets",
    UnknownSchedule: "schedule",
}


def order_of(found: Mapping[str, Any]) -> Order:
    """Read an order; without a schedule and targets everything that is safe is meant.

    Raises:
        InvalidFields: It is none; each by its field.
    """
    errors: dict[str, list[str]] = {
        str(name): [_("There is no such field.")] for name in found if name not in FIELDS
    }
    schedule = found.get("schedule") or ""
    if not isinstance(schedule, str):
        errors["schedule"] = [_("Write a schedule's name.")]
    targets = found.get("targets")
    if targets is not None and (wrong := _problem_of(targets, schedule)):
        errors["targets"] = [wrong]
    times = {}
    for name in ("timeout_s", "deadline_s"):
        value = found.get(name)
        # A bool is an int to Python; written so that NaN is refused.
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_S
        ):
            errors[name] = [_("Write a number of seconds above 0, at most %d.") % MAX_S]
        times[name] = value
    if errors:
        raise InvalidFields(errors)
    return Order(schedule=schedule, targets=tuple(dict.fromkeys(targets or ())), **times)


def by_field(error: Exception) -> InvalidFields | None:
    """Return what a start refused by the field that is to blame; None where that is none's."""
    field = next((field for kind, field in BLAMED.items() if isinstance(error, kind)), None)
    return None if field is None else InvalidFields({field: [str(error)]})


def _problem_of(targets: Any, schedule: Any) -> str:
    """Say why what was sent names no targets; empty where it does."""
    if not (isinstance(targets, list) and all(isinstance(name, str) for name in targets)):
        return _("Write a list of names.")
    if not targets:
        return _("Choose at least one target.")
    if len(targets) > MAX_TARGETS:
        return _("That is more than %d.") % MAX_TARGETS
    return _("Name either a schedule or targets.") if schedule else ""
