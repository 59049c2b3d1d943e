"""Who may use pulse without a session, and what was answered to them."""

from collections.abc import Sequence
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.access.scopes import validate_scopes
from pulse.policies.models import RateTier
from pulse.policies.validators import validate_key_prefix


class ApiKey(models.Model):
    """A key of the API: shown once when it is made, kept as a hash. Never part of the document.

    Attributes:
        prefix: Names the key, also in the key itself: ``pulse_<prefix>_<secret>``.
        hash: The SHA-256 of the whole key, in hexadecimal digits.
        scopes: Of ``view``, ``operate`` and ``administer``; higher ones include lower ones.
        tier: The tier of requests that come with it; None for that of every client.
        last_used_at: To the minute.
        version: Counted up by each change, against lost updates.
    """

    name = models.CharField(_("name"), max_length=64, help_text=_("What it is for."))
    prefix = models.CharField(
        _("prefix"), max_length=16, unique=True, editable=False, validators=[validate_key_prefix]
    )
    hash = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(_("scopes"), default=list, validators=[validate_scopes])
    tier = models.ForeignKey(
        RateTier,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="api_keys",
        verbose_name=_("tier"),
    )
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, editable=False)
    #: How long it was to live before a rotation shortened that; None for no end.
    lifetime = models.DurationField(null=True, editable=False)
    is_rotated = models.BooleanField(default=False, editable=False)
    last_used_at = models.DateTimeField(_("last used at"), null=True, editable=False)
    created_by = models.CharField(_("created by"), max_length=150, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)

    class Meta:
        verbose_name = _("API key")
        ordering: ClassVar[Sequence[str]] = ["name", "pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


class StoredAnswer(models.Model):
    """The answer to a POST that came with an ``Idempotency-Key``, to be repeated for a day.

    Attributes:
        digest: Of actor, method, path and key: what makes two requests the same.
        body_digest: Of what was sent; another body under the same key is a mistake.
        status: None while the first of them is still answered.
        headers: Those that are repeated with it.
    """

    digest = models.CharField(max_length=64, unique=True)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.TextField(blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("stored answer")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(status__isnull=True) | Q(status__gte=100),
                name="pulse_stored_answer_has_a_status",
            ),
        ]

    def __str__(self) -> str:
        return "running" if self.status is None else str(self.status)
