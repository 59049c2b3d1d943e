"""What operators decide of the edge: who may read from where, who may come in, what answers carry.

Policy rows, as those of ``models``: what the next revision is made of; no request reads them.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from pulse.core.access import Action
from pulse.core.cors import ALLOWED_HEADERS, EXPOSED_HEADERS, MAX_AGE_S, METHODS
from pulse.core.headers import HSTS_STAGES, Preset
from pulse.core.origins import ANY
from pulse.policies.bases import Policy
from pulse.policies.validators import (
    validate_header_names,
    validate_header_values,
    validate_methods,
    validate_name,
    validate_network,
    validate_origin,
    validate_path,
)

#: Browsers keep a preflight's answer no longer: Firefox a day, Chromium two hours.
LONGEST_MAX_AGE_S = 86_400


def default_methods() -> list[str]:
    """Return the default of ``CorsOrigin.methods``."""
    return list(METHODS)


def default_allowed_headers() -> list[str]:
    """Return the default of ``CorsOrigin.allowed_headers``."""
    return list(ALLOWED_HEADERS)


def default_exposed_headers() -> list[str]:
    """Return the default of ``CorsOrigin.exposed_headers``."""
    return list(EXPOSED_HEADERS)


class ActionChoices(models.TextChoices):
    """``Action``, in words for people."""

    DENY = Action.DENY.value, _("Deny")
    ALLOW = Action.ALLOW.value, _("Allow")


class PresetChoices(models.TextChoices):
    """``Preset``, in words for people."""

    OWASP = Preset.OWASP.value, _("OWASP, as advised today")
    LEGACY = Preset.LEGACY.value, _("Legacy, the five headers of old scanners")
    API = Preset.API.value, _("API, which nothing may embed or run")
    HTML = Preset.HTML.value, _("HTML pages with their own scripts and styles")


class CorsOrigin(Policy):
    """A page elsewhere whose scripts may read answers of this site."""

    origin = models.CharField(
        _("origin"),
        max_length=255,
        validators=[validate_origin],
        help_text=_(
            "https://app.example.com; https://*.example.com for every host under it (never for "
            "example.com itself); * for any page, without credentials."
        ),
    )
    path = models.CharField(
        _("path prefix"),
        max_length=255,
        default="/",
        validators=[validate_path],
        help_text=_("On whole segments: /api/ holds for all that lies under it."),
    )
    methods = models.JSONField(_("methods"), default=default_methods, validators=[validate_methods])
    allowed_headers = models.JSONField(
        _("allowed request headers"),
        default=default_allowed_headers,
        blank=True,
        validators=[validate_header_names],
        help_text=_("What a script may send beside the headers that need no permission."),
    )
    exposed_headers = models.JSONField(
        _("exposed response headers"),
        default=default_exposed_headers,
        blank=True,
        validators=[validate_header_names],
        help_text=_("What a script may read beside the headers that need no permission."),
    )
    credentials = models.BooleanField(
        _("credentials"),
        default=False,
        help_text=_("Scripts may act with the visitor's cookies. Never for *."),
    )
    max_age = models.PositiveIntegerField(
        _("preflight kept for"),
        default=MAX_AGE_S,
        validators=[MaxValueValidator(LONGEST_MAX_AGE_S)],
        help_text=_("Seconds for which browsers need not ask again; 0: each time."),
    )
    private_network = models.BooleanField(
        _("private network"),
        default=False,
        help_text=_("Public pages may reach this site on a private network (old Chromium)."),
    )
    strict_preflight = models.BooleanField(
        _("strict preflight"),
        default=False,
        help_text=_(
            "A preflight for what is not allowed is refused with 403, and not only left without "
            "permission."
        ),
    )
    csrf_trusted = models.BooleanField(
        _("trusted for CSRF"),
        default=False,
        help_text=_(
            "Forms of that origin may post here with a valid token. Never follows from CORS."
        ),
    )

    class Meta:
        verbose_name = _("CORS origin")
        ordering: ClassVar[Sequence[str]] = ["origin", "path"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["origin", "path"],
                name="pulse_one_cors_origin",
                violation_error_message=_("This origin has a rule for this path already."),
            ),
            models.CheckConstraint(
                condition=~models.Q(origin=ANY, credentials=True),
                name="pulse_no_credentials_for_any_origin",
                violation_error_message=_("Any origin with credentials: name the origins."),
            ),
        ]

    def __str__(self) -> str:
        return self.origin if self.path == "/" else f"{self.origin} {self.path}"

    def clean(self) -> None:
        """Refuse to give everybody the visitor's cookies, and a share of clients anything."""
        super().clean()
        if self.percent != 100:
            raise ValidationError(
                _("Browsers and caches share answers: a CORS rule is for all clients or for none.")
            )
        if self.origin != ANY:
            return
        for name in ("credentials", "csrf_trusted"):
            if getattr(self, name):
                text = _("Never for *: any page could act as the visitor. Name the origins.")
                raise ValidationError({name: text})


