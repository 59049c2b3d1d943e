"""When targets are probed: the list of schedules, their form, and what runs next."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.forms import Script
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.columns import StateFilter
from pulse.admin.forms import DatalistInput
from pulse.admin.probes import columns, expectations, upcoming
from pulse.admin.probes.base import WHEN, ProbeForm, ProbePolicyAdmin
from pulse.admin.probes.expectations import ExpectForm
from pulse.admin.probes.fields import ZoneInput
from pulse.admin.probes.naming import TargetsForm, without_ticks
from pulse.admin.probes.states import RunFilter
from pulse.admin.probes.targets import start
from pulse.admin.tiers import NOTES
from pulse.policies.bases import ModeChoices
from pulse.probes.jobs import Order
from pulse.probes.models import ProbeSchedule
from pulse.probes.state import JobStatus, ProbeScheduleState, ScheduleState
from pulse.probes.words import say_expectations


class ProbeScheduleForm(TargetsForm, ExpectForm, ProbeForm):
    """A schedule, and when it runs next."""

    class Meta:
        model = ProbeSchedule
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "targets" in self.fields:
            self.fields["targets"].help_text = _(
                "One to a line, such as GET /api/products/: a safe route of this site, with its "
                "sample."
            )
        if "time_zone" in self.fields:
            self.fields["time_zone"].widget = ZoneInput()
        if "every" in self.fields:
            self.fields["every"].widget = DatalistInput(("30s", "1m", "5m", "15m", "1h", "1d"))
        upcoming.watch(self.fields, "name", "every", "cron", "time_zone")

    def clean_targets(self) -> list[str]:
        """Refuse a schedule of nothing."""
        names = super().clean_targets()
        if not names:
            raise forms.ValidationError(__("Say what is probed: tick a target, or write one."))
        return names


class RunStateFilter(RunFilter):
    """Whether schedules run, or rest because their workers vanish."""

    title = _("state")
    parameter_name = "state"
    states = ProbeScheduleState
    choices_of = ScheduleState
    unseen = ScheduleState.IDLE.value


@admin.register(ProbeSchedule)
class ProbeScheduleAdmin(ProbePolicyAdmin):
    """When targets are probed, and what became of it."""

    form = ProbeScheduleForm
    actions: Any = ("run_now", "enforce", "shadow", "switch_off")
    runs: ClassVar[Any] = ("run_now",)
    list_display: Any = (
        "name",
        "next_column",
        "words_column",
        "last_column",
        "missed_column",
    )
    list_filter: ClassVar[Any] = ("mode", RunStateFilter, StateFilter)
    search_fields: ClassVar[Any] = ("name", "description")
    readonly_fields: ClassVar[Any] = (
        "next_runs",
        "next_column",
        "last_column",
        "missed_column",
        "expected",
    )
    fieldsets: ClassVar[Any] = (
        (_("What"), {"fields": ("name", "ticked", "targets")}),
        (
            _("When"),
            {
                "description": _("An interval, or a cron expression in a time zone."),
                "fields": (("every", "cron", "time_zone"), "next_runs"),
            },
        ),
        (
            _("What is expected"),
            {
                "description": _("Of each target that does not say otherwise."),
                "fields": expectations.FIELDS,
            },
        ),
        (
            _("When something fails"),
            {
                "fields": (
                    ("retries", "retry_backoff_s"),
                    ("failure_threshold", "success_threshold"),
                )
            },
        ),
        (
            _("Limits"),
            {"fields": (("timeout_s", "deadline_s"), ("cooldown_s", "max_concurrency"))},
        ),
        WHEN,
        NOTES,
    )
    empty = _(
        "Nothing is probed by itself. Add a schedule, such as every 60s, and tick the targets that "
        "it probes."
    )
    change_form_template = "admin/pulse/probeschedule/change_form.html"

    class Media:
        js: ClassVar[Sequence[Any]] = [Script("pulse/admin/upcoming.js", type="module")]

    def get_urls(self) -> Any:
        """Add what the script asks, and the button that runs a schedule."""
        wrap = self.admin_site.admin_view
        return [
            path("upcoming/", wrap(self.upcoming_view), name="pulse_probeschedule_upcoming"),
            path("<int:pk>/run/", wrap(self.run_view), name="pulse_probeschedule_run"),
            *super().get_urls(),
        ]

    def upcoming_view(self, request: HttpRequest) -> HttpResponseBase:
        """Say when a schedule as it is being written runs next."""
        texts = upcoming.texts_of(request, "name", "every", "cron", "time_zone")
        found = upcoming.runs_of(**texts, now=time.time())
        return upcoming.answer(found, may_view=self.has_view_permission(request))

    def run_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Run one schedule now."""
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None:
            raise Http404
        if request.method != "POST" or not self.has_run_permission(request):
            raise PermissionDenied
        start(self, request, Order(schedule=row.name))
        return HttpResponseRedirect(self._address("change", pk))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """End with how it does; say what is expected where nothing is to be changed."""
        sets = without_ticks(super().get_fieldsets(request, obj), request, self, obj)
        if obj is None:
            return sets
        if not self.has_change_permission(request, obj):
            sets = expectations.to_read(sets)
        runs = (__("How it does"), {"fields": (("next_column", "last_column", "missed_column"),)})
        sets.insert(len(sets) - 1, runs)
        return sets

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Offer to run what is saved."""
        row = kwargs.get("obj")
        context["pulse_run_address"] = (
            self._address("run", row.pk)
            if row is not None and self.has_run_permission(request)
            else ""
        )
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read how the schedules of the page do, by one query."""
        found = super().get_changelist_instance(request)
        if request.method == "GET":
            found.result_list = list(found.result_list)
            add_states(found.result_list)
        return found

    @admin.action(description=_("Run now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: Any) -> None:
        """Start a job of each chosen schedule; each refusal is told."""
        for name in queryset.order_by("name").values_list("name", flat=True):
            start(self, request, Order(schedule=name))

    @admin.display(description=_("next run"))
    def next_column(self, row: Any) -> SafeString:
        """Tell when it is due, or why it is not."""
        state = _state_of(row)
        if row.mode == ModeChoices.OFF:
            return columns.quiet(__("paused"))
        if state is None:
            return columns.quiet(__("not begun"))
        if state.state != ScheduleState.QUARANTINED:
            return columns.until(state.next_at)
        badge = columns.state_badge(ScheduleState(state.state))
        why = __("Its workers vanish. It rests until %s.") % columns.say_moment(state.next_at)
        return format_html('{}<br><span class="pulse-detail">{}</span>', badge, why)

    @admin.display(description=_("last job"))
    def last_column(self, row: Any) -> SafeString:
        """Lead to its last job, and tell how that ended."""
        state = _state_of(row)
        job = None if state is None else state.last_job
        if job is None:
            return columns.quiet(__("no job yet"))
        name = __("Job %d") % job.pk
        told = columns.link(name, "admin:pulse_probejob_change", job.pk, site=self.admin_site.name)
        badge = columns.state_badge(JobStatus(job.status))
        when = columns.quiet(columns.since(job.created_at))
        return format_html("{} {}<br>{}", told, badge, when)

    @admin.display(description=_("slots"))
    def missed_column(self, row: Any) -> SafeString:
        """Tell how often it was due and nobody ran it."""
        state = _state_of(row)
        missed = 0 if state is None else state.missed
        if not missed:
            return columns.quiet(__("none missed"))
        told = __("%s missed") % f"{missed:,}"
        return format_html('<span class="pulse-counted pulse-nowrap">{}</span>', told)

    @admin.display(description=_("next five runs"))
    def next_runs(self, row: ProbeSchedule) -> SafeString:
        """Tell when it runs next, as it is written here."""
        found = upcoming.runs_of(
            name=row.name,
            every=row.every,
            cron=row.cron,
            time_zone=row.time_zone,
            now=time.time(),
        )
        return upcoming.render(found, self._address("upcoming"))

    @admin.display(description=_("expectations"))
    def expected(self, row: Any) -> str:
        """Say what is expected."""
        return say_expectations(row.expect) or __("nothing in particular")

    def _address(self, name: str, *arguments: Any) -> str:
        return reverse(
            f"admin:pulse_probeschedule_{name}", args=arguments, current_app=self.admin_site.name
        )


def add_states(rows: Sequence[Any]) -> None:
    """Give each schedule its state and its last job; one query."""
    states = ProbeScheduleState.objects.filter(name__in=[row.name for row in rows])
    by_name = {state.name: state for state in states.select_related("last_job")}
    for row in rows:
        row.run_state = by_name.get(row.name)


def _state_of(row: Any) -> Any:
    if not hasattr(row, "run_state"):
        add_states([row])
    return row.run_state
