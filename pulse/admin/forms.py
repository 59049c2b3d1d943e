"""The forms of policies: what all share, and the fields that read lists as people write them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.differences import Difference, differences
from pulse.admin.errands import MAX_REASON, errand_of, revision_link
from pulse.admin.stock import IntegerInput, TextInput
from pulse.core.bounds import format_size, parse_size
from pulse.core.document import canonical, key_of
from pulse.core.endpoints import METHODS
from pulse.exceptions import InvalidSize
from pulse.policies import drafts, kinds, publisher, routes
from pulse.policies.guarded import (
    DEFAULT_MINUTES,
    MINUTES,
    MOST_MINUTES,
    MOST_REFUSALS,
    REFUSALS,
)
from pulse.policies.models import EndpointLimit, PolicyRevision, count_by_client
from pulse.policies.validators import validate_key

#: The fields of a guard, as every door names them.
GUARD: Final = (REFUSALS, MINUTES)
#: Of which state of the row a form was shown.
SEEN_VERSION: Final = "seen_version"
SEEN: Final = (SEEN_VERSION, "seen_revision")
#: How far back the author of a lost update is looked for.
LOOK_BACK = 50
#: The largest number that the database keeps of a revision.
MAX_NUMBER: Final = 2**31 - 1


class GuardFields(forms.Form):
    """The guard that a change is published with."""

    guard_refusals = forms.IntegerField(
        label=_("Guard: refusals"),
        required=False,
        min_value=1,
        max_value=MOST_REFUSALS,
        widget=IntegerInput,
        help_text=_(
            "If what the change touches refuses more than these, pulse takes the change back by "
            "itself. Empty: no guard."
        ),
    )
    guard_minutes = forms.IntegerField(
        label=_("within minutes"),
        required=False,
        min_value=1,
        max_value=MOST_MINUTES,
        widget=IntegerInput({"placeholder": DEFAULT_MINUTES}),
    )


if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm


class PolicyForm(ModelForm, GuardFields):
    """A policy row, the reason for its change, and the version that the change was made to."""

    request: ClassVar[HttpRequest]
    site: ClassVar[str] = "admin"
    OWN: ClassVar[frozenset[str]] = frozenset({"reason", "save_anyway", *SEEN, *GUARD})

    #: What others changed since the form was shown, where they did.
    meanwhile: Sequence[Difference] = ()

    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    seen_revision = forms.IntegerField(
        required=False, min_value=0, max_value=MAX_NUMBER, widget=forms.HiddenInput
    )
    reason = forms.CharField(
        label=_("Reason for this change"),
        required=False,
        max_length=MAX_REASON,
        widget=TextInput,
        help_text=_("Kept with the revision, for who asks later why it was changed."),
    )
    save_anyway = forms.BooleanField(label=_("Save it all the same"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["seen_version"] = self.instance.version
            self.initial["seen_revision"] = publisher.newest_number()
        for field in self.fields.values():
            if isinstance(field.widget, forms.SplitDateTimeWidget):
                _name_parts(field)

    def is_valid(self) -> bool:
        """Whether it is to be saved: not where it was tried alone, though nothing is wrong."""
        return super().is_valid() and errand_of(self.request).tryout is None

    @property
    def changed_data(self) -> list[str]:
        """The fields of the row that were changed."""
        return [name for name in super().changed_data if name not in self.OWN]

    def clean(self) -> dict[str, Any] | None:
        """Refuse what was rolled back, and what was changed by another since it was shown."""
        cleaned = super().clean()
        errand = errand_of(self.request)
        if errand.threats:
            self.add_error(
                None,
                __(
                    "Nothing is saved yet: this could lock you out. Read the "
                    "warning below, and tick "
                    "its box if you mean it."
                ),
            )
        elif not self.errors.keys() & set(GUARD):  # Which tell of themselves.
            for problem in errand.problems:
                self.add_error(None, problem)
        seen = self.cleaned_data.get("seen_version")
        now = self.instance.version
        if self.instance.pk is not None and seen is not None and seen != now:
            self.add_error(None, self._overtaken())
            self.meanwhile = self._changed_since(self.cleaned_data.get("seen_revision") or 0)
            # Who saves again has seen the warning; the input is kept as it was sent.
            data: Any = self.data
            data = data.copy()
            for name in SEEN:
                data[self.add_prefix(name)] = str(self.initial[name])
            self.data = data
        return cleaned

    def _changed_since(self, revision: int) -> Sequence[Difference]:
        """Tell what of the row differs from what a revision says of it."""
        kind = kinds.kind_of(type(self.instance))
        if kind is None:
            return ()
        key = key_of(kind.to_item(self.instance), kind.key)
        changes = drafts.changes_since(revision)
        return differences(
            change for change in changes if (change["kind"], change["key"]) == (kind.name, key)
        )

    def _overtaken(self) -> SafeString:
        revision = _last_change(self.instance)
        seen = self.cleaned_data.get("seen_revision")
        if revision is not None and (seen is None or revision.number > seen):
            return format_html(
                __(
                    "{} changed this at {} ({}); your input is below and nothing was saved. "
                    "Saving again overwrites their change."
                ),
                revision.actor_name or revision.actor_type,
                _say_time(revision.created_at),
                revision_link(revision.number, revision.pk, self.site),
            )
        return format_html(
            __(
                "{} changed this at {}; your input is below and nothing was saved. "
                "Saving again overwrites their change."
            ),
            _last_editor() or __("Someone"),
            _say_time(self.instance.updated_at),
        )


def overtaken(row: Any) -> str:
    """Tell who wanted to delete a row that somebody else has changed it."""
    revision = _last_change(row)
    author = revision and (revision.actor_name or revision.actor_type)
    return __("%(author)s changed it at %(time)s, after the page was opened: look at it again.") % {
        "author": author or _last_editor() or __("Someone"),
        "time": _say_time(row.updated_at),
    }


class MethodsField(forms.MultipleChoiceField):
    """HTTP methods to tick; none stands for all."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(method, method) for method in METHODS], required=False, **kwargs)


