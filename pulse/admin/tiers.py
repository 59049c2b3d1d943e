"""Tiers, and who has which."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.base import PolicyAdmin
from pulse.admin.columns import LimitColumns, StateFilter, column
from pulse.admin.inlines import TierLimitInline
from pulse.policies.models import RateTier, TierAssignment

WHEN: Any = (_("When and how"), {"fields": ("mode", "percent", "starts_at", "ends_at")})
NOTES: Any = (_("Notes"), {"fields": ("description",)})


@admin.register(RateTier)
class RateTierAdmin(LimitColumns, PolicyAdmin):
    """How much clients may do in all."""

    tries = True
    counts = True
    limits_after = 0
    inlines: ClassVar[Any] = (TierLimitInline,)
    list_display: Any = (
        "name_column",
        "words_column",
        "limits_column",
        "mode_column",
        "refused_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("mode", "default", StateFilter)
    search_fields: ClassVar[Any] = ("name", "description")
    fieldsets: ClassVar[Any] = (
        (_("What"), {"fields": ("name", "default", "address_ceiling")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "No tier limits anybody yet. Add one, such as 10/s with a burst of 20, and mark it as the "
        "default: it is the tier of every client that no assignment names."
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Read the limits of all rows at once."""
        return super().get_queryset(request).prefetch_related("limits")

    @admin.display(description=_("name"), ordering="name")
    def name_column(self, row: RateTier) -> SafeString:
        """Name the tier, and mark that of everybody else."""
        if not row.default:
            return format_html("{}", row.name)
        return format_html(
            '{} <span class="pulse-nowrap" title="{}">★</span>', row.name, __("default tier")
        )


@admin.register(TierAssignment)
class TierAssignmentAdmin(PolicyAdmin):
    """Who has another tier than the default."""

    tries = True
    choose: ClassVar[Any] = ("user", "group", "tier")
    list_display: Any = (
        "who_column",
        "tier_column",
        "priority_column",
        "mode_column",
        "words_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("mode", "tier", StateFilter)
    search_fields: ClassVar[Any] = (
        "network",
        "api_key",
        "header",
        "description",
        "tier__name",
        "group__name",
    )
    fieldsets: ClassVar[Any] = (
        (
            _("Who"),
            {
                "description": _("Name one: a user, a group, an API key, a network or a header."),
                "fields": ("user", "group", "api_key", "network", "header"),
            },
        ),
        (_("What"), {"fields": ("tier", "priority")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "Every client has the default tier. Add an assignment to give a user, a group, a network "
        "or the bearer of a header another one."
    )

    @admin.display(description=_("who"))
    def who_column(self, row: TierAssignment) -> str:
        """Name who is given the tier."""
        return row.who

    @column(_("tier"), ordering="tier")
    def tier_column(self, row: TierAssignment) -> RateTier:
        """Name the tier."""
        return row.tier

    @column(_("priority"), ordering="priority")
    def priority_column(self, row: TierAssignment) -> int:
        """Tell the priority."""
        return row.priority
