"""What happened, on one page."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.scopes import Scope
from pulse.alerts import timeline
from pulse.alerts.timeline import Entry, Happened
from pulse.pages.answers import admin_url, data, page, wants_json
from pulse.pages.guard import guarded
from pulse.pages.places import Places
from pulse.policies.kinds import Errors, read_time, time_to_text

POLL_MS: Final = 10_000
PER_PAGE: Final = 50
#: So many of one instant are shown beyond that.
MAX_PAGE: Final = 1000


@guarded(Scope.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the newest of what happened, or what happened before a time."""
    before, kinds = _before(request), _kinds(request)
    entries, older = _page(before or timezone.now() + timedelta(days=1), kinds)
    if wants_json(request):
        told = [_told(entry) for entry in entries]
        return data(request, {"older": older, "results": told})
    places = Places(request)
    context = {
        "rows": [(entry, _address(entry, places)) for entry in entries],
        "older": older,
        "is_newest": before is None,
        "chosen": kinds[0] if len(kinds) == 1 else "",
        "kinds": [(str(kind), text) for kind, text in _texts().items()],
        "texts": {str(kind): text for kind, text in _texts().items()},
        "poll_ms": POLL_MS if before is None else 0,
    }
    return page(request, "pulse/timeline.html", context)


def _page(before: datetime, kinds: Sequence[Happened]) -> tuple[list[Entry], str | None]:
    """Return a page, and from when on the next goes back; None where there is none.

    All of one instant are on one page: a look at many rules opens many incidents at once.
    """
    entries = timeline.read(before, PER_PAGE + 1, kinds)
    if len(entries) <= PER_PAGE:
        return entries, None
    last = entries[PER_PAGE - 1].at
    if entries[PER_PAGE].at == last:
        entries = timeline.between(last, before - timedelta(microseconds=1), kinds, MAX_PAGE)
        is_more = bool(timeline.read(last, 1, kinds))
        return entries, time_to_text(last) if is_more else None
    return entries[:PER_PAGE], time_to_text(last)


def _before(request: HttpRequest) -> datetime | None:
    errors: Errors = {}
    text = request.GET.get("before", "").replace(" ", "+")
    return read_time(text, errors, "before") if text else None


def _kinds(request: HttpRequest) -> tuple[Happened, ...]:
    chosen = request.GET.get("kind", "")
    return (Happened(chosen),) if chosen in set(Happened) else tuple(Happened)


def _texts() -> dict[Happened, str]:
    return {
        Happened.POLICY: _("Policy"),
        Happened.MARK: _("Marks"),
        Happened.INCIDENT: _("Incidents"),
        Happened.PROBE: _("Probes"),
    }


def _address(entry: Entry, places: Places) -> str:
    """Return where an entry is told whole; empty where there is no page of it."""
    found: dict[Happened, Any] = {
        Happened.POLICY: lambda: (
            admin_url("pulse_policyrevision_change", entry.key)
            if places.screen("pulse_policyrevision_changelist")
            else ""
        ),
        Happened.MARK: lambda: entry.url,
        Happened.INCIDENT: lambda: reverse("pulse:incident", args=[entry.key]),
        Happened.PROBE: lambda: reverse("pulse:probe", args=[entry.key]),
    }
    return str(found[entry.kind]())


def _told(entry: Entry) -> dict[str, Any]:
    return {
        "at": time_to_text(entry.at),
        "kind": str(entry.kind),
        "text": entry.text,
        "by": entry.who or None,
        "url": entry.url or None,
    }
