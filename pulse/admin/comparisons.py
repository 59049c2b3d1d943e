"""Any two revisions side by side, and the way back to either."""

from collections.abc import Iterable
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from pulse.admin.differences import MAX_SHOWN, differences, effects
from pulse.admin.drafts import may_write_all
from pulse.policies import history
from pulse.policies.models import PolicyRevision

#: So many of the newest can be chosen; older ones are compared from their own pages.
MOST: Final = 200


def others(revision: PolicyRevision, chosen: PolicyRevision | None = None) -> list[PolicyRevision]:
    """Return the revisions that one can be compared with, the newest first."""
    found = list(_rows().exclude(pk=revision.pk)[:MOST])
    if chosen is not None and chosen.pk != revision.pk and chosen not in found:
        found.append(chosen)
    return found


def view(admin: Any, request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show what leads from one revision to another, by what it does to clients."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    one = _rows().filter(pk=pk).first()
    if one is None:
        raise Http404
    other = _chosen(request, one)
    changes = history.compare(one.number, other.number)
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Revision %(one)d and revision %(other)d")
        % {"one": one.number, "other": other.number},
        "opts": admin.opts,
        "media": admin.media,
        "one": one,
        "other": other,
        "others": others(one, other),
        "chosen": other.number,
        "address": _address(admin, "compare", one),
        "reversed": f"{_address(admin, 'compare', other)}?with={one.number}",
        "back": _address(admin, "change", one),
        "rollbacks": _rollbacks(admin, (one, other)) if may_write_all(request) else [],
        "effects": effects(changes),
        "differences": differences(changes),
        "hidden": max(0, len(changes) - MAX_SHOWN),
        "nothing": _("Nothing differs: they are the same policy."),
    }
    return TemplateResponse(request, "admin/pulse/policyrevision/compare.html", context)


def _chosen(request: HttpRequest, one: PolicyRevision) -> PolicyRevision:
    """Return the other revision: the one that is asked for, else the newest."""
    asked = request.GET.get("with")
    if asked is None:
        return _rows().first() or one
    is_number = asked.isascii() and asked.isdecimal() and len(asked) < 10
    found = _rows().filter(number=int(asked)).first() if is_number else None
    if found is None:
        raise Http404
    return found


def _rollbacks(admin: Any, revisions: Iterable[PolicyRevision]) -> list[tuple[int, str]]:
    """Lead back to those that are not in force already."""
    newest = _rows().first()
    return [
        (revision.number, _address(admin, "rollback", revision))
        for revision in revisions
        if revision != newest
    ]


def _rows() -> QuerySet[PolicyRevision]:
    return PolicyRevision.objects.defer("document", "changes")


def _address(admin: Any, name: str, revision: PolicyRevision) -> str:
    return reverse(
        f"admin:pulse_policyrevision_{name}",
        args=[revision.pk],
        current_app=admin.admin_site.name,
    )
