"""What Prometheus is told of probes; see ``metrics.exposition``."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from django.db.models import Count
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pulse.core.health import Status
from pulse.core.snapshot import Mode
from pulse.policies import current
from pulse.probes import engine
from pulse.probes.kinds import TARGETS
from pulse.probes.plan import current_plan
from pulse.probes.state import OPEN_JOBS, ProbeEngine, ProbeJob, ProbeTargetState
from pulse.probes.summary.targets import status_of

#: Targets in maintenance, and those that nobody watches, are neither.
UP = {Status.UP: 1, Status.DEGRADED: 1, Status.DOWN: 0}


def families() -> Iterator[Metric]:
    """Yield what is known of targets and jobs; three queries.

    Raises:
        DatabaseError: The database cannot be asked.
    """
    using = engine.database()
    yield from _targets(using)
    jobs = GaugeMetricFamily("pulse_probe_jobs", "Probe jobs that are open.", labels=("status",))
    counts = ProbeJob.objects.using(using).filter(status__in=OPEN_JOBS).values_list("status")
    known = dict(counts.annotate(Count("pk")).order_by())
    for status in OPEN_JOBS:
        jobs.add_metric((str(status),), known.get(status, 0))
    yield jobs
    missed = ProbeEngine.objects.using(using).filter(pk=1).values_list("missed", flat=True)
    yield CounterMetricFamily(
        "pulse_probe_missed", "Slots that nobody was there to run.", value=missed.first() or 0
    )


def _targets(using: str) -> Iterator[Metric]:
    now = datetime.now(UTC)
    plan = current_plan(time.time())
    document = current.document_in_force().get(TARGETS, ())
    items = {item["name"]: item for item in document if item["mode"] != Mode.OFF}
    rows = ProbeTargetState.objects.using(using).filter(name__in=items).select_related("last_item")
    up = GaugeMetricFamily(
        "pulse_probe_up", "Whether a target is up, or only slow.", labels=("target",)
    )
    expires = GaugeMetricFamily(
        "pulse_probe_certificate_expiry_timestamp_seconds",
        "When a target's certificate ends.",
        labels=("target",),
    )
    for row in rows.order_by("name"):
        group = str(items[row.name].get("public_group") or "")
        value = UP.get(status_of(row, row.name, group, plan, now))
        if value is not None:
            up.add_metric((row.name,), value)
        last = row.last_item
        if last is not None and last.finished_at and last.certificate_days is not None:
            ends = last.finished_at + timedelta(days=last.certificate_days)
            expires.add_metric((row.name,), ends.timestamp())
    yield up
    yield expires
