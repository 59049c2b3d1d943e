"""What happened while something was measured, as charts mark it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from pulse.pages.answers import admin_url
from pulse.pages.charts import Change
from pulse.policies.models import PolicyRevision
from pulse.probes.summary import targets

#: As many as a chart has room for.
MAX_MARKS: Final = 40


def between(since: datetime, until: datetime) -> list[Change]:
    """Return what a chart of that time marks, newest last."""
    return of_revisions(targets.revisions_between(since, until, MAX_MARKS))


def of_revisions(revisions: Sequence[PolicyRevision]) -> list[Change]:
    """Mark revisions of the policy."""
    return [
        (revision.created_at, _text(revision), address_of(revision), revision.number)
        for revision in revisions
    ]


def address_of(revision: PolicyRevision) -> str:
    """Return where the admin shows a revision; empty where the host has no such screen."""
    return admin_url("pulse_policyrevision_change", revision.pk)


def _text(revision: PolicyRevision) -> str:
    who = revision.actor_name or revision.actor_type
    text = _("Revision %(number)d by %(who)s") % {"number": revision.number, "who": who}
    return f"{text}: {revision.reason}" if revision.reason else text
