"""What alerts found and told: rows of the engine, never part of the policy.

A run never looks like an edit: rules and channels are named by their natural keys, so that one may
be renamed, deleted or rolled back while its incidents stay.
"""

from collections.abc import Sequence
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.core.targets import MAX_ENDPOINT_ID


class Severity(models.TextChoices):
    """How bad it is."""

    WARNING = "warning", _("warning")
    CRITICAL = "critical", _("critical")


class AlertStanding(models.TextChoices):
    """Where a rule is."""

    OK = "ok", _("ok")
    PENDING = "pending", _("pending")
    FIRING = "firing", _("firing")


class IncidentState(models.TextChoices):
    """Where an incident is."""

    OPEN = "open", _("open")
    RESOLVED = "resolved", _("resolved")


class UpdateKind(models.TextChoices):
    """What an update tells of."""

    OPENED = "opened", _("opened")
    CHANGED = "changed", _("changed")
    SILENCED = "silenced", _("silenced")
    RESOLVED = "resolved", _("resolved")
    NOTE = "note", _("note")


class MarkKind(models.TextChoices):
    """What a mark stands for."""

    DEPLOY = "deploy", _("deploy")
    NOTE = "note", _("note")


class DeliveryState(models.TextChoices):
    """Where a word to a channel is."""

    PENDING = "pending", _("pending")
    DELIVERED = "delivered", _("delivered")
    FAILED = "failed", _("failed")


class Incident(models.Model):
    """Something that is wrong, from when it was found until it was over.

    Attributes:
        rule: The alert rule that opened it; empty for one that the engine itself opened.
        subject: What it is about, where the rule looks at several: an endpoint id or a target.
        source_kind: A document's kind, or what of the engine opened it, such as ``job``.
        source_key: The natural key, or the row.
        value: What was measured when it was opened.
        seen_at: When it was first seen, where it had to last before it was opened.
        told: Word was sent, so that its end is told too.
    """

    title = models.CharField(_("title"), max_length=200)
    rule = models.CharField(_("alert rule"), max_length=64, blank=True, default="")
    subject = models.CharField(_("subject"), max_length=MAX_ENDPOINT_ID, blank=True, default="")
    severity = models.CharField(
        _("severity"), max_length=16, choices=Severity, default=Severity.WARNING
    )
    state = models.CharField(
        _("state"), max_length=16, choices=IncidentState, default=IncidentState.OPEN
    )
    source_kind = models.CharField(max_length=32, default="alert_rules")
    source_key = models.CharField(max_length=MAX_ENDPOINT_ID, blank=True, default="")
    metric = models.CharField(max_length=100, blank=True, default="")
    value = models.FloatField(_("value"), null=True, blank=True)
    threshold = models.FloatField(_("threshold"), null=True, blank=True)
    started_at = models.DateTimeField(_("since"), db_index=True)
    seen_at = models.DateTimeField(_("first seen"), null=True, blank=True)
    resolved_at = models.DateTimeField(_("until"), null=True, blank=True)
    told = models.BooleanField(default=False)

    class Meta:
        verbose_name = _("incident")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # Two workers that both find it: the second finds it found.
            models.UniqueConstraint(
                fields=["rule", "subject", "source_kind", "source_key"],
                condition=Q(state="open"),
                name="pulse_one_open_incident",
            )
        ]

    def __str__(self) -> str:
        return self.title


