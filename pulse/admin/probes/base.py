"""What the screens of probes have in common."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from pulse.access.scopes import Scope, holds
from pulse.admin.base import PolicyAdmin
from pulse.admin.errands import actor_of, request_id_of
from pulse.admin.forms import PolicyForm
from pulse.policies.bases import ModeChoices
from pulse.probes.jobs import Starter
from pulse.probes.state import Trigger

WHEN: Final[Any] = (_("When and how"), {"fields": ("mode", "starts_at", "ends_at")})
SWITCH: Final[Any] = (_("When and how"), {"fields": ("mode",)})


class ProbeForm(PolicyForm):
    """A row of probes: what its modes mean."""

    MODE: ClassVar[Any] = _("In shadow it runs and is recorded, and nobody is told. Off pauses it.")
    #: What has no shadow is on or off.
    HAS_SHADOW: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mode: Any = self.fields.get("mode")
        if mode is None:
            return
        mode.help_text = self.MODE
        if not self.HAS_SHADOW and self.instance.mode != ModeChoices.SHADOW:
            mode.choices = [
                choice for choice in mode.choices if choice[0] != ModeChoices.SHADOW.value
            ]


class ProbePolicyAdmin(PolicyAdmin):
    """A list of what is probed, when, or how; some of its actions run probes and edit nothing.

    Attributes:
        runs: The names of those actions.
    """

    form: Any = ProbeForm
    actions: Any = ("enforce", "switch_off")
    runs: ClassVar[Sequence[str]] = ()

    @admin.action(description=_("Resume"), permissions=["change"])
    def enforce(self, request: HttpRequest, queryset: Any) -> None:
        """Switch the chosen rows on."""
        self._set_mode(request, queryset, ModeChoices.ENFORCE)

    @admin.action(description=_("Pause"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: Any) -> None:
        """Switch the chosen rows off."""
        self._set_mode(request, queryset, ModeChoices.OFF)

    @admin.action(description=_("Shadow: run and record, tell nobody"), permissions=["change"])
    def shadow(self, request: HttpRequest, queryset: Any) -> None:
        """Let the chosen rows run and tell nobody."""
        self._set_mode(request, queryset, ModeChoices.SHADOW)

    @admin.display(description=_("what it does"))
    def words_column(self, row: Any) -> SafeString:
        """Say what it does; and first the mode of what is not simply in force."""
        words = super().words_column(row)
        if row.mode == ModeChoices.ENFORCE and not (row.starts_at or row.ends_at):
            return words
        return format_html("{}{}", self.mode_column(row), words)

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whether this user may start probes."""
        return holds(request.user, Scope.OPERATE)

    def _carry_out(self, request: HttpRequest, act: Any) -> Any:
        """Let what runs probes do so outside of an edit: it is none."""
        chosen = {name for name in request.POST.getlist("action") if name}
        is_run = bool(chosen) and chosen <= set(self.runs)
        return act() if is_run else super()._carry_out(request, act)

    def _tools(self, request: HttpRequest) -> dict[str, Any]:
        """Leave the switch of all that refuses to the lists of what does."""
        switch = _("Everything to shadow")
        tools = super()._tools(request)["pulse_tools"]
        return {"pulse_tools": [(text, address) for text, address in tools if text != switch]}


def starter_of(request: HttpRequest) -> Starter:
    """Name who starts a job from these screens."""
    return Starter(actor_of(request), Trigger.ADMIN, request_id_of(request))
