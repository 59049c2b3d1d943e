"""What every screen of policies has in common: the edit road, and how rows are shown."""
# ruff: noqa: ARG002 - the signatures are Django's

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.forms import Script
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin import guards, tryouts
from pulse.admin.columns import PolicyColumns, StateFilter, add_refusals, sentence
from pulse.admin.errands import MAX_REASON, carry_out, errand_of
from pulse.admin.forms import GUARD, SEEN, SEEN_VERSION, PolicyForm, overtaken
from pulse.admin.permissions import ByScope, may
from pulse.admin.stock import IS_UNFOLD, ModelAdmin
from pulse.conf import conf
from pulse.policies import kinds, publisher, switches, watched, words
from pulse.policies.bases import LAST_YEAR, ModeChoices
from pulse.policies.edge import AccessRule

#: A list up to this long is chosen from, not searched.
SHORT: Final = 50


#: Lookups by which an address could ask the database for a lot, or for nonsense.
PATTERNS: Final = frozenset({"regex", "iregex", "range"})
#: Lookups of parts of a date.
DATES: Final = frozenset(
    {
        *("year", "iso_year", "quarter", "month", "week", "day", "week_day", "iso_week_day"),
        *("hour", "minute", "second"),
    }
)


class ReasonActionForm(ActionForm):
    """A bulk action, and why."""

    reason = forms.CharField(
        label=_("Reason:"),
        required=False,
        max_length=MAX_REASON,
        widget=forms.TextInput({"class": "pulse-reason", "placeholder": _("optional")}),
    )


