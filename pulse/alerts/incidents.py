"""Incidents: opened once, whoever finds it, told once to each channel, and ended once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from pulse.alerts import deliveries
from pulse.alerts.deliveries import Event
from pulse.alerts.rules import RULES
from pulse.alerts.state import Incident, IncidentState, IncidentUpdate, UpdateKind
from pulse.policies import publisher
from pulse.policies.publisher import Actor

SYSTEM: Final = Actor("system", "")
#: The longest note.
MAX_NOTE: Final = 4000


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, as whoever found it tells it.

    Attributes:
        rule: The alert rule; empty for what the engine itself finds.
        subject: What it is about, where the rule looks at several.
        source_kind: A document's kind, or what of the engine found it.
        channels: Names of those to be told.
        seen_at: When it was first seen, where it had to last before it counts.
    """

    title: str
    severity: str
    rule: str = ""
    subject: str = ""
    source_kind: str = RULES
    source_key: str = ""
    metric: str = ""
    value: float | None = None
    threshold: float | None = None
    channels: Sequence[str] = ()
    seen_at: datetime | None = None


def open_incident(finding: Finding, at: datetime, *, tells: bool = True) -> Incident:
    """Open an incident and tell of it; return the open one where it is open already.

    Args:
        finding: What is wrong.
        at: Since when, by the database's clock.
        tells: Word is sent; not while it is silenced.
    """
    using = publisher.database()
    place = {
        "rule": finding.rule,
        "subject": finding.subject,
        "source_kind": finding.source_kind,
        "source_key": finding.source_key,
    }
    with transaction.atomic(using=using):
        rows = Incident.objects.using(using)
        try:
            with transaction.atomic(using=using):
                incident = rows.create(
                    **place,
                    title=finding.title[:200],
                    severity=finding.severity,
                    metric=finding.metric,
                    value=finding.value,
                    threshold=finding.threshold,
                    seen_at=finding.seen_at,
                    started_at=at,
                )
        except IntegrityError:
            # Another came first; if it has ended since, the next look opens another.
            return rows.filter(**place, state=IncidentState.OPEN).get()
        _update(incident, at, UpdateKind.OPENED, finding.title)
        if tells:
            tell(incident, finding.channels)
        else:
            _update(incident, at, UpdateKind.SILENCED, _("Maintenance: nobody is told."))
    return incident


def tell(incident: Incident, channels: Sequence[str]) -> None:
    """Send word of an open incident to its channels, once to each; its end is told, too."""
    incident.told = True
    incident.save(update_fields=["told"], using=incident._state.db)
    deliveries.enqueue(incident, Event.FIRING, channels)


def resolve_incident(incident: Incident, at: datetime, why: str) -> bool:
    """End an incident, and tell those who were told of its beginning; False where it has ended.

    Args:
        incident: The row.
        at: When, by the database's clock.
        why: In words.
    """
    using = publisher.database()
    with transaction.atomic(using=using):
        rows = Incident.objects.using(using).filter(pk=incident.pk, state=IncidentState.OPEN)
        if not rows.update(state=IncidentState.RESOLVED, resolved_at=at):
            return False
        incident.state, incident.resolved_at = IncidentState.RESOLVED, at
        _update(incident, at, UpdateKind.RESOLVED, why)
        if incident.told:
            told = incident.deliveries.filter(event=Event.FIRING)
            channels = told.order_by("pk").values_list("channel", flat=True)
            deliveries.enqueue(incident, Event.RESOLVED, channels)
    return True


def change(incident: Incident, at: datetime, text: str) -> None:
    """Write into an incident's timeline what changed while it is open."""
    _update(incident, at, UpdateKind.CHANGED, text)


def note(
    incident: Incident, at: datetime, text: str, actor: Actor, *, public: bool = False
) -> IncidentUpdate:
    """Write a person's note into an incident's timeline.

    Args:
        incident: Open or over.
        at: When.
        text: At most ``MAX_NOTE`` characters.
        actor: Whose it is.
        public: It stands on the public status page, too.
    """
    return _update(incident, at, UpdateKind.NOTE, text[:MAX_NOTE], actor, public=public)


def as_dict(incident: Incident, *, updates: Sequence[IncidentUpdate]) -> Mapping[str, Any]:
    """Return what the API tells of an incident."""
    from pulse.policies.kinds import time_to_text

    return {
        "id": str(incident.pk),
        "title": incident.title,
        "severity": str(incident.severity),
        "state": str(incident.state),
        "rule": incident.rule or None,
        "subject": incident.subject or None,
        "source": {"kind": incident.source_kind, "key": incident.source_key},
        "value": incident.value,
        "threshold": incident.threshold,
        "started_at": time_to_text(incident.started_at),
        "resolved_at": time_to_text(incident.resolved_at),
        "updates": [
            {
                "at": time_to_text(update.at),
                "kind": str(update.kind),
                "text": update.text,
                "actor": {"type": update.actor_type, "name": update.actor_name},
                "public": update.public,
            }
            for update in updates
        ],
    }


def _update(
    incident: Incident,
    at: datetime,
    kind: UpdateKind,
    text: str,
    actor: Actor = SYSTEM,
    *,
    public: bool = False,
) -> IncidentUpdate:
    return IncidentUpdate.objects.using(publisher.database()).create(
        incident=incident,
        at=at,
        kind=kind,
        text=text,
        actor_type=actor.type,
        actor_name=actor.name,
        public=public,
    )
