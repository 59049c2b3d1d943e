"""Which pages may read: the list of CORS rules, their form, and the import of origins."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pulse.admin.base import PolicyAdmin
from pulse.admin.columns import StateFilter, column
from pulse.admin.confirmations import confirm
from pulse.admin.errands import actor_of, carry_out, errand_of, problems_of
from pulse.admin.forms import MethodsField, PolicyForm
from pulse.admin.stock import TextInput
from pulse.admin.tiers import NOTES
from pulse.core.endpoints import METHODS, parse_path
from pulse.exceptions import InvalidDocument, InvalidPath, StoreError
from pulse.policies import document, kinds, origins, publisher, trials, uses
from pulse.policies.edge import (
    CorsOrigin,
    default_allowed_headers,
    default_exposed_headers,
    default_methods,
)
from pulse.policies.uses import Breakage, Use, Uses

logger = logging.getLogger(__name__)

#: So many origins are named in a cell, and in the form.
IN_CELL: Final = 3
IN_FORM: Final = 20
ALLOWED: Final = "✓"
REFUSED: Final = "✕"


class HeadersField(forms.CharField):
    """Names of headers, parted by commas."""

    def __init__(self, **kwargs: Any) -> None:
        widget = TextInput({"class": "vLargeTextField", "spellcheck": "false"})
        options = {"required": False, "max_length": 2000, "widget": widget}
        super().__init__(**{**options, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Show a list as it is written."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Read the names."""
        return _parts(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other names are written."""
        return bool(_parts(self.prepare_value(initial)) != _parts(data))


class CorsOriginForm(PolicyForm):
    """A CORS rule, tried before it is saved."""

    methods = MethodsField(
        label=_("Methods"),
        initial=default_methods,
        help_text=_("By which scripts may ask. GET, HEAD and plain forms by POST need no leave."),
    )
    allowed_headers = HeadersField(
        label=_("Request headers"),
        initial=default_allowed_headers,
        help_text=_("What a script may send, parted by commas: Content-Type is needed for JSON."),
    )
    exposed_headers = HeadersField(
        label=_("Response headers"),
        initial=default_exposed_headers,
        help_text=_("What a script may read, parted by commas."),
    )

    class Meta:
        model = CorsOrigin
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "methods" in self.fields:
            self.fields["methods"].required = True
        if "origin" in self.fields:
            self.fields["origin"].widget.attrs.update(
                {"placeholder": "https://app.example.com", "spellcheck": "false"}
            )

    def clean_methods(self) -> list[str]:
        """Keep the order of the list, whatever the order of the ticks."""
        ticked = self.cleaned_data["methods"]
        return [method for method in METHODS if method in ticked]

    def _post_clean(self) -> None:
        """Try hostile origins on what is about to be saved, by the code that enforces it."""
        super()._post_clean()  # type: ignore[misc]  # Django's own, which its stubs leave out
        if self.errors:
            return
        try:
            wrong = [trial for trial in trials.try_rule(_item(self.instance)) if not trial.is_right]
        except InvalidDocument as error:
            self.add_error(None, " ".join(problems_of(error)))
            return
        for trial in wrong:
            text = __("It would answer %(origin)s (%(what)s) otherwise than it says.")
            self.add_error("origin", text % {"origin": trial.origin, "what": trial.what})


@admin.register(CorsOrigin)
class CorsOriginAdmin(PolicyAdmin):
    """Whose scripts may read answers of this site."""

    form = CorsOriginForm
    list_display: Any = (
        "origin",
        "path",
        "credentials_column",
        "mode_column",
        "used_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("mode", "credentials", "csrf_trusted", StateFilter)
    search_fields: ClassVar[Any] = ("origin", "path", "description")
    readonly_fields: ClassVar[Any] = ("tried", "used", "held")
    fieldsets: ClassVar[Any] = (
        (_("Who"), {"fields": ("origin", "path")}),
        (
            _("What its scripts may do"),
            {"fields": ("methods", "allowed_headers", "exposed_headers")},
        ),
        (
            _("As the visitor"),
            {
                "description": _(
                    "With either, that origin can do what its visitor could do here. Neither "
                    "follows from the other."
                ),
                "fields": ("credentials", "csrf_trusted"),
            },
        ),
        (_("Preflights"), {"fields": ("max_age", "strict_preflight", "private_network")}),
        (
            _("When"),
            {
                "description": _(
                    "In shadow it allows nothing, and counts whom it would allow. Of the rules in "
                    "force the one with the longest path answers, alone; then an exact origin "
                    "before a wildcard, and that before *."
                ),
                "fields": ("mode", "starts_at", "ends_at"),
            },
        ),
        NOTES,
    )
    empty = _(
        "Only pages of this site read its answers. Add the origin of a page elsewhere whose "
        "scripts call this API, or import those that the settings name."
    )

    def get_urls(self) -> Any:
        """Add the page of the import."""
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name="pulse_corsorigin_import"), *super().get_urls()]

    def tools(self, request: HttpRequest) -> list[tuple[Any, str]]:
        """Lead to the import."""
        if not self.has_add_permission(request):
            return []
        return [(_("Import origins"), self._address("import"))]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show with a saved row what it lets in, and who used it."""
        sets = super().get_fieldsets(request, obj)
        if obj is not None:
            shown = (__("What it does"), {"fields": ("tried", "used", "held")})
            sets.insert(len(sets) - 2, shown)
        return sets

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read once for the page who used the rules of late."""
        found = super().get_changelist_instance(request)
        if request.method == "GET":
            found.result_list = list(found.result_list)
            day = _last_day()
            for row in found.result_list:
                row.use = None if day is None else day.of(_item(row))
        return found

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save the row, and tell what became of the trials."""
        super().save_model(request, obj, form, change)
        hostile = [trial for trial in trials.try_rule(_item(obj)) if not trial.meant]
        if hostile:
            text = ngettext(
                "%d hostile origin was tried on it, and refused.",
                "%d hostile origins were tried on it, and all refused.",
                len(hostile),
            )
            self.message_user(request, text % len(hostile), messages.INFO)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete a row, and tell until when browsers may go by it."""
        item = _item(obj)
        super().delete_model(request, obj)
        if item["mode"] == "enforce" and item["max_age"]:
            until = timezone.now() + timedelta(seconds=item["max_age"])
            self.message_user(request, _say_held(until), messages.INFO)

    def import_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show what the settings and the environment would add, then add it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        changes: Sequence[Mapping[str, Any]] | None = None
        problems: list[str] = []
        under = request.GET.get("path", "").strip()

        def found() -> Mapping[str, Any]:
            sources = [origins.from_settings(), origins.from_environment()]
            prefix = parse_path(under) if under else None
            return origins.to_add(sources, origins.existing_rules(), path=prefix)

        try:
            changes = document.apply(found, actor_of(request), dry_run=True).changes
        except InvalidPath as error:
            problems = [str(error)]
        except InvalidDocument as error:
            problems = problems_of(error)
        response = confirm(
            self,
            request,
            lambda: carry_out(
                request,
                lambda: self._import(request, found),
                site=self.admin_site.name,
                default_reason="Import origins",
            ),
            title=__("Import origins"),
            lead=__(
                "From the setting %(setting)s, with what the other CORS settings say of them, and "
                "from the environment variable %(variable)s. Rules that are there already stay."
            )
            % {"setting": origins.SETTING, "variable": origins.VARIABLE},
            button=__("Yes, import them"),
            back=self._address("changelist"),
            changes=changes,
            problems=problems,
            nothing=__("Neither names an origin that has no rule yet: nothing is to be imported."),
        )
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            response.template_name = "admin/pulse/import_origins.html"
            response.context_data["path"] = under
        return response

    @column(_("as the visitor"), ordering="credentials")
    def credentials_column(self, row: CorsOrigin) -> str:
        """Tell what of the visitor's it may use."""
        told = [
            __("cookies") if row.credentials else "",
            __("forms") if row.csrf_trusted else "",
        ]
        return ", ".join(text for text in told if text) or __("no")

    @column(_("last 24 h"))
    def used_column(self, row: Any) -> SafeString:
        """Tell how often it answered, when last, and by whom."""
        use: Use | None = getattr(row, "use", None)
        if use is None:
            return format_html('<span class="pulse-quiet">{}</span>', __("not known"))
        return _say_use(use, IN_CELL)

    @admin.display(description=_("origins tried"))
    def tried(self, row: CorsOrigin) -> SafeString:
        """Show what the code that enforces it says to hostile origins."""
        try:
            found = trials.try_rule(_item(row))
        except InvalidDocument as error:
            return format_html("{}", " ".join(problems_of(error)))
        rows = format_html_join(
            "",
            '<tr><td><code class="pulse-words">{}</code></td><td>{}</td>'
            '<td class="pulse-nowrap"><span aria-hidden="true">{}</span> {}</td></tr>',
            (
                (
                    trial.origin,
                    trial.what,
                    ALLOWED if trial.allowed else REFUSED,
                    __("allowed") if trial.allowed else __("refused"),
                )
                for trial in found
            ),
        )
        return format_html(
            '<table class="pulse-trials"><thead><tr><th scope="col">{}</th><th scope="col">{}</th>'
            '<th scope="col">{}</th></tr></thead><tbody>{}</tbody></table>',
            capfirst(__("origin")),
            __("What it is"),
            __("Verdict"),
            rows,
        )

    @admin.display(description=_("used of late"))
    def used(self, row: CorsOrigin) -> SafeString:
        """Say who used it, and whom taking it away would break."""
        day = _last_day()
        if day is None:
            return format_html("{}", __("The counters cannot be read now."))
        item = _item(row)
        use = day.of(item)
        lines = [_say_use(use, IN_FORM), *_say_breakage(item, use)]
        refused = day.refused.get(row.path)
        if refused:
            text = __("Refused under this path, where anybody can claim to be any origin:")
            lines.append(format_html("{} {}", text, _say_origins(refused, IN_FORM)))
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))

    @admin.display(description=_("earlier answers"))
    def held(self, row: CorsOrigin) -> str:
        """Say until when browsers may go by an answer that is no longer true."""
        now = timezone.now()
        found = uses.held(_item(row), publisher.newest_document(), now)
        if found is None:
            return __(
                "No change of the last day left browsers with an old answer of this origin and "
                "path. What the rule was for before under another origin or path is not known."
            )
        told = _say_held(found.until)
        if now < found.chromium_until < found.until:
            told += " " + __("Chromium until %s.") % _say_time(found.chromium_until)
        return told

    def _import(
        self, request: HttpRequest, found: Callable[[], Mapping[str, Any]]
    ) -> HttpResponseBase:
        applied = document.apply(found, actor_of(request), source="admin")
        errand_of(request).saved = applied.changed
        for change in applied.changes:
            self.log_addition(request, CorsOrigin.objects.get(**change["key"]), "Import")
        count = len(applied.changes)
        text = ngettext("%d origin was imported.", "%d origins were imported.", count)
        self.message_user(request, text % count, messages.SUCCESS)
        return HttpResponseRedirect(self._address("changelist"))

    def _address(self, name: str) -> str:
        return reverse(f"admin:pulse_corsorigin_{name}", current_app=self.admin_site.name)


