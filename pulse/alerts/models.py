"""What operators decide about being told: alert rules, and the channels that word goes by."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from pulse.alerts import validators
from pulse.alerts.measured import IN_FLIGHT, JOBS_FAILED, PROBE_DOWN
from pulse.alerts.state import Severity
from pulse.core.targets import MAX_ENDPOINT_ID
from pulse.policies.bases import Policy
from pulse.policies.validators import validate_name
from pulse.probes.models import KEPT
from pulse.probes.validators import validate_allow_networks, validate_texts

DAY_S: Final = 86_400


class Comparison(models.TextChoices):
    """How what is measured is compared with the threshold."""

    MORE = ">", ">"
    AT_LEAST = ">=", "≥"
    LESS = "<", "<"
    AT_MOST = "<=", "≤"
    ABSENT = "absent", _("nothing measured")


class ChannelType(models.TextChoices):
    """How word is sent."""

    EMAIL = "email", _("email")
    WEBHOOK = "webhook", _("webhook")
    SLACK = "slack", _("Slack")


#: Measures that are shares, from 0 to 1.
SHARES: Final = frozenset({"error_rate", "success_rate", "apdex"})


class AlertRule(Policy):
    """Word is sent while something that is measured is not as it should be."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    metric = models.CharField(
        _("measure"),
        max_length=100,
        validators=[validators.validate_metric],
        help_text=_("Such as error_rate, latency_ms.p95, refused or probe_down."),
    )
    endpoint = models.CharField(
        _("endpoint"),
        max_length=MAX_ENDPOINT_ID,
        blank=True,
        default="",
        help_text=_(
            "Such as GET /api/products/, or a probe target's name for probe_down. Empty: all."
        ),
    )
    op = models.CharField(_("is"), max_length=8, choices=Comparison, default=Comparison.MORE)
    threshold = models.FloatField(_("threshold"), null=True, blank=True)
    window_s = models.PositiveIntegerField(
        _("window"),
        default=300,
        validators=[MinValueValidator(60), MaxValueValidator(DAY_S)],
        help_text=_("Seconds that are looked at."),
    )
    baseline_s = models.PositiveIntegerField(
        _("compared with the time before"),
        null=True,
        blank=True,
        validators=[MinValueValidator(600), MaxValueValidator(7 * DAY_S)],
        help_text=_(
            "Seconds before the window: what is compared is then the ratio to what was measured "
            "in them. Empty: the measure itself."
        ),
    )
    for_s = models.PositiveIntegerField(
        _("for"),
        default=0,
        validators=[MaxValueValidator(DAY_S)],
        help_text=_("Seconds that it must be so before word is sent."),
    )
    resolve_for_s = models.PositiveIntegerField(
        _("over after"),
        default=60,
        validators=[MaxValueValidator(DAY_S)],
        help_text=_("Seconds that it must be well before it is over."),
    )
    severity = models.CharField(
        _("severity"), max_length=16, choices=Severity, default=Severity.WARNING
    )
    channels = models.JSONField(
        _("channels"), default=list, blank=True, validators=[validate_texts]
    )

    class Meta:
        verbose_name = _("alert rule")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what can never be judged."""
        super().clean()
        if self.op != Comparison.ABSENT and self.metric != PROBE_DOWN and self.threshold is None:
            raise ValidationError({"threshold": _("Write what it is compared with.")})
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValidationError({"threshold": _("Write a number.")})
        is_share = self.metric in SHARES and self.baseline_s is None
        if is_share and self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValidationError({"threshold": _("This measure is a share: write 0 to 1.")})
        if self.metric in {PROBE_DOWN, JOBS_FAILED, IN_FLIGHT} and self.baseline_s is not None:
            raise ValidationError({"baseline_s": _("Nothing of before is kept for this measure.")})
        if self.metric in {JOBS_FAILED, IN_FLIGHT} and self.endpoint:
            raise ValidationError({"endpoint": _("This measure is of the site as a whole.")})
        if self.baseline_s is not None and self.op == Comparison.ABSENT:
            raise ValidationError({"baseline_s": _("Nothing is no multiple of anything.")})


class AlertChannel(Policy):
    """Where word goes.

    Attributes:
        made_secret: What was made for it as it was saved, to be shown this once; else empty.
    """

    made_secret: str = ""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    type = models.CharField(_("type"), max_length=16, choices=ChannelType)
    to = models.JSONField(
        _("addresses"),
        default=list,
        blank=True,
        validators=[validate_texts, validators.validate_emails],
        help_text=_("Of email."),
    )
    url = models.CharField(
        _("URL"),
        max_length=2000,
        blank=True,
        default="",
        validators=[validators.validate_url],
        help_text=_(
            "Of a webhook or of Slack. Slack's is a secret of its own: env:NAME is read from the "
            "worker's environment, and shown to nobody."
        ),
    )
    secret = models.CharField(
        _("secret"),
        max_length=200,
        blank=True,
        default="",
        help_text=_(
            "That a webhook is signed with, whsec_…; empty: one is made. Kept encrypted, shown "
            "once, and replaced where the URL leads to another host; or env:NAME, read from the "
            "worker's environment."
        ),
    )
    allow_networks = models.JSONField(
        _("private networks it may reach"),
        default=list,
        blank=True,
        validators=[validate_allow_networks],
        help_text=_("Such as 10.0.0.5/32 or 10.0.0.5/32:8000. Never those of cloud metadata."),
    )

    class Meta:
        verbose_name = _("alert channel")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a channel that could reach nobody."""
        super().clean()
        # Left out it means the same as kept: whoever has none yet gets one.
        self.secret = (self.secret or KEPT) if self.type == ChannelType.WEBHOOK else ""
        if self.type == ChannelType.EMAIL:
            if not self.to:
                raise ValidationError({"to": _("Write at least one address.")})
            return
        if not self.url:
            raise ValidationError({"url": _("Write where word is sent.")})
        validators.validate_reach(self.url, self.allow_networks)
        if self.type == ChannelType.WEBHOOK:
            validators.validate_secret(self.secret)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the channel, its secret encrypted apart; one without gets a new one."""
        from pulse.alerts import keeping

        with keeping.kept_apart(self, using=self._written_to(kwargs)):
            super().save(*args, **kwargs)

    @property
    def notice(self) -> str:
        """That a secret was made which nobody was told."""
        if not self.made_secret:
            return ""
        text = _(
            "The alert channel “%s” has a new secret, which a document does not tell: what it "
            "sends is refused by its receiver until you give both the same one, as whsec_…."
        )
        return str(text % self.name)


class ChannelSecret(models.Model):
    """What a channel's word is signed with, encrypted; never part of the document."""

    channel = models.OneToOneField(AlertChannel, on_delete=models.CASCADE, related_name="kept")
    value = models.TextField()

    class Meta:
        verbose_name = _("secret of an alert channel")

    def __str__(self) -> str:
        return str(self.channel)