class RecordedAdmin(ByScope, ModelAdmin):
    """Screens whose writing requests go the edit road."""

    class Media:
        css: ClassVar[dict[str, Sequence[str]]] = {"all": ["pulse/admin/pulse.css"]}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Let an address narrow a list by what filters and dates do, and by no pattern."""
        last = lookup.rpartition(LOOKUP_SEP)[2]
        if last in PATTERNS or (last in DATES and not _is_date_part(value)):
            return False
        return super().lookup_allowed(lookup, value, request)

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """Tell the user; of an edit under way only when it is certain."""
        errand = errand_of(request)
        if not errand.under_way:
            super().message_user(request, message, *args, **kwargs)
            return
        level = kwargs.get("level", args[0] if args else messages.INFO)
        if isinstance(level, str):
            level = getattr(messages, level.upper())
        errand.messages.append((level, message))


class PolicyAdmin(PolicyColumns, RecordedAdmin):
    """Rows of the policy document: one writing request is one revision, or none and a reason.

    Attributes:
        empty: What to do where the list is empty.
        counts: The rows are rules that refuse, which are counted.
        choose: Fields that name other rows.
        limits_after: The fieldset behind which the limits stand, by its place; None for last.
        tries: What is typed can be tried on recorded traffic.
    """

    form = PolicyForm
    action_form = ReasonActionForm
    actions: Any = ("enforce", "shadow", "switch_off")
    list_per_page = 50
    list_filter: ClassVar[Any] = ("mode", StateFilter)
    empty: Any = ""
    counts: ClassVar[bool] = False
    limits_after: ClassVar[int | None] = None
    choose: ClassVar[Sequence[str]] = ()
    tries: ClassVar[bool] = False

    class Media:
        js: ClassVar[Sequence[Any]] = [Script("pulse/admin/rates.js", type="module")]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Save as one revision; what cannot be saved comes back with the reason and the input."""
        context = {
            "pulse_rate_texts": words.rate_texts(),
            "pulse_tries": self.tries,
            "pulse_errand": errand_of(request),
            **(extra_context or {}),
        }
        show = partial(super().changeform_view, request, object_id, form_url, context)
        if request.method != "POST":
            return show()
        if self.tries and tryouts.is_asked(request):
            return tryouts.try_out(request, show, site=self.admin_site.name)
        # Bound again to the same input, the form is refused for what its errand met.
        return self._carry_out(request, show) or show()

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Delete as one revision; not what another changed since it was shown.

        The page's address names the version that it shows, as its form has no field for it.
        """
        show = partial(super().delete_view, request, object_id, extra_context)
        seen = request.GET.get(SEEN_VERSION)
        if request.method != "POST":
            row = self.get_object(request, unquote(object_id))
            if row is None or seen == str(row.version) or not self.has_delete_permission(request):
                return show()
            query = request.GET.copy()
            query[SEEN_VERSION] = str(row.version)
            return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")

        def delete() -> HttpResponseBase:
            row = self.get_object(request, unquote(object_id))
            if row is not None and seen not in {None, str(row.version)}:
                raise ValidationError(overtaken(row))
            return show()

        return self._carry_out(request, delete) or self._not_done(request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Act on all chosen rows as one revision."""
        context = {"pulse_admin": self, **self._tools(request), **(extra_context or {})}
        show = partial(super().changelist_view, request, context)
        if request.method != "POST":
            self._tell_of_unpublished(request)
            if self._may_refuse():
                guards.tell(request, self.admin_site.name)
            return show()
        return self._carry_out(request, show) or self._not_done(request)

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save the row; what was not changed keeps its version."""
        columns = {column.name for column in obj._meta.get_fields()}
        if not change or columns.intersection(form.changed_data):
            super().save_model(request, obj, form, change)

    def save_related(
        self,
        request: HttpRequest,
        form: Any,
        formsets: Any,
        change: bool,  # noqa: FBT001 - as above
    ) -> None:
        """Save the limits of a row, and note that something was saved."""
        super().save_related(request, form, formsets, change)
        errand_of(request).saved = True

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a row, and note that something was."""
        super().delete_model(request, obj)
        errand_of(request).saved = True

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete rows, and note that something was."""
        super().delete_queryset(request, queryset)
        errand_of(request).saved = True

    @admin.action(description=_("Enforce"), permissions=["change"])
    def enforce(self, request: HttpRequest, queryset: Any) -> None:
        """Enforce the chosen rows."""
        self._set_mode(request, queryset, ModeChoices.ENFORCE)

    @admin.action(description=_("Shadow: count and report only"), permissions=["change"])
    def shadow(self, request: HttpRequest, queryset: Any) -> None:
        """Let the chosen rows count and report only."""
        self._set_mode(request, queryset, ModeChoices.SHADOW)

    @admin.action(description=_("Off"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: Any) -> None:
        """Switch the chosen rows off."""
        self._set_mode(request, queryset, ModeChoices.OFF)

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 - as above
        **kwargs: Any,
    ) -> Any:
        """Let the form know its request, whose errand it tells of."""
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"request": request, "site": self.admin_site.name})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Begin with the sentence, or a warning; end with the reason."""
        may_write = (
            self.has_add_permission(request)
            if obj is None
            else self.has_change_permission(request, obj)
        )
        sets: list[Any] = [
            (title, dict(options)) for title, options in super().get_fieldsets(request, obj)
        ]
        said = sentence(obj) if obj is not None else ""
        if said:
            sets[0][1]["description"] = format_html('<span class="pulse-sentence">{}</span>', said)
        if not may_write:
            return sets
        # A draft is guarded when it is published.
        guard = (GUARD,) if self._may_refuse() and conf.PUBLISH == "auto" else ()
        sets[-1][1]["fields"] = (*sets[-1][1]["fields"], "reason", *guard, SEEN)
        threats = errand_of(request).threats
        if threats:
            sets.insert(
                0,
                (
                    __("This could lock you out"),
                    {
                        "classes": ["pulse-warning"],
                        "description": format_html(
                            "{}<ul>{}</ul>",
                            __(
                                "Once saved, the admin might refuse you before "
                                "you could take it back."
                            ),
                            format_html_join(
                                "", "<li>{}</li>", ((str(threat),) for threat in threats)
                            ),
                        ),
                        "fields": ("save_anyway",),
                    },
                ),
            )
        return sets

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Put the limits where the rule is, not under the notes; a theme has its own order."""
        if self.limits_after is not None and not IS_UNFOLD:
            shift = bool(errand_of(request).threats)
            context["pulse_limits_after"] = self.limits_after + shift
        return super().render_change_form(request, context, *args, **kwargs)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read what the columns name, in a fixed number of queries."""
        rows = super().get_queryset(request)
        # Without a name it would follow every key there is.
        return rows.select_related(*self.choose) if self.choose else rows

    def get_autocomplete_fields(self, request: HttpRequest) -> Any:
        """Offer a search where the host's admin has one and a list would be long.

        A short list is shown whole, which needs no script.
        """
        found = []
        for name in self.choose:
            model: Any = self.model._meta.get_field(name).related_model
            other = self.admin_site._registry.get(model)
            searched = other is not None and bool(other.search_fields)
            if searched and model._default_manager.all()[: SHORT + 1].count() > SHORT:
                found.append(name)
        return found

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read what was refused of late once for the page."""
        found = super().get_changelist_instance(request)
        if self.counts and request.method == "GET":
            found.result_list = list(found.result_list)
            add_refusals(found.result_list)
        return found

    def _may_refuse(self) -> bool:
        """Whether changes of these rows can make requests be refused."""
        kind = kinds.kind_of(self.model)
        return kind is not None and kind.name in watched.KINDS

    def _carry_out(self, request: HttpRequest, act: Callable[[], Any]) -> HttpResponseBase | None:
        return carry_out(request, act, site=self.admin_site.name)

    def _not_done(self, request: HttpRequest) -> HttpResponseBase:
        """Say that nothing was done, and why, on the list."""
        errand = errand_of(request)
        for problem in errand.problems:
            messages.error(request, format_html("{} {}", __("Nothing was changed."), problem))
        if errand.threats:
            messages.warning(
                request,
                __(
                    "Where you mean it all the same, save it in its own form, "
                    "which lets you say so."
                ),
            )
        return HttpResponseRedirect(
            reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist",
                current_app=self.admin_site.name,
            )
        )

    def _set_mode(self, request: HttpRequest, queryset: Any, mode: ModeChoices) -> None:
        rows = list(queryset.exclude(mode=mode))
        # The list's own queryset is ordered and annotated; its rows are named anew.
        chosen = self.model._default_manager.filter(pk__in=[row.pk for row in rows])
        changed = switches.set_mode(chosen, mode)
        for row in rows:
            self.log_change(request, row, __("Mode: %s.") % mode.label)
        errand_of(request).saved = changed > 0
        self.message_user(request, _count_changed(changed, mode), messages.SUCCESS)

    def _tell_of_unpublished(self, request: HttpRequest) -> None:
        """Say that rows were saved which are not in force, and what keeps them from it."""
        if conf.PUBLISH == "manual" or not publisher.has_unpublished():
            return
        problems = publisher.problems_of_rows()
        if problems:
            text = __("Saved changes are not in force, as they make no policy: %s")
            messages.error(request, text % " ".join(problems))

    def _tools(self, request: HttpRequest) -> dict[str, Any]:
        """Return the links above a list, by what this user may do."""
        tools = []
        if self.counts and may(request, "view", AccessRule):
            tools.append((_("Blocked now"), "pulse_blocked"))
        if all(may(request, "change", model) for model in switches.RULES):
            tools.append((_("Everything to shadow"), "pulse_everything_to_shadow"))
        if conf.PUBLISH == "manual":
            tools.append((_("Publish the draft"), "pulse_policyrevision_publish"))
        return {"pulse_tools": [*self.tools(request), *_reversed(tools, self.admin_site.name)]}

    def tools(self, request: HttpRequest) -> list[tuple[Any, str]]:
        """Return the links of one list of its own: text and address."""
        return []


def _is_date_part(value: Any) -> bool:
    """Whether a list can be narrowed by it: there is no year 0."""
    text = str(value)
    return text.isascii() and text.isdecimal() and 1 <= int(text[:5]) <= LAST_YEAR


def _count_changed(changed: int, mode: ModeChoices) -> str:
    if not changed:
        return __("All that were chosen had the mode %s already.") % mode.label
    if changed == 1:
        return __("1 rule has the mode %s now.") % mode.label
    return __("%(count)d rules have the mode %(mode)s now.") % {
        "count": changed,
        "mode": mode.label,
    }


def _reversed(tools: Sequence[tuple[Any, str]], site: str) -> list[tuple[Any, str]]:
    found = []
    for text, name in tools:
        try:
            found.append((text, reverse(f"admin:{name}", current_app=site)))
        except NoReverseMatch:  # A host's own admin site may leave screens out.
            continue
    return found
