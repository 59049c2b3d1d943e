"""Who is told of what: alert rules, and the channels that word goes by."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from pulse import tasks
from pulse.access.scopes import Scope, holds
from pulse.admin.columns import StateFilter
from pulse.admin.errands import actor_of
from pulse.admin.forms import DatalistInput
from pulse.admin.probes import columns
from pulse.admin.probes.base import WHEN, ProbeForm, ProbePolicyAdmin
from pulse.admin.probes.fields import NamesField, TimeField
from pulse.admin.stock import TextInput
from pulse.admin.tiers import NOTES
from pulse.alerts import deliveries
from pulse.alerts.measured import METRICS
from pulse.alerts.models import AlertChannel, AlertRule
from pulse.alerts.state import AlertDelivery, AlertStanding, AlertState, DeliveryState
from pulse.policies import publisher, routes
from pulse.probes.models import KEPT, ProbeTarget

#: More are not proposed.
MAX_PROPOSALS: Final = 500
#: Words that a channel's form shows.
SHOWN: Final = 10


class AlertRuleForm(ProbeForm):
    """A rule, with what there is to look at and whom to tell."""

    MODE = _("In shadow it is looked at and shown, and nobody is told. Off: nobody looks.")

    window_s = TimeField(
        label=_("Window"),
        required=True,
        initial=300,
        help_text=_("What is looked at: the last 5m, 1h, 1d."),
    )
    baseline_s = TimeField(
        label=_("Compared with the time before"),
        help_text=_(
            "Such as 1h: the threshold is then how many times that it may be. Empty: the measure "
            "itself is compared."
        ),
    )
    for_s = TimeField(
        label=_("For"),
        required=True,
        initial=0,
        help_text=_("How long it must be so: 0s, 1m, 10m."),
    )
    resolve_for_s = TimeField(
        label=_("Over after"),
        required=True,
        initial=60,
        help_text=_("How long it must be well before."),
    )
    channels = forms.MultipleChoiceField(
        label=_("Who is told"), required=False, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = AlertRule
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "metric" in self.fields:
            self.fields["metric"].widget = DatalistInput(METRICS)
        if "endpoint" in self.fields:
            self.fields["endpoint"].widget = DatalistInput(_subjects())
        channels: Any = self.fields.get("channels")
        if channels is not None:
            known = AlertChannel.objects.order_by("name").values_list("name", flat=True)
            names = dict.fromkeys([*known, *self.instance.channels])
            channels.choices = [(name, name) for name in names]
            if not names:
                text = __("There is no channel yet: an incident is opened all the same.")
                channels.help_text = text


@admin.register(AlertRule)
class AlertRuleAdmin(ProbePolicyAdmin):
    """When something is wrong."""

    form = AlertRuleForm
    actions: Any = ("enforce", "shadow", "switch_off")
    list_display: Any = ("name", "words_column", "state_column", "severity", "updated_column")
    list_filter: ClassVar[Any] = ("mode", "severity", StateFilter)
    search_fields: ClassVar[Any] = ("name", "metric", "endpoint", "description")
    readonly_fields: ClassVar[Any] = ("state_column",)
    fieldsets: ClassVar[Any] = (
        (
            _("What is looked at"),
            {"fields": ("name", "metric", "endpoint", ("op", "threshold"), "window_s")},
        ),
        (_("When it is an incident"), {"fields": ("baseline_s", ("for_s", "resolve_for_s"))}),
        (_("Who is told"), {"fields": ("severity", "channels")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "Nobody is told of anything. Add a rule: an error rate above 5 %, a p95 above a promise, "
        "or targets that are down; and a channel, which takes the word."
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say where a rule stands that is there."""
        sets = super().get_fieldsets(request, obj)
        if obj is not None:
            sets.insert(len(sets) - 1, (__("Where it stands"), {"fields": ("state_column",)}))
        return sets

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read where the rules of the page stand, by one query."""
        found = super().get_changelist_instance(request)
        if request.method == "GET":
            found.result_list = list(found.result_list)
            states: dict[str, list[AlertState]] = {row.name: [] for row in found.result_list}
            for state in _states().filter(rule__in=states):
                states[state.rule].append(state)
            for row in found.result_list:
                row.stands = states[row.name]
        return found

    @admin.display(description=_("state"))
    def state_column(self, row: Any) -> SafeString:
        """Tell where the rule stands, on each subject where it is not well."""
        stands = getattr(row, "stands", None)
        if stands is None:
            stands = list(_states().filter(rule=row.name))
        wrong = [state for state in stands if state.state != AlertStanding.OK]
        if not wrong:
            return columns.quiet(__("ok"))
        return format_html_join("<br>", "{}", ((_stand(state),) for state in wrong[:5]))


class AlertChannelForm(ProbeForm):
    """A channel; its secret is written and never shown."""

    MODE = _("In shadow and off it is told nothing; a test is sent all the same.")

    to = NamesField(label=_("Addresses"), help_text=_("Of email, one to a line."))
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        max_length=200,
        widget=TextInput({"autocomplete": "off", "spellcheck": "false"}),
        help_text=_(
            "A webhook is signed with it: whsec_ and 24 to 64 bytes in base64, or env:NAME. Left "
            "empty one is made, and shown once it is saved."
        ),
    )
    allow_networks = NamesField(
        label=_("Private networks it may reach"),
        help_text=_("One to a line, such as 10.0.0.5/32:8000. Never those of cloud metadata."),
    )

    class Meta:
        model = AlertChannel
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.secret == KEPT and "secret" in self.fields:
            self.initial["secret"] = ""
            text = __("kept; write another one to change it")
            self.fields["secret"].widget.attrs["placeholder"] = text

    def clean_secret(self) -> str:
        """Keep what is there where nothing is written."""
        written: str = self.cleaned_data["secret"].strip()
        return written or (KEPT if self.instance.secret == KEPT else "")


@admin.register(AlertChannel)
class AlertChannelAdmin(ProbePolicyAdmin):
    """Where word goes."""

    form = AlertChannelForm
    actions: Any = ("send_tests", "enforce", "shadow", "switch_off")
    runs: ClassVar[Any] = ("send_tests",)
    list_display: Any = ("name", "words_column", "last_column", "updated_column")
    list_filter: ClassVar[Any] = ("mode", "type", StateFilter)
    search_fields: ClassVar[Any] = ("name", "url", "description")
    readonly_fields: ClassVar[Any] = ("sent_table",)
    change_form_template = "admin/pulse/alertchannel/change_form.html"
    fieldsets: ClassVar[Any] = (
        (_("Where"), {"fields": ("name", "type", "to", "url")}),
        (_("How"), {"fields": ("secret", "allow_networks")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "Word goes nowhere. Add a channel: addresses of email, a webhook that is signed, or one of "
        "Slack. Then name it in an alert rule."
    )

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Keep what is typed of a secret out of reports of errors."""
        return super().changeform_view(request, *args, **kwargs)

    def get_urls(self) -> Any:
        """Add the door of the test button."""
        view = self.admin_site.admin_view(self.test_view)
        return [
            path("<path:object_id>/test/", view, name="pulse_alertchannel_test"),
            *super().get_urls(),
        ]

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Send a test, and go back to the channel."""
        if not self.has_run_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        self._send(request, [row.name])
        name = "admin:pulse_alertchannel_change"
        return HttpResponseRedirect(reverse(name, args=[row.pk], current_app=self.admin_site.name))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Say what was sent by a channel that is there."""
        sets = super().get_fieldsets(request, obj)
        if obj is not None:
            sets.insert(len(sets) - 1, (__("What was sent"), {"fields": ("sent_table",)}))
        return sets

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Offer a test to who may send one."""
        row = kwargs.get("obj")
        if row is not None and self.has_run_permission(request):
            context["pulse_test_address"] = reverse(
                "admin:pulse_alertchannel_test", args=[row.pk], current_app=self.admin_site.name
            )
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save the channel; show a secret that was made, this once."""
        super().save_model(request, obj, form, change)
        if obj.made_secret:
            text = __("Give this secret to the receiver. It is not shown again: {}")
            told = format_html(text, format_html("<code>{}</code>", obj.made_secret))
            self.message_user(request, told, messages.WARNING)

    @admin.action(description=_("Send a test"), permissions=["run"])
    def send_tests(self, request: HttpRequest, queryset: Any) -> None:
        """Send a test to the chosen channels."""
        self._send(request, list(queryset.order_by("name").values_list("name", flat=True)))

    @admin.display(description=_("last word"))
    def last_column(self, row: Any) -> SafeString:
        """Tell what became of the last word."""
        last = _sent(row).first()
        return columns.quiet(__("none yet")) if last is None else _told(last)

    @admin.display(description=_("newest first"))
    def sent_table(self, row: Any) -> SafeString:
        """Tell what became of the last words."""
        sent = list(_sent(row)[:SHOWN])
        if not sent:
            return columns.quiet(__("Nothing was sent yet. Try it with a test."))
        return format_html_join(
            "", "<div>{} <code>{}</code></div>", ((_told(each), each.event) for each in sent)
        )

    def _send(self, request: HttpRequest, names: Sequence[str]) -> None:
        for name in names:
            deliveries.send_test(name, actor_of(request))
        tasks.nudge_couriers()
        text = __("A test is on its way to %s. What becomes of it is told below.")
        messages.success(request, text % ", ".join(names))

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whether this user may send tests."""
        return holds(request.user, Scope.OPERATE)


def _subjects() -> list[str]:
    targets = ProbeTarget.objects.order_by("name").values_list("name", flat=True)
    known = sorted(routes.known_values(settings.ROOT_URLCONF)["route"])
    endpoints = [f"GET /{route.removeprefix('/')}" for route in known]
    return [*targets, *endpoints][:MAX_PROPOSALS]


def _states() -> Any:
    return AlertState.objects.using(publisher.database()).order_by("subject")


def _sent(row: Any) -> Any:
    return AlertDelivery.objects.using(publisher.database()).filter(channel=row.name)


def _stand(state: AlertState) -> SafeString:
    subject = f" {state.subject}" if state.subject else ""
    is_firing = state.state == AlertStanding.FIRING
    return format_html(
        '<span class="pulse-mode {}"><span aria-hidden="true">{}</span> {}{}</span> {}',
        "pulse-state-bad" if is_firing else "pulse-state-warn",
        "✕" if is_firing else "△",
        AlertStanding(state.state).label,
        subject,
        columns.quiet(columns.since(state.since)),
    )


def _told(sent: AlertDelivery) -> SafeString:
    is_failed = sent.state == DeliveryState.FAILED
    kind = "bad" if is_failed else "good" if sent.state == DeliveryState.DELIVERED else "warn"
    return format_html(
        '<span class="pulse-mode pulse-state-{}">{}</span> {} {}',
        kind,
        DeliveryState(sent.state).label,
        columns.quiet(columns.since(sent.created_at)),
        sent.error,
    )
