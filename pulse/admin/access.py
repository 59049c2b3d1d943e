"""Who may come in: the list of access rules, their form, and many networks at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from pulse.admin import blocked
from pulse.admin.base import PolicyAdmin
from pulse.admin.columns import LimitColumns, StateFilter
from pulse.admin.errands import MAX_REASON, REASON, SAVE_ANYWAY, carry_out, errand_of
from pulse.admin.forms import PolicyForm
from pulse.admin.stock import Textarea, TextInput
from pulse.admin.tiers import NOTES
from pulse.conf import conf
from pulse.core.clients import ClientAddress
from pulse.core.endpoints import prefixes
from pulse.core.networks import Network, parse_address, parse_network
from pulse.exceptions import InvalidNetwork
from pulse.policies import current
from pulse.policies.bases import ModeChoices
from pulse.policies.edge import AccessRule, ActionChoices
from pulse.policies.temporary import PERIODS
from pulse.policies.validators import validate_path

PERIOD_CHOICES: Final = [(name, text) for name, (text, _length) in PERIODS.items()]
MAX_LINES: Final = 10_000
#: So many errors of a long list are told; who mends them sees the next.
MAX_ERRORS: Final = 20
SHAPES: Final = {ActionChoices.DENY: "✕", ActionChoices.ALLOW: "✓"}
#: ``203.0.113.9`` or ``203.0.113.9 /admin/``, as one searches.
ADDRESS_AND_PATH: Final = re.compile(r"\s*(?P<address>\S+)(?:\s+(?P<path>/\S*))?\s*")


class AccessRuleForm(PolicyForm):
    """An access rule; its end can be told as a time from now.

    The row's own ``reason`` is asked for as ``why``: the form has a reason for the change already.
    """

    why = forms.CharField(
        label=_("Why"),
        required=False,
        max_length=200,
        widget=TextInput,
        help_text=_("For the log and the list; clients are not told."),
    )
    ends_in = forms.ChoiceField(
        label=_("Ends in"),
        required=False,
        choices=[("", _("as written below")), *PERIOD_CHOICES],
        help_text=_("From now on; goes before a time that is written below."),
    )

    class Meta:
        model = AccessRule
        exclude: ClassVar[Sequence[str]] = ("reason",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("why", self.instance.reason)

    def clean_network(self) -> str:
        """Write a network in its shortest form, and refuse what has a rule in another one."""
        text = str(self.cleaned_data["network"]).strip()
        if "network" not in self.changed_data:
            return text
        try:
            return shortest(parse_network(text))
        except InvalidNetwork:
            return text  # The field's own validator says what is wrong.

    def clean(self) -> dict[str, Any] | None:
        """Take over what the form asks for in its own words."""
        cleaned = super().clean()
        network, where = self.cleaned_data.get("network"), self.cleaned_data.get("path")
        if network and where and _is_written_otherwise(self.instance.pk, network, where):
            self.add_error("network", __("This network has a rule for this path already."))
        period = PERIODS.get(self.cleaned_data.get("ends_in", ""))
        if period is not None:
            self.cleaned_data["ends_at"] = timezone.now() + period[1]
        self.instance.reason = self.cleaned_data.get("why", "").strip()
        return cleaned


class AddManyForm(forms.Form):
    """Networks by lines, and what all of them have in common."""

    networks = forms.CharField(
        label=_("Networks"),
        widget=Textarea({"rows": 12, "cols": 48, "spellcheck": "false", "class": "pulse-networks"}),
        strip=False,
        help_text=_("One address or CIDR on each line, at most 10,000. Text after # is ignored."),
    )
    action = forms.ChoiceField(label=_("Action"), choices=ActionChoices.choices)
    path = forms.CharField(
        label=_("Path prefix"),
        initial="/",
        max_length=255,
        widget=TextInput,
        validators=[validate_path],
        help_text=_("On whole segments: /admin/ holds for all that lies under it."),
    )
    why = forms.CharField(
        label=_("Why"),
        required=False,
        max_length=200,
        widget=TextInput,
        help_text=_("For the log and the list; clients are not told."),
    )
    mode = forms.ChoiceField(
        label=_("Mode"),
        choices=ModeChoices.choices,
        help_text=_("Shadow decides, counts and reports, but never acts. Off does nothing."),
    )
    ends_in = forms.ChoiceField(
        label=_("Ends in"), required=False, choices=[("", _("never")), *PERIOD_CHOICES]
    )
    reason = forms.CharField(
        label=_("Reason for this change"),
        required=False,
        max_length=MAX_REASON,
        widget=TextInput,
        help_text=_("Kept with the revision, for who asks later why it was changed."),
    )

    def clean_networks(self) -> list[str]:
        """Read the lines; each that is no network is told by its number."""
        lines = self.cleaned_data["networks"].splitlines()
        texts = [line.partition("#")[0].strip() for line in lines]
        # Asked before anything is read: a wrong line costs more than a right one.
        if sum(map(bool, texts)) > MAX_LINES:
            raise forms.ValidationError(__("At most %d networks at once.") % MAX_LINES)
        found: dict[str, None] = {}
        told: list[str] = []
        more = 0
        for number, text in enumerate(texts, 1):
            if not text:
                continue
            try:
                found[shortest(parse_network(text))] = None
            except InvalidNetwork as error:
                if len(told) < MAX_ERRORS:
                    parts = {"number": number, "error": error}
                    told.append(__("Line %(number)d: %(error)s") % parts)
                else:
                    more += 1
        if told:
            if more:
                told.append(ngettext("And %d line more.", "And %d lines more.", more) % more)
            raise forms.ValidationError([forms.ValidationError(text) for text in told])
        if not found:
            raise forms.ValidationError(__("Write at least one network."))
        return list(found)


@admin.register(AccessRule)
class AccessRuleAdmin(LimitColumns, PolicyAdmin):
    """Whom a path is closed to, and who may come in all the same."""

    form = AccessRuleForm
    counts = True
    list_display: Any = (
        "network",
        "path",
        "action_column",
        "mode_column",
        "refused_column",
        "updated_column",
    )
    list_filter: ClassVar[Any] = ("action", "mode", StateFilter)
    search_fields: ClassVar[Any] = ("network", "path", "reason", "description")
    search_help_text = _(
        "By network, path or reason. A whole address finds the rules of every network around it; "
        "with a path behind it, as in 203.0.113.9 /admin/, those that hold there."
    )
    fieldsets: ClassVar[Any] = (
        (_("What"), {"fields": ("network", "path", "action", "why")}),
        (_("When and how"), {"fields": ("mode", "percent", "ends_in", "starts_at", "ends_at")}),
        NOTES,
    )
    empty = _(
        "Everybody may come in. Deny a network that does harm, for an hour or for good; or deny "
        "all under a path such as /admin/, and allow your own network there."
    )

    def get_urls(self) -> Any:
        """Add the page of who is blocked, and that of many networks."""
        wrap = self.admin_site.admin_view
        return [
            path("blocked/", wrap(lambda r: blocked.view(self, r)), name="pulse_blocked"),
            path("many/", wrap(self.many_view), name="pulse_accessrule_many"),
            *super().get_urls(),
        ]

    def tools(self, request: HttpRequest) -> list[tuple[Any, str]]:
        """Lead to the page of many networks."""
        if not self.has_add_permission(request):
            return []
        address = reverse("admin:pulse_accessrule_many", current_app=self.admin_site.name)
        return [(_("Add many"), address)]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the columns of the row to who may only look: there is no form to ask otherwise."""
        sets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return sets
        own = {"why": ("reason",), "ends_in": ()}
        return [
            (title, {**options, "fields": _renamed(options["fields"], own)})
            for title, options in sets
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rules by words, or by an address that they hold for."""
        match = ADDRESS_AND_PATH.fullmatch(search_term)
        address = parse_address(match["address"]) if match else None
        if match is None or address is None:
            return super().get_search_results(request, queryset, search_term)
        where: str | None = match["path"]
        holding = []
        for pk, network, prefix in queryset.values_list("pk", "network", "path"):
            # Both by the code that enforces; a row that was written past it is no network.
            if _holds(network, prefix, address, where):
                holding.append(pk)
        if request.method == "GET":
            messages.info(request, _say_verdict(match["address"], where or "/"))
        return queryset.filter(pk__in=holding), False

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save the row, also where only what the form calls otherwise was changed."""
        if change and not {"why", "ends_in"}.isdisjoint(form.changed_data):
            obj.save()
            return
        super().save_model(request, obj, form, change)

    def many_view(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for many networks; make a rule of each, as one revision."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AddManyForm(request.POST if request.method == "POST" else None)
        errand = errand_of(request)
        if request.method == "POST" and form.is_valid():
            response = carry_out(
                request, lambda: self._make(request, form.cleaned_data), site=self.admin_site.name
            )
            if response is not None:
                return response
        context = {
            **self.admin_site.each_context(request),
            "title": __("Add many"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "problems": [] if errand.threats else errand.problems,
            "threats": errand.threats,
            "save_anyway": SAVE_ANYWAY,
            "reason": REASON,
        }
        return TemplateResponse(request, "admin/pulse/deny_many.html", context)

    @admin.display(description=_("action"), ordering="action")
    def action_column(self, row: AccessRule) -> SafeString:
        """Tell what it does as shape, word and colour; and why."""
        action = ActionChoices(row.action)
        badge = format_html(
            '<span class="pulse-mode pulse-action-{}"><span aria-hidden="true">{}</span> {}</span>',
            action.value,
            SHAPES[action],
            action.label,
        )
        if not row.reason:
            return badge
        return format_html('{}<br><span class="pulse-time">{}</span>', badge, row.reason)

    def _make(self, request: HttpRequest, wanted: dict[str, Any]) -> HttpResponseBase:
        period = PERIODS.get(wanted["ends_in"])
        known = {
            shortest(network)
            for text in AccessRule.objects.filter(path=wanted["path"]).values_list(
                "network", flat=True
            )
            if (network := _parsed(text)) is not None
        }
        rows = [
            AccessRule(
                network=network,
                path=wanted["path"],
                action=wanted["action"],
                reason=wanted["why"],
                mode=wanted["mode"],
                ends_at=None if period is None else timezone.now() + period[1],
            )
            for network in wanted["networks"]
            if network not in known
        ]
        AccessRule.objects.bulk_create(rows, batch_size=500)
        errand_of(request).saved = bool(rows)
        if rows:
            self._log_made(request, rows)
        self._tell_made(request, len(rows), len(wanted["networks"]) - len(rows))
        address = reverse("admin:pulse_accessrule_changelist", current_app=self.admin_site.name)
        return HttpResponseRedirect(address)

    def _log_made(self, request: HttpRequest, rows: Sequence[AccessRule]) -> None:
        """Log one addition, of ten thousand rules too; it leads to the first of them."""
        text = ngettext("%d access rule was added.", "%d access rules were added.", len(rows))
        user: Any = request.user
        LogEntry.objects.create(
            user=user,
            content_type_id=ContentType.objects.get_for_model(AccessRule).pk,
            object_id=str(rows[0].pk),
            object_repr=_say_rows(rows)[:200],
            action_flag=ADDITION,
            change_message=text % len(rows),
        )

    def _tell_made(self, request: HttpRequest, made: int, known: int) -> None:
        if made:
            text = ngettext("%d access rule was added.", "%d access rules were added.", made)
            self.message_user(request, text % made, messages.SUCCESS)
        if known:
            text = ngettext(
                "%d network has a rule for this path already, which was left as it is.",
                "%d networks have a rule for this path already, which were left as they are.",
                known,
            )
            self.message_user(request, text % known, messages.INFO)


def _say_rows(rows: Sequence[AccessRule]) -> str:
    others = len(rows) - 1
    if not others:
        return str(rows[0])
    text = ngettext("%(first)s and %(count)d more", "%(first)s and %(count)d more", others)
    return text % {"first": rows[0], "count": others}


def _renamed(names: Iterable[str], others: Mapping[str, Sequence[str]]) -> list[str]:
    return [other for name in names for other in others.get(name, (name,))]


def shortest(network: Network) -> str:
    """Write a network as briefly as it can be: an address alone without its length."""
    return str(network.network_address if network.num_addresses == 1 else network)


def _parsed(text: str) -> Network | None:
    try:
        return parse_network(text)
    except InvalidNetwork:
        return None


def _is_written_otherwise(own: int | None, network: str, where: str) -> bool:
    """Whether another row has the same network in other letters; one query."""
    parsed = _parsed(network)
    if parsed is None:
        return False
    texts = {str(parsed), parsed.exploded, shortest(parsed)} - {network}
    rows = AccessRule.objects.filter(network__in=texts, path=where)
    return any(pk != own for pk in rows.values_list("pk", flat=True))


def _holds(network: str, prefix: str, address: Any, where: str | None) -> bool:
    parsed = _parsed(network)
    if parsed is None or parsed.version != address.version or address not in parsed:
        return False
    return where is None or prefix in prefixes(where, len(prefix))


def _say_verdict(text: str, where: str) -> str:
    """Say what becomes of an address by the policy in force."""
    address = parse_address(text)
    index = current.current_snapshot().access
    found = index.judge(ClientAddress(address), where, conf.client_secret)
    parts = {"address": address, "path": where}
    if found.rule is None:
        return __("%(address)s may come in at %(path)s: no rule says otherwise.") % parts
    parts["rule"] = f"{found.rule.network} {found.rule.path}"
    if found.refused:
        return __("%(address)s is refused at %(path)s, by %(rule)s.") % parts
    return __("%(address)s may come in at %(path)s, by %(rule)s.") % parts
