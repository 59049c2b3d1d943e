"""Limits of endpoints, and presets for those that nearly every site has."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin import presets
from pulse.admin.base import PolicyAdmin
from pulse.admin.columns import (
    NONE,
    KeyFilter,
    LimitColumns,
    StateFilter,
    column,
    say_rates,
    sentence,
)
from pulse.admin.forms import EndpointLimitForm
from pulse.admin.inlines import OwnLimitInline
from pulse.admin.tiers import NOTES
from pulse.core.bounds import format_size
from pulse.policies import words
from pulse.policies.models import EndpointLimit


@admin.register(EndpointLimit)
class EndpointLimitAdmin(LimitColumns, PolicyAdmin):
    """Limits that some endpoints have beside every client's tier."""

    form = EndpointLimitForm
    counts = True
    limits_after = 1
    choose: ClassVar[Any] = ("tier",)
    inlines: ClassVar[Any] = (OwnLimitInline,)
    list_display: Any = (
        "name",
        "target_column",
        "limits_column",
        "mode_column",
        "refused_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = (
        "mode",
        KeyFilter,
        "tier",
        "replaces_tier",
        "on_store_error",
        StateFilter,
    )
    search_fields: ClassVar[Any] = ("name", "route", "url_name", "view", "path", "description")
    fieldsets: ClassVar[Any] = (
        (
            _("What"),
            {
                "description": _(
                    "Name the endpoints in one way: by URL name, route, view or path."
                ),
                "fields": ("name", "url_name", "route", "view", "path", "methods"),
            },
        ),
        (
            _("Limits"),
            {
                "description": _("Limits of its own stand below; or take those of a tier."),
                "fields": ("tier", "replaces_tier", "cost"),
            },
        ),
        (_("Who is counted"), {"fields": ("key",)}),
        (
            _("Size and time"),
            {
                "description": _(
                    "Of several endpoint limits that match, the most specific that says one holds."
                ),
                "fields": ("max_body_bytes", "timeout_s"),
            },
        ),
        (
            _("When and how"),
            {
                "fields": ("mode", "percent", "starts_at", "ends_at", "on_store_error"),
            },
        ),
        NOTES,
    )
    empty = _(
        "No endpoint has a limit of its own: clients have their tier alone. Begin with a preset, "
        "or add a limit to what is costly or worth attacking."
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read the limits of all rows at once."""
        return super().get_queryset(request).prefetch_related("limits")

    def get_urls(self) -> Any:
        """Add the page of presets."""
        view = self.admin_site.admin_view(lambda request: presets.view(self, request))
        return [path("presets/", view, name="pulse_endpointlimit_presets"), *super().get_urls()]

    def tools(self, request: HttpRequest) -> list[tuple[Any, str]]:
        """Lead to the presets."""
        if not self.has_add_permission(request):
            return []
        address = reverse("admin:pulse_endpointlimit_presets", current_app=self.admin_site.name)
        return [(_("Add a preset"), address)]

    @admin.display(description=_("what it does"))
    def target_column(self, row: EndpointLimit) -> SafeString:
        """Say which requests it is for, and below that everything else."""
        item = {row.matches_by or "path": row.target, "methods": row.methods}
        target = words.say_target(item)
        rest = sentence(row).removeprefix(f"{target}: ")
        return format_html(
            '<span class="pulse-words"><strong>{}</strong><br>{}</span>', target, capfirst(rest)
        )

    @column(_("limits"))
    def limits_column(self, row: EndpointLimit) -> SafeString:
        """List the rates, who is counted, and how large and how long it may be."""
        counted = format_html(
            '{}<br><span class="pulse-quiet">{} {}</span>',
            say_rates(row),
            __("by"),
            ", ".join(row.key),
        )
        size, seconds = row.max_body_bytes, row.timeout_s
        bounds = [
            counted if row.tier_id is not None or row.limits.all() else "",
            "" if size is None else format_html("≤ {}", format_size(size)),
            "" if seconds is None else format_html("≤ {} s", f"{seconds:g}"),
        ]
        lines = [(line,) for line in bounds if line]
        return format_html_join(mark_safe("<br>"), "{}", lines or [(NONE,)])
