"""Keys of the API: made and shown once, rotated, revoked."""
# ruff: noqa: ARG002 - the signatures are Django's

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as __
from django.utils.translation import gettext_lazy as _

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.scopes import ORDER, Scope, holds
from pulse.admin.base import RecordedAdmin
from pulse.admin.columns import NONE, column
from pulse.admin.errands import actor_of
from pulse.admin.forms import SEEN_VERSION
from pulse.exceptions import KeyEnded

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[Any]
else:
    ModelForm = forms.ModelForm

#: A key that ends within this time is told of.
SOON: Final = timedelta(days=14)
MAX_OVERLAP_H: Final = 30 * 24
SCOPES: Final = {
    Scope.VIEW: _("view: every page, and what the API tells"),
    Scope.OPERATE: _("operate: the same, and starting and cancelling probes"),
    Scope.ADMINISTER: _("administer: everything"),
}


class ScopesField(forms.MultipleChoiceField):
    """The scopes of a key, as boxes to tick."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        choices = [(scope.value, SCOPES[scope]) for scope in ORDER]
        super().__init__(choices=choices, **kwargs)


class KeyForm(ModelForm):
    """A key, without what opens it."""

    scopes = ScopesField(
        label=_("scopes"), help_text=_("What it may do. A higher one includes those above it.")
    )
    seen_version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "tier", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who may not write has a form without it.
        if self.instance.pk is not None and "seen_version" in self.fields:
            self.fields["seen_version"].initial = self.instance.version

    def clean(self) -> Any:
        """Refuse what was written on a key that somebody has changed meanwhile."""
        cleaned = super().clean()
        seen = self.cleaned_data.get("seen_version")
        if self.instance.pk is not None and seen is not None and seen != self.instance.version:
            raise ValidationError(
                _("Somebody has changed this key meanwhile. Open it again to see how it is now."),
                code="version",
            )
        return cleaned


class OverlapForm(forms.Form):
    """How long a key goes on beside its successor."""

    hours = forms.IntegerField(
        label=_("Hours"),
        min_value=0,
        max_value=MAX_OVERLAP_H,
        initial=keys.OVERLAP_S // 3600,
        help_text=_("How long this key goes on beside its successor."),
    )


@admin.register(ApiKey)
class ApiKeyAdmin(RecordedAdmin):
    """Keys; by the scope ``administer`` alone, as who makes one may make one for everything."""

    form = KeyForm
    list_display: Any = (
        "name",
        "prefix_column",
        "scopes_column",
        "tier_column",
        "state_column",
        "used_column",
    )
    list_select_related: ClassVar[Any] = ("tier",)
    list_filter: ClassVar[Any] = ("tier",)
    search_fields: ClassVar[Any] = ("name", "prefix", "created_by")
    list_per_page = 50
    actions: Any = ("revoke_chosen",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether keys are listed among the screens."""
        return self._administers(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether keys are shown."""
        return self._administers(request)

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Whether there may be another key."""
        return self._administers(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a key may be changed."""
        return self._administers(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether a key may be forgotten."""
        return self._administers(request)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Let nobody change a key between the look at its version and the saving."""
        with _changing_by(request):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Delete a key; not what another changed since it was shown."""
        with _changing_by(request):
            key = self.get_object(request, unquote(object_id))
            seen = request.GET.get(SEEN_VERSION)
            is_unasked = request.method == "POST" and seen is None
            if key is None or is_unasked or seen == str(key.version):
                return super().delete_view(request, object_id, extra_context)
        if not self.has_delete_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            text = __("Somebody has changed this key meanwhile. Look at it as it is now.")
            messages.error(request, text)
        query = urlencode({SEEN_VERSION: key.version})
        return HttpResponseRedirect(f"{request.path}?{query}")

    def get_urls(self) -> list[Any]:
        """Add rotation and revocation, each behind a question."""
        return [
            path(
                "<int:pk>/rotate/",
                self.admin_site.admin_view(self.rotate_view),
                name="pulse_apikey_rotate",
            ),
            path(
                "<int:pk>/revoke/",
                self.admin_site.admin_view(self.revoke_view),
                name="pulse_apikey_revoke",
            ),
            *super().get_urls(),
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what becomes of a key below what can be changed of it."""
        form = (None, {"fields": ("name", "scopes", "tier", "expires_at", "seen_version")})
        if obj is None:
            return [form]
        told = ("prefix", "state_column", "used_column", "created_by", "created_at")
        return [form, (_("What becomes of it"), {"fields": told})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return what is only told."""
        return ("prefix", "state_column", "used_column", "created_by", "created_at")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Begin with the least that a key may do, and with its usual end."""
        return {
            "scopes": [Scope.VIEW.value],
            "expires_at": timezone.now() + keys.LIFETIME,
            **super().get_changeform_initial_data(request),
        }

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 - as Django calls it
    ) -> None:
        """Make or change a key by the one road that keys are changed on."""
        values = {name: form.cleaned_data[name] for name in keys.FIELDS}
        if change:
            # What was not touched stays what another has made of it meanwhile.
            changed = {name: values[name] for name in keys.FIELDS if name in form.changed_data}
            keys.change(ApiKey(pk=obj.pk), actor=actor_of(request), **changed)
            return
        new = keys.make(actor=actor_of(request), **values)
        vars(obj).update(vars(new.row))
        # For the one answer that tells it; the row has no such column.
        obj.shown_once = new.text

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Withdraw a key and forget it."""
        keys.delete(obj, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Do so with each that was chosen."""
        with keys.changing():
            for key in queryset:
                keys.delete(key, actor=actor_of(request))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        """Show the key, in this answer and never again."""
        return self._show(request, obj, obj.shown_once)

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Ask for how long, then make a successor and show it."""
        with _changing_by(request):
            return self._rotate(request, self._find(request, pk))

    def _rotate(self, request: HttpRequest, key: ApiKey) -> HttpResponseBase:
        form = OverlapForm(request.POST if request.method == "POST" else None)
        problem = "" if keys.is_live(key, timezone.now()) else str(KeyEnded(key.prefix))
        if request.method == "POST" and form.is_valid() and not problem:
            overlap_s = form.cleaned_data["hours"] * 3600
            try:
                new = keys.rotate(key, actor=actor_of(request), overlap_s=overlap_s)
            except KeyEnded as error:
                problem = str(error)
            else:
                return self._show(request, new.row, new.text, before=key)
        lead = __(
            "A successor with the same name, scopes, tier and lifetime is made and shown once. "
            "%(key)s goes on beside it for a while, then ends."
        )
        title = __("Rotate %(key)s")
        return self._ask(request, key, title, lead, __("Yes, rotate"), form=form, problem=problem)

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Ask, then withdraw a key."""
        with _changing_by(request):
            return self._revoke(request, self._find(request, pk))

    def _revoke(self, request: HttpRequest, key: ApiKey) -> HttpResponseBase:
        problem = "" if key.revoked_at is None else __("It is revoked already.")
        if request.method == "POST" and not problem:
            keys.revoke(key, actor=actor_of(request))
            text = __("%(key)s is revoked: no request with it passes any more.") % {"key": key}
            messages.success(request, text)
            return HttpResponseRedirect(self._address("changelist"))
        lead = __(
            "From the next request on %(key)s opens nothing any more, in any process. This cannot "
            "be undone: a rollback of the policy does not either."
        )
        title = __("Revoke %(key)s")
        return self._ask(request, key, title, lead, __("Yes, revoke"), problem=problem)

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke_chosen(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Ask, then withdraw all that were chosen."""
        is_sure = bool(request.POST.get("confirmed"))
        with keys.changing() if is_sure else nullcontext():
            chosen = list(queryset.filter(revoked_at=None))
            for key in chosen if is_sure else ():
                keys.revoke(key, actor=actor_of(request))
        if is_sure and chosen:
            told = __("Revoked: %s.") % ", ".join(map(str, chosen))
            messages.success(request, told)
            return None
        context = {
            **self._around(request, __("Revoke keys")),
            "chosen": chosen,
            "selected": request.POST.getlist("_selected_action"),
            "problem": "" if chosen else __("None of them counts any more."),
        }
        return TemplateResponse(request, "admin/pulse/apikey/revoke_chosen.html", context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Offer to rotate or revoke what still counts."""
        key = kwargs.get("obj")
        if key is not None:
            if keys.is_live(key, timezone.now()):
                context["pulse_rotate"] = self._address("rotate", key.pk)
            if key.revoked_at is None:
                context["pulse_revoke"] = self._address("revoke", key.pk)
        return super().render_change_form(request, context, *args, **kwargs)

    @column(_("prefix"), ordering="prefix")
    def prefix_column(self, key: ApiKey) -> Any:
        """Name the key as logs do."""
        return format_html("<code>{}</code>", key.prefix)

    @column(_("scopes"))
    def scopes_column(self, key: ApiKey) -> str:
        """List what it may do."""
        return ", ".join(key.scopes)

    @column(_("tier"), ordering="tier__name")
    def tier_column(self, key: ApiKey) -> str:
        """Name the tier of its requests."""
        return NONE if key.tier is None else key.tier.name

    @column(_("state"), ordering="expires_at")
    def state_column(self, key: ApiKey) -> Any:
        """Say whether it counts, and until when; loudly where it ends soon."""
        now = timezone.now()
        if key.revoked_at is not None:
            return __("○ revoked on %s") % _date(key.revoked_at)
        if key.expires_at is None:
            return __("● without end")
        if key.expires_at <= now:
            return __("○ ended on %s") % _date(key.expires_at)
        if key.expires_at - now <= SOON:
            text = __("◐ ends in %s") % timeuntil(key.expires_at, now)
            return format_html('<strong class="pulse-soon">{}</strong>', text)
        return __("● until %s") % _date(key.expires_at)

    @column(_("last used"), ordering="last_used_at")
    def used_column(self, key: ApiKey) -> str:
        """Say when it was used last, to the minute."""
        return __("never") if key.last_used_at is None else _date(key.last_used_at)

    def _administers(self, request: HttpRequest) -> bool:
        return holds(request.user, Scope.ADMINISTER)

    def _find(self, request: HttpRequest, pk: int) -> ApiKey:
        if not self._administers(request):
            raise PermissionDenied
        key: ApiKey | None = self.get_queryset(request).filter(pk=pk).first()
        if key is None:
            raise Http404
        return key

    def _ask(
        self,
        request: HttpRequest,
        key: ApiKey,
        title: str,
        lead: str,
        button: str,
        *,
        form: forms.Form | None = None,
        problem: str = "",
    ) -> HttpResponseBase:
        named = {"key": key}
        context = {
            **self._around(request, title % named),
            "lead": lead % named,
            "button": button,
            "form": form,
            "problem": problem,
            "back": self._address("change", key.pk),
        }
        return TemplateResponse(request, "admin/pulse/apikey/ask.html", context)

    def _show(
        self, request: HttpRequest, key: ApiKey, text: str, before: ApiKey | None = None
    ) -> HttpResponseBase:
        """Answer with the whole key; nothing keeps this answer, and no message has it."""
        context = {
            **self._around(request, __("The new key")),
            "key": key,
            "text": text,
            "before": before,
            "back": self._address("changelist"),
        }
        headers = {"Cache-Control": "no-store"}
        template = "admin/pulse/apikey/shown_once.html"
        return TemplateResponse(request, template, context, headers=headers)

    def _around(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }

    def _address(self, name: str, *arguments: Any) -> str:
        return reverse(
            f"admin:pulse_apikey_{name}", args=arguments, current_app=self.admin_site.name
        )


def _changing_by(request: HttpRequest) -> AbstractContextManager[object]:
    """Let nobody else change a key while a request does that may."""
    return keys.changing() if request.method == "POST" else nullcontext()


def _date(at: datetime) -> str:
    return date_format(timezone.localtime(at), "DATETIME_FORMAT")
