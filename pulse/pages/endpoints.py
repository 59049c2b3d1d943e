"""Every route of the site: what guards it, what probes it, and how it does."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.scopes import Scope
from pulse.conf import conf
from pulse.core.snapshot import ENDPOINTS
from pulse.pages.answers import (
    admin_url,
    data,
    number_of,
    page,
    private,
    refuse_unknown,
    wants_json,
)
from pulse.pages.guard import guarded
from pulse.pages.jobs import POLL_MS
from pulse.probes import discovery
from pulse.probes.summary import endpoints as summary

COLUMNS: Final = (
    *("endpoint_id", "state", "url_name", "policies", "probes", "status"),
    *("requests", "errors", "refused", "p50_ms", "p95_ms", "p99_ms", "peak_24h"),
)
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
    if (refused := refuse_unknown(request, "show", "q", "sort", "page")) is not None:
        return refused
    now = timezone.now()
    discovery.discover_if_empty()
    show, q = request.GET.get("show", ""), request.GET.get("q", "").strip()[:200]
    show = show if show in summary.SHOWN else ""
    sort = request.GET.get("sort", "")
    sort = sort if sort in summary.SORTS else "worst"
    if request.GET.get("format") == "csv":
        return _csv(summary.in_order(summary.everything(now), sort))
    found = summary.listing(now, show=show, q=q, sort=sort, page=number_of(request))
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
        "sort": sort,
        "sorts": _sorts(),
        "minutes": round(conf.METRICS_WINDOW_S / 60),
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


def _sorts() -> list[tuple[str, str]]:
    texts = {
        "route": _("Route"),
        "worst": _("Worst first"),
        "busiest": _("Busiest first"),
        "slowest": _("Slowest first"),
        "fullest": _("Closest to a limit first"),
    }
    return [(name, texts[name]) for name in summary.SORTS]


def _csv(rows: Sequence[summary.Endpoint]) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="pulse-endpoints.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for row in rows:
        told: Mapping[str, Any] = row.told or {}
        latency = told.get("latency_ms", {})
        writer.writerow(
            [
                *(row.covered.endpoint_id, row.covered.state, row.covered.url_name),
                " ".join(f"{kind}:{name}" for kind, all_ in row.by_kind for name, _mode in all_),
                " ".join(probe.target for probe in row.covered.probes),
                row.status if row.is_probed else "",
                *(told.get(name) for name in ("requests", "errors", "refused")),
                *(latency.get(name) for name in ("p50", "p95", "p99")),
                row.peak,
            ]
        )
    return private(response)


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
