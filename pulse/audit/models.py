"""Who did what, and whether it was allowed: rows that are written once."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, NoReturn

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from pulse.audit.querysets import AuditQuerySet


class Action(models.TextChoices):
    """What can be done that is worth an entry."""

    POLICY_CREATE = "policy.create", _("Policy added")
    POLICY_UPDATE = "policy.update", _("Policy changed")
    POLICY_DELETE = "policy.delete", _("Policy deleted")
    POLICY_APPLY = "policy.apply", _("Document applied")
    POLICY_ROLLBACK = "policy.rollback", _("Rolled back")
    POLICY_PUBLISH = "policy.publish", _("Draft published")
    POLICY_SHADOW_ALL = "policy.shadow_all", _("Everything to shadow")
    GUARD_ROLLED_BACK = "guard.rolled_back", _("Rolled back by its guard")
    AUTH_LOGIN = "auth.login", _("Logged in")
    AUTH_LOGOUT = "auth.logout", _("Logged out")
    AUTH_FAILED = "auth.failed", _("Login failed")
    KEY_CREATE = "key.create", _("Key made")
    KEY_ROTATE = "key.rotate", _("Key rotated")
    KEY_UPDATE = "key.update", _("Key changed")
    KEY_REVOKE = "key.revoke", _("Key revoked")
    KEY_FAILED = "key.failed", _("Key refused")
    CLIENT_UNBLOCK = "client.unblock", _("Client unblocked")
    AUDIT_EXPORT = "audit.export", _("Audit exported")
    JOB_START = "job.start", _("Probes started")
    JOB_CANCEL = "job.cancel", _("Probes cancelled")


class Outcome(models.TextChoices):
    """What came of it."""

    SUCCESS = "success", _("Success")
    FAILURE = "failure", _("Failure")


#: What entries are looked for by, among a million: each has an index, named in short.
NARROWED_BY: Final = {
    "action": "action",
    "actor_name": "actor",
    "actor_type": "type",
    "address": "address",
    "kind": "kind",
    "outcome": "outcome",
    "request_id": "request",
    "revision": "revision",
}


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

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=[name, "-id"], name=f"pulse_audit_by_{short}")
            for name, short in NARROWED_BY.items()
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_name or self.actor_type}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the entry; one that exists is never changed."""
        if not self._state.adding:
            raise ValidationError(_("An audit entry is never changed."))
        # One that is given another's key is no way to change that one.
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Refuse: an entry goes when it is old, not before."""
        raise ValidationError(_("An audit entry is never deleted by hand."))
