"""Coverage: every route of the site, what guards it and what probes it."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.scopes import Scope
from pulse.core.snapshot import ENDPOINTS
from pulse.pages.answers import (
    admin_url,
    data,
    number_of,
    page,
    refuse_unknown,
    wants_json,
)
from pulse.pages.guard import guarded
from pulse.pages.jobs import POLL_MS
from pulse.probes import discovery
from pulse.probes.summary import endpoints as summary

#: Where each kind of policy is edited.
SCREENS: Final = {
    ENDPOINTS: "pulse_endpointlimit_changelist",
    summary.CORS: "pulse_corsorigin_changelist",
    summary.HEADERS: "pulse_headerpolicy_changelist",
    summary.EXEMPTIONS: "pulse_exemption_changelist",
    summary.ACCESS: "pulse_accessrule_changelist",
}


@guarded(Scope.VIEW)
def listing(request: HttpRequest) -> HttpResponse:
    """List routes by policies and probes."""
    if (refused := refuse_unknown(request, "show", "q", "page")) is not None:
        return refused
    now = timezone.now()
    discovery.discover_if_empty()
    show, q = request.GET.get("show", ""), request.GET.get("q", "").strip()[:200]
    show = show if show in summary.SHOWN else ""
    found = summary.listing(now, show=show, q=q, page=number_of(request))
    if wants_json(request):
        return data(
            request,
            {
                "count": found.found,
                "results": [summary.endpoint_as_dict(row) for row in found.rows],
            },
        )
    context = {
        "coverage": found,
        "show": show,
        "q": q,
        "shown": _shown(found),
        "kinds": _kinds(),
        "poll_ms": POLL_MS,
    }
    return page(request, "pulse/endpoints/list.html", context)


def _shown(found: summary.Listing) -> list[tuple[str, str, int | None]]:
    """Return what the list is narrowed to: value, text and how many, where that is counted."""
    return [
        ("", _("All"), found.total),
        ("unprobed", _("Not probed"), found.total - found.probed),
        ("unguarded", _("No policy"), found.unguarded),
        ("trouble", _("In trouble"), None),
        ("new", _("New"), found.new),
        ("vanished", _("Vanished"), found.vanished),
    ]


def _kinds() -> dict[str, tuple[str, str]]:
    """Return the name of each kind of policy, and where it is edited."""
    texts = {
        ENDPOINTS: _("limit"),
        summary.CORS: _("CORS"),
        summary.HEADERS: _("headers"),
        summary.EXEMPTIONS: _("exempt"),
        summary.ACCESS: _("access"),
    }
    return {kind: (text, admin_url(SCREENS[kind])) for kind, text in texts.items()}
