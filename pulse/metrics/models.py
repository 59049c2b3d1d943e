"""What was measured, by minute and by hour, when the store holds it no longer."""

from collections.abc import Sequence
from typing import ClassVar, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from pulse.core.targets import MAX_ENDPOINT_ID

#: What adds up in columns of its own; the rest is in ``statuses``, ``refused_by``, ``histogram``.
SUMS: Final = (
    *("requests", "errors", "refused", "would_refuse", "satisfied", "tolerated", "slow"),
    *("bytes_in", "bytes_out", "queries", "query_us", "sum_us"),
)


class MetricSpan(models.Model):
    """What one endpoint did in a span of time, in all processes together.

    Attributes:
        at: Its beginning.
        endpoint: An endpoint id; empty for all together, whose row also tells that the span was
            watched at all.
        histogram: Sparse buckets of ``core.histogram``, which merge by addition.
        min_us: None where nothing was timed.
        max_us: Likewise.
        seconds: How much of the span was recorded.
    """

    at = models.DateTimeField(db_index=True)
    endpoint = models.CharField(max_length=MAX_ENDPOINT_ID, blank=True, default="")
    requests = models.PositiveBigIntegerField(default=0)
    errors = models.PositiveBigIntegerField(default=0)
    refused = models.PositiveBigIntegerField(default=0)
    would_refuse = models.PositiveBigIntegerField(default=0)
    satisfied = models.PositiveBigIntegerField(default=0)
    tolerated = models.PositiveBigIntegerField(default=0)
    slow = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    queries = models.PositiveBigIntegerField(default=0)
    query_us = models.PositiveBigIntegerField(default=0)
    sum_us = models.PositiveBigIntegerField(default=0)
    min_us = models.PositiveBigIntegerField(null=True)
    max_us = models.PositiveBigIntegerField(null=True)
    statuses = models.JSONField(default=dict)
    refused_by = models.JSONField(default=dict)
    histogram = models.JSONField(default=dict)
    seconds = models.FloatField(default=0.0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.endpoint or 'all'}: {self.at}"


class MetricMinute(MetricSpan):
    """One minute; kept for a day."""

    class Meta:
        verbose_name = _("measured minute")
        ordering: ClassVar[Sequence[str]] = ["at", "endpoint"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["endpoint", "at"], name="pulse_one_metric_minute")
        ]


class MetricHour(MetricSpan):
    """One hour; kept for a month."""

    class Meta:
        verbose_name = _("measured hour")
        ordering: ClassVar[Sequence[str]] = ["at", "endpoint"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["endpoint", "at"], name="pulse_one_metric_hour")
        ]