def _item(row: CorsOrigin) -> dict[str, Any]:
    kind = kinds.kind_of(CorsOrigin)
    assert kind is not None  # noqa: S101 - registered as the app starts
    return kind.to_item(row)


def _last_day() -> Uses | None:
    try:
        return uses.last_day()
    except StoreError as error:
        logger.warning("Who used the CORS rules of late cannot be read: %s", error)
        return None


def _say_use(use: Use, most: int) -> SafeString:
    if not use.used and not use.would_use:
        return format_html('<span class="pulse-quiet">{}</span>', __("not used"))
    told = []
    if use.used:
        told.append(ngettext("%s answer", "%s answers", use.used) % f"{use.used:,}")
    if use.would_use:
        text = ngettext("%s would be allowed", "%s would be allowed", use.would_use)
        told.append(text % f"{use.would_use:,}")
    if use.last is not None:
        end = use.last + timedelta(hours=1)
        told.append(
            __("last between %(begin)s and %(end)s")
            % {"begin": _say_clock(use.last), "end": _say_clock(end)}
        )
    said = format_html('<span class="pulse-counted">{}</span>', ", ".join(told))
    lines = [said]
    if use.origins:
        lines.append(_say_origins(use.origins, most))
    if use.would_origins:
        would = _say_origins(use.would_origins, most)
        lines.append(format_html("{} {}", __("Would be allowed:"), would))
    return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in lines))


