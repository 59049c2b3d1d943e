"""The public status: a page, JSON and badges for everybody, there also without a database."""

import hashlib
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from pulse.alerts.public import incidents_as_dict
from pulse.pages import charts
from pulse.pages.answers import refuse_unknown, wants_json
from pulse.pages.badges import draw
from pulse.policies.kinds import time_to_text
from pulse.probes.plan import current_plan
from pulse.probes.summary import public
from pulse.store import copies

logger = logging.getLogger(__name__)

COPY: Final = "status"
#: However many ask, the database is asked once in so many seconds by a process.
FRESH_S: Final = 5.0
#: Anybody's cache may keep an answer for so long, in seconds, and show it where this site is away.
MAX_AGE_S: Final = 10
STALE_S: Final = 300
#: A day's bar, and how far one is from the next.
BAR_HEIGHT: Final = 30.0
DAY_WIDTH: Final = 5
#: From the foot of a day's bar to its head.
STACKED: Final = (public.OUTAGE, public.DEGRADED, public.MAINTENANCE, public.OPERATIONAL)
TROUBLE: Final = (public.OUTAGE, public.DEGRADED)
POLL_MS: Final = 15_000
#: Where the page says when it was read.
AS_OF: Final = re.compile(rb'<span id="as-of">.*?</span>', re.DOTALL)


@dataclass(slots=True)
class _Held:
    status: dict[str, Any] | None = None
    until: float = 0.0


_held = _Held()
_lock = threading.Lock()


@login_not_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show how everything with a public name is, to anybody; JSON unless a browser asks."""
    if (refused := refuse_unknown(request)) is not None:
        return refused
    status = current()
    if wants_json(request):
        return _tagged(request, JsonResponse(_as_contract(status)), status)
    # Rendered without the request: no context processor may ask a database that is not there.
    context = {
        "status": status,
        "updated_at": datetime.fromisoformat(status["updated_at"]),
        "banner": _banner(status),
        "groups": _groups(status),
        "incidents": _incidents(status),
        "maintenance": [
            {
                "name": window["name"],
                "starts_at": datetime.fromisoformat(window["starts_at"]),
                "ends_at": datetime.fromisoformat(window["ends_at"]),
            }
            for window in status["maintenance"]
        ],
        "zone": timezone.get_current_timezone_name(),
        "poll_ms": POLL_MS,
    }
    response = HttpResponse(render_to_string("pulse/status/page.html", context))
    return _tagged(request, response, status)


@login_not_required
@require_safe
def badge(request: HttpRequest, slug: str) -> HttpResponse:
    """Draw one component's badge; of several with one name, the worst's."""
    status = current()
    named = [each for each in status["components"] if public.slug_of(each["name"]) == slug]
    if not named:
        return HttpResponse(_("There is no such badge."), "text/plain", HTTPStatus.NOT_FOUND)
    word = public.worst_of([each["status"] for each in named])
    uptime = named[0]["uptime"].get("30d") if len(named) == 1 else None
    response = HttpResponse(draw(named[0]["name"], word, uptime), "image/svg+xml")
    return _tagged(request, response, status)


def current() -> dict[str, Any]:
    """Return the status: of a moment ago, or the last good copy where the database is away."""
    if _held.status is not None and time.monotonic() < _held.until:
        return _held.status
    if not _lock.acquire(blocking=_held.status is None):
        # Another thread reads it: what was read last is good for the moment that this takes.
        return _held.status or _nothing()
    try:
        if _held.status is not None and time.monotonic() < _held.until:
            return _held.status  # Read by whom this thread waited for.
        _held.status = _read()
        _held.until = time.monotonic() + FRESH_S
        return _held.status
    finally:
        _lock.release()


def forget() -> None:
    """Read anew at the next request."""
    _held.status, _held.until = None, 0.0


def _read() -> dict[str, Any]:
    now = timezone.now()
    try:
        status = {
            **public.status_as_dict(current_plan(now.timestamp()), now),
            "incidents": incidents_as_dict(now),
        }
    except DatabaseError as error:
        logger.warning("The public status cannot be read, the last copy is shown: %s", error)
        found = copies.last(COPY)
        return _nothing() if found is None else {**found, "stale": True}
    copies.keep(COPY, status)
    return status


def _nothing() -> dict[str, Any]:
    """Say that nothing is known, which is not that nothing is wrong."""
    now = timezone.now().replace(microsecond=0)
    return {
        "status": public.NOT_WATCHED,
        "updated_at": time_to_text(now),
        "stale": True,
        "components": [],
        "incidents": [],
        "maintenance": [],
    }


def _incidents(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Read the times of incidents, which a copy holds as texts."""
    return [
        {
            **incident,
            "started_at": datetime.fromisoformat(incident["started_at"]),
            "resolved_at": (
                datetime.fromisoformat(incident["resolved_at"]) if incident["resolved_at"] else None
            ),
            "updates": [
                {**update, "at": datetime.fromisoformat(update["at"])}
                for update in incident["updates"]
            ],
        }
        for incident in status["incidents"]
    ]


