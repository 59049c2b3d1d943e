"""What runs and what came of it: rows of the engine, never part of the policy.

A run never looks like an edit: definitions are named by their natural keys, so that a target may be
renamed, deleted or rolled back while its results stay.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pulse.core.targets import MAX_ENDPOINT_ID

#: A target's name, or an endpoint id in its place.
NAME: Final = MAX_ENDPOINT_ID


class JobStatus(models.TextChoices):
    """Where a job is (S0-19, and cancelled)."""

    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    TIMEOUT = "timeout", _("timeout")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class ItemState(models.TextChoices):
    """Where one probe of a job is; the names of a job's ``counts``."""

    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    OK = "ok", _("ok")
    DEGRADED = "degraded", _("degraded")
    FAILED = "failed", _("failed")
    TIMEOUT = "timeout", _("timeout")
    LOST = "lost", _("lost")
    CANCELLED = "cancelled", _("cancelled")


class Trigger(models.TextChoices):
    """Who started a job."""

    API = "api", _("API")
    PAGE = "page", _("page")
    ADMIN = "admin", _("admin")
    COMMAND = "command", _("command")
    SCHEDULE = "schedule", _("schedule")


class TargetStatus(models.TextChoices):
    """The confirmed status of a target."""

    UP = "up", _("up")
    DEGRADED = "degraded", _("degraded")
    DOWN = "down", _("down")
    MAINTENANCE = "maintenance", _("maintenance")
    NOT_WATCHED = "not_watched", _("not watched")


class ScheduleState(models.TextChoices):
    """Where a schedule is."""

    IDLE = "idle", _("idle")
    CLAIMED = "claimed", _("running")
    QUARANTINED = "quarantined", _("quarantined")


#: From where a job may go where; anything else is a fault of ours, or another was first.
TRANSITIONS: Final = {
    JobStatus.QUEUED: (
        JobStatus.RUNNING,
        JobStatus.COMPLETED,
        JobStatus.TIMEOUT,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    ),
    JobStatus.RUNNING: (
        JobStatus.COMPLETED,
        JobStatus.TIMEOUT,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    ),
}
OPEN_JOBS: Final = (JobStatus.QUEUED, JobStatus.RUNNING)
OPEN_ITEMS: Final = (ItemState.QUEUED, ItemState.RUNNING)


class ProbeEngine(models.Model):
    """The one row that every claim and every start locks first: what makes the caps exact.

    Attributes:
        stamp: Of which plan the schedules' states were last brought up to date.
        missed: Slots that nobody was there to run, in all.
    """

    locked_at = models.DateTimeField(auto_now=True)
    stamp = models.CharField(max_length=128, blank=True, default="")
    missed = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("probe engine")

    def __str__(self) -> str:
        return "probe engine"


