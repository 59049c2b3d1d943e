"""How rows name targets: by ticks where there are few, else by lines."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.probes.fields import NamesField, TicksField
from pulse.core.targets import NAME
from pulse.probes.models import ProbeTarget

#: So many targets are ticked; more are written.
SHORT: Final = 50


class TargetsForm(forms.Form):
    """The targets that a row names: a short list of them is ticked, all else is written."""

    ticked = TicksField((), label=_("Targets"))
    targets = NamesField(label=_("Targets, one to a line"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "targets" not in self.fields:
            return
        self.known = list(ProbeTarget.objects.order_by("name").values_list("name", flat=True))
        self.named: list[str] = list(self._row.targets)
        shown = self.known if 0 < len(self.known) <= SHORT else []
        if not shown:
            self.fields.pop("ticked", None)
            return
        ticked: Any = self.fields["ticked"]
        ticked.choices = [(name, name) for name in shown]
        self.initial["ticked"] = [name for name in self.named if name in shown]
        self.initial["targets"] = [name for name in self.named if name not in shown]
        self.fields["targets"].label = _("Other endpoints")

    @property
    def changed_data(self) -> list[str]:
        """The fields that were changed; of the two ways to name targets, the row's own."""
        changed = super().changed_data
        return list(dict.fromkeys("targets" if name == "ticked" else name for name in changed))

    def clean_targets(self) -> list[str]:
        """Put what is ticked and what is written together, in the order that was."""
        written = self.cleaned_data["targets"]
        names = list(dict.fromkeys([*self.cleaned_data.get("ticked", []), *written]))
        for name in written:
            check_known(name, self.known)
        return self.named if set(names) == set(self.named) else names

    @property
    def _row(self) -> Any:
        return self.instance  # type: ignore[attr-defined]  # of the form of rows beside this one


def check_known(name: str, known: Sequence[str]) -> None:
    """Refuse the name of no target; endpoints are for the model's own validator.

    Raises:
        ValidationError: There is no such target; a likely one is named.
    """
    if NAME.fullmatch(name) and name not in known:
        close = get_close_matches(name, known, n=1)
        hint = __(" Did you mean %s?") % close[0] if close else ""
        raise forms.ValidationError(__("Unknown target: %s") % name + hint)


def without_ticks(sets: Any, request: HttpRequest, own: Any, row: Any) -> list[Any]:
    """Leave the ticks out of fieldsets where there is nothing to tick, too much, or no form."""
    count = ProbeTarget.objects.all()[: SHORT + 1].count()
    may_write = (
        own.has_add_permission(request) if row is None else own.has_change_permission(request, row)
    )
    if may_write and 0 < count <= SHORT:
        return list(sets)
    return [
        (title, {**options, "fields": tuple(f for f in options["fields"] if f != "ticked")})
        for title, options in sets
    ]
