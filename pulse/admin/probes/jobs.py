"""What ran and who runs: jobs, their probes and the workers, to read."""

import json
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.probes import columns
from pulse.admin.records import RecordsAdmin
from pulse.probes import engine, jobs
from pulse.probes.state import ItemState, JobStatus, ProbeItem, ProbeJob, ProbeWorker, Trigger

#: A worker that was not seen for so long is gone, or hangs.
ALIVE: Final = timedelta(seconds=15)


@admin.register(ProbeJob)
class ProbeJobAdmin(RecordsAdmin):
    """Jobs, newest first."""

    list_display: Any = (
        "job_column",
        "status_column",
        "schedule",
        "by_column",
        "when_column",
        "took_column",
        "total",
    )
    list_display_links: Any = ("job_column",)
    list_filter: ClassVar[Any] = ("status", "trigger")
    search_fields: ClassVar[Any] = ("=id", "schedule__exact")
    search_help_text = _("The number of a job, or the whole name of a schedule.")
    fields: ClassVar[Any] = (
        ("job_column", "status_column"),
        "counts_column",
        "error",
        ("schedule", "by_column"),
        ("slot_at", "created_at", "started_at", "finished_at", "deadline_at"),
        ("timeout_s", "revision", "request_id"),
        "links",
    )
    readonly_fields: ClassVar[Any] = (
        "job_column",
        "status_column",
        "counts_column",
        "by_column",
        "links",
    )
    empty = _("Nothing was probed yet. Jobs come of schedules, or are started by hand.")

    @admin.display(description=_("job"), ordering="pk")
    def job_column(self, row: ProbeJob) -> str:
        """Name the job."""
        return __("Job %d") % row.pk

    @admin.display(description=_("status"), ordering="status")
    def status_column(self, row: ProbeJob) -> SafeString:
        """Tell where it is."""
        return columns.state_badge(JobStatus(row.status), row.error)

    @admin.display(description=_("started by"), ordering="trigger")
    def by_column(self, row: ProbeJob) -> str:
        """Name the door, and who came through it."""
        door = str(Trigger(row.trigger).label)
        return f"{door}, {row.actor_name}" if row.actor_name else door

    @admin.display(description=_("created"), ordering="pk")
    def when_column(self, row: ProbeJob) -> SafeString:
        """Tell when it was made."""
        return columns.since(row.created_at)

    @admin.display(description=_("took"))
    def took_column(self, row: ProbeJob) -> SafeString:
        """Tell how long it took, or has taken until now."""
        end = row.finished_at or timezone.now()
        seconds = max(0.0, (end - row.created_at).total_seconds())
        return format_html('<span class="pulse-nowrap">{} s</span>', f"{seconds:,.1f}")

    @admin.display(description=_("probes"))
    def counts_column(self, row: ProbeJob) -> SafeString:
        """Count its probes by state; one query."""
        found = jobs.counts([row.pk], engine.database())[row.pk]
        told = [
            (columns.state_badge(state), f"{found[state.value]:,}")
            for state in ItemState
            if found[state.value]
        ]
        return format_html_join(" ", "{} {}", told) or columns.quiet(__("none"))

    @admin.display(description=_("see"))
    def links(self, row: ProbeJob) -> SafeString:
        """Lead to its probes, and to its page where pulse's pages are mounted."""
        address = reverse("admin:pulse_probeitem_changelist", current_app=self.admin_site.name)
        query = urlencode({"job__id__exact": row.pk})
        items = format_html('<a href="{}?{}">{}</a>', address, query, __("its probes"))
        page = columns.link(__("its page, live"), "pulse:job", row.pk)
        # Without an address the words alone would lead nowhere.
        return format_html("{} · {}", items, page) if "<a " in page else items


