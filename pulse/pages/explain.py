"""What would become of a request, or what became of one; and letting it pass for a while."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from pulse.access.principals import asker_of
from pulse.access.scopes import Scope
from pulse.conf import conf
from pulse.core.access import ACCESS
from pulse.core.endpoints import METHODS
from pulse.envelope import request_id_of
from pulse.exceptions import InvalidDocument, InvalidFields, InvalidQuestion
from pulse.pages.answers import data, page, refusal, wants_json
from pulse.pages.guard import guarded
from pulse.pages.places import Places
from pulse.policies import temporary
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import COUNTERS, read, read_headers
from pulse.policies.explain.refusals import explain_refusal

Given = Mapping[str, str]

#: What the address of the page may have; values of headers stay out of it.
SHARED: Final = ("path", "method", "address", "user", "api_key", "count", "counters", "https")
#: Outcomes of rules that have no say in what becomes of the request.
SILENT: Final = frozenset({"not_matched", "exempt", "off"})
#: So long a part of an address is shown again where it cannot be read.
MAX_SHOWN: Final = 2048
#: No number that is asked for, or told, has so many.
MAX_DIGITS: Final = 10


@dataclass(slots=True)
class Told:
    """What a page shows of one explanation.

    Attributes:
        answer: As the API tells it; None where nothing was asked, or it could not be told.
        steps: How the client's address was found.
        errors: Why it could not, by field.
    """

    answer: Mapping[str, Any] | None = None
    steps: Sequence[str] = ()
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)


@guarded(Scope.VIEW, ("GET", "HEAD", "POST"))
def show(request: HttpRequest) -> HttpResponse:
    """Explain what the address describes; or, with headers that it has no place for, a form."""
    if request.method == "POST":
        if not request.POST.get("headers", "").strip():
            address = _address(request.POST.dict())
            return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
        return _show(request, request.POST.dict())
    return _show(request, request.GET.dict())


@guarded(Scope.ADMINISTER, ("POST",))
def make_exception(request: HttpRequest) -> HttpResponse:
    """Let a network pass for a while: an edit of the policy as any other, which ends by itself."""
    given, kind = request.POST.dict(), request.POST.get("kind", "")
    back = QueryDict(given.get("back", "")[: 4 * MAX_SHOWN]).dict()
    if kind not in {temporary.EXEMPTIONS, ACCESS}:
        told = _("It may be: %s.") % f"{temporary.EXEMPTIONS}, {ACCESS}"
        return refusal(request, HTTPStatus.BAD_REQUEST, "invalid", told, errors={"kind": [told]})
    wanted = temporary.Offer(kind, given.get("network", "").strip(), given.get("path", ""))
    period, reason = given.get("ends_in", ""), given.get("reason", "").strip()
    try:
        edit = temporary.make(
            wanted, period, reason, asker_of(request).actor, request_id=request_id_of(request)
        )
    except InvalidDocument as error:
        return refusal(request, HTTPStatus.CONFLICT, "conflict", str(error))
    except InvalidFields as error:
        if wants_json(request):
            return _refuse(request, error.errors)
        return _show(request, back, given, error.errors)
    if conf.PUBLISH == "manual":
        told = _("It is saved as a draft, which is in force once somebody publishes it.")
        return refusal(request, HTTPStatus.ACCEPTED, "draft", told)
    back["made"] = "" if edit.revision is None else str(edit.revision.number)
    return HttpResponseRedirect(f"{reverse('pulse:explain')}?{urlencode(back)}")


def _show(
    request: HttpRequest,
    given: Given,
    wanted: Given | None = None,
    errors: Mapping[str, Sequence[str]] | None = None,
) -> HttpResponse:
    told = _tell(given)
    if wants_json(request):
        if told.answer is None:
            return _refuse(request, told.errors or {"path": [_("Say which path.")]})
        return data(request, told.answer)
    answer = told.answer
    offered = None if answer is None else _offer(answer)
    made, places = given.get("made", ""), Places(request)
    rows = [] if answer is None else _rows(answer, places)
    context = {
        "asked": {name: text[:MAX_SHOWN] for name, text in given.items()},
        "methods": METHODS,
        "counters": COUNTERS,
        "told": told,
        "answer": answer,
        "rows": [row for row in rows if row["outcome"] not in SILENT],
        "silent": [row for row in rows if row["outcome"] in SILENT],
        "refusing": next((row for row in rows if row["outcome"] == "refused"), None),
        "address": "" if given.get("headers") or answer is None else _address(given),
        "offer": offered,
        "periods": [(name, text) for name, (text, _length) in temporary.PERIODS.items()],
        "wanted": wanted or {},
        "exception_errors": errors or {},
        "back": urlencode({name: given[name] for name in (*SHARED, "decision") if given.get(name)}),
        "revisions_url": places.screen("pulse_policyrevision_changelist"),
        "made": made if made.isdecimal() and len(made) < MAX_DIGITS else "",
    }
    is_wrong = bool(told.errors or errors)
    status = HTTPStatus.BAD_REQUEST if is_wrong else HTTPStatus.OK
    return page(request, "pulse/explain/page.html", context, status)


def _tell(given: Given) -> Told:
    try:
        if decision := given.get("decision", "").strip():
            return Told(explain_refusal(decision))
        if not given.get("path", "").strip():
            return Told()
        explanation = explain(read(_fields(given)))
    except InvalidQuestion as error:
        return Told(errors=error.errors)
    return Told(explanation.answer, explanation.address.steps)


def _fields(given: Given) -> dict[str, Any]:
    """Read the texts of a form as what the API has in their places; empty ones are not said."""
    fields: dict[str, Any] = {name: given[name].strip() for name in SHARED if given.get(name)}
    count = fields.get("count", "")
    if count.isascii() and count.isdecimal() and len(count) < MAX_DIGITS:
        fields["count"] = int(count)
    if "https" in fields:
        fields["https"] = True
    if headers := given.get("headers", ""):
        fields["headers"] = read_headers(headers)
    return fields


def _address(given: Given) -> str:
    """Write the address under which the same is explained again: without what may be secret.

    No limit looks at a query, and a query may have a token in it.
    """
    named = {name: given[name].strip() for name in SHARED if given.get(name, "").strip()}
    if "path" in named:
        named["path"] = named["path"].partition("?")[0]
    usual = {"method": "GET", "count": "1", "counters": "live"}
    named = {name: text for name, text in named.items() if usual.get(name) != text}
    if decision := given.get("decision", "").strip():
        named = {"decision": decision}
    query = urlencode({name: text[:MAX_SHOWN] for name, text in named.items()})
    return f"{reverse('pulse:explain')}?{query}" if query else reverse("pulse:explain")


def _rows(answer: Mapping[str, Any], places: Places) -> list[dict[str, Any]]:
    """Return the rules with their names, and where who asks may edit them."""
    return [
        {
            **row,
            "name": " ".join(row["key"].values()),
            "place": places.of(row["kind"], row["key"]),
        }
        for row in answer["rules"]
    ]


def _offer(answer: Mapping[str, Any]) -> temporary.Offer | None:
    """Return the exception that would let the request pass."""
    address = answer["client"]["address"]
    for row in answer["rules"]:
        if row["outcome"] == "refused":
            return temporary.offer(row, address)
    return None


def _refuse(request: HttpRequest, errors: Mapping[str, Sequence[str]]) -> HttpResponse:
    text = " ".join(text for texts in errors.values() for text in texts)
    return refusal(request, HTTPStatus.BAD_REQUEST, "invalid", text, errors=errors)
