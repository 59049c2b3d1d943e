"""Who did what, and whether it was allowed: rows that are written once."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _


class Outcome(models.TextChoices):
    """What came of it."""

    SUCCESS = "success", _("Success")
    FAILURE = "failure", _("Failure")


class AuditEntry(models.Model):
    """One deed: of a person, a key, a command or pulse itself. Never changed, only pruned.

    Attributes:
        action: What was done, such as ``policy.update`` or ``auth.failed``.
        kind: Of what kind it was done to, and ``key`` its natural key; empty where to nothing.
        revision: The policy that came of it.
        fields: What it was ``before`` and ``after``, by field, redacted.
    """

    created_at = models.DateTimeField(_("at"), db_index=True)
    actor_type = models.CharField(_("actor type"), max_length=16)
    actor_name = models.CharField(_("actor"), max_length=150, blank=True)
    address = models.CharField(_("address"), max_length=64, blank=True)
    action = models.CharField(_("action"), max_length=32)
    outcome = models.CharField(_("outcome"), max_length=8, choices=Outcome)
    kind = models.CharField(_("kind"), max_length=32, blank=True)
    key = models.JSONField(_("key"), default=dict)
    revision = models.PositiveIntegerField(_("revision"), null=True)
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    fields = models.JSONField(_("fields"), default=dict)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["action", "-id"], name="pulse_audit_by_action"),
            models.Index(fields=["actor_name", "-id"], name="pulse_audit_by_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_name or self.actor_type}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the entry; one that exists is never changed."""
        if not self._state.adding:
            raise ValidationError(_("An audit entry is never changed."))
        super().save(*args, **kwargs)
