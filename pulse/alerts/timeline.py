"""What happened, newest first: changes of the policy, marks, incidents and changes of targets."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from pulse.alerts.state import Incident, IncidentUpdate, Mark, UpdateKind
from pulse.policies import publisher
from pulse.policies.models import PolicyRevision
from pulse.probes.state import ProbeTransition, TargetStatus

#: What changed so long before an incident is told with it.
BEFORE: Final = timedelta(minutes=10)
#: Of one kind between two times.
MOST: Final = 200


class Happened(StrEnum):
    """Of what kind it is."""

    POLICY = "policy"
    MARK = "mark"
    INCIDENT = "incident"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        key: Of the row that it is told by: a revision's primary key, an incident's, a target's
            name; what a page leads to.
        number: A revision's number; 0 for what has none.
        word: A status that it shows, such as ``down``; empty for none.
        url: Where a mark leads.
    """

    at: datetime
    kind: Happened
    text: str
    key: str = ""
    number: int = 0
    who: str = ""
    word: str = ""
    url: str = ""


def read(before: datetime, most: int, kinds: Sequence[Happened] = tuple(Happened)) -> list[Entry]:
    """Return the newest of what happened until a time, newest first; a query for each kind.

    Args:
        before: What happened then is left out.
        most: So many at most.
        kinds: Of which kinds.
    """
    found = [_OF[kind](before, most) for kind in kinds]
    merged = heapq.merge(*found, key=lambda entry: entry.at, reverse=True)
    return [entry for entry, _place in zip(merged, range(most), strict=False)]


def between(
    since: datetime, until: datetime, kinds: Sequence[Happened], most: int = MOST
) -> list[Entry]:
    """Return what happened in a time, newest first; the newest of it where there is too much."""
    return [
        entry for entry in read(until + timedelta(microseconds=1), most, kinds) if entry.at >= since
    ]


def changes_before(incident: Incident) -> list[Entry]:
    """Return what was changed in the ten minutes before an incident was first seen: its suspects.

    And since, until it was opened: a rule may want to see it for long.
    """
    seen = incident.seen_at or incident.started_at
    return between(seen - BEFORE, incident.started_at, (Happened.POLICY, Happened.MARK))


def _revisions(before: datetime, most: int) -> Iterator[Entry]:
    rows = PolicyRevision.objects.using(_using()).defer("document", "changes")
    for row in rows.filter(created_at__lt=before).order_by("-created_at", "-pk")[:most]:
        text = _("Revision %d") % row.number
        yield Entry(
            row.created_at,
            Happened.POLICY,
            f"{text}: {row.reason}" if row.reason else text,
            str(row.pk),
            row.number,
            row.actor_name or row.actor_type,
        )


def _marks(before: datetime, most: int) -> Iterator[Entry]:
    for row in _newest(Mark.objects, before, most):
        text = _("Deploy: %s") % row.text if row.kind == "deploy" else row.text
        who = row.actor_name or row.actor_type
        yield Entry(row.at, Happened.MARK, text, str(row.pk), who=who, url=row.url)


def _incidents(before: datetime, most: int) -> Iterator[Entry]:
    rows = IncidentUpdate.objects.select_related("incident").exclude(kind=UpdateKind.SILENCED)
    for row in _newest(rows, before, most):
        title = row.incident.title
        if row.kind == UpdateKind.OPENED:
            text, word = title, "down" if row.incident.severity == "critical" else "degraded"
        elif row.kind == UpdateKind.RESOLVED:
            text, word = _("Over: %s") % title, "up"
        else:
            text, word = f"{title}: {row.text}", ""
        who = row.actor_name if row.kind == UpdateKind.NOTE else ""
        yield Entry(row.at, Happened.INCIDENT, text, str(row.incident_id), who=who, word=word)


def _transitions(before: datetime, most: int) -> Iterator[Entry]:
    for row in _newest(ProbeTransition.objects, before, most):
        text = _("%(target)s: %(status)s") % {
            "target": row.target,
            "status": TargetStatus(row.after).label,
        }
        told = f"{text}, {row.detail}" if row.detail else text
        yield Entry(row.at, Happened.PROBE, told[:300], row.target, word=str(row.after))


def _newest(rows: Any, before: datetime, most: int) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.using(_using()).filter(at__lt=before).order_by("-at", "-pk")[:most]
    return found


def _using() -> str:
    return publisher.database()


_OF: Final = {
    Happened.POLICY: _revisions,
    Happened.MARK: _marks,
    Happened.INCIDENT: _incidents,
    Happened.PROBE: _transitions,
}