@admin.register(ProbeItem)
class ProbeItemAdmin(RecordsAdmin):
    """Probes and their results, newest first."""

    list_display: Any = (
        "target",
        "state_column",
        "job",
        "latency_column",
        "status_code",
        "attempts",
        "when_column",
        "detail_column",
    )
    search_fields: ClassVar[Any] = ("target__exact",)
    search_help_text = _("The whole name of a target, or an endpoint such as GET /api/products/.")
    fields: ClassVar[Any] = (
        ("target", "endpoint_id", "job"),
        ("state_column", "error", "attempts", "reclaims"),
        "detail",
        ("status_code", "latency_column", "bytes", "address", "certificate_days"),
        "phases_column",
        "expected_column",
        ("due_at", "started_at", "finished_at"),
        ("owner", "lease_until"),
    )
    readonly_fields: ClassVar[Any] = (
        "state_column",
        "latency_column",
        "phases_column",
        "expected_column",
    )
    empty = _("Nothing was probed yet.")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave requests and answers where they are: they are long."""
        return super().get_queryset(request).select_related("job").defer("evidence")

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Filter the probes of one job or target; all of them by state is a long search."""
        narrow = "job__id__exact" in request.GET or request.GET.get("q")
        return ("state",) if narrow else ()

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Let the page of a job lead to its probes."""
        return lookup == "job__id__exact" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("state"), ordering="state")
    def state_column(self, row: ProbeItem) -> SafeString:
        """Tell where it is."""
        return columns.state_badge(ItemState(row.state))

    @admin.display(description=_("latency"))
    def latency_column(self, row: ProbeItem) -> SafeString:
        """Tell how long the answer took."""
        if row.latency_ms is None:
            return columns.quiet("-")
        return format_html('<span class="pulse-nowrap">{} ms</span>', f"{row.latency_ms:,.1f}")

    @admin.display(description=_("phases"))
    def phases_column(self, row: ProbeItem) -> str:
        """Tell how long each part of it took."""
        parts = [f"{name} {value:.1f} ms" for name, value in (row.phases_ms or {}).items() if value]
        return ", ".join(parts) or "-"

    @admin.display(description=_("expectations"))
    def expected_column(self, row: ProbeItem) -> SafeString:
        """Tell what was expected, and what came of each."""
        told = [
            (
                columns.MET if check.get("ok") else columns.MISSED,
                __("met") if check.get("ok") else __("missed"),
                check.get("name"),
                json.dumps(check.get("expected"), ensure_ascii=False),
                json.dumps(check.get("actual"), ensure_ascii=False),
            )
            for check in row.expectations or ()
        ]
        line = '<span aria-hidden="true">{}</span> {}: {} {} ({})'
        return format_html_join(mark_safe("<br>"), line, told) or columns.quiet("-")

    @admin.display(description=_("when"))
    def when_column(self, row: ProbeItem) -> SafeString:
        """Tell when it ended, or is due."""
        if row.finished_at is not None:
            return columns.since(row.finished_at)
        return columns.until(row.due_at)

    @admin.display(description=_("detail"))
    def detail_column(self, row: ProbeItem) -> SafeString:
        """Tell what went wrong."""
        return format_html('<span class="pulse-detail">{}</span>', row.detail[:200])


@admin.register(ProbeWorker)
class ProbeWorkerAdmin(RecordsAdmin):
    """Who runs probes."""

    list_display: Any = ("name", "alive_column", "kind", "seen_column", "in_flight", "started_at")
    ordering: ClassVar[Any] = ("-seen_at",)
    search_fields: ClassVar[Any] = ("name",)
    fields: ClassVar[Any] = (
        "name",
        ("alive_column", "seen_column"),
        ("kind", "started_at", "turn_until", "in_flight"),
    )
    readonly_fields: ClassVar[Any] = ("alive_column", "seen_column")
    empty = _(
        "No worker was ever seen: nothing is probed. Start a Celery worker and beat, or "
        "manage.py pulse_worker."
    )

    @admin.display(description=_("alive?"))
    def alive_column(self, row: ProbeWorker) -> SafeString:
        """Tell whether it was seen of late."""
        now = timezone.now()
        works = row.turn_until is not None and row.turn_until > now
        if row.seen_at + ALIVE > now:
            word = __("working") if works else __("alive")
            shape, look = ("●", columns.GOOD)
        else:
            word, shape, look = __("gone"), "✕", columns.BAD
        return format_html(
            '<span class="pulse-mode pulse-state-{}"><span aria-hidden="true">{}</span> {}</span>',
            look,
            shape,
            word,
        )

    @admin.display(description=_("seen"), ordering="seen_at")
    def seen_column(self, row: ProbeWorker) -> SafeString:
        """Tell when it was seen last."""
        return columns.since(row.seen_at)
