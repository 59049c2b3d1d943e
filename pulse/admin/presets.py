"""The page of presets: a preset, the routes to give it to, one revision."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pulse.admin.errands import REASON, SAVE_ANYWAY, actor_of, carry_out, errand_of
from pulse.admin.forms import DatalistInput
from pulse.core.document import Item
from pulse.policies import document, kinds, presets, routes, words
from pulse.policies.models import EndpointLimit, OwnLimit
from pulse.policies.presets import Preset

MATCHERS: Final = ("url_name", "route")


class PresetForm(forms.Form):
    """The routes that a preset is given to."""

    targets = forms.MultipleChoiceField(
        label=_("Routes"), required=False, widget=forms.CheckboxSelectMultiple
    )
    other = forms.CharField(label=_("Another route"), required=False, max_length=255)

    def __init__(
        self, preset: Preset, limited: Mapping[tuple[str, str], list[str]], data: Any = None
    ) -> None:
        having = {
            target
            for target, names in limited.items()
            if any(name.startswith(preset.name) for name in names)
        }
        self.preset, self.having = preset, having
        found = presets.suggested(preset)
        targets = [presets.target_of(match) for match in found]
        free = [target for target in targets if target not in having]
        self.done = [value for matcher, value in targets if (matcher, value) in having]
        choices = [(":".join(target), _label(target, limited.get(target, ()))) for target in free]
        chosen = [":".join(target) for target in free if target not in limited]
        super().__init__(data, prefix=preset.name, initial={"targets": chosen[:1]})
        self.fields["targets"].choices = choices  # type: ignore[attr-defined]
        known = routes.known_values(settings.ROOT_URLCONF)
        self.fields["other"].widget = DatalistInput(sorted(known["url_name"]))
        self.fields["other"].help_text = __("A URL name, or a route such as api/login/.")
        self.rules = [_say(item) for item in presets.items(preset, [("url_name", "…")], {})]

    def clean_other(self) -> tuple[str, str] | None:
        """Find the route that is named."""
        value: str = self.cleaned_data["other"].strip()
        if not value:
            return None
        problems = [routes.problem(matcher, value) for matcher in MATCHERS]
        for matcher, problem in zip(MATCHERS, problems, strict=True):
            if problem is None and (matcher, value) in self.having:
                raise forms.ValidationError(__("It has this preset already."))
            if problem is None:
                return matcher, value
        raise forms.ValidationError(problems["/" in value] or "")

    def clean(self) -> dict[str, Any]:
        """Refuse to make nothing."""
        chosen = [_split(text) for text in self.cleaned_data.get("targets", ())]
        other = self.cleaned_data.get("other")
        if other is not None and other not in chosen:
            chosen.append(other)
        if not chosen and not self.errors:
            raise forms.ValidationError(__("Choose a route, or name one."))
        return {**self.cleaned_data, "chosen": chosen}


def view(admin: Any, request: HttpRequest) -> HttpResponseBase:
    """List the presets; make the rules of the one that was chosen."""
    if not admin.has_add_permission(request):
        raise PermissionDenied
    rows = list(EndpointLimit.objects.all())
    limited: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        limited.setdefault((row.matches_by, row.target), []).append(row.name)
    chosen = presets.find_preset(request.POST.get("preset", ""))
    forms_by_name = {
        preset.name: PresetForm(preset, limited, request.POST if preset is chosen else None)
        for preset in presets.PRESETS
    }
    if chosen is not None and forms_by_name[chosen.name].is_valid():
        targets = forms_by_name[chosen.name].cleaned_data["chosen"]
        response = carry_out(
            request,
            lambda: _make(admin, request, chosen, targets, rows),
            site=admin.admin_site.name,
            default_reason=f"Preset {chosen.name}",
        )
        if response is not None:
            return response
    errand = errand_of(request)
    context = {
        **admin.admin_site.each_context(request),
        "title": __("Presets"),
        "opts": admin.opts,
        "media": admin.media,
        "forms": list(forms_by_name.values()),
        "problems": errand.problems,
        "threats": errand.threats,
        "save_anyway": SAVE_ANYWAY,
        "reason": REASON,
    }
    return TemplateResponse(request, "admin/pulse/presets.html", context)


def _make(
    admin: Any,
    request: HttpRequest,
    preset: Preset,
    targets: list[tuple[str, str]],
    rows: list[EndpointLimit],
) -> HttpResponseBase:
    existing = {row.name: (row.matches_by, row.target) for row in rows}
    made = presets.items(preset, targets, existing)
    document.apply({"version": 1, "endpoint_limits": made}, actor_of(request), source="admin")
    errand_of(request).saved = True
    names = [item["name"] for item in made]
    for row in EndpointLimit.objects.filter(name__in=names):
        admin.log_addition(request, row, f"Preset {preset.name}")
    text = ngettext(
        "The preset %(preset)s made the endpoint limit %(names)s.",
        "The preset %(preset)s made the endpoint limits %(names)s.",
        len(names),
    ) % {"preset": preset.name, "names": ", ".join(names)}
    admin.message_user(request, text, messages.SUCCESS)
    address = reverse("admin:pulse_endpointlimit_changelist", current_app=admin.admin_site.name)
    return HttpResponseRedirect(address)


def _label(target: tuple[str, str], names: Sequence[str]) -> str:
    """Name a route, and the limits that it has."""
    if not names:
        return target[1]
    return __("%(route)s (limited already, by %(names)s)") % {
        "route": target[1],
        "names": ", ".join(names),
    }


def _say(item: Item) -> str:
    """Say what a rule of a preset does, wherever it is put."""
    errors: kinds.Errors = {}
    limits = [
        kinds.limit_to_item(limit)
        for limit in kinds.read_limits(OwnLimit, item["limits"], errors, "preset")
    ]
    rates = f"{words.say_key(item['key'])}: {words.say_limits(limits)}" if limits else ""
    said = [", ".join(item["methods"]), rates, words.say_bounds(item)]
    return ", ".join(part for part in said if part)


def _split(text: str) -> tuple[str, str]:
    matcher, _colon, value = text.partition(":")
    return matcher, value
