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
from pulse.envelope import WHOLE, request_id_of
from pulse.exceptions import (
    CooldownActive,
    InvalidEndpointId,
    InvalidFields,
    JobFinished,
    ProbeError,
    TooManyJobs,
    UnknownJob,
)
from pulse.probes import orders
from pulse.probes.jobs import Order, Starter
from pulse.probes.state import ProbeJob, Trigger

FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
FORM_FIELDS: Final = frozenset(
    {"schedule", "targets", "chosen", "everything", "csrfmiddlewaretoken"}
)


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
        raise Unreadable(invalid({WHOLE: [text]}))
    targets = tuple(dict.fromkeys(name for name in request.POST.getlist("targets") if name))
    if request.POST.get("chosen") and not targets:
        raise Unreadable(invalid({"targets": [_("Choose at least one target.")]}))
    return Order(schedule=request.POST.get("schedule", ""), targets=targets[: orders.MAX_TARGETS])


def starter_of(request: HttpRequest) -> Starter:
    """Say who starts."""
    asker = asker_of(request)
    trigger = Trigger.PAGE if asker.key_prefix is None else Trigger.API
    return Starter(asker.actor, trigger, request_id_of(request))


def attempt(act: Callable[[], ProbeJob]) -> ProbeJob | Refused:
    """Start, rerun or cancel, and tell a worker of it; or return the answer that says why not."""
    try:
        job = act()
    except (InvalidEndpointId, InvalidFields, ProbeError) as error:
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
            found = error if isinstance(error, InvalidFields) else orders.by_field(error)
            return invalid({WHOLE: [text]} if found is None else found.errors)


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
        raise Unreadable(invalid({WHOLE: [_("Write an object.")]}))
    try:
        return orders.order_of(found)
    except InvalidFields as error:
        raise Unreadable(invalid(error.errors)) from error
