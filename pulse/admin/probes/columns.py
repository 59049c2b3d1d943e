"""How targets, schedules, jobs and workers stand: a shape, a word and a colour for each state."""

from datetime import datetime
from typing import Any, Final

from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _

from pulse.probes.state import ItemState, JobStatus, ScheduleState, TargetStatus

MET: Final = "✓"
MISSED: Final = "✕"
#: A shape and a colour beside each word.
GOOD, WARN, BAD, NEUTRAL = "good", "warn", "bad", "neutral"
LOOKS: Final = {
    TargetStatus.UP: ("●", GOOD),
    TargetStatus.DEGRADED: ("◐", WARN),
    TargetStatus.DOWN: ("✕", BAD),
    TargetStatus.MAINTENANCE: ("◇", NEUTRAL),
    TargetStatus.NOT_WATCHED: ("○", NEUTRAL),
    JobStatus.QUEUED: ("○", NEUTRAL),
    JobStatus.RUNNING: ("◔", WARN),
    JobStatus.COMPLETED: ("●", GOOD),
    JobStatus.TIMEOUT: ("◷", BAD),
    JobStatus.FAILED: ("✕", BAD),
    JobStatus.CANCELLED: ("⊘", NEUTRAL),
    ItemState.OK: ("●", GOOD),
    ItemState.DEGRADED: ("◐", WARN),
    ItemState.LOST: ("?", BAD),
    ScheduleState.IDLE: ("○", NEUTRAL),
    ScheduleState.CLAIMED: ("◔", WARN),
    ScheduleState.QUARANTINED: ("✕", BAD),
}


def state_badge(state: Any, title: str = "") -> SafeString:
    """Write a state as shape, word and colour; a state that there is not as it is."""
    shape, look = LOOKS.get(state, ("?", NEUTRAL))
    return format_html(
        '<span class="pulse-mode pulse-state-{}" title="{}"><span aria-hidden="true">{}</span> '
        "{}</span>",
        look,
        title,
        shape,
        getattr(state, "label", state),
    )


def quiet(text: Any) -> SafeString:
    """Write what is less important."""
    return format_html('<span class="pulse-quiet">{}</span>', text)


def since(moment: datetime) -> SafeString:
    """Say how long ago something was, and exactly when where one points at it."""
    seconds = round((timezone.now() - moment).total_seconds())
    ago = _("%d s") % max(0, seconds) if seconds < 60 else timesince(moment, depth=1)
    return _told(moment, _("%s ago") % ago)


def until(moment: datetime) -> SafeString:
    """Say when something will be, and exactly when where one points at it."""
    seconds = round((moment - timezone.now()).total_seconds())
    if seconds <= 0:
        return _told(moment, _("now"))
    ahead = _("%d s") % seconds if seconds < 60 else timeuntil(moment, depth=1)
    return _told(moment, _("in %s") % ahead)


def say_moment(moment: datetime) -> str:
    """Write a time briefly, in the zone of the person who looks."""
    return str(date_format(timezone.localtime(moment), "D j M Y, H:i:s"))


def link(text: Any, name: str, *arguments: Any, site: str | None = None) -> SafeString:
    """Lead to a page, where it is mounted; else the text alone."""
    try:
        address = reverse(name, args=arguments, current_app=site)
    except NoReverseMatch:
        return format_html("{}", text)
    return format_html('<a href="{}">{}</a>', address, text)


def _told(moment: datetime, text: str) -> SafeString:
    exact = say_moment(moment)
    return format_html('<span class="pulse-nowrap" title="{}">{}</span>', exact, text)