class IncidentUpdate(models.Model):
    """A line of an incident's timeline."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="updates")
    at = models.DateTimeField(_("at"))
    kind = models.CharField(max_length=16, choices=UpdateKind, default=UpdateKind.NOTE)
    text = models.TextField(_("text"), blank=True, default="")
    actor_type = models.CharField(max_length=16, default="system")
    actor_name = models.CharField(_("by"), max_length=150, blank=True, default="")
    public = models.BooleanField(_("on the status page"), default=False)

    class Meta:
        verbose_name = _("incident update")
        ordering: ClassVar[Sequence[str]] = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.incident_id}: {self.kind}"


class AlertState(models.Model):
    """Where a rule stands on one subject.

    Attributes:
        since: When it came to stand there.
        clear_since: When it was first well again while firing; None while it is not.
        value: What was measured last; None where nothing was.
        looked_at: When; who looks at an older one comes too late and changes nothing.
        shadow: It stands so by a rule in shadow, which opens no incident.
    """

    rule = models.CharField(max_length=64)
    subject = models.CharField(max_length=MAX_ENDPOINT_ID, blank=True, default="")
    state = models.CharField(max_length=16, choices=AlertStanding, default=AlertStanding.OK)
    since = models.DateTimeField()
    clear_since = models.DateTimeField(null=True, blank=True)
    value = models.FloatField(null=True, blank=True)
    looked_at = models.DateTimeField()
    shadow = models.BooleanField(default=False)
    silenced = models.BooleanField(default=False)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        verbose_name = _("state of an alert rule")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["rule", "subject"], name="pulse_one_alert_state")
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.state}"


class AlertEngine(models.Model):
    """The one row that whoever looks at the rules locks first.

    Attributes:
        looked_at: When they were last looked at, by the database's clock.
    """

    looked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("alert engine")

    def __str__(self) -> str:
        return "alert engine"


class AlertDelivery(models.Model):
    """A word to one channel, and what became of it.

    Attributes:
        webhook_id: The same over all attempts, so that a receiver takes it once.
        event: ``alert.firing``, ``alert.resolved`` or ``alert.test``.
        body: What is sent, whatever form the channel gives it.
        fence: Counted up whenever it changes hands; who records names the fence it was given.
        log: The last attempts: when, which, status code and error.
    """

    channel = models.CharField(_("channel"), max_length=64, db_index=True)
    webhook_id = models.CharField(max_length=64, unique=True)
    event = models.CharField(_("event"), max_length=32)
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, blank=True, related_name="deliveries"
    )
    body = models.JSONField(encoder=DjangoJSONEncoder)
    state = models.CharField(
        _("state"), max_length=16, choices=DeliveryState, default=DeliveryState.PENDING
    )
    attempt = models.PositiveSmallIntegerField(_("attempts"), default=0)
    status_code = models.PositiveIntegerField(_("status code"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    created_at = models.DateTimeField(_("created at"))
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0)
    log = models.JSONField(default=list)

    class Meta:
        verbose_name = _("delivery of an alert")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # An incident begins and ends once for each channel, whoever tells of it.
            models.UniqueConstraint(
                fields=["channel", "incident", "event"],
                condition=Q(incident__isnull=False),
                name="pulse_one_delivery_an_event",
            )
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state="pending"),
                name="pulse_due_deliveries",
            )
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.channel}: {self.state}"


class AlertTally(models.Model):
    """How many words to a channel ended so, for as long as the site is there.

    Attributes:
        outcome: ``delivered`` or ``failed``.
    """

    channel = models.CharField(max_length=64)
    outcome = models.CharField(max_length=16, choices=DeliveryState)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("tally of deliveries")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["channel", "outcome"], name="pulse_one_alert_tally")
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.count} {self.outcome}"


class Mark(models.Model):
    """A moment that somebody marked, such as a deploy; shown on every chart."""

    at = models.DateTimeField(_("at"), db_index=True)
    kind = models.CharField(_("kind"), max_length=16, choices=MarkKind, default=MarkKind.DEPLOY)
    text = models.CharField(_("text"), max_length=200)
    url = models.URLField(_("link"), max_length=500, blank=True, default="")
    actor_type = models.CharField(max_length=16, default="command")
    actor_name = models.CharField(_("by"), max_length=150, blank=True, default="")

    class Meta:
        verbose_name = _("mark")
        ordering: ClassVar[Sequence[str]] = ["-at", "-pk"]

    def __str__(self) -> str:
        return self.text
