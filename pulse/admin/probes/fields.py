"""Form fields that read what probes are made of as people write it."""
# ruff: noqa: ARG002 - the signatures are Django's

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.admin.forms import DatalistInput
from pulse.admin.probes import lines
from pulse.admin.stock import Textarea, TextInput
from pulse.core.schedules import EVERY, UNITS_S
from pulse.probes.models import KEPT
from pulse.probes.secrets import REFERENCE

#: Rows of secrets beyond those that there are.
SPARE: Final = 2
MAX_SECRETS: Final = 50
#: What begins so is meant to be JSON.
JSON_BEGINS: Final = ("{", "[", '"')


class LinesField(forms.CharField):
    """``Name: value``, one to a line.

    Attributes:
        write: Writes a value; texts as they are where it is None.
        read: Reads one.
    """

    widget = Textarea

    def __init__(
        self,
        *,
        write: Callable[[Any], str] | None = None,
        read: Callable[[str], Any] | None = None,
        placeholder: Any = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"required": False, "strip": False, **kwargs})
        self.write, self.read = write, read
        self.widget.attrs |= {
            "rows": 3,
            "spellcheck": "false",
            "autocapitalize": "off",
            "placeholder": placeholder,
        }

    def prepare_value(self, value: Any) -> Any:
        """Show a mapping as it is written."""
        return lines.write_lines(value, self.write) if isinstance(value, Mapping) else value

    def clean(self, value: Any) -> dict[str, Any]:
        """Read the lines."""
        return lines.read_lines(super().clean(value), self.read)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether something else is written."""
        return _normal(self.prepare_value(initial or {})) != _normal(data)


class NamesField(forms.CharField):
    """Names, one to a line."""

    widget = Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, **kwargs})
        self.widget.attrs |= {"rows": 3, "spellcheck": "false", "autocapitalize": "off"}

    def prepare_value(self, value: Any) -> Any:
        """Show a list as it is written."""
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Read the names, each once."""
        return _names(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether other names are written."""
        return bool(_names(self.prepare_value(initial or [])) != _names(data))


class NumberField(forms.FloatField):
    """A number; a whole one stays whole."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, **kwargs})

    def clean(self, value: Any) -> Any:
        """Read the number."""
        number = super().clean(value)
        return int(number) if number is not None and number.is_integer() else number


class TimeField(forms.CharField):
    """A span of time in whole seconds, written with its unit."""

    def __init__(self, **kwargs: Any) -> None:
        options = {"required": False, "max_length": 20, "empty_value": None}
        proposals = ("15m", "30m", "1h", "2h", "1d")
        super().__init__(widget=DatalistInput(proposals), **{**options, **kwargs})

    def prepare_value(self, value: Any) -> Any:
        """Show seconds in the largest unit that they are whole in."""
        if not isinstance(value, int):
            return value
        unit = next((unit for unit, of in UNITS_S.items() if value and value % of == 0), "s")
        return f"{value // UNITS_S[unit]}{unit}"

    def clean(self, value: Any) -> int | None:
        """Read the seconds."""
        text = super().clean(value)
        if not text:
            return None
        found = EVERY.fullmatch(text.strip())
        if found is None:
            raise forms.ValidationError(__("Write a number and s, m, h or d, such as 90m."))
        seconds = int(found[1]) * UNITS_S[found[2]]
        if seconds > timedelta(days=366).total_seconds():
            raise forms.ValidationError(__("That is more than a year."))
        return seconds

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another time is written, in whatever unit."""
        try:
            return bool(self.clean(data) != initial)
        except forms.ValidationError:
            return True


class BodyField(forms.CharField):
    """A body: JSON, or a text that is sent as it is."""

    widget = Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "strip": False, **kwargs})
        self.widget.attrs |= {"rows": 12, "spellcheck": "false", "autocapitalize": "off"}

    def prepare_value(self, value: Any) -> Any:
        """Show JSON with its levels, and a text as it is; in quotes where it is JSON too."""
        if value is None:
            return ""
        if isinstance(value, _Typed):
            return str(value)
        if isinstance(value, str) and _is_plain(value):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show what was typed as it was typed."""
        return None if data is None else _Typed(data)

    def clean(self, value: Any) -> Any:
        """Read it; what begins as JSON and is none was meant to be."""
        text = super().clean(value)
        if not text.strip():
            return None
        if not text.lstrip().startswith(JSON_BEGINS) and not lines.is_json(text):
            return text.replace("\r\n", "\n")
        try:
            return lines.read_json(text)
        except forms.ValidationError as error:
            told = __("This begins as JSON and is none: %s To send it as it is, write it in quotes")
            raise forms.ValidationError(f"{told % ' '.join(error.messages)}.") from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether another body is written, however it is laid out."""
        try:
            return bool(self.clean(data) != initial)
        except forms.ValidationError:
            return True


class SecretsWidget(forms.MultiWidget):
    """A table of header names and values; the values are never shown."""

    template_name = "admin/pulse/_secrets.html"

    def __init__(self, rows: int, stored: Iterable[str] = ()) -> None:
        self.stored = frozenset(name.lower() for name in stored)
        name = {"placeholder": "Authorization", "spellcheck": "false", "autocomplete": "off"}
        value = {"autocomplete": "new-password", "spellcheck": "false"}
        widgets: list[forms.Widget] = []
        for number in range(1, rows + 1):
            widgets += [
                TextInput({**name, "aria-label": __("Name %d") % number}),
                _Secret({**value, "aria-label": __("Value %d") % number}),
            ]
        super().__init__(widgets)

    def decompress(self, value: Any) -> list[str]:
        """Lay names and values into the cells."""
        if not isinstance(value, Mapping):
            return []
        return [text for item in value.items() for text in item]

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Pair the cells to rows, and say of which there is a value."""
        context = super().get_context(name, value, attrs)
        cells = context["widget"]["subwidgets"]
        context["rows"] = list(zip(cells[::2], cells[1::2], strict=True))
        for header, secret in context["rows"]:
            if str(header["value"] or "").strip().lower() in self.stored and not secret["value"]:
                secret["attrs"]["placeholder"] = f"{KEPT} {__('(stored; empty keeps it)')}"
        return context


class SecretsField(forms.MultiValueField):
    """Headers whose values are stored, not shown; an empty value keeps what is stored."""

    def __init__(self, *, rows: int = SPARE, stored: Iterable[str] = (), **kwargs: Any) -> None:
        fields = [forms.CharField(required=False, max_length=8000) for _cell in range(rows * 2)]
        widget = SecretsWidget(rows, stored)
        super().__init__(
            fields, **{"required": False, "require_all_fields": False, "widget": widget, **kwargs}
        )

    def compress(self, data_list: Sequence[Any]) -> dict[str, str]:
        """Read the rows."""
        found: dict[str, str] = {}
        for name, value in zip(data_list[::2], data_list[1::2], strict=True):
            if name and name in found:
                raise forms.ValidationError(__("%s is named twice.") % name)
            if value and value != KEPT and not name:
                raise forms.ValidationError(__("A value stands without the name of its header."))
            if name:
                found[name] = value or KEPT
        return found

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether a name was changed, or a value typed."""
        try:
            found = self.compress([str(cell or "").strip() for cell in data])
        except forms.ValidationError:
            return True
        return found != (initial or {})


class _Secret(forms.PasswordInput):
    """A value that is typed and never shown; a reference is no secret, and is."""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context = super().get_context(name, None, attrs)
        if isinstance(value, str) and value.startswith(REFERENCE):
            context["widget"] |= {"type": "text", "value": value}
        return context


class _Typed(str):
    """What somebody typed, as against what is stored."""

    __slots__ = ()


class ZoneInput(DatalistInput):
    """A time zone, with all that there are as proposals."""

    def __init__(self) -> None:
        super().__init__(time_zones())


@lru_cache(maxsize=1)
def time_zones() -> tuple[str, ...]:
    """Name the time zones of places, and UTC first."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name[1:]))


class TicksField(forms.MultipleChoiceField):
    """Names to tick, of a list that is short enough to show."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, names: Iterable[str], **kwargs: Any) -> None:
        choices = [(name, name) for name in names]
        super().__init__(choices=choices, **{"required": False, **kwargs})


def posted_rows(data: Any, name: str) -> int:
    """Count the rows of secrets that a browser sent."""
    if data is None:
        return 0
    cells = (place for place in range(2 * MAX_SECRETS) if f"{name}_{place}" in data)
    return max(cells, default=-1) // 2 + 1


def _is_plain(text: str) -> bool:
    """Whether a body that is a text is read back as it is, without quotes."""
    is_meant = text.startswith(JSON_BEGINS) or lines.is_json(text)
    return bool(text.strip()) and "\r" not in text and not is_meant


def _names(text: Any) -> list[str]:
    return list(
        dict.fromkeys(line.strip() for line in str(text or "").splitlines() if line.strip())
    )


def _normal(text: Any) -> str:
    return str(text or "").replace("\r\n", "\n").strip()


SECRETS_HELP: Final = _(
    "Kept encrypted and never shown again: to change a value, write it anew; to keep it, leave it "
    "empty; to remove a header, empty its name. Or env:NAME, read from the worker's environment."
)