def _tagged(
    request: HttpRequest, response: HttpResponse, status: Mapping[str, Any]
) -> HttpResponse:
    """Let caches keep it a moment; its tag leaves out when it was read, which alone changes."""
    stable = AS_OF.sub(b"", response.content).replace(status["updated_at"].encode(), b"")
    response.headers["ETag"] = f'W/"{hashlib.sha256(stable).hexdigest()[:32]}"'
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}, stale-if-error={STALE_S}"
    patch_vary_headers(response, ("Accept",))
    found = get_conditional_response(request, etag=response.headers["ETag"], response=response)
    return response if found is None else found


def _as_contract(status: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **status,
        "components": [
            {
                **component,
                "days": [
                    {name: day[name] for name in ("date", "status", "uptime")}
                    for day in component["days"]
                ],
            }
            for component in status["components"]
        ],
    }


def _banner(status: Mapping[str, Any]) -> str:
    statuses = [component["status"] for component in status["components"]]
    out = statuses.count(public.OUTAGE)
    if not statuses:
        return _("Nothing is shown here yet.")
    if out == len(statuses):
        return _("Major outage")
    texts = {
        public.OUTAGE: ngettext(
            "Partial outage: %d service is down", "Partial outage: %d services are down", out
        )
        % out
        if out
        else "",
        public.DEGRADED: _("Some services are slow"),
        public.MAINTENANCE: _("Maintenance is under way"),
        public.NOT_WATCHED: _("Nobody looks at the moment"),
        public.OPERATIONAL: _("All services are operational"),
    }
    if status["status"] == public.OPERATIONAL and public.NOT_WATCHED in statuses:
        return _("What is watched is operational")
    return texts[status["status"]]


def _groups(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, members in groupby(status["components"], key=lambda each: each["group"] or ""):
        components = [_component(component) for component in members]
        word = public.worst_of([component["status"] for component in components])
        found.append({"name": name, "status": word, "components": components})
    return found


def _component(component: Mapping[str, Any]) -> dict[str, Any]:
    days = [_day(day, place) for place, day in enumerate(component["days"])]
    return {
        **component,
        "days": days,
        "troubled": [day for day in reversed(days) if day["status"] in TROUBLE],
    }


def _day(day: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Stack a day by the share of each status, trouble at the foot of it."""
    seconds = {name: day["seconds"].get(name) for name in STACKED}
    return {
        **day,
        "date": date.fromisoformat(day["date"]),
        "x": place * DAY_WIDTH,
        "parts": [
            # As text: a locale may write a number with a comma, which SVG does not read.
            {
                "name": part.name,
                "y": f"{BAR_HEIGHT - part.x - part.width:.2f}",
                "height": f"{part.width:.2f}",
            }
            for part in charts.slices(seconds, width=BAR_HEIGHT)
        ],
    }
