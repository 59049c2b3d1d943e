"""What everybody may see of incidents: public notes, and the incidents that have one."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Prefetch, Q
from django.utils.translation import gettext as _

from pulse.alerts.rules import items
from pulse.alerts.state import Incident, IncidentState, IncidentUpdate
from pulse.policies import publisher
from pulse.policies.kinds import time_to_text
from pulse.probes.kinds import TARGETS

#: What is over is shown for so long.
SHOWN: Final = timedelta(days=14)
MOST: Final = 20


def incidents_as_dict(now: datetime) -> list[dict[str, Any]]:
    """Write public incidents as JSON tells them, newest first; two queries.

    A title names routes and numbers, so none is told: what it is about is said by the notes, and by
    the public name of a target that is down.
    """
    using = publisher.database()
    notes = IncidentUpdate.objects.using(using).filter(public=True)
    shown = Q(state=IncidentState.OPEN) | Q(resolved_at__gte=now - SHOWN)
    rows = Incident.objects.using(using).filter(shown, pk__in=notes.values("incident"))
    found = rows.order_by("-pk").prefetch_related(Prefetch("updates", notes, "public_notes"))[:MOST]
    names = {item["name"]: item.get("public_name") for item in items(TARGETS)}
    return [_as_dict(row, names) for row in found]


def _as_dict(incident: Any, names: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "id": str(incident.pk),
        "title": names.get(incident.subject) or _("Incident"),
        "state": str(incident.state),
        "started_at": time_to_text(incident.started_at),
        "resolved_at": time_to_text(incident.resolved_at),
        "updates": [
            {"at": time_to_text(update.at), "text": update.text} for update in incident.public_notes
        ],
    }
