"""Targets: all of them with how they stand, and one with everything that is known of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.scopes import Scope
from pulse.conf import conf
from pulse.core.health import Status
from pulse.core.snapshot import Mode
from pulse.envelope import request_id_of
from pulse.exceptions import InvalidDocument
from pulse.pages import charts, evidence, marks
from pulse.pages.answers import admin_url, number_of, page, refusal
from pulse.pages.guard import guarded
from pulse.pages.jobs import POLL_MS, POLL_RUNNING_MS
from pulse.pages.starts import starter_of
from pulse.policies import publisher, switches
from pulse.policies.bases import ModeChoices
from pulse.policies.models import PolicyRevision
from pulse.probes.kinds import TARGETS
from pulse.probes.models import ProbeTarget
from pulse.probes.plan import Plan, current_plan
from pulse.probes.state import TargetStatus, Trigger
from pulse.probes.summary import cursors, history, machine, targets
from pulse.probes.summary.targets import Overview, TargetView, Wanted, Whole

#: A change of the policy so long before trouble is told with it.
BEFORE: Final = timedelta(minutes=10)
RESULTS: Final = 25
#: Revisions that are looked through for the mode before a pause.
LOOK_BACK: Final = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the whole comes to, in the words of a banner.

    Attributes:
        word: A status, which gives it its colour.
        since: Of the oldest trouble.
        revision: The policy's last change shortly before that.
    """

    word: str
    text: str
    since: datetime | None = None
    revision: PolicyRevision | None = None
    revision_url: str = ""


@guarded(Scope.VIEW)
def listing(request: HttpRequest) -> HttpResponse:
    """List targets: counted, filtered, sorted and paged by the address alone."""
    plan, now = _plan()
    wanted = _wanted(request)
    overview, engine = targets.overview(plan, now, wanted), machine.read(plan)
    busy = bool(engine.in_flight or engine.waiting or engine.jobs)
    context = {
        "overview": overview,
        "engine": engine,
        "verdict": _verdict(overview, engine),
        "counts": [
            (choice.value, choice.label, overview.counts.get(Status(choice.value), 0))
            for choice in TargetStatus
        ],
        "wanted": wanted,
        "is_filtered": bool(wanted.status or wanted.group or wanted.schedule or wanted.q),
        "sorts": _sorts(),
        "schedules": sorted(plan.schedules),
        "add_url": admin_url("pulse_probetarget_add"),
        "poll_ms": POLL_RUNNING_MS if busy else POLL_MS,
    }
    return page(request, "pulse/probes/list.html", context)


