"""The record of every policy that was in force: to read, to go back to, to publish a draft."""
# ruff: noqa: ARG002 - the signatures are Django's

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin import comparisons, drafts, guards
from pulse.admin.base import RecordedAdmin
from pulse.admin.columns import NONE, column
from pulse.admin.confirmations import confirm
from pulse.admin.differences import differences, effects
from pulse.admin.drafts import may_write_all
from pulse.admin.errands import actor_of, carry_out, errand_of, problems_of
from pulse.admin.switches import everything_to_shadow
from pulse.conf import conf
from pulse.exceptions import InvalidDocument
from pulse.policies import drafts as policy_drafts
from pulse.policies import history
from pulse.policies.document import to_yaml
from pulse.policies.guarded import guard_of
from pulse.policies.models import PolicyRevision
from pulse.policies.processes import convergence

#: A document larger than this is for ``pulse_export``, not for a page.
MAX_SHOWN = 200_000


@admin.register(PolicyRevision)
class PolicyRevisionAdmin(RecordedAdmin):
    """Revisions are made by edits alone; nothing here adds, changes or deletes one."""

    list_display: Any = (
        "number_column",
        "created_at",
        "actor_column",
        "source_column",
        "reason_column",
        "changes_column",
    )
    list_display_links: Any = ("number_column",)
    list_filter: ClassVar[Any] = ("source", "actor_type", "created_at")
    search_fields: ClassVar[Any] = ("=number", "actor_name", "reason", "request_id")
    date_hierarchy = "created_at"
    list_per_page = 50
    actions: Any = None
    fields: ClassVar[Any] = (
        "number",
        "created_at",
        "actor_column",
        "source",
        "reason",
        "request_id",
        "hash",
    )
    readonly_fields: ClassVar[Any] = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds a revision by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes one."""
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave the documents where they are: a list needs none."""
        return super().get_queryset(request).select_related("guard").defer("document")

    def get_urls(self) -> Any:
        """Add the pages that act on the whole policy."""
        wrap = self.admin_site.admin_view
        return [
            path(
                "publish/",
                wrap(lambda request: drafts.review(self, request)),
                name="pulse_policyrevision_publish",
            ),
            path(
                "discard/",
                wrap(lambda request: drafts.discard(self, request)),
                name="pulse_policyrevision_discard",
            ),
            path(
                "everything-to-shadow/",
                wrap(lambda request: everything_to_shadow(self, request)),
                name="pulse_everything_to_shadow",
            ),
            path(
                "<int:pk>/compare/",
                wrap(lambda request, pk: comparisons.view(self, request, pk)),
                name="pulse_policyrevision_compare",
            ),
            path(
                "<int:pk>/rollback/", wrap(self.rollback_view), name="pulse_policyrevision_rollback"
            ),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show a revision with what it changed, and the way back to it."""
        revision = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if isinstance(revision, PolicyRevision):
            text = to_yaml(revision.document)
            context |= {
                "differences": differences(revision.changes),
                "guard": guards.standing(revision, self.admin_site.name),
                "link_broken": history.link_of(revision),
                "others": comparisons.others(revision),
                "compare": self._address("compare", revision.pk),
                "document_text": text if len(text) <= MAX_SHOWN else "",
            }
            if may_write_all(request):
                context["rollback"] = self._address("rollback", revision.pk)
        return super().change_view(request, object_id, form_url, context)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Lead to the draft, where there can be one."""
        tools = []
        if conf.PUBLISH == "manual" and may_write_all(request):
            tools.append((_("Publish the draft"), self._address("publish")))
        if request.method == "GET":
            guards.tell(request, self.admin_site.name)
        context = {"pulse_tools": tools, "convergence": convergence(), **(extra_context or {})}
        return super().changelist_view(request, context)

    def rollback_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Show what going back would change, then go."""
        if not may_write_all(request):
            raise PermissionDenied
        revision = self.get_queryset(request).filter(pk=pk).first()
        if revision is None:
            raise Http404
        read = policy_drafts.digest()  # Before the changes, so that it never tells of more.
        changes, problems, drafted = [], [], drafts.edits() if conf.PUBLISH == "manual" else []
        lead = __("The policy becomes what it was on %(time)s, as a new revision.")
        if conf.PUBLISH == "manual":
            lead = __(
                "The draft becomes what the policy was on %(time)s, and waits to be published."
            )
        if drafted:
            lead += " " + __("What others edited, and nobody has published yet, is replaced by it.")
        try:
            changes = history.rollback(revision.number, actor_of(request), dry_run=True).changes
        except InvalidDocument as error:
            problems = problems_of(error)
        return confirm(
            self,
            request,
            lambda: carry_out(
                request,
                lambda: self._roll_back(request, revision),
                site=self.admin_site.name,
                source="rollback",
                default_reason=f"Roll back to revision {revision.number}",
            ),
            title=__("Roll back to revision %d") % revision.number,
            lead=lead % {"time": date_format(localtime(revision.created_at), "DATETIME_FORMAT")},
            button=__("Yes, roll back"),
            back=self._address("change", revision.pk),
            changes=changes,
            problems=problems,
            may_be_guarded=conf.PUBLISH == "auto",
            template="admin/pulse/review.html",
            context={"edits": drafted, "read": read},
        )

    @admin.display(description=_("revision"), ordering="number")
    def number_column(self, revision: PolicyRevision) -> str:
        """Name the revision."""
        return str(revision.number)

    @admin.display(description=_("by"), ordering="actor_name")
    def actor_column(self, revision: PolicyRevision) -> str:
        """Say who made it."""
        return f"{revision.actor_name or '-'} ({revision.actor_type})"

    @column(_("source"), ordering="source")
    def source_column(self, revision: PolicyRevision) -> str:
        """Say by which road it came."""
        return revision.source

    @column(_("reason"), ordering="reason")
    def reason_column(self, revision: PolicyRevision) -> str:
        """Say why it was made, and how far its guard is."""
        reason, guard = revision.reason or NONE, guard_of(revision)
        if guard is None:
            return reason
        text = __("Guard: %s") % guard
        return format_html('{}<br><span class="pulse-quiet">{}</span>', reason, text)

    @column(_("changes"))
    def changes_column(self, revision: PolicyRevision) -> SafeString:
        """Count what it changed, by what that does to clients."""
        line = (
            '<span class="pulse-mode pulse-effect-{}">'
            '<span aria-hidden="true">{}</span> {}: {}</span>'
        )
        found = effects(revision.changes)
        told = ((badge.effect, badge.shape, badge.word, count) for badge, count in found)
        return format_html_join(" ", line, told) or format_html("{}", len(revision.changes))

    def _roll_back(self, request: HttpRequest, revision: PolicyRevision) -> HttpResponseBase:
        drafts.check_read(request)
        applied = history.rollback(revision.number, actor_of(request))
        errand_of(request).saved = True
        if applied.changed:
            text = __("Rolled back to revision %d.") % revision.number
            self.message_user(request, text, messages.SUCCESS)
        for warning in applied.warnings:
            self.message_user(request, warning, messages.WARNING)
        return HttpResponseRedirect(self._address("changelist"))

    def _address(self, name: str, *arguments: Any) -> str:
        return reverse(
            f"admin:pulse_policyrevision_{name}", args=arguments, current_app=self.admin_site.name
        )
