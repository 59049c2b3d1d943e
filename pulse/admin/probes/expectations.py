"""What is expected of an answer, as fields that a person understands; stored as one ``expect``."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django import forms
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.probes import lines
from pulse.admin.probes.fields import LinesField, NumberField
from pulse.admin.stock import TextInput
from pulse.core.expectations import parse_expectations
from pulse.exceptions import InvalidExpectation

PREFIX: Final = "expect_"
#: The fields, as a form shows them.
FIELDS: Final = (
    ("expect_status", "expect_max_latency_ms"),
    "expect_contains",
    "expect_json",
    "expect_headers",
    ("expect_certificate_days", "expect_schema"),
)


class StatusField(forms.CharField):
    """Statuses, parted by commas."""

    def __init__(self, **kwargs: Any) -> None:
        widget = TextInput({"placeholder": "200, 2xx, 301-308", "spellcheck": "false"})
        super().__init__(**{"required": False, "max_length": 500, "widget": widget, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Show a list as it is written."""
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[int | str]:
        """Read the statuses."""
        parts = [part.strip() for part in super().clean(value).split(",")]
        return [int(part) if part.isascii() and part.isdigit() else part for part in parts if part]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other statuses are named."""
        return [str(part) for part in initial or []] != [str(part) for part in self.clean(data)]


class SchemaField(forms.ChoiceField):
    """Yes, no, or nothing said."""

    NAMES: ClassVar[Mapping[Any, str]] = {True: "yes", False: "no"}

    def __init__(self, **kwargs: Any) -> None:
        choices = [("", _("not said")), ("yes", _("yes")), ("no", _("no"))]
        super().__init__(**{"choices": choices, "required": False, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Show the choice."""
        return self.NAMES.get(value, value)

    def clean(self, value: Any) -> bool | None:
        """Read the choice."""
        return {"yes": True, "no": False}.get(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another choice is made."""
        return bool(self.NAMES.get(initial, "") != (data or ""))


class ExpectForm(forms.Form):
    """The fields of ``expect``, for a form whose row has one; what is empty is not expected."""

    expect_status = StatusField(label=_("Status"), help_text=_("One or more, by commas."))
    expect_max_latency_ms = NumberField(
        label=_("At most, in ms"),
        help_text=_("A slower answer is degraded, not failed."),
    )
    expect_contains = forms.CharField(
        label=_("Text in the body"),
        required=False,
        strip=False,
        widget=TextInput({"class": "vLargeTextField", "spellcheck": "false"}),
    )
    expect_json = LinesField(
        label=_("In the JSON body"),
        write=lines.write_json,
        read=lines.read_value,
        placeholder="status: ok\nitems.0.id: 1",
        help_text=_("A path and its value, one to a line: “items.0.id: 1”, “status: ok”."),
    )
    expect_headers = LinesField(
        label=_("In the headers"),
        placeholder="Content-Type: json",
        help_text=_("A header and a text that it contains, one to a line; no text: any value."),
    )
    expect_certificate_days = NumberField(
        label=_("Certificate, in days"),
        help_text=_("For how long it is good, at least; less is degraded."),
    )
    expect_schema = SchemaField(
        label=_("As its schema says"),
        help_text=_("For routes whose answers have one."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected: Mapping[str, Any] = dict(self._row.expect)
        for place in self._parts():
            self.initial[place] = self.expected.get(place.removeprefix(PREFIX))

    @property
    def changed_data(self) -> list[str]:
        """The fields that were changed; of the parts of ``expect``, that alone."""
        changed = super().changed_data
        rest = [name for name in changed if not name.startswith(PREFIX)]
        return rest if len(rest) == len(changed) else [*rest, "expect"]

    def clean(self) -> dict[str, Any] | None:
        """Put the parts together, each judged by the parser that the engine reads them by."""
        cleaned = super().clean()
        parts = self._parts()
        found = {
            name: value
            for name, value in self.expected.items()
            if f"{PREFIX}{name}" not in parts  # Of a later release.
        }
        for place in parts:
            name = place.removeprefix(PREFIX)
            if not self.fields[place].has_changed(self.initial[place], self[place].data):
                value = self.expected.get(name)
            else:
                value = self.cleaned_data.get(place)
            if value in (None, "", [], {}) or place in self.errors:
                continue
            try:
                parse_expectations({name: value})
            except InvalidExpectation as error:
                self.add_error(place, _say(error, name))
            else:
                found[name] = value
        if parts:
            self._row.expect = found
        return cleaned

    @property
    def _row(self) -> Any:
        return self.instance  # type: ignore[attr-defined]  # of the form of rows beside this one

    def _parts(self) -> list[str]:
        return [place for place in self.fields if place.startswith(PREFIX)]


def to_read(sets: Any) -> list[Any]:
    """Put words in the place of the fields, in fieldsets of a page where nothing is changed."""
    return [
        (title, {**options, "fields": ("expected",)} if options["fields"] == FIELDS else options)
        for title, options in sets
    ]


def _say(error: InvalidExpectation, name: str) -> str:
    """Say what is wrong with a part; its field names it already."""
    if error.value == name:
        return __("It %s") % error.reason
    return str(error)
