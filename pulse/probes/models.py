"""What operators decide of probes: what is probed, when, with which input, and when not.

Policy rows, as those of ``policies.models``: what the next revision is made of. The engine reads
the plan that is compiled from the document (``probes.plan``); run state lives in ``probes.state``.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.core.targets import SAFE_METHODS
from pulse.core.urls import parse_url
from pulse.exceptions import ForbiddenUrl
from pulse.policies.bases import Policy
from pulse.policies.validators import validate_name
from pulse.probes import validators

LONGEST_TIMEOUT_S: Final = 120
LONGEST_DEADLINE_S: Final = 24 * 3600
#: What a secret reads as; writing it keeps what is stored.
KEPT: Final = "***"


class TransportChoices(models.TextChoices):
    """How a request reaches the site."""

    HTTP = "http", _("HTTP, as any client")
    IN_PROCESS = "in_process", _("In a process beside the worker, without a network")


class OnCrashChoices(models.TextChoices):
    """What becomes of a probe whose worker was killed."""

    AUTO = "", _("By the method: safe ones run again")
    RERUN = "rerun", _("Run again")
    MARK_LOST = "mark_lost", _("Mark as lost: it may have been sent")


class ProbeTarget(Policy):
    """Something that is probed: a route of this site, or an address elsewhere."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    url_name = models.CharField(
        _("URL name"),
        max_length=255,
        blank=True,
        default="",
        help_text=_("As in reverse(), with namespaces, such as shop:product."),
    )
    path_params = models.JSONField(
        _("path parameters"),
        default=dict,
        blank=True,
        validators=[validators.validate_parameters],
        help_text=_('For a URL name that takes some, such as {"pk": 1}.'),
    )
    path = models.CharField(
        _("path"),
        max_length=2000,
        blank=True,
        default="",
        validators=[validators.validate_site_path],
        help_text=_("Of this site, such as /api/products/."),
    )
    url = models.CharField(
        _("URL"),
        max_length=2000,
        blank=True,
        default="",
        validators=[validators.validate_url],
        help_text=_("Of another site, such as https://status.example.com/."),
    )
    method = models.CharField(
        _("method"),
        max_length=8,
        default="GET",
        validators=[validators.validate_method],
        help_text=_("GET, HEAD and OPTIONS are safe; others only with the mark below."),
    )
    query = models.JSONField(
        _("query"), default=dict, blank=True, validators=[validators.validate_parameters]
    )
    headers = models.JSONField(
        _("headers"), default=dict, blank=True, validators=[validators.validate_headers]
    )
    secret_headers = models.JSONField(
        _("secret headers"),
        default=dict,
        blank=True,
        validators=[validators.validate_headers],
        help_text=_(
            "Kept encrypted and never shown again; or env:NAME, read from the worker's environment."
        ),
    )
    allow_unsafe = models.BooleanField(
        _("may change things"),
        default=False,
        help_text=_("Methods other than GET, HEAD and OPTIONS do what they do, at every run."),
    )
    allow_networks = models.JSONField(
        _("private networks it may reach"),
        default=list,
        blank=True,
        validators=[validators.validate_allow_networks],
        help_text=_("Such as 10.0.0.5/32 or 10.0.0.5/32:8000. Never those of cloud metadata."),
    )
    follow_redirects = models.PositiveSmallIntegerField(
        _("redirects to follow"), default=0, validators=[MaxValueValidator(3)]
    )
    verify_tls = models.BooleanField(_("verify certificates"), default=True)
    transport = models.CharField(
        _("transport"), max_length=16, choices=TransportChoices, default=TransportChoices.HTTP
    )
    timeout_s = models.FloatField(
        _("time limit"),
        default=10.0,
        validators=[MinValueValidator(0.1), MaxValueValidator(LONGEST_TIMEOUT_S)],
        help_text=_("Seconds for everything: look-up, connection, TLS, answer."),
    )
    on_crash = models.CharField(
        _("when its worker was killed"),
        max_length=16,
        choices=OnCrashChoices,
        blank=True,
        default=OnCrashChoices.AUTO,
    )
    expect = models.JSONField(
        _("expectations"),
        default=dict,
        blank=True,
        validators=[validators.validate_expect],
        help_text=_('Such as {"status": [200], "max_latency_ms": 500}. Empty: status 200 to 399.'),
    )
    public_name = models.CharField(
        _("public name"),
        max_length=80,
        blank=True,
        default="",
        help_text=_("What the status page calls it. Empty: it is not there."),
    )
    public_group = models.CharField(_("public group"), max_length=80, blank=True, default="")

    WHERE: ClassVar[tuple[str, ...]] = ("url_name", "path", "url")

    class Meta:
        verbose_name = _("probe target")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_safe(self) -> bool:
        """Whether its method promises to change nothing (RFC 9110, 9.2.1)."""
        return self.method in SAFE_METHODS

    def clean(self) -> None:
        """Refuse a target that is nowhere, in two places, or unsafe without saying so."""
        super().clean()
        named = [name for name in self.WHERE if getattr(self, name)]
        if not named:
            raise ValidationError(_("Say what is probed: a URL name, a path or a URL."))
        if len(named) > 1:
            words = {field.name: field.verbose_name for field in self._meta.fields}
            text = _("Name one place only: %(first)s is set already.")
            raise ValidationError({named[1]: text % {"first": words[named[0]]}})
        if not self.is_safe and not self.allow_unsafe:
            text = _("%(method)s may change things. Say below that it may, or use GET.")
            raise ValidationError({"method": text % {"method": self.method}})
        if self.url and self.transport == TransportChoices.IN_PROCESS:
            raise ValidationError({"transport": _("Another site is reached by HTTP only.")})
        validators.validate_place(self)
        if self.url:
            validators.validate_address(self)
        validators.validate_references(self)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the target, its secrets encrypted apart."""
        from pulse.probes import secrets

        with secrets.kept_apart(self, using=self._written_to(kwargs)):
            super().save(*args, **kwargs)

    def secrets_for_elsewhere(self, using: str | None = None) -> list[str]:
        """Name the secret headers that are said to be kept, and were written for another origin.

        One query where there are any.
        """
        kept = [name for name, value in self.secret_headers.items() if value == KEPT]
        if not kept or self.pk is None:
            return []
        before = ProbeTarget.objects.using(using).filter(pk=self.pk).values_list("url", flat=True)
        return [name for url in before if _origin(url) != _origin(self.url) for name in kept]

    def secrets_not_stored(self) -> list[str]:
        """Name the secret headers that are said to be kept, and of which nothing is stored.

        A form asks for their values. A document is taken without: it may bring back a target that
        was deleted, whose secrets went with it, and must not fail for that.
        """
        rows = ProbeSecret.objects.filter(target__pk=self.pk)
        stored = set(rows.values_list("header", flat=True))
        return [
            name
            for name, value in self.secret_headers.items()
            if value == KEPT and name.lower() not in stored
        ]


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return whom a URL leads to; None for this site, and for what is none."""
    try:
        return parse_url(url).origin if url else None
    except ForbiddenUrl:
        return None