def _say_origins(counts: Counter[str], most: int) -> SafeString:
    shown = format_html_join(", ", "<code>{}</code> ({})", counts.most_common(most))
    more = len(counts) - most
    if more <= 0:
        return shown
    return format_html("{} {}", shown, ngettext("and %d more", "and %d more", more) % more)


def _say_breakage(item: Mapping[str, Any], use: Use) -> list[SafeString]:
    """Say whom the end of a rule would break: as things stand, and once shadow is enforced."""
    if not use.used:
        return []
    rules = origins.existing_rules()  # A draft's, too: it is what this page is to change.
    try:
        broken = uses.would_break(item, use, rules)
        left = uses.would_break(item, use, rules, shadow_too=True)
    except InvalidDocument as error:
        return [format_html("{}", " ".join(problems_of(error)))]
    lines = []
    if broken.refused:
        text = __("If it went, or no longer named them, these could not read any more:")
        lines.append(_say_breaks(text, broken.refused))
    if broken.lessened:
        text = __("If it went, other rules would allow these less:")
        lines.append(_say_breaks(text, _say_less(broken)))
    if (left.refused, left.lessened) != (broken.refused, broken.lessened):
        text = __("Were the rules in shadow enforced by then:")
        still = [*left.refused, *_say_less(left)]
        lines.append(format_html("{} {}", text, _listed(still) if still else __("none")))
    if broken.unknown:
        text = ngettext(
            "%s answer went to an origin that is not known.",
            "%s answers went to origins that are not known.",
            broken.unknown,
        )
        lines.append(format_html("{}", text % f"{broken.unknown:,}"))
    elif not lines:
        lines.append(format_html("{}", __("If it went, other rules would do for all of them.")))
    if (broken.refused or broken.lessened) and origins.has_base():
        lines.append(format_html("{}", __("What the CORS settings allow is not looked at.")))
    return lines


