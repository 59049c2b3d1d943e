"""Incidents: what is wrong and was, each with what changed before it, who was told, and notes."""

from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from pulse.access.principals import asker_of
from pulse.access.scopes import Scope
from pulse.alerts import incidents, timeline
from pulse.alerts.state import Incident, IncidentState, Severity
from pulse.alerts.timeline import Entry, Happened
from pulse.pages.answers import admin_url, data, page, refusal, wants_json
from pulse.pages.guard import guarded
from pulse.pages.places import Places
from pulse.policies import publisher
from pulse.policies.models import PolicyRevision
from pulse.policies.reading import is_storable
from pulse.probes import engine
from pulse.probes.summary import cursors

POLL_MS: Final = 10_000
PER_PAGE: Final = 25
#: Words to channels that a page shows.
DELIVERIES: Final = 50


@guarded(Scope.VIEW)
def listing(request: HttpRequest) -> HttpResponse:
    """List incidents, newest first, narrowed by the address alone."""
    chosen = _chosen(request)
    rows = _rows().filter(**{name: value for name, value in chosen.items() if value})
    found = cursors.read(rows, request.GET.get("cursor", ""), PER_PAGE)
    if wants_json(request):
        listed = found.rows
        return data(request, {"results": [incidents.as_dict(row, updates=()) for row in listed]})
    context = {
        "found": found,
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "states": IncidentState.choices,
        "severities": Severity.choices,
        "open": _rows().filter(state=IncidentState.OPEN).count(),
        "rules_url": Places(request).screen("pulse_alertrule_changelist"),
        "poll_ms": POLL_MS,
    }
    return page(request, "pulse/incidents/list.html", context)


@guarded(Scope.VIEW)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one incident."""
    return _show(request, pk)


@guarded(Scope.OPERATE, ("POST",))
def note(request: HttpRequest, pk: int) -> HttpResponse:
    """Write a note into its timeline."""
    row = _rows().filter(pk=pk).first()
    if row is None:
        return _unknown(request)
    text = request.POST.get("text", "").strip()
    problem = ""
    if not text:
        problem = _("Write something.")
    elif len(text) > incidents.MAX_NOTE:
        problem = _("Write at most %d characters.") % incidents.MAX_NOTE
    elif not is_storable(text):
        problem = _("It has a character that cannot be stored.")
    if problem:
        if wants_json(request):
            errors = {"text": [problem]}
            return refusal(request, HTTPStatus.BAD_REQUEST, "invalid", problem, errors=errors)
        return _show(request, pk, problem=problem, text=text)
    now = engine.clock(publisher.database())
    is_public = request.POST.get("public") == "1"
    incidents.note(row, now, text, asker_of(request).actor, public=is_public)
    return HttpResponseRedirect(reverse("pulse:incident", args=[pk]))


def _show(request: HttpRequest, pk: int, *, problem: str = "", text: str = "") -> HttpResponse:
    row = _rows().filter(pk=pk).first()
    if row is None:
        return _unknown(request)
    updates = list(row.updates.all())
    if wants_json(request):
        return data(request, incidents.as_dict(row, updates=updates))
    places = Places(request)
    context = {
        "incident": row,
        "is_open": row.state == IncidentState.OPEN,
        "updates": updates,
        "changes": _with_rollbacks(timeline.changes_before(row), places),
        "deliveries": list(row.deliveries.all()[:DELIVERIES]),
        "rule_url": places.of("alert_rules", {"name": row.rule}) if row.rule else "",
        "problem": problem,
        "typed": text,
        "max_note": incidents.MAX_NOTE,
        "poll_ms": 0 if problem else POLL_MS,
    }
    status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
    return page(request, "pulse/incidents/detail.html", context, status)


def _with_rollbacks(entries: list[Entry], places: Places) -> list[tuple[Entry, str, str]]:
    """Give each change where it is shown, and the revision before it, which is gone back to."""
    numbers = [entry.number - 1 for entry in entries if entry.kind is Happened.POLICY]
    rows = PolicyRevision.objects.using(publisher.database()).filter(number__in=numbers)
    before = dict(rows.values_list("number", "pk"))
    found = []
    for entry in entries:
        shown = back = ""
        if entry.kind is Happened.POLICY and places.screen("pulse_policyrevision_changelist"):
            shown = admin_url("pulse_policyrevision_change", entry.key)
            if (pk := before.get(entry.number - 1)) is not None:
                back = admin_url("pulse_policyrevision_rollback", pk)
        found.append((entry, shown or entry.url, back))
    return found


def _chosen(request: HttpRequest) -> dict[str, str]:
    given = request.GET
    state, severity = given.get("state", ""), given.get("severity", "")
    rule = given.get("rule", "")[:64]
    return {
        "state": state if state in IncidentState.values else "",
        "severity": severity if severity in Severity.values else "",
        "rule": rule if is_storable(rule) else "",
    }


def _rows() -> Any:
    return Incident.objects.using(publisher.database())


def _unknown(request: HttpRequest) -> HttpResponse:
    return refusal(request, HTTPStatus.NOT_FOUND, "not_found", _("There is no such incident."))
