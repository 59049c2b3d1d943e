"""What browsers reported of a Content-Security-Policy, and the step from reporting to enforcing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.admin.errands import carry_out, errand_of
from pulse.core.csp import suggest
from pulse.core.document import Item
from pulse.core.headers import HeaderRule
from pulse.exceptions import InvalidHeader, StoreError
from pulse.policies import headers
from pulse.policies.edge import HeaderPolicy
from pulse.store import csp

logger = logging.getLogger(__name__)

#: Reports shown on a page; the most frequent come first.
MAX_SHOWN = 200
#: Allowing these is giving the policy up.
IN_THE_PAGE = frozenset({"inline", "eval", "wasm-eval"})


@dataclass(frozen=True, slots=True)
class Row:
    """What was reported again and again, for people."""

    directive: str
    source: str
    page: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Section:
    """The reports of one policy.

    Attributes:
        csp: The policy as it is sent.
        is_collected: Browsers know where to send reports; False where pulse.urls is not mounted.
        is_asked: The policy asks for reports to the collector; without it there are none.
        count: Reports of the last day; None where they cannot be read.
        rest: Reports that found no room, of all policies.
        suggestions: The directives that would have allowed what was blocked.
        in_the_page: Some of it is code within the page, which nothing should allow.
    """

    csp: str
    report_only: bool
    is_collected: bool
    is_asked: bool
    count: int | None
    rest: int
    rows: Sequence[Row]
    suggestions: Sequence[str]
    in_the_page: bool


def section_of(item: Item) -> Section | None:
    """Read what was reported of a policy in the last day; None where it has no CSP.

    Asks the store only where the policy asks for reports.

    Raises:
        InvalidHeader: Something was written past every validator.
    """
    rule = HeaderRule(item)
    if rule.csp is None:
        return None
    is_asked = rule.asks(headers.collector())
    reported, rest = _reported() if is_asked else ([], 0)
    own = [each for each in reported or () if each.policy == rule.name]
    # Anybody can send reports, and make up thousands.
    shown = own[:MAX_SHOWN]
    wanted = suggest(rule.csp, [(each.directive, each.source) for each in shown])
    return Section(
        csp=rule.csp,
        report_only=rule.report_only,
        is_collected=bool(headers.collector()),
        is_asked=is_asked,
        count=None if reported is None else sum(each.count for each in own),
        rest=rest,
        rows=[
            Row(
                each.directive,
                each.source,
                each.page,
                each.count,
                datetime.fromtimestamp(each.first, UTC),
                datetime.fromtimestamp(each.last, UTC),
            )
            for each in shown
        ],
        suggestions=[" ".join((name, *sources)) for name, sources in wanted.items()],
        in_the_page=any(each.source in IN_THE_PAGE for each in own),
    )


def switch_view(admin: Any, request: HttpRequest, pk: int) -> HttpResponseBase:
    """Enforce a policy's CSP, or have it report only; one click, one revision."""
    row = admin.get_queryset(request).filter(pk=pk).first()
    if row is None:
        raise Http404
    wanted = request.POST.get("report_only")
    if (
        request.method != "POST"
        or wanted not in {"0", "1"}
        or not admin.has_change_permission(request, row)
    ):
        raise PermissionDenied
    address = reverse(
        "admin:pulse_headerpolicy_change", args=[pk], current_app=admin.admin_site.name
    )

    def act() -> HttpResponseBase:
        switch(admin, request, [row], report_only=wanted == "1")
        return HttpResponseRedirect(address)

    reason = f"CSP of {row.name}: {'reports only' if wanted == '1' else 'enforced'}"
    done = carry_out(request, act, site=admin.admin_site.name, default_reason=reason)
    return done or admin._not_done(request)


def switch(
    admin: Any, request: HttpRequest, rows: Sequence[HeaderPolicy], *, report_only: bool
) -> None:
    """Let the CSP of policies block, or only report; within an errand."""
    changed, asked = [], False
    for row in rows:
        try:
            rule = HeaderRule(headers.item_of(row))
        except InvalidHeader as error:
            text = _("%(name)s cannot be sent: %(problem)s Mend it in its form.")
            admin.message_user(request, text % {"name": row, "problem": error}, messages.ERROR)
            continue
        if row.csp_report_only != report_only and rule.csp is not None:
            changed.append(row)
            asked = asked or rule.asks(headers.collector())
    for row in changed:
        row.csp_report_only = report_only
        row.save(update_fields=["csp_report_only"])
        text = _("CSP: reports only.") if report_only else _("CSP: enforced.")
        admin.log_change(request, row, text)
    errand_of(request).saved = bool(changed)
    if not changed:
        admin.message_user(request, _("No CSP was to be switched."), messages.INFO)
        return
    names = ", ".join(row.name for row in changed)
    if report_only:
        text = _("The CSP of %s only reports now.") % names
    else:
        text = _("The CSP of %s is enforced now.") % names
        if asked:
            text = f"{text} {_say_reports(changed)}"
    admin.message_user(request, text, messages.SUCCESS)


def _say_reports(rows: Sequence[HeaderPolicy]) -> str:
    """Say how much of what is blocked from now on was reported of late."""
    reported, _rest = _reported()
    if reported is None:
        return _("Reports of the last 24 hours are not known.")
    names = {row.name for row in rows}
    count = sum(each.count for each in reported if each.policy in names)
    return (
        ngettext(
            "%d report of the last 24 hours told what it blocks.",
            "%d reports of the last 24 hours told what it blocks.",
            count,
        )
        % count
    )


def _reported() -> tuple[list[csp.Reported] | None, int]:
    try:
        return csp.last_day()
    except StoreError as error:
        logger.warning("What browsers reported cannot be read: %s", error)
        return None, 0
