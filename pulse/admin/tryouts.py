"""A limit tried on recorded traffic as it was typed, before it is saved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.admin.errands import carry_out, errand_of, problems_of
from pulse.conf import conf
from pulse.core.document import Document
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds, publisher
from pulse.policies.simulate.simulations import WINDOW_S, compare

#: The button, and the time that is looked at.
BUTTON: Final = "_try"
WINDOW: Final = "try_window"
WINDOWS: Final = (600, WINDOW_S, 6 * 3600, 24 * 3600)
#: So many rules and unknowns are told.
MOST: Final = 5


class _Tried(Exception):
    """Leaves the transaction of a try, so that it is rolled back, with what the rows were."""

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document


@dataclass(frozen=True, slots=True)
class Tryout:
    """What came of a try, in words.

    Attributes:
        sentence: What the draft would refuse; empty where nothing is known.
        bounds: How surely; empty where it is exact.
        now: What the policy in force would.
        window: Of which time it tells.
        shadow: What rules in shadow would refuse if they were enforced; empty for nothing.
        clients: Those that are refused most: mark and requests.
        rules: Those that refuse most: name, requests by the draft, by the policy in force.
        unknown: What recorded requests cannot tell.
        notes: What else to know of the figures.
        windows: What may be looked at: seconds, words, whether it was.
    """

    sentence: str
    bounds: str
    now: str
    window: str
    shadow: str
    clients: list[tuple[str, str]]
    rules: list[tuple[str, str, str]]
    unknown: list[str]
    notes: list[str]
    windows: list[tuple[int, str, bool]]


def is_asked(request: HttpRequest) -> bool:
    """Whether the button was pressed that tries and does not save."""
    return BUTTON in request.POST


def try_out(
    request: HttpRequest, save: Callable[[], HttpResponseBase], *, site: str
) -> HttpResponseBase:
    """Save what was typed, compile it, undo it, and replay recorded traffic by it.

    Returns:
        The form with what was typed: with what is wrong, or with what came of the try.
    """
    errand = errand_of(request)

    def save_for_a_moment() -> HttpResponseBase:
        response = save()
        if errand.saved:
            raise _Tried(publisher.document_of_rows())
        return response

    try:
        response = carry_out(request, save_for_a_moment, site=site)
    except _Tried as tried:
        errand.saved, errand.messages = False, []
        window_s = window_of(request)
        try:
            found = compare(publisher.newest_document(), tried.document, window_s)
            errand.tryout = _in_words(found, window_s)
        except InvalidDocument as error:
            errand.problems = problems_of(error)
        return save()
    return response or save()


def window_of(request: HttpRequest) -> int:
    """Return the time that is to be looked at, in seconds."""
    chosen = request.POST.get(WINDOW, "")
    return next((seconds for seconds in WINDOWS if str(seconds) == chosen), WINDOW_S)


def _in_words(found: Mapping[str, Any], window_s: int) -> Tryout:
    draft, now = found["draft"], found["now"]
    windows = [(seconds, _say_window(seconds), seconds == window_s) for seconds in WINDOWS]
    unknown = [_say_unknown(one) for one in found["not_simulated"]]
    left = len(unknown) - MOST
    if left > 0:
        unknown[MOST:] = [ngettext("%d more", "%d more", left) % left]
    known = draft["refused"] is not None
    return Tryout(
        sentence=_say_refused(found, draft) if known else "",
        bounds=_say_bounds(found, draft) if known else "",
        now=_say_now(draft, now) if known else "",
        window=_say_span(found["window"]),
        shadow=_say_shadow(draft) if known else "",
        clients=[
            (client["client"], number_format(client["refused"], force_grouping=True))
            for client in found["top_clients"]
        ],
        rules=[
            (
                f"{_kind(rule['kind'])} {rule['key']['name']}",
                number_format(rule["draft"] + rule["draft_would"], force_grouping=True),
                number_format(rule["now"] + rule["now_would"], force_grouping=True),
            )
            for rule in found["rules"][:MOST]
        ],
        unknown=unknown,
        notes=_notes(found),
        windows=windows,
    )


def _say_refused(found: Mapping[str, Any], draft: Mapping[str, Any]) -> SafeString:
    clients = draft["clients"]
    told = ngettext("%s client", "%s clients", clients) % _number(clients)
    return format_html(
        _("Would refuse <strong>{} of {} requests</strong> ({}), of {}."),
        _number(draft["refused"]),
        _number(found["requests"]),
        _percent(draft["share"]),
        told,
    )


def _say_bounds(found: Mapping[str, Any], draft: Mapping[str, Any]) -> str:
    if found["share"] >= 1:
        return ""
    return _(
        "Between %(low)s and %(high)s with %(confidence)s certainty: one client in %(share)s is "
        "recorded."
    ) % {
        "low": _number(draft["low"]),
        "high": _number(draft["high"]),
        "confidence": _percent(found["confidence"]),
        "share": _number(round(1 / found["share"])),
    }


def _say_now(draft: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    change = draft["refused"] - now["refused"]
    sign = "+" if change > 0 else "\N{MINUS SIGN}" if change < 0 else "±"
    return _("What is in force: %(now)s. Change: %(sign)s%(change)s.") % {
        "now": _number(now["refused"]),
        "sign": sign,
        "change": _number(abs(change)),
    }


def _say_shadow(draft: Mapping[str, Any]) -> str:
    if not draft["would_refuse"]:
        return ""
    return _("Rules in shadow would refuse %s more, if they were enforced.") % _number(
        draft["would_refuse"]
    )


def _say_unknown(one: Mapping[str, Any]) -> str:
    name = ", ".join(str(value) for value in one["key"].values())
    said = f"{_kind(one['kind'])} {name}: {one['why']}"
    count = one["requests"]
    if count is None:
        return said
    return f"{said} ({ngettext('%s request', '%s requests', count) % _number(count)})"


def _notes(found: Mapping[str, Any]) -> list[str]:
    notes = []
    left = found["left_out"]
    if left["clients"]:
        notes.append(
            _("Not in it: %(requests)s requests of %(clients)s clients that came too often.")
            % {"clients": _number(left["clients"]), "requests": _number(left["requests"])}
        )
    if found["cut"]:
        notes.append(_("There was too much to replay: it tells of a shorter time."))
    if not found["available"]:
        notes.append(_("Redis cannot be asked now: it tells of this process alone."))
    elif found["scope"] == "process":
        notes.append(_("There is no Redis: it tells of this process alone."))
    if not conf.SAMPLE_BYTES:
        notes.append(_("Nothing is recorded: PULSE['SAMPLE_BYTES'] is 0."))
    return notes


def _say_window(seconds: int) -> str:
    if seconds < 3600:
        return ngettext("the last minute", "the last %d minutes", seconds // 60) % (seconds // 60)
    hours = seconds // 3600
    return _("the last hour") if hours == 1 else _("the last %d hours") % hours


def _say_span(window: Mapping[str, str]) -> str:
    first, last = (
        timezone.localtime(datetime.fromisoformat(window[name])) for name in ("from_at", "to_at")
    )
    return _("%(from)s to %(to)s") % {
        "from": date_format(first, "SHORT_DATETIME_FORMAT"),
        "to": date_format(last, "TIME_FORMAT"),
    }


def _kind(name: str) -> str:
    kind = kinds.find_kind(name)
    return name if kind is None else str(kind.model._meta.verbose_name)


def _number(value: int) -> str:
    return number_format(value, force_grouping=True)


def _percent(share: float) -> str:
    percent = round(share * 100, 2)
    return _("%s %%") % number_format(int(percent) if percent == int(percent) else percent)