class ProbeJob(models.Model):
    """A set of probes that were started together."""

    status = models.CharField(
        _("status"), max_length=16, choices=JobStatus, default=JobStatus.QUEUED
    )
    trigger = models.CharField(_("started by"), max_length=16, choices=Trigger)
    schedule = models.CharField(_("schedule"), max_length=64, blank=True, default="")
    slot_at = models.DateTimeField(_("due at"), null=True, blank=True)
    actor_type = models.CharField(max_length=16, default="system")
    actor_name = models.CharField(_("actor"), max_length=150, blank=True, default="")
    request_id = models.CharField(max_length=128, blank=True, default="")
    created_at = models.DateTimeField(_("created at"))
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    deadline_at = models.DateTimeField(_("deadline"))
    timeout_s = models.FloatField(_("time limit of a probe"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    total = models.PositiveIntegerField(_("probes"), default=0)
    revision = models.PositiveIntegerField(_("policy revision"), default=0)

    class Meta:
        verbose_name = _("probe job")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # Two engines that both think a slot is theirs: the second finds it taken.
            models.UniqueConstraint(
                fields=["schedule", "slot_at"],
                condition=Q(slot_at__isnull=False),
                name="pulse_one_job_a_slot",
            )
        ]
        indexes: ClassVar[list[models.Index]] = [
            # SQLite takes a partial index only where a query has its condition to the letter.
            models.Index(
                fields=["deadline_at"],
                condition=Q(finished_at__isnull=True),
                name="pulse_open_jobs",
            ),
            models.Index(fields=["schedule", "-id"], name="pulse_jobs_of_schedule"),
        ]

    def __str__(self) -> str:
        return f"job {self.pk}"


class ProbeItem(models.Model):
    """One probe of a job; once it has ended, its result.

    Attributes:
        host: ``host:port`` whose cap it counts against.
        fence: Counted up whenever it changes hands; who records names the fence it was given.
        attempts: How often it was tried to an end, retries included.
        reclaims: How often its worker vanished.
    """

    job = models.ForeignKey(ProbeJob, on_delete=models.CASCADE, related_name="items")
    target = models.CharField(_("target"), max_length=NAME)
    endpoint_id = models.CharField(_("endpoint"), max_length=NAME, blank=True, default="")
    host = models.CharField(max_length=270)
    transport = models.CharField(max_length=16, default="http")
    state = models.CharField(_("state"), max_length=16, choices=ItemState, default=ItemState.QUEUED)
    priority = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField(_("due at"))
    lease_until = models.DateTimeField(null=True, blank=True)
    owner = models.CharField(max_length=100, blank=True, default="")
    fence = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    reclaims = models.PositiveSmallIntegerField(default=0)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    latency_ms = models.FloatField(_("latency"), null=True, blank=True)
    phases_ms = models.JSONField(_("phases"), null=True, blank=True)
    status_code = models.PositiveIntegerField(_("status code"), null=True, blank=True)
    bytes = models.PositiveBigIntegerField(_("bytes"), null=True, blank=True)
    address = models.CharField(_("address"), max_length=64, blank=True, default="")
    certificate_days = models.FloatField(_("certificate days"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=32, blank=True, default="")
    detail = models.TextField(_("detail"), blank=True, default="")
    expectations = models.JSONField(_("expectations"), null=True, blank=True)
    evidence = models.JSONField(_("evidence"), null=True, blank=True, encoder=DjangoJSONEncoder)

    class Meta:
        verbose_name = _("probe result")
        ordering: ClassVar[Sequence[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["priority", "due_at", "id"],
                condition=Q(state="queued"),
                name="pulse_queued_items",
            ),
            models.Index(
                fields=["lease_until"], condition=Q(state="running"), name="pulse_running_items"
            ),
            # Whether a job of ten thousand has ended is asked whenever some of it have.
            models.Index(
                fields=["job"], condition=Q(finished_at__isnull=True), name="pulse_open_items"
            ),
            models.Index(fields=["target", "-id"], name="pulse_items_of_target"),
        ]

    def __str__(self) -> str:
        return f"{self.target}: {self.state}"


class ProbeScheduleState(models.Model):
    """When a schedule is due next, and whether its last job still runs.

    Attributes:
        definition: A hash of when it runs; another one computes ``next_at`` anew.
        failed_claims: Jobs in a row of which something was lost with its worker.
    """

    name = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=16, choices=ScheduleState, default=ScheduleState.IDLE)
    definition = models.CharField(max_length=64, default="")
    next_at = models.DateTimeField()
    last_job = models.ForeignKey(
        ProbeJob, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    missed = models.PositiveBigIntegerField(default=0)
    failed_claims = models.PositiveSmallIntegerField(default=0)

    class Meta:
        verbose_name = _("state of a probe schedule")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["next_at"], name="pulse_due_schedules")
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"


class ProbeTargetState(models.Model):
    """The confirmed status of a target, and what it is confirmed by: a ``health.Standing``.

    Attributes:
        failures: Results in a row that failed; ``successes``, ``degraded`` and ``well`` likewise.
        grace_s: How long after its last result it still counts as watched, in seconds.
        shadow: The standing by schedules in shadow, which moves nothing else; None without.
    """

    name = models.CharField(max_length=NAME, unique=True)
    status = models.CharField(max_length=16, choices=TargetStatus, default=TargetStatus.NOT_WATCHED)
    since = models.DateTimeField()
    failures = models.PositiveIntegerField(default=0)
    successes = models.PositiveIntegerField(default=0)
    degraded = models.PositiveIntegerField(default=0)
    well = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(null=True, blank=True)
    last_state = models.CharField(max_length=16, choices=ItemState, blank=True, default="")
    last_item = models.ForeignKey(
        ProbeItem, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    grace_s = models.FloatField(default=0.0)
    shadow = models.JSONField(null=True, blank=True, default=None)

    class Meta:
        verbose_name = _("state of a probe target")

    def __str__(self) -> str:
        return f"{self.name}: {self.status}"


class ProbeTransition(models.Model):
    """A target's confirmed status changed; an outbox for those who tell of it."""

    target = models.CharField(max_length=NAME, db_index=True)
    at = models.DateTimeField(db_index=True)
    before = models.CharField(max_length=16, choices=TargetStatus)
    after = models.CharField(max_length=16, choices=TargetStatus)
    item = models.ForeignKey(
        ProbeItem, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    detail = models.TextField(blank=True, default="")
    shadow = models.BooleanField(default=False)
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("probe transition")
        ordering: ClassVar[Sequence[str]] = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.target}: {self.before} → {self.after}"


class Rollup(models.Model):
    """What a target did in a span of time: counts, seconds by status, latencies.

    Attributes:
        histogram: Sparse buckets of ``core.histogram``, which merge by addition.
    """

    target = models.CharField(max_length=NAME)
    ok = models.PositiveIntegerField(default=0)
    degraded = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    timeout = models.PositiveIntegerField(default=0)
    lost = models.PositiveIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    up_s = models.FloatField(default=0.0)
    degraded_s = models.FloatField(default=0.0)
    down_s = models.FloatField(default=0.0)
    maintenance_s = models.FloatField(default=0.0)
    sum_ms = models.FloatField(default=0.0)
    min_ms = models.FloatField(null=True)
    max_ms = models.FloatField(null=True)
    histogram = models.JSONField(default=dict)

    class Meta:
        abstract = True


class ProbeHour(Rollup):
    """One hour of a target."""

    at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("probe hour")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "at"], name="pulse_one_probe_hour")
        ]

    def __str__(self) -> str:
        return f"{self.target}: {self.at}"