class HeaderPolicy(Policy):
    """The security headers of what lies under a path."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    path = models.CharField(
        _("path prefix"),
        max_length=255,
        default="/",
        validators=[validate_path],
        help_text=_("The policy with the longest path that a request lies under holds, alone."),
    )
    preset = models.CharField(
        _("preset"),
        max_length=16,
        choices=PresetChoices,
        blank=True,
        default="",
        help_text=_("What to begin with. Empty: nothing but the headers below."),
    )
    headers: Any = models.JSONField(
        _("headers"),
        default=dict,
        blank=True,
        validators=[validate_header_values],
        help_text=_("Beside or instead of the preset's; null removes a header from the answer."),
    )
    force = models.BooleanField(
        _("force"),
        default=False,
        help_text=_("Also where the view, or a middleware, has set the header already."),
    )
    csp_report_only = models.BooleanField(
        _("CSP reports only"),
        default=False,
        help_text=_(
            "Browsers report what the Content-Security-Policy would block, but do not block it."
        ),
    )
    hsts_stage = models.CharField(
        _("HSTS stage"),
        max_length=8,
        choices=[(stage, stage) for stage in HSTS_STAGES],
        blank=True,
        default="",
        help_text=_(
            "Browsers hold a site to HTTPS for this long only, without its subdomains, until you "
            "are sure. Empty: for as long as the header says."
        ),
    )

    class Meta:
        verbose_name = _("header policy")
        verbose_name_plural = _("header policies")
        ordering: ClassVar[Sequence[str]] = ["path", "name"]

    def __str__(self) -> str:
        return self.name


class AccessRule(Policy):
    """Whom a path is closed to, and who may come in all the same."""

    network = models.CharField(
        _("network"),
        max_length=64,
        validators=[validate_network],
        help_text=_("An address or a CIDR, such as 203.0.113.0/24; 0.0.0.0/0 is every IPv4."),
    )
    path = models.CharField(
        _("path prefix"),
        max_length=255,
        default="/",
        validators=[validate_path],
        help_text=_("On whole segments: /admin/ holds for all that lies under it."),
    )
    action = models.CharField(
        _("action"),
        max_length=8,
        choices=ActionChoices,
        default=ActionChoices.DENY,
        help_text=_("The most specific network holds; within one network, the longest path."),
    )
    reason = models.CharField(
        _("why"), max_length=200, blank=True, default="", help_text=_("For the log and the list.")
    )

    class Meta:
        verbose_name = _("access rule")
        ordering: ClassVar[Sequence[str]] = ["network", "path"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["network", "path"],
                name="pulse_one_access_rule",
                violation_error_message=_("This network has a rule for this path already."),
            ),
        ]

    def __str__(self) -> str:
        return self.network if self.path == "/" else f"{self.network} {self.path}"
