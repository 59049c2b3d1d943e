"""What happened while something was measured, as charts mark it."""

from datetime import datetime
from typing import Final

from django.urls import reverse

from pulse.alerts import timeline
from pulse.alerts.timeline import Entry, Happened
from pulse.pages.answers import admin_url
from pulse.pages.charts import Change

#: As many as a chart has room for.
MAX_MARKS: Final = 40
KINDS: Final = (Happened.POLICY, Happened.MARK, Happened.INCIDENT)
#: Targets change more often than anything else.
MAX_PROBES: Final = 10


def between(since: datetime, until: datetime) -> list[Change]:
    """Return what a chart of that time marks, in no order."""
    entries = [
        *timeline.between(since, until, KINDS, MAX_MARKS),
        *timeline.between(since, until, (Happened.PROBE,), MAX_PROBES),
    ]
    return [(entry.at, _text(entry), _address(entry), entry.number) for entry in entries]


def _text(entry: Entry) -> str:
    return f"{entry.text} ({entry.who})" if entry.who else entry.text


def _address(entry: Entry) -> str:
    if entry.kind is Happened.POLICY:
        return admin_url("pulse_policyrevision_change", entry.key)
    if entry.kind is Happened.PROBE:
        return reverse("pulse:probe", args=[entry.key])
    if entry.kind is Happened.INCIDENT:
        return reverse("pulse:incident", args=[entry.key])
    return entry.url
