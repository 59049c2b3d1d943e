"""The limits of a rule, as rows in its form."""
# ruff: noqa: ARG002 - the signatures are Django's

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from pulse.admin.columns import limit_words
from pulse.admin.permissions import ByScope
from pulse.admin.stock import TabularInline
from pulse.exceptions import InvalidQuota
from pulse.policies.consistency import MAX_LIMITS, check_limits, missing_limits
from pulse.policies.kinds import LIMIT_FIELDS
from pulse.policies.models import OwnLimit, TierLimit

if TYPE_CHECKING:
    FormSetBase = BaseInlineFormSet[Any, Any, Any]
    ModelForm = forms.ModelForm[Any]
else:
    FormSetBase, ModelForm = BaseInlineFormSet, forms.ModelForm


class LimitForm(ModelForm):
    """One limit, checked as typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in LIMIT_FIELDS:  # The script finds them by it.
            if name in self.fields:
                self.fields[name].widget.attrs["data-pulse"] = name
                _name(self.fields[name])
        if "rate" in self.fields:
            self.fields["rate"].widget.attrs |= {"placeholder": "10/s", "spellcheck": "false"}


class LimitFormSet(FormSetBase):
    """All limits of one rule, each told at its own field where they are impossible together."""

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        instance, prefix = kwargs.get("instance"), kwargs.get("prefix")
        if data is not None and prefix and instance is not None and instance.pk is not None:
            # What was replaced meanwhile has other ids; the input is for the rows of today.
            data = _realigned(data, prefix, list(instance.limits.values_list("pk", flat=True)))
        super().__init__(data, *args, **kwargs)

    def add_fields(self, form: Any, index: int | None) -> None:
        """Name the mark for deletion, which the table's heading names to eyes alone."""
        super().add_fields(form, index)
        if "DELETE" in form.fields:
            _name(form.fields["DELETE"])

    def clean(self) -> None:
        """Refuse what no request, or every request, would meet."""
        super().clean()
        kept = [form for form in self.forms if self._is_kept(form)]
        if all(form.is_valid() for form in kept):
            for form in kept:
                _check_quota(form)
            limits = [form.instance for form in kept]
            for place, field, text in check_limits(limits, getattr(self.instance, "cost", 1)):
                kept[place].add_error(field, text)
        problem = missing_limits(self.instance, has_limits=bool(kept))
        if problem:
            raise forms.ValidationError(problem)

    def _is_kept(self, form: Any) -> bool:
        if self.can_delete and self._should_delete_form(form):  # type: ignore[attr-defined]
            return False
        return bool(form.instance.pk or form.has_changed())


class LimitInline(ByScope, TabularInline):
    """Rows of limits, each with what it means."""

    form = LimitForm
    formset = LimitFormSet
    max_num = MAX_LIMITS
    extra = 0
    fields: ClassVar[Any] = ("rate", "burst", "algorithm", "in_words")
    readonly_fields: ClassVar[Any] = ("in_words",)
    verbose_name_plural = _("limits, all of which must pass")

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Refuse rows beyond the most, which the form itself does not offer."""
        return super().get_formset(request, obj, **{"validate_max": True, **kwargs})

    @admin.display(description=_("in words"))
    def in_words(self, limit: Any) -> SafeString:
        """Say what a limit means; a script keeps it true while one types."""
        return format_html(
            '<span class="pulse-live" data-pulse="words">{}</span>', limit_words(limit, wait=True)
        )


class TierLimitInline(LimitInline):
    """The limits of a tier."""

    model = TierLimit
    min_num = 1


class OwnLimitInline(LimitInline):
    """The limits of an endpoint limit."""

    model = OwnLimit

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        """Offer a first row to a new rule."""
        return 1 if obj is None else 0


def _name(field: forms.Field) -> None:
    """Give a field in a row the name that only its column has."""
    field.widget.attrs["aria-label"] = capfirst(str(field.label))


def _realigned(data: Any, prefix: str, existing: list[int]) -> Any:
    """Give posted rows the ids of today's by their place, where theirs are gone.

    Returns:
        The data as it came where every id in it is known.
    """
    try:
        total = min(int(data.get(f"{prefix}-TOTAL_FORMS", 0)), MAX_LIMITS * 2)
    except ValueError:
        return data
    posted = [data.get(f"{prefix}-{place}-id", "") for place in range(total)]
    if {pk for pk in posted if pk} <= {str(pk) for pk in existing}:
        return data
    rows = [
        {name: data.get(f"{prefix}-{place}-{name}", "") for name in LIMIT_FIELDS}
        for place in range(total)
        if not data.get(f"{prefix}-{place}-DELETE")
    ]
    data = data.copy()
    for name in [name for name in data if name.startswith(f"{prefix}-")]:
        del data[name]
    places = max(len(rows), len(existing))
    data[f"{prefix}-TOTAL_FORMS"], data[f"{prefix}-INITIAL_FORMS"] = places, len(existing)
    for place in range(places):
        if place < len(existing):
            data[f"{prefix}-{place}-id"] = str(existing[place])
        if place < len(rows):
            for name, value in rows[place].items():
                data[f"{prefix}-{place}-{name}"] = value
        else:
            data[f"{prefix}-{place}-DELETE"] = "on"
    return data


def _check_quota(form: Any) -> None:
    """Refuse a burst that its rate cannot have, which only both together tell."""
    try:
        form.instance.quota  # noqa: B018 - asked for what it raises
    except InvalidQuota as error:
        form.add_error("burst", str(error))
