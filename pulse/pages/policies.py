"""What is in force, in shadow, to come or ending, and how close limits are."""

from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.scopes import Scope
from pulse.conf import conf
from pulse.exceptions import StoreUnavailable
from pulse.pages.answers import data, number_of, page, wants_json
from pulse.pages.guard import guarded
from pulse.pages.places import Places
from pulse.policies import current, kinds, publisher
from pulse.policies.headroom import Headroom, headroom_of_rules
from pulse.policies.overview import EXPIRING, Overview, Sort, State, Wanted, overview
from pulse.policies.processes import convergence
from pulse.policies.state import GuardState, PolicyGuard

MAX_QUERY: Final = 200


@guarded(Scope.VIEW)
def listing(request: HttpRequest) -> HttpResponse:
    """List the rules of every kind: counted, filtered, sorted and paged by the address alone."""
    wanted, headroom = _wanted(request), _headroom()
    snapshot = current.current_snapshot()
    found = overview(current.document_in_force(), headroom or {}, timezone.now(), wanted)
    if wants_json(request):
        return data(
            request,
            {
                "revision": snapshot.revision,
                "count": found.found,
                "results": [line.as_dict() for line in found.lines],
            },
        )
    places = Places(request)
    context = {
        "overview": found,
        "revision": snapshot.revision,
        "cards": _cards(found),
        "kinds": [
            (tally, places.lists.get(tally.kind, ""))
            for tally in found.tallies
            if tally.total or places.lists.get(tally.kind)
        ],
        "rows": [(line, places.of(line.kind, line.key)) for line in found.lines],
        "wanted": wanted,
        "is_filtered": bool(wanted.kind or wanted.state or wanted.q),
        "sorts": _sorts(),
        "counts_known": headroom is not None,
        "convergence": convergence(),
        "guards": PolicyGuard.objects.using(publisher.database())
        .filter(state=GuardState.WATCHING)
        .select_related("revision"),
        "has_draft": publisher.has_unpublished(),
        "is_manual": conf.PUBLISH == "manual",
        "is_switched_off": not conf.ENABLED,
        "publish_url": places.screen("pulse_policyrevision_publish"),
        "revisions_url": places.screen("pulse_policyrevision_changelist"),
        "blocked_url": places.screen("pulse_blocked"),
    }
    return page(request, "pulse/policies/list.html", context)


def _headroom() -> Mapping[str, Headroom] | None:
    """Return how close limits came; None where the counters cannot be asked."""
    try:
        return headroom_of_rules()
    except StoreUnavailable:
        return None


def _wanted(request: HttpRequest) -> Wanted:
    """Read how the list is narrowed; what is no way to do so does not."""
    given = request.GET
    kind, state, sort = given.get("kind", ""), given.get("state", ""), given.get("sort", "")
    return Wanted(
        kind=kind if kinds.find_kind(kind) else "",
        state=state if state in {*State, EXPIRING} else "",
        q=given.get("q", "").strip()[:MAX_QUERY],
        sort=Sort(sort) if sort in set(Sort) else Sort.POLICY,
        page=number_of(request),
    )


def _cards(found: Overview) -> list[tuple[str, Any, int]]:
    """Return what the list is narrowed to by one click: value, text and number."""
    states = found.states
    return [
        (State.ENFORCED, _("in force"), states[State.ENFORCED]),
        (State.SHADOW, _("in shadow"), states[State.SHADOW]),
        (EXPIRING, _("end within 7 days"), found.expiring),
        (State.SCHEDULED, _("to come"), states[State.SCHEDULED]),
        (State.ENDED, _("over"), states[State.ENDED]),
        (State.OFF, _("off"), states[State.OFF]),
    ]


def _sorts() -> list[tuple[Sort, str]]:
    return [
        (Sort.POLICY, _("as in the policy")),
        (Sort.REFUSED, _("most refused first")),
        (Sort.PEAK, _("closest to its limit first")),
        (Sort.ENDS, _("ending first")),
    ]
