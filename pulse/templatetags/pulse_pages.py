"""How pages write statuses, times, durations and shares."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Any, Final

from django import template
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.timezone import localtime
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pulse.policies import kinds
from pulse.probes.state import ItemState, JobStatus, TargetStatus
from pulse.probes.summary.history import BARS, Bar

register = template.Library()

#: How good each word is, which gives it its colour and its shape.
KINDS: Final = {
    "up": "good",
    "ok": "good",
    "completed": "good",
    "operational": "good",
    "degraded": "slow",
    "down": "bad",
    "failed": "bad",
    "timeout": "bad",
    "lost": "bad",
    "outage": "bad",
    "maintenance": "calm",
    "running": "calm",
    "queued": "none",
    "cancelled": "none",
    "not_watched": "none",
    "allowed": "good",
    "passed": "good",
    "refused": "bad",
    "would_refuse": "slow",
    "exempt": "calm",
    "not_matched": "none",
    "off": "none",
    "enforced": "good",
    "shadow": "calm",
    "scheduled": "none",
    "ended": "none",
    "expiring": "slow",
}
#: Drawn in a square of 16, so that no status is told by its colour alone.
SHAPES: Final = {
    "good": '<circle cx="8" cy="8" r="6"/>',
    "slow": '<path d="M8 1.5 15 14H1z"/>',
    "bad": (
        '<path d="M2 4.5 4.5 2 8 5.5 11.5 2 14 4.5 10.5 8 14 11.5 11.5 14 8 10.5 4.5 14 2 11.5'
        ' 5.5 8z"/>'
    ),
    "calm": '<path d="M8 1 15 8 8 15 1 8z"/>',
    "none": '<circle cx="8" cy="8" r="5" fill="none" stroke="currentColor" stroke-width="2"/>',
}
WORDS: Final = {
    **{choice.value: choice.label for choice in TargetStatus},
    **{choice.value: choice.label for choice in ItemState},
    **{choice.value: choice.label for choice in JobStatus},
    "operational": _("operational"),
    "outage": _("outage"),
    "allowed": _("allowed"),
    "passed": _("passed"),
    "refused": _("refused"),
    "would_refuse": _("would refuse"),
    "exempt": _("exempt"),
    "not_matched": _("not for it"),
    "off": _("off"),
    "enforced": _("in force"),
    "shadow": _("in shadow"),
    "scheduled": _("to come"),
    "ended": _("over"),
}
PHASES: Final = {
    "dns": _("look-up"),
    "connect": _("connection"),
    "tls": _("TLS"),
    "first_byte": _("first byte"),
    "body": _("rest of the answer"),
}
#: The height of a bar, of 20: trouble stands out in any colour, and in none.
HEIGHTS: Final = {"good": 12, "slow": 16, "bad": 20, "calm": 8, "none": 4}
#: From this share on, in percent, a limit is close to refusing.
NEAR: Final = 80
#: Stands for what was not measured.
NOTHING: Final = "\N{EN DASH}"
BAR_WIDTH: Final = 4
BAR_HEIGHT: Final = 20


@register.simple_tag
def status(word: str, text: str = "") -> SafeString:
    """Write a status: a shape, its word, and a colour that both share."""
    kind = KINDS.get(word, "none")
    return format_html(
        '<span class="status status-{}">{}<span>{}</span></span>',
        kind,
        _shape(kind),
        text or WORDS.get(word, word),
    )


@register.simple_tag
def shape(word: str) -> SafeString:
    """Write the shape of a status alone; its word stands beside it."""
    kind = KINDS.get(word, "none")
    return format_html('<span class="status status-{}">{}</span>', kind, _shape(kind))


@register.filter
def kind(word: str) -> str:
    """Return how good a status is: ``good slow bad calm none``."""
    return KINDS.get(word, "none")


@register.filter
def at_key(mapping: Mapping[str, Any], key: str) -> Any:
    """Return what a mapping has for a key; None for nothing."""
    return mapping.get(key)


@register.filter
def json(value: object) -> str:
    """Write a value as JSON, on one line."""
    return dumps(value, ensure_ascii=False, cls=DjangoJSONEncoder)


@register.filter
def phase(name: str) -> Any:
    """Return a phase of a probe in words."""
    return PHASES.get(name, name)


@register.filter
def words(word: str) -> Any:
    """Return a status in words."""
    return WORDS.get(word, word)


@register.filter
def kind_words(name: str, number: int = 1) -> str:
    """Return what rows of a kind of the document are called; the name of one that has no rows."""
    found = kinds.find_kind(name)
    if found is None:
        return name
    meta = found.model._meta
    return str(meta.verbose_name if number == 1 else meta.verbose_name_plural)


@register.filter
def time_of(text: str | None) -> datetime | None:
    """Read a time as the API writes it."""
    return None if text is None else datetime.fromisoformat(text)


@register.simple_tag
def meter(limit: Mapping[str, Any]) -> SafeString:
    """Draw what is left of a limit as a bar, with the same in words.

    Args:
        limit: As an explanation tells it: ``rate limit remaining retry_after passed``.
    """
    left, capacity = limit["remaining"], limit["limit"]
    wait = __("; again in %s") % duration(limit["retry_after"]) if limit["retry_after"] else ""
    told = __("%(left)s of %(limit)s left") % {
        "left": number_format(left, use_l10n=True, force_grouping=True),
        "limit": number_format(capacity, use_l10n=True, force_grouping=True),
    }
    return format_html(
        '<div class="meter"><code>{}</code> <span>{}{}</span>'
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-{}" width="{}" height="8"/></svg></div>',
        limit["rate"],
        told,
        wait,
        "good" if limit["passed"] else "bad",
        max(0, min(100, round(100 * left / capacity))) if capacity else 0,
    )


@register.simple_tag
def peak(share: float | None) -> SafeString | str:
    """Draw how much of a limit was used at most, with the same in words."""
    if share is None:
        return NOTHING
    used = max(0, min(100, math.floor(share * 100)))
    return format_html(
        '<div class="meter"><span>{}</span>'
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-{}" width="{}" height="8"/></svg></div>',
        __("%d %%") % used,
        "bad" if used == 100 else "slow" if used >= NEAR else "good",
        used,
    )


@register.simple_tag
def moment(at: datetime | None, form: str = "full") -> SafeString | str:
    """Write a time in the site's zone; in UTC for machines.

    Args:
        at: When; a dash for None.
        form: ``full``, ``time`` of day, or ``day``.
    """
    if at is None:
        return NOTHING
    here = localtime(at)
    today = localtime().date()
    if form == "day":
        text = date_format(here, "SHORT_DATE_FORMAT")
    elif form == "time" or here.date() == today:
        text = date_format(here, "H:i:s")
    else:
        text = f"{date_format(here, 'SHORT_DATE_FORMAT')} {date_format(here, 'H:i')}"
    utc = at.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    return format_html('<time datetime="{}" title="{}">{}</time>', utc, utc, text)


@register.filter
def ms(value: float | None) -> str:
    """Write a latency in milliseconds with as many digits as tell something."""
    if value is None:
        return NOTHING
    if value >= 10_000:
        return __("%s s") % number_format(value / 1000, 1)
    if value >= 1000:
        return __("%s s") % number_format(value / 1000, 2)
    return __("%s ms") % number_format(value, 1 if value < 10 else 0)


@register.filter
def percent(share: float | None) -> str:
    """Write a share of 0 to 1; never as 100 % what is less."""
    if share is None:
        return NOTHING
    hundredths = math.floor(share * 10_000)
    return __("%s %%") % number_format(hundredths / 100, 0 if hundredths in {0, 10_000} else 2)


@register.filter
def duration(value: float | timedelta | None) -> str:
    """Write seconds, or a timedelta, in the two largest units that it has."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 1:
        return ms(seconds * 1000)
    if seconds < 10:
        return __("%s s") % number_format(max(seconds, 0.0), 1 if seconds > 0 else 0)
    whole = round(seconds)
    units = ((86_400, __("%d d")), (3600, __("%d h")), (60, __("%d min")), (1, __("%d s")))
    told: list[str] = []
    for size, text in units:
        number, whole = divmod(whole, size)
        if number or told:
            told.append(text % number if number else "")
        if len(told) == 2:
            break
    return " ".join(filter(None, told))