class ProbeSecret(models.Model):
    """A header's value that is nobody's to read; never part of the document."""

    target = models.ForeignKey(ProbeTarget, on_delete=models.CASCADE, related_name="secrets")
    header = models.CharField(max_length=64)
    value = models.TextField()

    class Meta:
        verbose_name = _("probe secret")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "header"], name="pulse_one_probe_secret")
        ]

    def __str__(self) -> str:
        return f"{self.target}: {self.header}"


class ProbePayload(Policy):
    """The input of a target, in place of what would be sent without."""

    target = models.CharField(
        _("target"),
        max_length=520,
        unique=True,
        validators=[validators.validate_target],
        help_text=_("A target's name, or an endpoint such as POST /api/orders/."),
    )
    path_params = models.JSONField(
        _("path parameters"),
        default=dict,
        blank=True,
        validators=[validators.validate_parameters],
    )
    query = models.JSONField(
        _("query"), default=dict, blank=True, validators=[validators.validate_parameters]
    )
    headers = models.JSONField(
        _("headers"), default=dict, blank=True, validators=[validators.validate_headers]
    )
    body = models.JSONField(
        _("body"),
        null=True,
        blank=True,
        default=None,
        help_text=_("JSON, or a text that is sent as it is."),
    )
    source = models.CharField(_("source"), max_length=16, default="custom", editable=False)
    size = models.PositiveIntegerField(_("size"), default=0, editable=False)

    class Meta:
        verbose_name = _("probe payload")
        ordering: ClassVar[Sequence[str]] = ["target"]

    def __str__(self) -> str:
        return self.target

    def clean(self) -> None:
        """Refuse what is larger than one payload, or all together, may be."""
        super().clean()
        validators.validate_payload(self)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the payload and its size."""
        self.size = validators.payload_size(self.body)
        super().save(*args, **kwargs)


class ProbeSchedule(Policy):
    """When targets are probed, and what is made of it."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    targets = models.JSONField(
        _("targets"),
        default=list,
        validators=[validators.validate_targets],
        help_text=_("Names of targets, or endpoints such as GET /api/products/."),
    )
    every = models.CharField(
        _("every"),
        max_length=16,
        blank=True,
        default="",
        validators=[validators.validate_every],
        help_text=_("Such as 30s, 5m or 1h; 5 seconds at least. Spread by the schedule's name."),
    )
    cron = models.CharField(
        _("cron"),
        max_length=100,
        blank=True,
        default="",
        validators=[validators.validate_cron],
        help_text=_("Five fields instead of an interval, such as 0 7 * * MON-FRI."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        validators=[validators.validate_time_zone],
        help_text=_("Of the cron expression, such as Europe/Berlin."),
    )
    expect = models.JSONField(
        _("expectations"),
        default=dict,
        blank=True,
        validators=[validators.validate_expect],
        help_text=_("Where a target does not say otherwise."),
    )
    timeout_s = models.FloatField(
        _("time limit of a probe"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(LONGEST_TIMEOUT_S)],
        help_text=_("Seconds; no longer than the target's own. Empty: the target's own."),
    )
    deadline_s = models.FloatField(
        _("time limit of a job"),
        default=600.0,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_DEADLINE_S)],
        help_text=_("Seconds; what has not ended then is marked as timeout."),
    )
    retries = models.PositiveSmallIntegerField(
        _("retries"), default=0, validators=[MaxValueValidator(validators.MAX_RETRIES)]
    )
    retry_backoff_s = models.FloatField(
        _("wait before a retry"),
        default=1.0,
        validators=[MinValueValidator(0), MaxValueValidator(300)],
        help_text=_("Seconds before the first; each further one waits twice as long."),
    )
    cooldown_s = models.FloatField(
        _("cooldown"),
        default=30.0,
        validators=[MinValueValidator(0), MaxValueValidator(24 * 3600)],
        help_text=_("Seconds between two starts by hand."),
    )
    max_concurrency = models.PositiveIntegerField(
        _("at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("How many of its probes run at once, at most. Empty: as the budget has it."),
    )
    failure_threshold = models.PositiveSmallIntegerField(
        _("failures until down"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )
    success_threshold = models.PositiveSmallIntegerField(
        _("successes until up"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
    )

    class Meta:
        verbose_name = _("probe schedule")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a schedule that never comes, or in two ways."""
        super().clean()
        if bool(self.every) == bool(self.cron):
            raise ValidationError(_("Say when: either an interval, or a cron expression."))
        validators.validate_pace(self)


class ProbeBudget(Policy):
    """How much is probed at once, over all workers."""

    name = models.CharField(_("name"), max_length=64, unique=True, default="default")
    max_jobs = models.PositiveIntegerField(
        _("jobs at once"),
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("Started by hand and not yet ended."),
    )
    max_concurrency = models.PositiveIntegerField(
        _("probes at once"),
        default=200,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("Over all workers."),
    )
    max_per_host = models.PositiveIntegerField(
        _("probes at once of one host"),
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("Host and port, over all workers."),
    )
    job_timeout_s = models.FloatField(
        _("time limit of a job"),
        default=600.0,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_DEADLINE_S)],
        help_text=_("Seconds, for jobs started by hand."),
    )

    class Meta:
        verbose_name = _("probe budget")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(name="default"),
                name="pulse_one_probe_budget",
                violation_error_message=_("There is one budget, by the name default."),
            )
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a second one, and a host that may take more than all."""
        super().clean()
        if self.name != "default":
            raise ValidationError({"name": _("There is one budget, by the name default.")})
        if self.max_per_host > self.max_concurrency:
            text = _("That is more than the probes at once in all.")
            raise ValidationError({"max_per_host": text})


class MaintenanceWindow(Policy):
    """A time in which what fails is expected to, and counts as neither up nor down."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[validate_name],
        help_text=_("As in URLs."),
    )
    cron = models.CharField(
        _("cron"),
        max_length=100,
        blank=True,
        default="",
        validators=[validators.validate_cron],
        help_text=_("When it opens, again and again, such as 0 3 * * SUN; empty: once."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        validators=[validators.validate_time_zone],
    )
    duration_s = models.PositiveIntegerField(
        _("duration"),
        null=True,
        blank=True,
        validators=[MinValueValidator(60), MaxValueValidator(7 * 24 * 3600)],
        help_text=_("Seconds, where it opens again and again."),
    )
    targets = models.JSONField(
        _("targets"),
        default=list,
        blank=True,
        validators=[validators.validate_targets],
        help_text=_("Names of targets. With no scope at all: everything."),
    )
    groups = models.JSONField(
        _("public groups"), default=list, blank=True, validators=[validators.validate_texts]
    )
    rules = models.JSONField(
        _("alert rules"), default=list, blank=True, validators=[validators.validate_texts]
    )

    class Meta:
        verbose_name = _("maintenance window")
        ordering: ClassVar[Sequence[str]] = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a window that never opens, or in two ways."""
        super().clean()
        if self.cron:
            if self.duration_s is None:
                raise ValidationError({"duration_s": _("Say for how long it opens.")})
        elif self.starts_at is None or self.ends_at is None:
            raise ValidationError(
                _("Say when: from and until, or a cron expression and a duration.")
            )
        elif self.duration_s is not None:
            text = _("A window that opens once ends at its time.")
            raise ValidationError({"duration_s": text})
        validators.validate_window(self)
