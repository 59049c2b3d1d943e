"""What Prometheus is told of alerts; see ``metrics.exposition``."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pulse.alerts import deliveries
from pulse.alerts.state import Incident, IncidentState, Severity
from pulse.policies import publisher


def families() -> Iterator[Metric]:
    """Yield what is known of incidents and of words to channels; two queries.

    Raises:
        DatabaseError: The database cannot be asked.
    """
    rows = Incident.objects.using(publisher.database()).filter(state=IncidentState.OPEN)
    known = dict(rows.values_list("severity").annotate(Count("pk")).order_by())
    firing = GaugeMetricFamily("pulse_alerts_firing", "Open incidents.", labels=("severity",))
    for severity in Severity:
        firing.add_metric((str(severity),), known.get(severity, 0))
    yield firing
    sent = CounterMetricFamily(
        "pulse_alert_deliveries", "Words to channels that ended.", labels=("channel", "outcome")
    )
    for channel, outcome, count in deliveries.totals():
        sent.add_metric((channel, outcome), count)
    yield sent
