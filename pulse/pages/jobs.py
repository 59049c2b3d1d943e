"""Jobs: the list and its door for starting them, one of them live, cancelling, running again."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from pulse.access.principals import asker_of
from pulse.access.scopes import Scope
from pulse.pages import starts
from pulse.pages.answers import data, number_of, page, private, refusal, wants_json
from pulse.pages.guard import forbidden, guarded
from pulse.pages.starts import Refused
from pulse.probes import jobs
from pulse.probes.plan import current_plan
from pulse.probes.state import JobStatus, ProbeJob, Trigger
from pulse.probes.summary import jobs as summary
from pulse.probes.summary.cursors import is_cursor

#: How often a page asks again, in milliseconds: while a job runs, and else.
POLL_RUNNING_MS: Final = 2000
POLL_MS: Final = 15_000
#: So far a job is, in percent, as it is announced to who cannot see its bar.
ANNOUNCED: Final = (75, 50, 25)


@guarded(Scope.VIEW, ("GET", "HEAD", "POST"))
def collection(request: HttpRequest) -> HttpResponse:
    """List jobs, or start one."""
    if request.method == "POST":
        return _start(request)
    return _list(request)


@guarded(Scope.VIEW)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one job, as far as it is."""
    return _show(request, pk)


@guarded(Scope.OPERATE, ("POST",))
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel a job; what runs is broken off."""
    starter = starts.starter_of(request)
    return _act(
        request, pk, lambda: jobs.cancel(pk, starter.actor, starter.request_id), HTTPStatus.OK
    )


@guarded(Scope.OPERATE, ("POST",))
def rerun(request: HttpRequest, pk: int) -> HttpResponse:
    """Start a new job of what did not end well."""
    starter = starts.starter_of(request)
    return _act(request, pk, lambda: jobs.rerun(pk, starter), HTTPStatus.ACCEPTED)


def location(job: ProbeJob) -> str:
    """Return the address of a job."""
    return reverse("pulse:job", args=[job.pk])


def _list(request: HttpRequest, refused: Refused | None = None) -> HttpResponse:
    chosen = {name: request.GET.get(name, "") for name in summary.FILTERS}
    cursor = request.GET.get("cursor", "")
    if wants_json(request) and (errors := _wrong(request)):
        return _refuse(request, starts.invalid(errors))
    found = summary.page(chosen, cursor)
    views = summary.views_of(found.rows)
    if wants_json(request):
        return data(
            request,
            {
                "next": _at(request, found.older),
                "previous": _at(request, found.newer),
                "results": [view.as_dict() for view in views],
            },
        )
    plan = current_plan(timezone.now().timestamp())
    context = {
        "views": views,
        "older": found.older,
        "newer": found.newer,
        "chosen": chosen,
        "is_filtered": any(chosen.values()),
        "statuses": JobStatus.choices,
        "triggers": Trigger.choices,
        "schedules": sorted(plan.schedules),
        "safe_targets": len(plan.safe_targets),
        "open_by_hand": summary.open_by_hand(),
        "max_jobs": plan.budget.max_jobs,
        "refused": refused,
        "poll_ms": _poll_ms(views, refused),
    }
    return page(
        request, "pulse/jobs/list.html", context, HTTPStatus.OK if not refused else refused.status
    )


def _show(request: HttpRequest, pk: int, refused: Refused | None = None) -> HttpResponse:
    found = starts.attempt(lambda: jobs.find(pk))
    if isinstance(found, Refused):
        return _refuse(request, found)
    view = summary.view_of(found)
    if wants_json(request):
        return data(request, view.as_dict())
    group = request.GET.get("show", "")
    number = number_of(request)
    items, has_more = summary.items_of(found, group, number)
    context = {
        "view": view,
        "job": view.job,
        "items": items,
        "group": group if group in summary.GROUPS else "",
        "groups": _groups(view),
        "number": number,
        "has_more": has_more,
        "refused": refused,
        "announcement": _announcement(view),
        "poll_ms": POLL_RUNNING_MS if view.is_open and not refused else 0,
    }
    return page(
        request, "pulse/jobs/detail.html", context, HTTPStatus.OK if not refused else refused.status
    )


def _start(request: HttpRequest) -> HttpResponse:
    if not asker_of(request).holds(Scope.OPERATE):
        return forbidden(request, Scope.OPERATE)
    starter = starts.starter_of(request)
    try:
        order = starts.order_of(request)
    except starts.Unreadable as error:
        started: ProbeJob | Refused = error.refused
    else:
        started = starts.attempt(lambda: jobs.start(order, starter))
    if isinstance(started, Refused):
        if wants_json(request):
            return _refuse(request, started)
        return private(_list(request, started), started.retry_after_s)
    return _done(request, started, HTTPStatus.ACCEPTED)


def _act(
    request: HttpRequest, pk: int, act: Callable[[], ProbeJob], status: HTTPStatus
) -> HttpResponse:
    found = starts.attempt(act)
    if isinstance(found, Refused):
        if wants_json(request) or found.status == HTTPStatus.NOT_FOUND:
            return _refuse(request, found)
        return private(_show(request, pk, found), found.retry_after_s)
    return _done(request, found, status)


def _done(request: HttpRequest, job: ProbeJob, status: HTTPStatus) -> HttpResponse:
    if not wants_json(request):
        return HttpResponseRedirect(location(job))
    response = data(request, summary.view_of(job).as_dict(), status)
    if status == HTTPStatus.ACCEPTED:
        response.headers["Location"] = location(job)
    return response


def _refuse(request: HttpRequest, refused: Refused) -> HttpResponse:
    members: dict[str, Any] = {"errors": refused.errors} if refused.errors else {}
    return refusal(
        request,
        refused.status,
        refused.code,
        refused.detail,
        retry_after_s=refused.retry_after_s,
        **members,
    )


def _wrong(request: HttpRequest) -> dict[str, list[str]]:
    """Say what in the query of a list is none of its filters, or cannot be."""
    known = {*summary.FILTERS, "cursor", "format"}
    errors = {name: [_("There is no such filter.")] for name in request.GET if name not in known}
    for name, values in summary.FILTERS.items():
        value = request.GET.get(name, "")
        if value and not summary.can_be(name, value):
            told = ", ".join(values) if values is not None else _("a name")
            errors[name] = [_("It may be: %s.") % told]
    if not is_cursor(request.GET.get("cursor", "")):
        errors["cursor"] = [_("That is no cursor of this list.")]
    return errors


def _poll_ms(views: Sequence[summary.JobView], refused: Refused | None) -> int:
    if refused:
        # It stays to be read.
        return 0
    return POLL_RUNNING_MS if any(view.is_open for view in views) else POLL_MS


def _at(request: HttpRequest, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    query: Mapping[str, str] = {**request.GET.dict(), "cursor": cursor}
    return request.build_absolute_uri(f"{request.path}?{urlencode(query)}")


def _groups(view: summary.JobView) -> list[tuple[str, str, int]]:
    """Return what the probes of a job are narrowed by: value, text and how many."""
    texts = {
        "": _("All"),
        "trouble": _("Not ok"),
        "open": _("Open"),
        "ok": _("Ok"),
        "cancelled": _("Cancelled"),
    }
    counts = {
        name: sum(view.counts[state] for state in states) for name, states in summary.GROUPS.items()
    }
    counts[""] = view.counts["total"]
    return [(name, text, counts[name]) for name, text in texts.items() if counts[name] or not name]


def _announcement(view: summary.JobView) -> str:
    """Say in a sentence how far a job is; it changes seldom, as it is read aloud."""
    if not view.is_open:
        return _("Job %(job)d has ended: %(status)s, %(trouble)d of %(total)d not ok.") % {
            "job": view.job.pk,
            "status": view.job.get_status_display(),
            "trouble": view.trouble,
            "total": view.total,
        }
    reached = next((share for share in ANNOUNCED if view.percent >= share), 0)
    text = _("Job %(job)d: %(share)d %% done.") % {"job": view.job.pk, "share": reached}
    return f"{text} {_('Something is not ok.')}" if view.trouble else text