@register.filter
def bytes_of(value: int | None) -> str:
    """Write a number of bytes."""
    if value is None:
        return NOTHING
    if value < 1024:
        return __("%d B") % value
    if value < 2**20:
        return __("%s KB") % number_format(value / 1024, 1)
    return __("%s MB") % number_format(value / 2**20, 1)


@register.simple_tag
def bars(found: Iterable[Bar]) -> SafeString:
    """Draw the newest results as bars, newest to the right, with the same in words.

    One path for each kind, not an element for each bar: a list has three thousand of them.
    """
    found = list(found)[-BARS:]
    start = BARS - len(found)
    paths: dict[str, list[str]] = {}
    for place, bar in enumerate(found):
        kind = KINDS.get(bar.state, "none")
        height = HEIGHTS[kind]
        paths.setdefault(kind, []).append(
            f"M{(start + place) * BAR_WIDTH} {BAR_HEIGHT - height}h3v{height}h-3z"
        )
    drawn = [
        format_html('<path class="bar-{}" d="{}"/>', kind, "".join(each))
        for kind, each in paths.items()
    ]
    if start:
        empty = "".join(f"M{place * BAR_WIDTH} {BAR_HEIGHT - 2}h3v2h-3z" for place in range(start))
        drawn.append(format_html('<path class="bar-empty" d="{}"/>', empty))
    return format_html(
        '<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'preserveAspectRatio="none">{}</svg>',
        BARS * BAR_WIDTH - 1,
        BAR_HEIGHT,
        bars_in_words(found),
        mark_safe("".join(drawn)),  # noqa: S308 - each part was escaped
    )


def bars_in_words(found: Iterable[Bar]) -> str:
    """Say what bars show."""
    counted: dict[str, int] = {}
    newest = ""
    for bar in found:
        counted[bar.state] = counted.get(bar.state, 0) + 1
        newest = bar.state
    if not counted:
        return __("No result yet")
    number = sum(counted.values())
    parts = ", ".join(f"{count} {WORDS.get(state, state)}" for state, count in counted.items())
    text = ngettext("Last result: %(parts)s", "Last %(count)d results: %(parts)s", number)
    told = text % {"count": number, "parts": parts}
    return __("%(told)s; the newest is %(newest)s") % {
        "told": told,
        "newest": WORDS.get(newest, newest),
    }


def _shape(kind: str) -> SafeString:
    return format_html(
        '<svg class="shape" viewBox="0 0 16 16" aria-hidden="true" fill="currentColor">{}</svg>',
        mark_safe(SHAPES[kind]),  # noqa: S308 - a constant
    )