def _say_breaks(text: str, texts: Sequence[str]) -> SafeString:
    return format_html('<strong class="pulse-breaks">{}</strong> {}', text, _listed(texts))


def _say_less(broken: Breakage) -> list[str]:
    return [f"{origin} ({', '.join(map(str, lost))})" for origin, lost in broken.lessened.items()]


def _listed(texts: Sequence[str]) -> SafeString:
    shown = format_html_join(", ", "<code>{}</code>", ((text,) for text in texts[:IN_FORM]))
    more = len(texts) - IN_FORM
    if more <= 0:
        return shown
    return format_html("{} {}", shown, ngettext("and %d more", "and %d more", more) % more)


def _say_held(until: datetime) -> str:
    return __("Browsers may hold the answer to an earlier preflight until %s.") % _say_time(until)


def _say_time(moment: datetime) -> str:
    local = timezone.localtime(moment)
    if local.date() == timezone.localdate():
        return _say_clock(moment)
    return f"{date_format(local, 'SHORT_DATE_FORMAT')} {_say_clock(moment)}"


def _say_clock(moment: datetime) -> str:
    return str(date_format(timezone.localtime(moment), "H:i"))


def _parts(text: Any) -> list[str]:
    return [part.strip() for part in str(text or "").split(",") if part.strip()]
