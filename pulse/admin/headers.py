"""Security headers: policies by path, what they would send, and the usual ones in one click."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pulse.admin import csp
from pulse.admin.base import PolicyAdmin
from pulse.admin.columns import StateFilter, column
from pulse.admin.confirmations import confirm
from pulse.admin.errands import actor_of, carry_out, errand_of, problems_of
from pulse.admin.forms import PolicyForm
from pulse.admin.stock import IS_UNFOLD, Textarea
from pulse.admin.tiers import NOTES
from pulse.core.csp import REPORT_ONLY, loads_own_files, unknown_directives
from pulse.core.headers import HSTS_STAGES, HeaderRule, misspelt, parse_headers, write_headers
from pulse.exceptions import InvalidDocument, InvalidHeader
from pulse.policies import document, headers
from pulse.policies.edge import HeaderPolicy

#: The stages of HSTS as people say them.
STAGES: Final[Mapping[str, Any]] = {
    "5m": _("5 minutes"),
    "1d": _("a day"),
    "1w": _("a week"),
    "30d": _("30 days"),
}
WHEN: Any = (_("When and how"), {"fields": ("mode", "percent", "starts_at", "ends_at")})


class HeadersField(forms.CharField):
    """Headers as people write them, one to a line."""

    widget = Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, **kwargs)
        self.widget.attrs |= {"rows": 6, "spellcheck": "false", "autocapitalize": "off"}

    def prepare_value(self, value: Any) -> Any:
        """Show headers as they are written."""
        return write_headers(value) if isinstance(value, dict) else value

    def clean(self, value: Any) -> dict[str, str | None]:
        """Read the lines."""
        try:
            return parse_headers(super().clean(value))
        except InvalidHeader as error:
            raise forms.ValidationError(str(error), code="headers") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other headers are named, or in another order."""
        shown: str = write_headers(initial or {})
        return shown != (data or "").replace("\r\n", "\n").strip()


class HeaderPolicyForm(PolicyForm):
    """A header policy, with what this site makes of it."""

    headers = HeadersField(
        label=_("Headers"),
        help_text=_(
            "One to a line: “Referrer-Policy: same-origin” beside or instead of the preset's; "
            "“Referrer-Policy:” with nothing behind it removes a header, whoever set it."
        ),
    )

    class Meta:
        model = HeaderPolicy
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "mode" in self.fields:
            self.fields["mode"].help_text = _(
                "In shadow a header policy does nothing, as when it is off: what browsers would "
                "do, only browsers can tell. Try a CSP with “CSP reports only”."
            )
        if "percent" in self.fields:
            self.fields["percent"].help_text = _(
                "The share of clients who get it; the rest get the next policy, on the same path "
                "or a shorter one. A client that is in stays in as the share grows."
            )
        if "csp_report_only" in self.fields and not headers.collector():
            self._note("csp_report_only", _("Nothing collects the reports: mount pulse.urls."))
        if "hsts_stage" in self.fields:
            field: Any = self.fields["hsts_stage"]
            stages = [(stage, STAGES[stage]) for stage in HSTS_STAGES]
            field.choices = [("", _("as the header says")), *stages]
        if "hsts_stage" in self.fields and settings.DEBUG:
            self._note("hsts_stage", _("Not sent while DEBUG is on."))

    def _post_clean(self) -> None:
        """Refuse to report what is not there, once the row is as the form says."""
        super()._post_clean()  # type: ignore[misc]  # Django's own, as its forms of users have it
        if self.errors or not self.cleaned_data.get("csp_report_only"):
            return
        rule = HeaderRule(headers.item_of(self.instance))
        if rule.csp is None:
            self.add_error(
                "csp_report_only",
                __("There is no Content-Security-Policy: take a preset, or write one above."),
            )
        elif REPORT_ONLY.lower() in rule.removed:
            self.add_error(
                "csp_report_only",
                __("Nothing would be sent: the headers above remove %s.") % REPORT_ONLY,
            )

    def _note(self, name: str, text: Any) -> None:
        self.fields[name].help_text = format_lazy("{} {}", self.fields[name].help_text, text)


