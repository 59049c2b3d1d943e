"""The draft that manual publishing keeps: reviewed and published, or discarded."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from pulse.admin.confirmations import confirm
from pulse.admin.errands import actor_of, carry_out, errand_of, reason_of, request_id_of
from pulse.admin.permissions import may
from pulse.conf import conf
from pulse.exceptions import InvalidDocument, LockOut
from pulse.policies import drafts, kinds, publisher
from pulse.policies.authors import lockout_check


def review(own: Any, request: HttpRequest) -> HttpResponseBase:
    """Show what is to be in force, who made it, and what it would do to its author; publish it."""
    if not may_write_all(request):
        raise PermissionDenied
    site = own.admin_site.name
    read = drafts.digest()  # Of what is told below, or of what was before it; never of more.
    changes = publisher.draft_changes()
    problems = publisher.problems_of_rows() if changes else []
    if request.method == "GET" and changes and not problems:
        _show_threats(request, site)
    discard_address = _address("discard", site) if changes and conf.PUBLISH == "manual" else ""
    return confirm(
        own,
        request,
        lambda: carry_out(request, lambda: _publish(request, site), site=site, source="admin"),
        title=_("Publish the draft"),
        lead=_("This was edited and is not in force yet.") if changes else "",
        button=_("Yes, publish"),
        back=_address("changelist", site),
        changes=changes,
        problems=problems,
        nothing=_("There is no draft: what was edited is in force."),
        may_be_guarded=True,
        asks_why=True,
        template="admin/pulse/review.html",
        context={"edits": edits(), "discard": discard_address, "read": read},
    )


def discard(own: Any, request: HttpRequest) -> HttpResponseBase:
    """Ask, then go back to what is in force."""
    if not may_write_all(request):
        raise PermissionDenied
    site = own.admin_site.name
    read = drafts.digest()  # As in a review.
    return confirm(
        own,
        request,
        lambda: carry_out(request, lambda: _discard(request, site), site=site),
        title=_("Discard the draft"),
        lead=_(
            "Everything that was edited since the policy in force was published goes back to what "
            "it is there. The draft is not kept."
        ),
        button=_("Yes, discard the draft"),
        back=_address("publish", site),
        changes=drafts.changes_of_discarding(),
        nothing=_("There is no draft: what was edited is in force."),
        template="admin/pulse/review.html",
        context={"read": read},
    )


def may_write_all(request: HttpRequest) -> bool:
    """Whether a user may add, change and delete every kind: the whole policy does all three."""
    return all(
        may(request, verb, kind.model)
        for kind in kinds.all_kinds()
        for verb in ("add", "change", "delete")
    )


def check_read(request: HttpRequest) -> None:
    """Let nobody do with the policy what they decided of another one.

    Raises:
        ValidationError: Someone has edited it since the page was shown.
    """
    read = request.POST.get("read")
    if read and read != drafts.digest():
        text = _("Someone edited the policy since you read this page. It is below as it is now.")
        raise ValidationError(text)


def edits() -> list[dict[str, Any]]:
    """Return who edited the draft, newest first."""
    return [{**edit, "at": datetime.fromisoformat(edit["at"])} for edit in reversed(drafts.edits())]


def _publish(request: HttpRequest, site: str) -> HttpResponseBase:
    check_read(request)
    publisher.publish(actor_of(request))
    errand_of(request).saved = True
    return HttpResponseRedirect(_address("changelist", site))


def _discard(request: HttpRequest, site: str) -> HttpResponseBase:
    check_read(request)
    drafts.discard(
        actor_of(request),
        source="admin",
        reason=reason_of(request),
        request_id=request_id_of(request),
    )
    messages.success(request, _("The draft is discarded: the forms show what is in force."))
    return HttpResponseRedirect(_address("changelist", site))


def _show_threats(request: HttpRequest, site: str) -> None:
    """Warn before it is published, too, not only where it is tried."""
    try:
        lockout_check(request, site=site)(publisher.newest_document(), publisher.document_of_rows())
    except LockOut as refusal:
        errand_of(request).threats = refusal.threats
    except InvalidDocument:
        return  # Told as a problem of the draft.


def _address(name: str, site: str) -> str:
    return reverse(f"admin:pulse_policyrevision_{name}", current_app=site)
