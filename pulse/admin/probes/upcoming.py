"""What comes next of a schedule or a window, as it is being written: JSON for the form's script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _

from pulse.core.schedules import make_schedule, next_runs, parse_cron
from pulse.core.windows import make_window, next_openings, opening_at
from pulse.exceptions import InvalidSchedule, InvalidWindow

COUNT: Final = 5
#: The longest text of a field that is looked at; forms refuse longer ones too.
MAX_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What comes next, in words; or why nothing does."""

    moments: Sequence[str] = ()
    problem: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        """As the script reads it."""
        return {"moments": list(self.moments), "problem": self.problem}


def runs_of(*, name: str, every: str, cron: str, time_zone: str, now: float) -> Upcoming:
    """Say when a schedule runs next, in its own time zone.

    Args:
        name: Decides where in an interval it runs; without one that is not known yet.
        every: As the form has it; empty for cron.
        cron: Likewise.
        time_zone: Of cron.
        now: Epoch seconds.
    """
    if not every and not cron:
        return Upcoming(problem=_("Write an interval or a cron expression."))
    if every and cron:
        return Upcoming(problem=_("Write either an interval or a cron expression."))
    try:
        schedule = make_schedule(name, every=every, cron=cron, time_zone=time_zone)
        slots = next_runs(schedule, now, COUNT)
    except InvalidSchedule as error:
        return Upcoming(problem=str(error))
    return Upcoming([_say(slot, now, _zone(time_zone if cron else "")) for slot in slots])


def openings_of(
    *, name: str, cron: str, time_zone: str, duration_s: int | None, now: float
) -> Upcoming:
    """Say when a window opens next that opens again and again; the open one is told first."""
    if not cron:
        return Upcoming()
    try:
        parse_cron(cron)
        if duration_s is None:
            return Upcoming(problem=_("Say for how long it opens."))
        window = make_window(name, cron=cron, time_zone=time_zone, duration_s=duration_s)
        openings = next_openings(window, now, COUNT)
        current = opening_at(window, now)
    except (InvalidSchedule, InvalidWindow) as error:
        return Upcoming(problem=str(error))
    zone = _zone(time_zone)
    told = [
        _("%(start)s until %(end)s, in %(ahead)s")
        % {
            "start": _clock(opening.starts_s, zone),
            "end": _clock(opening.ends_s, zone),
            "ahead": _ahead(opening.starts_s, now),
        }
        for opening in openings
    ]
    if current is not None:
        told.insert(0, _("open now, until %s") % _clock(current.ends_s, zone))
    return Upcoming(told)


def answer(upcoming: Upcoming, *, may_view: bool) -> JsonResponse:
    """Answer the form's script; nothing is stored anywhere."""
    if not may_view:
        raise PermissionDenied
    return JsonResponse(upcoming.payload)


def texts_of(request: HttpRequest, *names: str) -> dict[str, str]:
    """Read the fields of a form from a query, no longer than forms take them."""
    return {name: request.GET.get(name, "")[:MAX_TEXT].strip() for name in names}


def render(upcoming: Upcoming, address: str) -> SafeString:
    """Write what comes next; the script keeps it true while one types."""
    rows = format_html_join("", "<li>{}</li>", ((text,) for text in upcoming.moments))
    return format_html(
        '<div class="pulse-upcoming" data-pulse="upcoming" data-address="{}">'
        '<p class="pulse-is-error">{}</p><ol>{}</ol></div>',
        address,
        upcoming.problem,
        rows,
    )


def watch(fields: Mapping[str, Any], *names: str) -> None:
    """Mark the fields that decide what comes next, for the script to watch."""
    for name in names:
        if name in fields:
            fields[name].widget.attrs["data-pulse-upcoming"] = name


def _say(epoch_s: float, now: float, zone: Any) -> str:
    moment = datetime.fromtimestamp(epoch_s, UTC).astimezone(zone)
    return _("%(time)s %(zone)s, in %(ahead)s") % {
        "time": date_format(moment, "D j M Y, H:i:s"),
        "zone": moment.tzname(),
        "ahead": _ahead(epoch_s, now),
    }


def _ahead(epoch_s: float, now: float) -> str:
    if epoch_s - now < 60:
        return _("%d s") % max(1, round(epoch_s - now))
    ahead = timeuntil(datetime.fromtimestamp(epoch_s, UTC), datetime.fromtimestamp(now, UTC))
    return str(ahead)


def _clock(epoch_s: float, zone: Any) -> str:
    moment = datetime.fromtimestamp(epoch_s, UTC).astimezone(zone)
    return f"{date_format(moment, 'D j M Y, H:i')} {moment.tzname()}"


def _zone(name: str) -> Any:
    return ZoneInfo(name) if name else timezone.get_current_timezone()
