"""Who did what: the audit, to read and to take along."""
# ruff: noqa: ARG002 - the signatures are Django's

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.access.scopes import Scope, holds
from pulse.admin.columns import NONE, column
from pulse.admin.differences import kind_name
from pulse.admin.errands import actor_of, request_id_of, revision_link
from pulse.admin.records import MOST, RecordsAdmin
from pulse.audit.export import TYPES, answer
from pulse.audit.models import Action, AuditEntry, Outcome
from pulse.audit.record import record
from pulse.policies import kinds
from pulse.policies.models import PolicyRevision

#: Kinds of entries that are no kinds of policy.
OTHER_KINDS: Final = {"api_keys": _("API key"), "jobs": _("Probe job")}
ACTORS: Final = {
    "user": _("User"),
    "api_key": _("API key"),
    "command": _("Command"),
    "system": _("Pulse itself"),
}
#: A shape beside each word.
SHAPES: Final[dict[str, tuple[str, str]]] = {
    Outcome.SUCCESS: ("●", "good"),
    Outcome.FAILURE: ("✕", "bad"),
}
#: So many months back can be chosen by name.
MONTHS: Final = 13
MAX_VALUE: Final = 400


class _Choice(admin.SimpleListFilter):
    """A column by fixed values: what there is in a million rows is not looked for."""

    def choices_of(self) -> Iterable[tuple[str, Any]]:
        """Return the values, and how they are called."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the choices."""
        return list(self.choices_of())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave the rows that have the value."""
        value = self.value()
        if value is None or value not in {str(choice) for choice, _text in self.choices_of()}:
            return queryset
        return queryset.filter(**{str(self.parameter_name): value})


class ActionFilter(_Choice):
    """What was done."""

    title = _("action")
    parameter_name = "action"

    def choices_of(self) -> Iterable[tuple[str, Any]]:
        """Return every action."""
        return Action.choices


class KindFilter(_Choice):
    """To what it was done."""

    title = _("done to")
    parameter_name = "kind"

    def choices_of(self) -> Iterable[tuple[str, Any]]:
        """Return every kind of policy, and the others."""
        for kind in kinds.all_kinds():
            yield kind.name, _say_kind(kind.name)
        yield from OTHER_KINDS.items()


class ActorFilter(_Choice):
    """Who did it."""

    title = _("done by")
    parameter_name = "actor_type"

    def choices_of(self) -> Iterable[tuple[str, Any]]:
        """Return every type of actor."""
        return ACTORS.items()


class WhenFilter(admin.SimpleListFilter):
    """When it was done: of late, or in a month. Each is a range of an index."""

    title = _("time")
    parameter_name = "when"
    RECENT: ClassVar[Mapping[str, tuple[Any, timedelta]]] = {
        "hour": (_("The last hour"), timedelta(hours=1)),
        "day": (_("The last 24 hours"), timedelta(days=1)),
        "week": (_("The last 7 days"), timedelta(days=7)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the spans, and the months that entries may be of."""
        recent = [(name, text) for name, (text, _span) in self.RECENT.items()]
        oldest = AuditEntry.objects.order_by("created_at").values_list("created_at", flat=True)
        first = oldest.first() or timezone.now()
        months: list[tuple[str, Any]] = []
        month = _begin_of_month(timezone.localtime())
        while len(months) < MONTHS and month >= _begin_of_month(timezone.localtime(first)):
            months.append((f"{month:%Y-%m}", date_format(month, "YEAR_MONTH_FORMAT")))
            month = _begin_of_month(month - timedelta(days=1))
        return [*recent, *months]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Leave the rows of the span."""
        value = self.value() or ""
        if value in self.RECENT:
            return queryset.between(timezone.now() - self.RECENT[value][1], None)
        try:
            naive = datetime.strptime(value, "%Y-%m")  # noqa: DTZ007 - of the site's time zone
            begin = timezone.make_aware(naive)
            return queryset.between(begin, _begin_of_month(begin + timedelta(days=32)))
        except (ValueError, OverflowError):
            return queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(RecordsAdmin):
    """Entries, newest first; a page costs the same however many there are."""

    list_display: Any = (
        "when_column",
        "action_column",
        "what_column",
        "actor_column",
        "outcome_column",
    )
    list_display_links: Any = ("when_column",)
    list_filter: ClassVar[Any] = (WhenFilter, ActionFilter, KindFilter, ActorFilter, "outcome")
    search_fields: ClassVar[Any] = ("actor_name", "address", "request_id", "revision")
    search_help_text = _("A whole name or address, a request id, or the number of a revision.")
    show_facets = admin.ShowFacets.NEVER
    # By the primary key alone: other orders would sort all rows for each page.
    sortable_by: ClassVar[Any] = ()
    ordering: ClassVar[Any] = ("-pk",)
    fields: ClassVar[Any] = (
        ("action_column", "outcome_column"),
        "created_at",
        "actor_column",
        "what_column",
        ("revision_column", "request_id"),
    )
    readonly_fields: ClassVar[Any] = (
        "action_column",
        "outcome_column",
        "actor_column",
        "what_column",
        "revision_column",
    )
    empty = _(
        "Nothing was done yet. Every change of policy, login of the staff, API key and started "
        "job is written down here."
    )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The audit is for who administers, or has Django's permission on it."""
        return request.user.has_perm("pulse.view_auditentry") or holds(
            request.user, Scope.ADMINISTER
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search in the first column that has the words: each alone has an index."""
        words = search_term.strip()
        for name in self.search_fields:
            if name == "revision" and not (words.isascii() and words.isdecimal()):
                continue
            found = {name: words}
            if words and AuditEntry.objects.filter(**found).exists():
                return queryset.filter(**found), False
        return (queryset.none() if words else queryset), False

    def get_urls(self) -> Any:
        """Add the export."""
        export = self.admin_site.admin_view(self.export_view)
        return [path("export/", export, name="pulse_auditentry_export"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer what the filters leave as a file, and lead past the newest thousand."""
        query = request.GET.urlencode()
        tools = [
            (_("Export as CSV"), self._address("export", query, form="csv")),
            (_("Export as JSON"), self._address("export", query, form="json")),
        ]
        response = super().changelist_view(request, {"pulse_tools": tools, **(extra_context or {})})
        listed = getattr(response, "context_data", None) or {}
        if "cl" in listed:
            listed["older"] = self._older(request, listed["cl"])
        return response

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show each field as it was and as it became."""
        entry = self.get_object(request, object_id)
        pairs = entry.fields.items() if isinstance(entry, AuditEntry) else ()
        told = [(name, _show(pair.get("before")), _show(pair.get("after"))) for name, pair in pairs]
        context = {"changed_fields": told, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Send every entry that the filters leave, and write down who took them along."""
        form = request.GET.get("form", "csv")
        if not self.has_view_permission(request) or form not in TYPES:
            raise PermissionDenied
        asked = request.GET.copy()
        asked.pop("form", None)
        request.GET = asked  # type: ignore[assignment]  # as the list reads it
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            # As the list itself answers it.
            return HttpResponseRedirect(f"../?{ERROR_FLAG}=1")
        told = {"format": form, **asked.dict()}
        record(
            Action.AUDIT_EXPORT,
            actor_of(request),
            request_id=request_id_of(request),
            fields={name: {"before": None, "after": value} for name, value in told.items()},
        )
        return answer(request, rows, form)

    @admin.display(description=_("at"))
    def when_column(self, entry: AuditEntry) -> str:
        """Tell when it was done."""
        return date_format(timezone.localtime(entry.created_at), "j M Y, H:i:s")

    @column(_("action"))
    def action_column(self, entry: AuditEntry) -> SafeString:
        """Tell what was done, in words and as filters and programs know it."""
        return format_html(
            '{}<br><code class="pulse-quiet">{}</code>', _say_action(entry.action), entry.action
        )

    @column(_("done to"))
    def what_column(self, entry: AuditEntry) -> SafeString:
        """Name what it was done to, and the revision that came of it."""
        if not entry.kind:
            name = ""
        else:
            key = ", ".join(str(value) for value in entry.key.values())
            name = f"{_say_kind(entry.kind)} {key}"
        if entry.revision is None:
            return format_html('<span class="pulse-words">{}</span>', name or NONE)
        revision = __("revision %d") % entry.revision
        told = f"{name}, {revision}" if name else revision
        return format_html('<span class="pulse-words">{}</span>', told)

    @column(_("done by"))
    def actor_column(self, entry: AuditEntry) -> SafeString:
        """Name who did it, and from where."""
        kind = ACTORS.get(entry.actor_type, entry.actor_type)
        who = format_html("{}", kind)
        if entry.actor_name:
            who = format_html('{} <span class="pulse-quiet">({})</span>', entry.actor_name, kind)
        if not entry.address:
            return who
        return format_html('{}<br><span class="pulse-quiet">{}</span>', who, entry.address)

    @column(_("outcome"))
    def outcome_column(self, entry: AuditEntry) -> SafeString:
        """Tell what came of it, by shape, word and colour."""
        shape, look = SHAPES.get(entry.outcome, ("?", "neutral"))
        return format_html(
            '<span class="pulse-mode pulse-state-{}"><span aria-hidden="true">{}</span> {}</span>',
            look,
            shape,
            entry.get_outcome_display(),
        )

    @admin.display(description=_("revision"))
    def revision_column(self, entry: AuditEntry) -> str:
        """Lead to the revision that came of it."""
        if entry.revision is None:
            return NONE
        pks = PolicyRevision.objects.filter(number=entry.revision).values_list("pk", flat=True)
        pk = pks.first()
        if pk is None:
            return str(entry.revision)
        return revision_link(entry.revision, pk, self.admin_site.name)

    def _older(self, request: HttpRequest, listed: Any) -> str:
        """Return the query of what lies behind the rows that have pages; empty for nothing."""
        if listed.paginator.count < MOST:
            return ""
        last = listed.queryset.values_list("pk", flat=True)[MOST - 1]
        query = request.GET.copy()
        query.pop("p", None)
        query["id__lt"] = str(last)
        return f"?{query.urlencode()}"

    def _address(self, name: str, query: str, **more: str) -> str:
        address = reverse(f"admin:pulse_auditentry_{name}", current_app=self.admin_site.name)
        return f"{address}?{'&'.join(part for part in (query, urlencode(more)) if part)}"


def _say_action(action: str) -> str:
    return str(Action(action).label) if action in Action.values else action


def _say_kind(name: str) -> str:
    if name in OTHER_KINDS:
        return str(OTHER_KINDS[name])
    return kind_name(name)


def _show(value: Any) -> str:
    if value in (None, ""):
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _begin_of_month(moment: datetime) -> datetime:
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