@admin.register(HeaderPolicy)
class HeaderPolicyAdmin(PolicyAdmin):
    """What answers carry, by path."""

    form = HeaderPolicyForm
    actions: Any = ("enforce", "shadow", "switch_off", "enforce_csp", "report_csp")
    list_display: Any = (
        "name",
        "path",
        "csp_column",
        "mode_column",
        "words_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("mode", "preset", "csp_report_only", StateFilter)
    search_fields: ClassVar[Any] = ("name", "path", "description")
    fieldsets: ClassVar[Any] = (
        (_("What"), {"fields": ("name", "path", "preset", "headers", "force")}),
        (
            _("What is tried before it is certain"),
            {"fields": ("csp_report_only", "hsts_stage")},
        ),
        WHEN,
        NOTES,
    )
    empty = _(
        "No answer carries a header of pulse's. Begin with the usual policies: strict for the "
        "admin and the API, and reports only for the rest of the site."
    )

    def get_urls(self) -> Any:
        """Add the pages of the usual policies, of previews, and the switch of the CSP."""
        wrap = self.admin_site.admin_view
        return [
            path("usual/", wrap(self.usual_view), name="pulse_headerpolicy_usual"),
            path("preview/", wrap(self.preview_view), name="pulse_headerpolicy_preview"),
            path("<int:pk>/preview/", wrap(self.preview_view), name="pulse_headerpolicy_preview"),
            path(
                "<int:pk>/csp/",
                wrap(lambda request, pk: csp.switch_view(self, request, pk)),
                name="pulse_headerpolicy_csp",
            ),
            *super().get_urls(),
        ]

    def tools(self, request: HttpRequest) -> list[tuple[Any, str]]:
        """Lead to the usual policies."""
        if not self.has_add_permission(request):
            return []
        return [(_("Add the usual policies"), self._address("usual"))]

    def save_model(
        self,
        request: HttpRequest,
        obj: HeaderPolicy,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save, and say what looks like a slip."""
        super().save_model(request, obj, form, change)
        for warning in self._doubts(obj):
            self.message_user(request, warning, messages.WARNING)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Show what the saved policy sends, and what browsers reported of it."""
        row = kwargs.get("obj")
        arguments = [] if row is None else [row.pk]
        context["pulse_preview"] = None
        context["pulse_preview_address"] = self._address("preview", *arguments)
        context["pulse_may_preview"] = (
            self.has_add_permission(request)
            if row is None
            else self.has_change_permission(request, row)
        )
        if row is not None:
            item = headers.item_of(type(row).objects.get(pk=row.pk))
            try:
                context["pulse_preview"] = headers.preview(item, hsts=not settings.DEBUG)
                context["pulse_csp"] = csp.section_of(item)
            except InvalidHeader as error:
                # The form is where it can be mended.
                context["pulse_preview"], context["pulse_problem"] = [], str(error)
            context["pulse_csp_address"] = self._address("csp", row.pk)
            context["pulse_may_switch"] = self.has_change_permission(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the shortest stage of HSTS: browsers cannot be told to forget a longer one."""
        return {
            "hsts_stage": next(iter(HSTS_STAGES)),
            **super().get_changeform_initial_data(request),
        }

    def preview_view(self, request: HttpRequest, pk: int | None = None) -> HttpResponseBase:
        """Show what the form as it stands would send; nothing is saved."""
        row = None if pk is None else self.get_queryset(request).filter(pk=pk).first()
        may = (
            self.has_add_permission(request)
            if row is None
            else self.has_change_permission(request, row)
        )
        if request.method != "POST" or not may:
            raise PermissionDenied
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        valid = form.is_valid()
        context = {
            **self.admin_site.each_context(request),
            "title": __("Preview of the headers"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "preview": headers.preview(headers.item_of(form.instance), hsts=not settings.DEBUG)
            if valid
            else [],
            "doubts": self._doubts(form.instance) if valid else [],
        }
        return TemplateResponse(request, "admin/pulse/headerpolicy/preview.html", context)

    def usual_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the policies that most sites want, then add them."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        existing = dict(HeaderPolicy.objects.values_list("name", "path"))
        items = headers.usual(existing, self._admin_path(), admin_evaluates=IS_UNFOLD)
        wanted = {"version": 1, headers.KIND: items}
        changes: Any = []
        problems = []
        if items:
            try:
                changes = document.apply(wanted, actor_of(request), dry_run=True).changes
            except InvalidDocument as error:
                problems = problems_of(error)
        else:
            problems = [__("Each of these paths has a policy already: nothing is to be added.")]
        return confirm(
            self,
            request,
            lambda: carry_out(
                request,
                lambda: self._add_usual(request, wanted),
                site=self.admin_site.name,
                default_reason="The usual header policies",
            ),
            title=__("Add the usual policies"),
            lead=__(
                "What is known to work with strict headers gets them at once: the API and pulse's "
                "own pages, and Django's own admin. Elsewhere the Content-Security-Policy only "
                "reports. Browsers are held to HTTPS for 5 minutes, until you are sure."
            ),
            button=__("Yes, add them"),
            back=self._address("changelist"),
            changes=changes,
            problems=problems,
        )

    @admin.action(description=_("CSP: enforce"), permissions=["change"])
    def enforce_csp(self, request: HttpRequest, queryset: Any) -> None:
        """Let browsers block what the chosen policies do not allow."""
        csp.switch(self, request, list(queryset), report_only=False)

    @admin.action(description=_("CSP: reports only"), permissions=["change"])
    def report_csp(self, request: HttpRequest, queryset: Any) -> None:
        """Let browsers only report it."""
        csp.switch(self, request, list(queryset), report_only=True)

    @column(_("CSP"), ordering="csp_report_only")
    def csp_column(self, row: HeaderPolicy) -> SafeString:
        """Say whether the policy blocks, or only reports."""
        try:
            rule = HeaderRule(headers.item_of(row))
        except InvalidHeader as error:
            return format_html(
                '<span class="pulse-nowrap" title="{}"><span aria-hidden="true">✕</span> {}</span>',
                error,
                __("broken"),
            )
        if rule.csp is None:
            return format_html('<span class="pulse-quiet">{}</span>', __("none"))
        shape, word = ("◐", __("reports only")) if rule.report_only else ("●", __("enforced"))
        return format_html(
            '<span class="pulse-nowrap" title="{}"><span aria-hidden="true">{}</span> {}</span>',
            rule.csp,
            shape,
            word,
        )

    def _add_usual(self, request: HttpRequest, wanted: Any) -> HttpResponseBase:
        document.apply(wanted, actor_of(request), source="admin")
        errand_of(request).saved = True
        names = [item["name"] for item in wanted[headers.KIND]]
        for row in HeaderPolicy.objects.filter(name__in=names):
            self.log_addition(request, row, "The usual header policies")
        text = ngettext(
            "The header policy %(names)s was added.",
            "The header policies %(names)s were added.",
            len(names),
        ) % {"names": ", ".join(names)}
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(self._address("changelist"))

    def _doubts(self, row: HeaderPolicy) -> list[str]:
        """List what can be sent and is probably not what was meant."""
        found = []
        for name in row.headers:
            meant = misspelt(name)
            if meant:
                found.append(
                    __("No browser knows a header %(name)s. Did you mean %(meant)s?")
                    % {"name": name, "meant": meant}
                )
        rule = HeaderRule(headers.item_of(row))
        found += [
            __("No browser knows a directive %s: browsers ignore it.") % directive
            for directive in unknown_directives(rule.csp or "")
        ]
        here = self._admin_path()
        if rule.csp and here and not rule.report_only and not loads_own_files(rule.csp):
            others = [headers.item_of(each) for each in HeaderPolicy.objects.exclude(pk=row.pk)]
            held = headers.holding([*others, headers.item_of(row)], here)
            if held is not None and held["name"] == row.name:
                found.append(
                    __(
                        "The admin lies under this policy, which lets it load no scripts and "
                        "styles. Give %s a policy of its own with the preset html."
                    )
                    % here
                )
        return found

    def _admin_path(self) -> str | None:
        try:
            address = reverse("admin:index", current_app=self.admin_site.name)
        except NoReverseMatch:
            return None
        return headers.without_prefix(address)

    def _address(self, name: str, *arguments: Any) -> str:
        return reverse(
            f"admin:pulse_headerpolicy_{name}", args=arguments, current_app=self.admin_site.name
        )
