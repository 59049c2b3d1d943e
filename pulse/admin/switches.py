"""Everything to shadow: one page, one button, one revision."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from pulse.admin.confirmations import confirm
from pulse.admin.errands import actor_of, carry_out, errand_of
from pulse.admin.permissions import may
from pulse.conf import conf
from pulse.policies import switches
from pulse.policies.models import PolicyRevision


def everything_to_shadow(own: Any, request: HttpRequest) -> HttpResponseBase:
    """Ask, then let every rule count and report only."""
    if not all(may(request, "change", model) for model in switches.RULES):
        raise PermissionDenied
    counts = switches.enforced_rules()
    told = ", ".join(
        f"{count} {model._meta.verbose_name if count == 1 else model._meta.verbose_name_plural}"
        for model, count in counts.items()
        if count
    )
    site = own.admin_site.name
    return confirm(
        own,
        request,
        lambda: carry_out(
            request, lambda: _switch(own, request), site=site, default_reason="Everything to shadow"
        ),
        title=_("Everything to shadow"),
        lead=_(
            "Every rule that is enforced goes on counting and reporting, and refuses nobody any "
            "more. Enforced now: %s."
        )
        % told,
        button=_("Yes, everything to shadow"),
        back=reverse("admin:pulse_ratetier_changelist", current_app=site),
        changes=None,
        problems=[] if any(counts.values()) else [_("Nothing is enforced: nothing is to be done.")],
    )


def _switch(own: Any, request: HttpRequest) -> HttpResponseBase:
    site = own.admin_site.name
    before = PolicyRevision.objects.defer("document").first()
    changed, _edit = switches.everything_to_shadow(actor_of(request), source="admin")
    errand_of(request).saved = changed > 0
    own.message_user(
        request,
        _("%d rules count and report only now; nobody is refused.") % changed,
        messages.SUCCESS,
    )
    if before is not None and conf.PUBLISH == "auto":
        address = reverse("admin:pulse_policyrevision_rollback", args=[before.pk], current_app=site)
        text = _("roll back to revision %d") % before.number
        link = format_html('<a href="{}">{}</a>', address, text)
        own.message_user(request, format_html(_("To undo it, {}."), link), messages.INFO)
    return HttpResponseRedirect(reverse("admin:pulse_ratetier_changelist", current_app=site))
