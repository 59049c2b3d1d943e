"""What is probed: the list of targets and their form."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters

from pulse import tasks
from pulse.admin.columns import StateFilter
from pulse.admin.forms import DatalistInput
from pulse.admin.probes import columns, expectations, lines
from pulse.admin.probes.base import WHEN, ProbeForm, ProbePolicyAdmin, starter_of
from pulse.admin.probes.expectations import ExpectForm
from pulse.admin.probes.fields import (
    MAX_SECRETS,
    SECRETS_HELP,
    SPARE,
    LinesField,
    NamesField,
    SecretsField,
    posted_rows,
)
from pulse.admin.probes.states import RunFilter
from pulse.admin.tiers import NOTES
from pulse.conf import conf
from pulse.core.endpoints import METHODS
from pulse.core.targets import is_regex, parameters_of
from pulse.core.urls import parse_url
from pulse.exceptions import (
    CooldownActive,
    ForbiddenAddress,
    ForbiddenUrl,
    PolicyError,
    ProbeError,
)
from pulse.policies import routes
from pulse.probes import jobs, uses
from pulse.probes.client.dial import check_target
from pulse.probes.models import ProbeTarget
from pulse.probes.secrets import is_public
from pulse.probes.state import ItemState, ProbeTargetState, TargetStatus
from pulse.probes.words import say_expectations

#: More routes than this are not proposed: the page would grow by megabytes.
MAX_PROPOSALS: Final = 500
#: Where a form has the values of secrets.
VALUES: Final = [f"secret_headers_{2 * row + 1}" for row in range(MAX_SECRETS)]


class ProbeTargetForm(ExpectForm, ProbeForm):
    """A target, with the routes of this site to choose from."""

    method = forms.ChoiceField(
        label=_("Method"),
        choices=[(method, method) for method in METHODS],
        initial="GET",
        help_text=_("GET, HEAD and OPTIONS are safe; others only with the mark below."),
    )
    path_params = LinesField(
        label=_("Path parameters"),
        placeholder="pk: 1",
        help_text=_("For a URL name that takes some, one to a line: “pk: 1”."),
    )
    query = LinesField(
        label=_("Query"),
        placeholder="q: mug",
        help_text=_("One to a line, “q: mug” for ?q=mug."),
    )
    headers = LinesField(
        label=_("Headers"),
        placeholder="Accept: application/json",
        help_text=_("One to a line. Whoever may see policies may read them."),
    )
    secret_headers = SecretsField(label=_("Secret headers"), help_text=SECRETS_HELP)
    allow_networks = NamesField(
        label=_("Private networks it may reach"),
        help_text=_(
            "One to a line, such as 10.0.0.5/32 or 10.0.0.5/32:8000. Never those of cloud metadata."
        ),
    )

    class Meta:
        model = ProbeTarget
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = routes.known_values(settings.ROOT_URLCONF)
        if "url_name" in self.fields:
            self.fields["url_name"].widget = DatalistInput(_own_first(known["url_name"]))
        if "path" in self.fields:
            paths = {f"/{route}" for route in known["route"] if _is_path(route)}
            self.fields["path"].widget = DatalistInput(_own_first(paths))
            if not conf.PROBE_BASE_URL:
                self.fields["path"].help_text = __(
                    'Of this site, whose own address is not known yet: set PULSE["PROBE_BASE_URL"].'
                )
        if "name" in self.fields:
            self.fields["name"].help_text = _(
                "As in URLs. What schedules, payloads and windows name cannot be renamed."
            )
        if "secret_headers" in self.fields:
            self._lay_out_secrets()

    def clean_name(self) -> str:
        """Refuse to rename what others name: they would be left without it."""
        name: str = self.cleaned_data["name"]
        if self.instance.pk is not None and name != self.instance.name:
            users = uses.users_of([self.instance.name])
            if users:
                text = __("It is still named by: %s. Add a target of the new name instead.")
                raise forms.ValidationError(text % uses.say_users(users))
        return name

    def clean_path_params(self) -> dict[str, Any]:
        """Let a number that was there stay a number."""
        return lines.keep_kinds(self.cleaned_data["path_params"], self.instance.path_params)

    def clean_query(self) -> dict[str, Any]:
        """Let a number that was there stay a number."""
        return lines.keep_kinds(self.cleaned_data["query"], self.instance.query)

    def clean(self) -> dict[str, Any] | None:
        """Judge where it leads now."""
        cleaned = super().clean()
        url = self.cleaned_data.get("url", "")
        if url and not {"url", "allow_networks"} & self.errors.keys():
            self._check_host(url, self.cleaned_data.get("allow_networks", ()))
        return cleaned

    def _post_clean(self) -> None:
        """Ask for the values of secrets that nothing is stored of for where it leads now."""
        super()._post_clean()  # type: ignore[misc]  # the stubs leave Django's own out
        if "secret_headers" in self.fields and "secret_headers" not in self.errors:
            if elsewhere := self.instance.secrets_for_elsewhere():
                text = __("It leads elsewhere now: write the value of %s again, or empty its name.")
                self.add_error("secret_headers", text % ", ".join(elsewhere))
            for name in self.instance.secrets_not_stored():
                text = __("Nothing is stored for %s that could be kept. Write its value.")
                self.add_error("secret_headers", text % name)

    def full_clean(self) -> None:
        """Look everything over; of a secret in a form that comes back, ask again."""
        super().full_clean()
        typed = self.cleaned_data.get("secret_headers") if self.is_bound else None
        fresh = [name for name, value in (typed or {}).items() if not is_public(value)]
        if fresh and self.errors:
            text = __("Write the value of %s again: it is not shown back.")
            self.add_error("secret_headers", text % ", ".join(fresh))

    def _check_host(self, url: str, allow_networks: Sequence[str]) -> None:
        try:
            if parse_url(url).address is None:  # Of a host that is one, the model says the same.
                check_target(url, allow_networks)
        except ForbiddenUrl:
            return  # Likewise.
        except ForbiddenAddress as error:
            self.add_error("url", str(error))

    def _lay_out_secrets(self) -> None:
        before = self.fields["secret_headers"]
        name = self.add_prefix("secret_headers")
        posted = posted_rows(self.data if self.is_bound else None, name)
        rows = max(len(self.instance.secret_headers) + SPARE, posted)
        self.fields["secret_headers"] = SecretsField(
            rows=min(rows, MAX_SECRETS),
            stored=self.instance.secret_headers,
            label=before.label,
            help_text=before.help_text,
        )


class StatusFilter(RunFilter):
    """How targets stand."""

    title = _("status")
    parameter_name = "status"
    states = ProbeTargetState
    choices_of = TargetStatus
    unseen = TargetStatus.NOT_WATCHED.value


@admin.register(ProbeTarget)
class ProbeTargetAdmin(ProbePolicyAdmin):
    """What is probed, and how it stands."""

    form = ProbeTargetForm
    actions: Any = ("probe_now", "enforce", "shadow", "switch_off")
    runs: ClassVar[Any] = ("probe_now",)
    list_display: Any = (
        "name",
        "status_column",
        "words_column",
        "last_column",
    )
    list_filter: ClassVar[Any] = ("mode", StatusFilter, "method", "transport", StateFilter)
    search_fields: ClassVar[Any] = (
        "name",
        "url_name",
        "path",
        "url",
        "public_name",
        "public_group",
        "description",
    )
    readonly_fields: ClassVar[Any] = ("status_column", "last_column", "expected")
    fieldsets: ClassVar[Any] = (
        (
            _("What"),
            {
                "description": _("Name one place: a URL name or a path of this site, or a URL."),
                "fields": ("name", "url_name", "path_params", "path", "url"),
            },
        ),
        (
            _("What is sent"),
            {"fields": ("method", "allow_unsafe", "query", "headers", "secret_headers")},
        ),
        (
            _("What is expected"),
            {
                "description": _(
                    "What is empty is expected as its schedule says, and a status of 200 to 399 "
                    "where neither says one."
                ),
                "fields": expectations.FIELDS,
            },
        ),
        (
            _("How"),
            {
                "fields": (
                    "timeout_s",
                    "follow_redirects",
                    "verify_tls",
                    "allow_networks",
                    "transport",
                    "on_crash",
                )
            },
        ),
        (_("Public status page"), {"fields": ("public_name", "public_group")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "Nothing is probed. Add a target: a route of this site by its URL name, such as the "
        "health check, or another site's URL. Then name it in a schedule."
    )

    @method_decorator(sensitive_post_parameters(*VALUES))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Keep what is typed of secrets out of reports of errors."""
        return super().changeform_view(request, *args, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Begin with how it stands; say what is expected where nothing is to be changed."""
        sets = super().get_fieldsets(request, obj)
        if obj is None:
            return sets
        if not self.has_change_permission(request, obj):
            sets = expectations.to_read(sets)
        stands = (__("How it stands"), {"fields": (("status_column", "last_column"),)})
        sets.insert(len(sets) - 1, stands)
        return sets

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read how the targets of the page stand, by one query."""
        found = super().get_changelist_instance(request)
        if request.method == "GET":
            found.result_list = list(found.result_list)
            add_states(found.result_list)
        return found

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what keeps targets from being deleted."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        users = uses.users_of(row.name for row in objs)
        return deleted, counts, needed, [*protected, *(uses.say_users([row]) for row in users)]

    @admin.action(description=_("Probe now"), permissions=["run"])
    def probe_now(self, request: HttpRequest, queryset: Any) -> None:
        """Start a job of the chosen targets."""
        names = tuple(queryset.order_by("name").values_list("name", flat=True))
        start(self, request, jobs.Order(targets=names))

    @admin.display(description=_("status"))
    def status_column(self, row: Any) -> SafeString:
        """Tell the confirmed status and since when, and lead to the target's page."""
        state = _state_of(row)
        status, since = _standing(state)
        badge = columns.link(columns.state_badge(status), "pulse:probe", row.name)
        if state is not None and state.shadow:
            shadow = TargetStatus(state.shadow["status"]).label
            return format_html("{}<br>{}", badge, columns.quiet(__("in shadow: %s") % shadow))
        if since is None:
            return badge
        return format_html("{}<br>{}", badge, columns.quiet(columns.since(since)))

    @admin.display(description=_("last result"))
    def last_column(self, row: Any) -> SafeString:
        """Tell the last result, how long it took, and what went wrong."""
        state = _state_of(row)
        if state is None or state.last_at is None:
            return columns.quiet(__("no result yet"))
        item = state.last_item
        badge = columns.state_badge(ItemState(state.last_state)) if state.last_state else ""
        parts = [badge, columns.quiet(columns.since(state.last_at))]
        if item is not None and item.latency_ms is not None:
            parts.insert(
                1, format_html('<span class="pulse-nowrap">{} ms</span>', f"{item.latency_ms:.0f}")
            )
        told = format_html_join(" ", "{}", ((part,) for part in parts))
        if item is None or not item.detail:
            return told
        return format_html('{}<br><span class="pulse-detail">{}</span>', told, item.detail[:200])

    @admin.display(description=_("expectations"))
    def expected(self, row: Any) -> str:
        """Say what is expected."""
        return say_expectations(row.expect) or __("nothing of its own")


def add_states(rows: Sequence[Any]) -> None:
    """Give each target how it stands; one query."""
    states = ProbeTargetState.objects.filter(name__in=[row.name for row in rows])
    by_name = {
        state.name: state
        for state in states.select_related("last_item").defer(
            "last_item__evidence", "last_item__expectations", "last_item__phases_ms"
        )
    }
    for row in rows:
        row.state = by_name.get(row.name)


def start(own: ProbePolicyAdmin, request: HttpRequest, order: jobs.Order) -> bool:
    """Start a job, and tell which, or why not; returns whether it was started."""
    try:
        job = jobs.start(order, starter_of(request))
    except CooldownActive as error:
        own.message_user(request, str(error), messages.WARNING)
    except (ProbeError, PolicyError) as error:
        own.message_user(request, str(error), messages.ERROR)
    else:
        tasks.nudge()
        told = columns.link(
            __("Job %d") % job.pk,
            "admin:pulse_probejob_change",
            job.pk,
            site=own.admin_site.name,
        )
        many = ngettext("%d probe", "%d probes", job.total) % job.total
        text = format_html(__("{} was started: {}."), told, many)
        own.message_user(request, text, messages.SUCCESS)
        return True
    return False


def _state_of(row: Any) -> Any:
    if not hasattr(row, "state"):
        add_states([row])
    return row.state


def _standing(state: Any) -> tuple[TargetStatus, datetime | None]:
    """Return the status that still holds, and since when; None for one that never was another."""
    if state is None or state.last_at is None:
        return TargetStatus.NOT_WATCHED, None
    ends = state.last_at + timedelta(seconds=state.grace_s)
    if ends < timezone.now():
        return TargetStatus.NOT_WATCHED, ends
    return TargetStatus(state.status), state.since


def _own_first(values: Any) -> list[str]:
    """Put the site's own before the admin's, and no more than a page carries."""
    wanted = sorted(values - {""}, key=lambda value: (value.lstrip("/").startswith("admin"), value))
    return wanted[:MAX_PROPOSALS]


def _is_path(route: str) -> bool:
    return not is_regex(route) and not parameters_of(route)