class ProbeDay(Rollup):
    """One day of a target, in UTC."""

    at = models.DateField(db_index=True)

    class Meta:
        verbose_name = _("probe day")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["target", "at"], name="pulse_one_probe_day")
        ]

    def __str__(self) -> str:
        return f"{self.target}: {self.at}"


class ProbeWorker(models.Model):
    """A process that runs probes, as it last said.

    Attributes:
        turn_until: Until when it means to go on; how many do so at once is bounded.
    """

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, default="celery")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    turn_until = models.DateTimeField(null=True, blank=True)
    in_flight = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("probe worker")

    def __str__(self) -> str:
        return self.name


class ProbeStart(models.Model):
    """When a schedule or a target was last started by hand: what its cooldown is counted from."""

    scope = models.CharField(max_length=NAME + 16, unique=True)
    started_at = models.DateTimeField()

    class Meta:
        verbose_name = _("probe start")

    def __str__(self) -> str:
        return f"{self.scope}: {self.started_at}"


class DiscoveredEndpoint(models.Model):
    """A route of this site, as it was found in the URLconf.

    Attributes:
        sample: Path parameters, query and body that were generated from its schema; None where
            input is needed that nobody can guess.
    """

    endpoint_id = models.CharField(max_length=NAME, unique=True)
    method = models.CharField(max_length=8)
    route = models.CharField(max_length=NAME)
    url_name = models.CharField(max_length=255, blank=True, default="")
    view = models.CharField(max_length=255, blank=True, default="")
    requires_input = models.BooleanField(default=False)
    sample = models.JSONField(null=True, blank=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    vanished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("discovered endpoint")
        ordering: ClassVar[Sequence[str]] = ["route", "method"]

    def __str__(self) -> str:
        return self.endpoint_id
