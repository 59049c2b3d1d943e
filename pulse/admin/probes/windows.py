"""When what fails is expected to: the list of maintenance windows and their form."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.forms import Script
from django.http import HttpRequest, HttpResponseBase
from django.urls import path, reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.probes import columns, upcoming
from pulse.admin.probes.base import SWITCH, ProbeForm, ProbePolicyAdmin
from pulse.admin.probes.fields import NamesField, TimeField, ZoneInput
from pulse.admin.probes.naming import TargetsForm, without_ticks
from pulse.admin.tiers import NOTES
from pulse.alerts.models import AlertRule
from pulse.core.windows import Window, make_window, next_openings, opening_at
from pulse.exceptions import InvalidSchedule, InvalidWindow
from pulse.policies.bases import ModeChoices
from pulse.probes.models import MaintenanceWindow, ProbeTarget


class MaintenanceWindowForm(TargetsForm, ProbeForm):
    """A window, and when it opens next."""

    MODE = _("Off: it never opens.")
    HAS_SHADOW = False

    groups = NamesField(label=_("Public groups"), help_text=_("One to a line."))
    rules = NamesField(
        label=_("Alert rules"), help_text=_("Nobody is told by these meanwhile. One to a line.")
    )
    duration_s = TimeField(label=_("For how long"), help_text=_("Such as 90m, 2h or 1d."))

    class Meta:
        model = MaintenanceWindow
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time_zone" in self.fields:
            self.fields["time_zone"].widget = ZoneInput()
        for name, text in (("starts_at", _("When it opens.")), ("ends_at", _("When it closes."))):
            if name in self.fields:
                self.fields[name].help_text = text
        if "groups" in self.fields:
            rows = ProbeTarget.objects.exclude(public_group="").order_by("public_group")
            known = rows.values_list("public_group", flat=True).distinct()[:20]
            if known:
                # The admin writes help as it is, and a group's name is anybody's words.
                told = __("One to a line. There are: %s.") % ", ".join(known)
                self.fields["groups"].help_text = str(escape(told))
        if "rules" in self.fields:
            names = AlertRule.objects.order_by("name").values_list("name", flat=True)[:20]
            if names:
                told = __("Nobody is told by these meanwhile. One to a line. There are: %s.")
                self.fields["rules"].help_text = told % ", ".join(names)
        upcoming.watch(self.fields, "name", "cron", "time_zone", "duration_s")

    def clean(self) -> dict[str, Any] | None:
        """Refuse a window that opens again and again, and once."""
        cleaned = super().clean()
        if self.cleaned_data.get("cron"):
            for name in ("starts_at", "ends_at"):
                if self.cleaned_data.get(name):
                    text = __("It opens either once or by the cron expression. Empty one of them.")
                    self.add_error(name, text)
        return cleaned

    def clean_rules(self) -> list[str]:
        """Refuse names of rules that there are not: a slip would silence nothing."""
        names: list[str] = self.cleaned_data["rules"]
        known = set(AlertRule.objects.filter(name__in=names).values_list("name", flat=True))
        missing = [name for name in names if name not in known | set(self.instance.rules)]
        if missing:
            raise ValidationError(__("There is no alert rule %s.") % ", ".join(missing))
        return names


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(ProbePolicyAdmin):
    """Times of maintenance, once or again and again."""

    form = MaintenanceWindowForm
    list_display: Any = (
        "name",
        "words_column",
        "open_column",
        "mode_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("mode",)
    search_fields: ClassVar[Any] = ("name", "description")
    readonly_fields: ClassVar[Any] = ("next_openings",)
    fieldsets: ClassVar[Any] = (
        (_("What"), {"fields": ("name",)}),
        (
            _("Once"),
            {"description": _("Or below."), "fields": ("starts_at", "ends_at")},
        ),
        (
            _("Again and again"),
            {"fields": (("cron", "time_zone", "duration_s"), "next_openings")},
        ),
        (
            _("Of what"),
            {
                "description": _("Nothing named: everything."),
                "fields": ("ticked", "targets", "groups", "rules"),
            },
        ),
        SWITCH,
        NOTES,
    )
    empty = _(
        "Nothing is under maintenance. Add a window for the time in which something is expected to "
        "fail: it then counts as neither up nor down."
    )

    class Media:
        js: ClassVar[Sequence[Any]] = [Script("pulse/admin/upcoming.js", type="module")]

    def get_urls(self) -> Any:
        """Add what the script asks."""
        view = self.admin_site.admin_view(self.upcoming_view)
        name = "pulse_maintenancewindow_upcoming"
        return [path("upcoming/", view, name=name), *super().get_urls()]

    def upcoming_view(self, request: HttpRequest) -> HttpResponseBase:
        """Say when a window as it is being written opens next."""
        texts = upcoming.texts_of(request, "name", "cron", "time_zone", "duration_s")
        duration = TimeField()
        try:
            duration_s = duration.clean(texts.pop("duration_s"))
        except ValidationError as error:
            found = upcoming.Upcoming(problem=" ".join(error.messages))
        else:
            found = upcoming.openings_of(**texts, duration_s=duration_s, now=time.time())
        return upcoming.answer(found, may_view=self.has_view_permission(request))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave out what there is nothing to tick of."""
        return without_ticks(super().get_fieldsets(request, obj), request, self, obj)

    @admin.display(description=_("state"))
    def open_column(self, row: MaintenanceWindow) -> SafeString:
        """Tell whether it is open, and when it opens next."""
        if row.mode != ModeChoices.ENFORCE:
            return columns.quiet(__("paused"))
        window = _window_of(row)
        if window is None:
            return columns.quiet(__("never opens"))
        now = time.time()
        current = opening_at(window, now)
        if current is not None:
            return format_html(
                '<span class="pulse-mode pulse-state-warn"><span aria-hidden="true">◇</span> {}'
                "</span><br>{}",
                __("open"),
                columns.quiet(__("until %s") % columns.say_moment(_moment(current.ends_s))),
            )
        coming = next_openings(window, now, 1)
        if not coming:
            return columns.quiet(__("over"))
        return format_html("{} {}", __("opens"), columns.until(_moment(coming[0].starts_s)))

    @admin.display(description=_("next openings"))
    def next_openings(self, row: MaintenanceWindow) -> SafeString:
        """Tell when it opens next, as it is written here."""
        found = upcoming.openings_of(
            name=row.name,
            cron=row.cron,
            time_zone=row.time_zone,
            duration_s=row.duration_s,
            now=time.time(),
        )
        address = reverse(
            "admin:pulse_maintenancewindow_upcoming", current_app=self.admin_site.name
        )
        return upcoming.render(found, address)


def _window_of(row: MaintenanceWindow) -> Window | None:
    """Return the window of a row; None where it was written past every validator."""
    once = not row.cron and row.starts_at and row.ends_at
    try:
        return make_window(
            row.name,
            cron=row.cron,
            time_zone=row.time_zone,
            duration_s=row.duration_s,
            starts_s=row.starts_at.timestamp() if once and row.starts_at else None,
            ends_s=row.ends_at.timestamp() if once and row.ends_at else None,
        )
    except (InvalidSchedule, InvalidWindow):
        return None


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
