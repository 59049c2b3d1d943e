"""What of alerts is kept no longer; nothing that is open."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Exists, OuterRef, QuerySet

from pulse.alerts.state import (
    AlertDelivery,
    AlertStanding,
    AlertState,
    DeliveryState,
    Incident,
    IncidentState,
    IncidentUpdate,
    Mark,
)

#: Who reads what was sent asks soon after.
DELIVERIES: Final = timedelta(days=30)
INCIDENTS: Final = timedelta(days=400)
MARKS: Final = timedelta(days=400)
#: What a rule that is well, or gone, stood on.
STATES: Final = timedelta(days=1)


def old(now: datetime, using: str) -> dict[str, QuerySet[Any]]:
    """Select it, by name; what names others goes before them."""
    over = Incident.objects.using(using).filter(
        state=IncidentState.RESOLVED, resolved_at__lt=now - INCIDENTS
    )
    named = (
        Exists(rows.objects.using(using).filter(incident=OuterRef("pk")))
        for rows in (IncidentUpdate, AlertDelivery, AlertState)
    )
    unnamed = over
    for each in named:
        unnamed = unnamed.filter(~each)
    return {
        "deliveries": AlertDelivery.objects.using(using)
        .exclude(state=DeliveryState.PENDING)
        # Who was told of the beginning is told of the end, whenever that is.
        .exclude(incident__state=IncidentState.OPEN)
        .filter(finished_at__lt=now - DELIVERIES),
        "alert states": AlertState.objects.using(using).filter(
            state=AlertStanding.OK, incident=None, looked_at__lt=now - STATES
        ),
        "incident updates": IncidentUpdate.objects.using(using).filter(
            incident__in=over.values("pk")
        ),
        "incidents": unnamed,
        "marks": Mark.objects.using(using).filter(at__lt=now - MARKS),
    }
