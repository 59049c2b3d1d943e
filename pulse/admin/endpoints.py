"""Limits of endpoints, and presets for those that nearly every site has."""

from typing import Any, ClassVar
from urllib.parse import urlencode

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
from pulse.conf import conf
from pulse.core.bounds import format_size
from pulse.policies import words
from pulse.policies.models import EndpointLimit


@admin.register(EndpointLimit)
class EndpointLimitAdmin(LimitColumns, PolicyAdmin):
    """Limits that some endpoints have beside every client's tier."""

    tries = True
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
                "fields": ("max_body_bytes", "timeout_s", "slow_ms"),
            },
        ),
        (
            _("Repetition"),
            {
                "description": _(
                    "For what must not happen twice, such as a payment. Clients have to send both "
                    "headers: a browser's form does not."
                ),
                "fields": ("require_nonce",),
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
        """Lead to the presets, and to the rule that says what is slow on the whole site."""
        tools = [(_("What is slow"), self._slow_address(request))]
        if self.has_add_permission(request):
            tools.append((_("Add a preset"), self._address("presets")))
        return [(text, address) for text, address in tools if address]

    def _slow_address(self, request: HttpRequest) -> str:
        """Lead to that rule, or to a form that needs only be saved; empty for who may neither."""
        rules = EndpointLimit.objects.filter(path="/", slow_ms__isnull=False)
        # The one that holds of several: for all methods, first by name.
        pk = rules.filter(methods=[]).order_by("name").values_list("pk", flat=True).first()
        if pk is not None:
            return self._address("change", pk) if self.has_view_permission(request) else ""
        if not self.has_add_permission(request):
            return ""
        fields = {"name": "slow-requests", "path": "/", "slow_ms": conf.SLOW_REQUEST_MS}
        return f"{self._address('add')}?{urlencode(fields)}"

    def _address(self, name: str, *arguments: Any) -> str:
        return reverse(
            f"admin:pulse_endpointlimit_{name}", args=arguments, current_app=self.admin_site.name
        )

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
        size, seconds, slow_ms = row.max_body_bytes, row.timeout_s, row.slow_ms
        bounds = [
            counted if row.tier_id is not None or row.limits.all() else "",
            "" if size is None else format_html("≤ {}", format_size(size)),
            "" if seconds is None else format_html("≤ {} s", f"{seconds:g}"),
            "" if slow_ms is None else _say_slow(slow_ms),
            __("each request once") if row.require_nonce else "",
        ]
        lines = [(line,) for line in bounds if line]
        return format_html_join(mark_safe("<br>"), "{}", lines or [(NONE,)])


def _say_slow(slow_ms: int) -> str:
    return __("slow after %d ms") % slow_ms if slow_ms else __("none is slow")
