"""What a client that starts a job asks for, read from a form or from JSON, and what it is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse import tasks
from pulse.access.principals import asker_of
from pulse.envelope import request_id_of
from pulse.exceptions import (
    CooldownActive,
    InvalidEndpointId,
    JobFinished,
    ProbeError,
    TooManyJobs,
    UnknownJob,
    UnknownSchedule,
)
from pulse.probes.jobs import Order, Starter
from pulse.probes.state import ProbeJob, Trigger

FIELDS: Final = frozenset({"schedule", "targets", "timeout_s", "deadline_s"})
FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
FORM_FIELDS: Final = frozenset(
    {"schedule", "targets", "chosen", "everything", "csrfmiddlewaretoken"}
)
MAX_TARGETS: Final = 10_000
#: Of one job, in seconds; the budget has the last word.
MAX_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing was started or cancelled, as an answer tells it.

    Attributes:
        errors: Texts by field, where a field is to blame.
    """

    status: HTTPStatus
    code: str
    detail: str
    retry_after_s: float | None = None
    errors: Mapping[str, list[str]] = field(default_factory=dict)


class Unreadable(Exception):
    """What was sent is no order, and why."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


def order_of(request: HttpRequest) -> Order:
    """Read what is to be started.

    Raises:
        Unreadable: It is none.
    """
    if request.content_type == "application/json":
        return _from_json(request.body)
    if request.content_type not in FORMS:
        text = _("Send JSON, or a form.")
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        raise Unreadable(Refused(status, "unsupported_media_type", text))
    # Everything is much: a form says so, and what it says otherwise is no way to ask for it.
    if unknown := sorted(request.POST.keys() - FORM_FIELDS):
        text = _("There is no such field.")
        raise Unreadable(invalid({name[:100]: [text] for name in unknown[:20]}))
    if not request.POST.keys() & {"schedule", "targets", "chosen", "everything"}:
        text = _("Say what is to be probed.")
        raise Unreadable(invalid({"non_field_errors": [text]}))
    targets = tuple(dict.fromkeys(name for name in request.POST.getlist("targets") if name))
    if request.POST.get("chosen") and not targets:
        raise Unreadable(invalid({"targets": [_("Choose at least one target.")]}))
    return Order(schedule=request.POST.get("schedule", ""), targets=targets[:MAX_TARGETS])


def starter_of(request: HttpRequest) -> Starter:
    """Say who starts."""
    asker = asker_of(request)
    trigger = Trigger.PAGE if asker.key_prefix is None else Trigger.API
    return Starter(asker.actor, trigger, request_id_of(request))


def attempt(act: Callable[[], ProbeJob]) -> ProbeJob | Refused:
    """Start, rerun or cancel, and tell a worker of it; or return the answer that says why not."""
    try:
        job = act()
    except (InvalidEndpointId, ProbeError) as error:
        return _refused(error)
    tasks.nudge()
    return job


def _refused(error: Exception) -> Refused:
    text = str(error)
    match error:
        case CooldownActive():
            wait_s = error.retry_after_s
            return Refused(HTTPStatus.TOO_MANY_REQUESTS, "cooldown", text, retry_after_s=wait_s)
        case TooManyJobs():
            return Refused(HTTPStatus.CONFLICT, "too_many_jobs", text)
        case JobFinished():
            return Refused(HTTPStatus.CONFLICT, "job_finished", text)
        case UnknownJob():
            return Refused(HTTPStatus.NOT_FOUND, "not_found", text)
        case _:
            field = "schedule" if isinstance(error, UnknownSchedule) else "targets"
            return invalid({field: [text]})


def invalid(errors: Mapping[str, list[str]]) -> Refused:
    """Say which fields are wrong; of one alone, what is wrong with it."""
    texts = [text for each in errors.values() for text in each]
    wrong = ngettext("%(count)d field is wrong.", "%(count)d fields are wrong.", len(errors))
    detail = texts[0] if len(texts) == 1 else wrong % {"count": len(errors)}
    return Refused(HTTPStatus.BAD_REQUEST, "invalid", detail, errors=errors)


def _from_json(body: bytes) -> Order:
    try:
        found: Any = json.loads(body or b"{}")
        # Half a character, which JSON can escape, is stored nowhere and shown nowhere.
        json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        text = _("The body is no JSON.")
        raise Unreadable(Refused(HTTPStatus.BAD_REQUEST, "parse_error", text)) from error
    if not isinstance(found, dict):
        raise Unreadable(invalid({"non_field_errors": [_("Write an object.")]}))
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
        raise Unreadable(invalid(errors))
    return Order(schedule=schedule, targets=tuple(dict.fromkeys(targets or ())), **times)


def _problem_of(targets: Any, schedule: Any) -> str:
    """Say why what was sent names no targets; empty where it does."""
    if not (isinstance(targets, list) and all(isinstance(name, str) for name in targets)):
        return _("Write a list of names.")
    if not targets:
        return _("Choose at least one target.")
    if len(targets) > MAX_TARGETS:
        return _("That is more than %d.") % MAX_TARGETS
    return _("Name either a schedule or targets.") if schedule else ""
