"""A page that shows what an action would do, and asks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from pulse.admin.differences import differences
from pulse.admin.errands import MAX_REASON, errand_of
from pulse.admin.forms import GuardFields
from pulse.admin.stock import ModelAdmin, TextInput


class ConfirmForm(GuardFields):
    """Why; and, where one was warned, that one means it."""

    required_css_class = "required"

    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON,
        widget=TextInput,
        help_text=_("Kept with the revision."),
    )


def confirm(
    admin: ModelAdmin,
    request: HttpRequest,
    carry: Callable[[], HttpResponseBase | None],
    *,
    title: str,
    lead: str,
    button: str,
    back: str,
    changes: Sequence[Mapping[str, Any]] | None,
    problems: Sequence[str] = (),
    nothing: str = "",
    may_be_guarded: bool = False,
    asks_why: bool = False,
    template: str = "admin/pulse/confirm.html",
    context: Mapping[str, Any] | None = None,
) -> HttpResponseBase:
    """Show what would be done; do it when it is confirmed.

    Args:
        admin: Whose screens these are.
        request: A GET shows the page; a POST confirms.
        carry: Does it, and returns the response; None if it could not, as the errand tells.
        title: The heading.
        lead: What stands under it.
        button: What is pressed.
        back: The address that leads away from it.
        changes: What would change; None where that is told in the lead.
        problems: Why it cannot be done; then there is no button.
        nothing: What to say where nothing would change.
        may_be_guarded: What it makes is a revision that may be watched.
        asks_why: A reason is required.
        context: What else the template shows.
        template: The page, or one that extends it.
    """
    form = ConfirmForm(request.POST if request.method == "POST" else None)
    form.fields["reason"].required = asks_why
    errand = errand_of(request)
    if request.method == "POST" and not problems and form.is_valid():
        response = carry()
        if response is not None:
            return response
    shown = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "media": admin.media,
        "lead": lead,
        "button": button,
        "back": back,
        "form": form,
        "shows_changes": changes is not None,
        "differences": differences(changes or ()),
        "nothing": nothing,
        "problems": [] if errand.threats else [*problems, *errand.problems],
        "threats": errand.threats,
        "possible": not problems and (changes is None or bool(changes)),
        "may_be_guarded": may_be_guarded,
        **(context or {}),
    }
    return TemplateResponse(request, template, shown)