class DatalistInput(TextInput):
    """A text with proposals; without them, as an old browser has it, just a text."""

    def __init__(
        self, proposals: Iterable[str] = (), attrs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__({"autocomplete": "off", **(attrs or {})})
        self.proposals = list(proposals)

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Render the input, and its proposals behind it."""
        place = f"{(attrs or {}).get('id', name)}_proposals"
        field = super().render(name, value, {**(attrs or {}), "list": place}, renderer)
        options = format_html_join("", '<option value="{}">', ((text,) for text in self.proposals))
        return format_html('{}<datalist id="{}">{}</datalist>', field, place, options)


class KeyField(forms.CharField):
    """What is counted, several parts by commas."""

    def __init__(self, **kwargs: Any) -> None:
        proposals = ("client", "ip", "user", "global", "ip, header:X-Tenant")
        super().__init__(max_length=255, widget=DatalistInput(proposals), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Show a list as it is written."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Read the parts."""
        text = super().clean(value)
        parts = [part.strip() for part in text.split(",") if part.strip()]
        validate_key(parts)
        return parts

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other parts are named."""
        return bool(self.prepare_value(initial) != data)


class SizeField(forms.CharField):
    """A number of bytes, with a unit as people write it."""

    def __init__(self, **kwargs: Any) -> None:
        proposals = ("1 MB", "10 MB", "100 MB", "1 GB")
        options = {"required": False, "max_length": 40, "empty_value": None}
        super().__init__(widget=DatalistInput(proposals), **{**options, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Show the number in the largest unit that it is whole in."""
        return format_size(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        """Read the number of bytes."""
        text = super().clean(value)
        if not text:
            return None
        try:
            return parse_size(text)
        except InvalidSize as error:
            raise forms.ValidationError(str(error), code="size") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another size is written, in whatever unit."""
        try:
            return bool(self.clean(data) != initial)
        except forms.ValidationError:
            return True


class EndpointLimitForm(PolicyForm):
    """An endpoint limit, with the routes of this site to choose from."""

    methods = MethodsField(
        label=_("Methods"), help_text=_("None ticked: all of them. GET includes HEAD.")
    )
    key = KeyField(
        label=_("Counted by"),
        initial=count_by_client,
        help_text=_(
            "client (as its tier), ip, user, header:NAME or global; several, by commas, count "
            "each combination. A header can be invented, so its address is charged too."
        ),
    )

    max_body_bytes = SizeField(
        label=_("Largest body"),
        help_text=_(
            "Such as 100 MB for an upload, 512 KB, or 0 for none. Empty: as everywhere on the site."
        ),
    )

    class Meta:
        model = EndpointLimit
        fields: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "route" in self.fields:  # Shown as HTML, where <int:pk> would be a tag.
            self.fields["route"].help_text = escape(self.fields["route"].help_text)
        known = routes.known_values(settings.ROOT_URLCONF)
        for matcher in ("route", "url_name", "view"):
            if matcher in self.fields:
                # What operators limit most comes first: the site's own, not the admin's.
                values = sorted(known[matcher] - {""}, key=lambda v: (v.startswith("admin"), v))
                self.fields[matcher].widget = DatalistInput(values)

    def clean_methods(self) -> list[str]:
        """Keep the order of the list, whatever the order of the ticks."""
        ticked = self.cleaned_data["methods"]
        return [method for method in METHODS if method in ticked]


def _name_parts(field: forms.Field) -> None:
    """Give date and time a name each: the admin's label is of neither."""
    widget: Any = field.widget
    for part, name in zip(widget.widgets, (_("date"), _("time")), strict=True):
        part.attrs["aria-label"] = format_lazy("{}: {}", capfirst(str(field.label)), name)


def _last_change(row: Any) -> PolicyRevision | None:
    """Find the revision that last changed a row."""
    kind = kinds.kind_of(type(row))
    if kind is None:
        return None
    key = canonical(key_of(kind.to_item(row), kind.key))
    for revision in PolicyRevision.objects.defer("document")[:LOOK_BACK]:
        for change in revision.changes:
            if change["kind"] == kind.name and canonical(change["key"]) == key:
                return revision
    return None


def _last_editor() -> str:
    """Name who last edited the draft; empty where there is none."""
    edits = drafts.edits()
    return str(edits[-1]["actor_name"] or edits[-1]["actor_type"]) if edits else ""


def _say_time(moment: Any) -> str:
    return str(date_format(timezone.localtime(moment), "DATETIME_FORMAT"))
