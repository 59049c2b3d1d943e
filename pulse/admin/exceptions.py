"""What no limit touches, and whose forwarding headers count."""

from typing import Any, ClassVar

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from pulse.admin.base import PolicyAdmin
from pulse.admin.tiers import NOTES
from pulse.policies.models import Exemption, TrustedProxy

#: Neither is for a share of clients.
WHEN: Any = (
    _("When"),
    {
        "description": _("It is in force when enforced; in shadow it does nothing, as when off."),
        "fields": ("mode", "starts_at", "ends_at"),
    },
)


@admin.register(Exemption)
class ExemptionAdmin(PolicyAdmin):
    """Paths and networks without limits."""

    tries = True
    list_display: Any = ("__str__", "mode_column", "words_column", "updated_column")
    search_fields: ClassVar[Any] = ("path", "network", "description")
    fieldsets: ClassVar[Any] = (
        (
            _("What"),
            {
                "description": _("Name either a path or a network."),
                "fields": ("path", "network"),
            },
        ),
        WHEN,
        NOTES,
    )
    empty = _(
        "Every request is limited. Exempt what machines of yours ask all day, such as /healthz."
    )


@admin.register(TrustedProxy)
class TrustedProxyAdmin(PolicyAdmin):
    """The proxies in front of this site."""

    list_display: Any = ("network", "mode_column", "words_column", "updated_column")
    search_fields: ClassVar[Any] = ("network", "description")
    fieldsets: ClassVar[Any] = ((_("What"), {"fields": ("network",)}), WHEN, NOTES)
    empty = _(
        "No forwarding header is believed: a client is who connects. Behind a proxy or a load "
        "balancer add its network, or all clients are counted as one."
    )