@guarded(Scope.VIEW)
def detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one target."""
    plan, now = _plan()
    view = targets.find(plan, now, name)
    if view is None:
        return _unknown(request, name)
    whole = targets.whole(plan, now, view)
    results = cursors.read(targets.results(name), request.GET.get("cursor", ""), RESULTS)
    window = request.GET.get("window", "")
    window = window if window in history.SPANS else next(iter(history.SPANS))
    context = {
        "view": view,
        "whole": whole,
        "target": whole.target,
        "address": targets.address_of(whole.target) if whole.target else "",
        "day": whole.windows["24h"],
        "windows": [
            (name, tally, charts.slices(_shares(tally))) for name, tally in whole.windows.items()
        ],
        "quantiles": dict(
            zip(("p50", "p90", "p95", "p99"), whole.windows["24h"].quantiles_ms(), strict=True)
        ),
        "chart": _chart(view, now, window),
        "window": window,
        "spans": list(history.SPANS),
        "phases": _phases(whole),
        "results": results,
        "exchange": evidence.exchange_of(whole.failure.evidence) if whole.failure else None,
        "curl": evidence.curl_of(whole.target) if whole.target else "",
        "edit_url": _edit_url(view),
        "is_off": view.mode == Mode.OFF,
        "poll_ms": POLL_MS,
    }
    return page(request, "pulse/probes/detail.html", context)


@guarded(Scope.ADMINISTER, ("POST",))
def switch(request: HttpRequest, name: str) -> HttpResponse:
    """Pause a target, or let it be probed again: an edit of the policy as any other."""
    wanted = request.POST.get("mode")
    if wanted not in {Mode.OFF, Mode.ENFORCE}:
        text = _("It may be: %s.") % f"{Mode.OFF}, {Mode.ENFORCE}"
        return refusal(request, HTTPStatus.BAD_REQUEST, "invalid", text, errors={"mode": [text]})
    mode = ModeChoices(wanted)
    if mode != ModeChoices.OFF:
        mode = _mode_before(name)
    rows = ProbeTarget.objects.using(publisher.database()).filter(name=name)
    if not rows.exists():
        return _unknown(request, name)
    starter = starter_of(request)
    reason = _("Paused on its page") if mode == ModeChoices.OFF else _("Resumed on its page")
    try:
        with publisher.edit(
            starter.actor,
            source="admin" if starter.trigger == Trigger.PAGE else "api",
            reason=reason,
            request_id=request_id_of(request),
        ):
            switches.set_mode(rows, mode)
    except InvalidDocument as error:
        return refusal(request, HTTPStatus.CONFLICT, "conflict", str(error))
    if conf.PUBLISH == "manual":
        text = _("It is saved as a draft, which is in force once somebody publishes it.")
        return refusal(request, HTTPStatus.ACCEPTED, "draft", text)
    return HttpResponseRedirect(reverse("pulse:probe", args=[name]))


def _mode_before(name: str) -> ModeChoices:
    """Return what a target did before it was paused: one in shadow goes back to shadow."""
    revisions = PolicyRevision.objects.using(publisher.database()).order_by("-number")
    for changes in revisions.values_list("changes", flat=True)[:LOOK_BACK]:
        for change in changes:
            if change["kind"] != TARGETS or change["key"] != {"name": name}:
                continue
            mode = change["fields"].get("mode", {})
            if mode.get("after") == Mode.OFF and mode.get("before"):
                return ModeChoices(mode["before"])
    return ModeChoices.ENFORCE


def _plan() -> tuple[Plan, datetime]:
    now = timezone.now()
    return current_plan(now.timestamp()), now


def _unknown(request: HttpRequest, name: str) -> HttpResponse:
    return refusal(request, HTTPStatus.NOT_FOUND, "not_found", _("There is no target %s.") % name)


def _wanted(request: HttpRequest) -> Wanted:
    query = request.GET
    status, sort = query.get("status", ""), query.get("sort", "")
    return Wanted(
        status=status if status in TargetStatus.values else "",
        group=query.get("group", ""),
        schedule=query.get("schedule", ""),
        q=query.get("q", "").strip()[:200],
        sort=sort if sort in targets.SORTS else targets.SORTS[0],
        page=number_of(request),
    )


def _sorts() -> list[tuple[str, str]]:
    texts = {
        "trouble": _("Worst first"),
        "name": _("Name"),
        "changed": _("Last change"),
        "last": _("Last result"),
    }
    return [(name, texts[name]) for name in targets.SORTS]


def _verdict(overview: Overview, engine: machine.Machine) -> Verdict | None:
    if not overview.total:
        return None
    counts = overview.counts
    down, degraded = counts.get(Status.DOWN, 0), counts.get(Status.DEGRADED, 0)
    if engine.problem == "nobody":
        text = _("Nothing is probed: probes are due, and no worker is there to send them.")
        verdict = Verdict("down", text)
    elif down or degraded:
        verdict = _trouble(overview.troubled, down, degraded)
    elif engine.problem == "late":
        verdict = Verdict("degraded", _("Probes run late: more is due than is sent."))
    else:
        verdict = _well(overview)
    return verdict


def _well(overview: Overview) -> Verdict:
    watched = overview.total - overview.counts.get(Status.NOT_WATCHED, 0)
    if not watched:
        return Verdict("not_watched", _("Nobody has looked yet."))
    if watched < overview.total:
        text = _("What is watched is well: %(watched)d of %(total)d targets.")
        return Verdict("up", text % {"watched": watched, "total": overview.total})
    return Verdict("up", _("All %d targets are well.") % watched)


def _trouble(troubled: Sequence[TargetView], down: int, degraded: int) -> Verdict:
    parts = []
    if down:
        parts.append(_("1 target is down") if down == 1 else _("%d targets are down") % down)
    if degraded:
        one, many = _("1 target is degraded"), _("%d targets are degraded")
        parts.append(one if degraded == 1 else many % degraded)
    since = min((view.since for view in troubled if view.since), default=None)
    revisions = [] if since is None else targets.revisions_between(since - BEFORE, since, 1)
    revision = revisions[-1] if revisions else None
    return Verdict(
        word="down" if down else "degraded",
        text=", ".join(parts),
        since=since,
        revision=revision,
        revision_url=(admin_url("pulse_policyrevision_change", revision.pk) if revision else ""),
    )


def _chart(view: TargetView, now: datetime, window: str) -> charts.Band:
    step, spans = history.spans(view.name, now, window)
    points = []
    for at, tally in spans.items():
        p50, p90, _p95, p99 = tally.quantiles_ms()
        points.append(charts.Point(at, p50, p90, p99, tally.checks, tally.uptime))
    return charts.band(points, step, marks.between(next(iter(spans)), now))


def _edit_url(view: TargetView) -> str:
    if view.is_endpoint:
        return ""
    rows = ProbeTarget.objects.using(publisher.database()).filter(name=view.name)
    pk = rows.values_list("pk", flat=True).first()
    return "" if pk is None else admin_url("pulse_probetarget_change", pk)


def _phases(whole: Whole) -> list[charts.Slice]:
    """Divide the newest result by where its time went."""
    if whole.last is None or not whole.last.phases_ms:
        return []
    return charts.slices(whole.last.phases_ms)


def _shares(tally: history.Tally) -> dict[str, Any]:
    return {str(status.value): tally.seconds.get(status) for status in history.SECONDS.values()}
