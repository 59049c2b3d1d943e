"""What is sent with a probe: the list of payloads and their form."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.columns import StateFilter
from pulse.admin.forms import DatalistInput
from pulse.admin.probes import lines
from pulse.admin.probes.base import WHEN, ProbeForm, ProbePolicyAdmin
from pulse.admin.probes.fields import BodyField, LinesField
from pulse.admin.probes.naming import check_known
from pulse.admin.tiers import NOTES
from pulse.conf import conf
from pulse.core.targets import EndpointId, parse_target
from pulse.exceptions import PolicyError, ProbeError
from pulse.probes.models import ProbePayload, ProbeTarget
from pulse.probes.plan import current_plan
from pulse.probes.state import DiscoveredEndpoint

#: More targets and endpoints than this are not proposed.
MAX_PROPOSALS: Final = 500
SAMPLE: Final = "sample"


class ProbePayloadForm(ProbeForm):
    """A payload, with the targets and endpoints that may have one."""

    MODE = _("Off: what would be sent without it is sent.")
    HAS_SHADOW = False

    path_params = LinesField(
        label=_("Path parameters"),
        placeholder="pk: 1",
        help_text=_("One to a line. Empty: the target's own."),
    )
    query = LinesField(
        label=_("Query"),
        placeholder="q: mug",
        help_text=_("One to a line, beside the target's own and before it."),
    )
    headers = LinesField(
        label=_("Headers"),
        placeholder="Content-Type: application/json",
        help_text=_("One to a line. JSON is sent as application/json without saying so."),
    )
    body = BodyField(
        label=_("Body"),
        help_text=_("JSON, or a text that is sent as it is. A text that looks like JSON: quoted."),
    )

    class Meta:
        model = ProbePayload
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "target" in self.fields:
            names = list(ProbeTarget.objects.values_list("name", flat=True)[:MAX_PROPOSALS])
            found = DiscoveredEndpoint.objects.filter(vanished_at__isnull=True)
            names += found.values_list("endpoint_id", flat=True)[:MAX_PROPOSALS]
            self.fields["target"].widget = DatalistInput(names, {"class": "vLargeTextField"})

    def clean_target(self) -> str:
        """Refuse the name of no target."""
        target: str = self.cleaned_data["target"]
        check_known(target, list(ProbeTarget.objects.values_list("name", flat=True)))
        return target

    def is_multipart(self) -> bool:
        """Send the form as it is: encoded, a body of 1 MB would be larger than Django takes."""
        return True

    def clean_path_params(self) -> dict[str, Any]:
        """Let a number that was there stay a number."""
        return lines.keep_kinds(self.cleaned_data["path_params"], self.instance.path_params)

    def clean_query(self) -> dict[str, Any]:
        """Let a number that was there stay a number."""
        return lines.keep_kinds(self.cleaned_data["query"], self.instance.query)


@admin.register(ProbePayload)
class ProbePayloadAdmin(ProbePolicyAdmin):
    """The inputs of targets."""

    form = ProbePayloadForm
    list_display: Any = ("target", "words_column", "size_column", "mode_column", "updated_column")
    list_filter: ClassVar[Any] = ("mode", "source", StateFilter)
    search_fields: ClassVar[Any] = ("target", "description")
    readonly_fields: ClassVar[Any] = ("room",)
    fieldsets: ClassVar[Any] = (
        (_("Of what"), {"fields": ("target",)}),
        (_("What is sent"), {"fields": ("path_params", "query", "headers", "body", "room")}),
        WHEN,
        NOTES,
    )
    empty = _(
        "Targets are sent what they say themselves. Add a payload to one that needs a body, or to "
        "an endpoint whose sample should be another."
    )
    change_form_template = "admin/pulse/probepayload/change_form.html"

    def get_urls(self) -> Any:
        """Add the button that fills a sample in."""
        view = self.admin_site.admin_view(self.sample_view)
        return [path("sample/", view, name="pulse_probepayload_sample"), *super().get_urls()]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the sample of an endpoint, where one was asked for."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        wanted = initial.pop(SAMPLE, "")
        sample = sample_of(endpoint_of(wanted)) if wanted else None
        if sample is None:
            return initial
        return {**initial, "target": initial.get("target") or wanted, **sample}

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Save the row; what is a sample as it was generated says so."""
        own = {name: getattr(obj, name) for name in ("path_params", "query", "body")}
        is_sample = not obj.headers and own == sample_of(endpoint_of(obj.target))
        obj.source = "generated" if is_sample else "custom"
        super().save_model(request, obj, form, change)

    def sample_view(self, request: HttpRequest) -> HttpResponseBase:
        """Lead to the form of a new payload, filled with the sample of what was named."""
        if request.method != "POST" or not self.has_add_permission(request):
            raise PermissionDenied
        target = request.POST.get("target", "").strip()[:600]
        query = {"target": target}
        endpoint = endpoint_of(target)
        if endpoint and sample_of(endpoint) is not None:
            query[SAMPLE] = endpoint
        else:
            text = __("No sample is known of %s: nobody can guess what it needs.")
            self.message_user(request, text % (target or __("nothing")), messages.WARNING)
        address = reverse("admin:pulse_probepayload_add", current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{address}?{urlencode(query)}")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Offer a sample to what is new."""
        if kwargs.get("obj") is None and self.has_add_permission(request):
            context["pulse_sample_address"] = reverse(
                "admin:pulse_probepayload_sample", current_app=self.admin_site.name
            )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("size"), ordering="size")
    def size_column(self, row: ProbePayload) -> SafeString:
        """Tell how large its body is."""
        return format_html('<span class="pulse-nowrap">{}</span>', filesizeformat(row.size))

    @admin.display(description=_("room"))
    def room(self, row: ProbePayload) -> str:
        """Tell how much is stored, of what may be."""
        total = ProbePayload.objects.aggregate(total=Sum("size"))["total"] or 0
        return __("%(size)s of %(most)s; all together %(total)s of %(room)s.") % {
            "size": filesizeformat(row.size),
            "most": filesizeformat(conf.PROBE_PAYLOAD_MAX_BYTES),
            "total": filesizeformat(total),
            "room": filesizeformat(conf.PROBE_PAYLOAD_TOTAL_BYTES),
        }


def endpoint_of(target: str) -> str:
    """Return the endpoint that a target leads to; empty where it is none of this site."""
    try:
        parsed = parse_target(target)
        if isinstance(parsed, EndpointId):
            return str(parsed)
        return current_plan(time.time()).target(parsed).endpoint_id
    except (ProbeError, PolicyError):
        return ""


def sample_of(endpoint: str) -> dict[str, Any] | None:
    """Return the input that was generated for an endpoint; None where there is none."""
    rows = DiscoveredEndpoint.objects.filter(endpoint_id=endpoint, sample__isnull=False)
    sample = rows.values_list("sample", flat=True).first()
    if not isinstance(sample, dict):
        return None
    return {
        "path_params": sample.get("path_params") or {},
        "query": sample.get("query") or {},
        "body": sample.get("body"),
    }
