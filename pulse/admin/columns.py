"""What the lists show: modes, rates, and what was refused of late."""
# ruff: noqa: ARG002 - the signatures are Django's

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.contrib import admin
from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.exceptions import InvalidQuota, StoreError
from pulse.policies import kinds, words
from pulse.policies.bases import ModeChoices
from pulse.policies.headroom import UNUSED, Headroom, headroom_of_rules

logger = logging.getLogger(__name__)

NONE: Final = "-"
#: A shape for each mode beside its word and colour.
SHAPES: Final = {ModeChoices.ENFORCE: "●", ModeChoices.SHADOW: "◐", ModeChoices.OFF: "○"}


def column(
    name: Any, *, ordering: str | None = None
) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], SafeString]]:
    """Make a method a column of a list, each cell of which brings the column's name along.

    Where a table finds no room its rows are cards, without a heading above the cells; elsewhere
    the name in the cell is not shown.
    """

    def make(show: Callable[[Any, Any], Any]) -> Callable[[Any, Any], SafeString]:
        @admin.display(description=name, ordering=ordering)
        @wraps(show)
        def cell(self: Any, row: Any) -> SafeString:
            label = '<span class="pulse-label">{}: </span>{}'
            return format_html(label, capfirst(str(name)), show(self, row))

        return cell

    return make


def mode_badge(mode: str, percent: int = 100) -> SafeString:
    """Write a mode as shape, word and colour, and the share where it is not all."""
    share = format_html(' <span class="pulse-share">{} %</span>', percent) if percent < 100 else ""
    return format_html(
        '<span class="pulse-mode pulse-mode-{}"><span aria-hidden="true">{}</span> {}{}</span>',
        mode,
        SHAPES.get(ModeChoices(mode), ""),
        ModeChoices(mode).label,
        share,
    )


def sentence(row: Any) -> str:
    """Say what a row does; queries nothing where its limits are prefetched."""
    kind = kinds.kind_of(type(row))
    return "" if kind is None else words.describe(kind.name, kind.to_item(row))


def limit_words(limit: Any, *, wait: bool = False) -> str:
    """Say what one limit allows; empty while it is none."""
    try:
        return words.say_quota(limit.quota, wait=wait)
    except InvalidQuota:
        return ""


def say_rates(row: Any) -> SafeString:
    """List the rates of a row, or name the tier that it takes them from."""
    limits = list(row.limits.all())
    if not limits:
        tier = getattr(row, "tier", None)
        return format_html("{}", __("as tier %s") % tier if tier else NONE)
    return format_html_join(
        mark_safe("<br>"),
        '<code class="pulse-nowrap" title="{}">{}</code>',
        ((limit_words(limit, wait=True), _short(limit)) for limit in limits),
    )


class PolicyColumns:
    """Columns that every list of policies shares."""

    @admin.display(description=_("mode"), ordering="mode")
    def mode_column(self, row: Any) -> SafeString:
        """Tell the mode, and the time that it waits for or is past."""
        badge = mode_badge(row.mode, getattr(row, "percent", 100))
        now = timezone.now()
        if row.ends_at and row.ends_at <= now:
            told = __("✕ expired %s") % _say(row.ends_at)
        elif row.starts_at and row.starts_at > now:
            told = __("◷ from %s") % _say(row.starts_at)
        elif row.ends_at:
            told = __("◷ until %s") % _say(row.ends_at)
        else:
            return badge
        return format_html('{}<br><span class="pulse-time">{}</span>', badge, told)

    @admin.display(description=_("what it does"))
    def words_column(self, row: Any) -> SafeString:
        """Say what it does."""
        return format_html('<span class="pulse-words">{}</span>', sentence(row))

    @column(_("updated"), ordering="updated_at")
    def updated_column(self, row: Any) -> SafeString:
        """Tell how long ago it was changed last."""
        ago = __("%s ago") % timesince(row.updated_at, depth=1)
        return format_html('<span title="{}">{}</span>', _say(row.updated_at), ago)


class LimitColumns(PolicyColumns):
    """Columns of rules that can refuse."""

    @column(_("limits"))
    def limits_column(self, row: Any) -> SafeString:
        """List the rates."""
        return say_rates(row)

    @column(_("last 24 h"))
    def refused_column(self, row: Any) -> SafeString:
        """Tell how much it refused in a day, or would have, and how close clients came to it."""
        day: Headroom | None = getattr(row, "last_day", None)
        if day is None:
            return format_html('<span class="pulse-quiet">{}</span>', __("not known"))
        return format_html(
            "{}<br>{}{}",
            _count(day.refused, __("refused")),
            _count(day.would_refuse, __("would refuse")),
            "" if day.peak is None else _peak(day.peak),
        )


def add_refusals(rows: list[Any]) -> None:
    """Give each row its last day, by one reading of the counters."""
    try:
        day = headroom_of_rules()
    except StoreError as error:
        logger.warning("What was refused of late cannot be read: %s", error)
        return
    for row in rows:
        kind = kinds.kind_of(type(row))
        # A rule is counted under its natural key.
        key = " ".join(str(getattr(row, name)) for name in kind.key) if kind else ""
        rule = f"{kind.name if kind else ''}:{key}"
        row.last_day = day.get(rule, UNUSED)


class StateFilter(admin.SimpleListFilter):
    """In force now, later, or no longer."""

    title = _("time")
    parameter_name = "time"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the states."""
        return [("now", _("In force")), ("later", _("Scheduled")), ("past", _("Expired"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave the rows of the state that is chosen."""
        now = timezone.now()
        started = Q(starts_at__isnull=True) | Q(starts_at__lte=now)
        lasts = Q(ends_at__isnull=True) | Q(ends_at__gt=now)
        states = {
            "now": started & lasts,
            "later": Q(starts_at__gt=now) & lasts,
            "past": Q(ends_at__lte=now),
        }
        found = states.get(self.value() or "")
        return queryset if found is None else queryset.filter(found)


class KeyFilter(admin.SimpleListFilter):
    """What an endpoint limit counts by."""

    title = _("counted by")
    parameter_name = "counted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the sources."""
        return [(name, name) for name in ("client", "ip", "user", "header", "global")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Leave the rows whose key has the source among its parts."""
        value = self.value()
        if value not in {"client", "ip", "user", "header", "global"}:
            return queryset
        # No database function for JSON lists is the same everywhere; the text of one is.
        part = f'"{value}:' if value == "header" else f'"{value}"'
        return queryset.annotate(_key=Cast(F("key"), TextField())).filter(_key__contains=part)


def _short(limit: Any) -> str:
    if limit.algorithm == "fixed_window":
        return __("%s window") % str(limit.rate)
    return f"{limit.rate} ({limit.burst})" if limit.burst else f"{limit.rate}"


def _count(number: int, verb: str) -> SafeString:
    name = "pulse-counted" if number else "pulse-quiet"
    return format_html('<span class="pulse-nowrap {}">{} {}</span>', name, f"{number:,}", verb)


def _peak(share: float) -> SafeString:
    text = __("The most of its capacity that one client used at an instant")
    return format_html(
        '<br><span class="pulse-nowrap {}" title="{}">{} {} %</span>',
        "pulse-counted" if share >= 1 else "pulse-quiet",
        text,
        __("peak"),
        round(share * 100),
    )


def _say(moment: Any) -> str:
    return str(date_format(timezone.localtime(moment), "SHORT_DATETIME_FORMAT"))
