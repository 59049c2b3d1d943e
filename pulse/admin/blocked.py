"""Blocked now: who is refused at this moment, by limits and by access rules, and letting go."""

import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pulse.access.scopes import Scope, holds
from pulse.admin.errands import actor_of, request_id_of
from pulse.admin.permissions import may
from pulse.audit.models import Action
from pulse.audit.record import record
from pulse.core.access import ACCESS
from pulse.core.charging import PREFLIGHT
from pulse.core.clients import UNKNOWN
from pulse.core.networks import client_prefix, parse_address, parse_network
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import ENDPOINTS, TIERS
from pulse.exceptions import InvalidNetwork, StoreUnavailable
from pulse.policies import current, kinds, words
from pulse.policies.blocked import in_force
from pulse.policies.edge import AccessRule
from pulse.policies.models import EndpointLimit, RateTier
from pulse.store import blocked, limits
from pulse.store.blocked import Blocked

PER_PAGE: Final = 50
#: What a search is read of; an address has no more.
MAX_QUERY: Final = 100
#: What a route has where its path varies.
VARYING: Final = re.compile(r"[<(\\^$*]")
#: An end within the day needs no date, and is worth its seconds.
NEAR_S: Final = 43_200
#: From how many seconds on a duration is rounded to how many.
UNITS_S: Final = ((172_800, 86_400), (3_600, 1_800), (60, 60))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the page.

    Attributes:
        rule: In words; ``rule_address`` leads to its form, where the user may see it.
        may_unblock: The user may give the client its allowance back.
        deny: Leads to a new rule against the address; ``allow`` to one that lets it in.
        explain: Leads to the page that tells why.
    """

    entry: Blocked
    client: str
    rule: str
    rule_address: str
    since: str
    until: str
    may_unblock: bool
    deny: str = ""
    allow: str = ""
    explain: str = ""


def view(admin: Any, request: HttpRequest) -> HttpResponseBase:
    """List who is blocked; let one go."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        _unblock(request, request.POST.get("name", ""))
        query = urlencode({"q": request.POST["q"]}) if request.POST.get("q") else ""
        address = reverse("admin:pulse_blocked", current_app=admin.admin_site.name)
        return HttpResponseRedirect(f"{address}?{query}" if query else address)
    listing = blocked.listing()
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    entries = in_force(listing.entries, current.current_snapshot())
    found = [entry for entry in entries if _matches(entry, query)] if query else entries
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("p"))
    context = {
        **admin.admin_site.each_context(request),
        "title": _("Blocked now"),
        "opts": admin.opts,
        "media": admin.media,
        "rows": _rows(page.object_list, request, admin.admin_site.name),
        "page": page,
        "query": query,
        "query_string": urlencode({"q": query}) if query else "",
        "told": _say_count(len(found), listing),
        "listing": listing,
    }
    return TemplateResponse(request, "admin/pulse/blocked.html", context)


def _unblock(request: HttpRequest, name: str) -> None:
    """Give a client back what it used of one rule, and say so."""
    entry = blocked.find(name)
    if entry is None:
        messages.info(request, _("That client is not blocked any more."))
        return
    kind, _colon, key = entry.rule.partition(":")
    model = _LIMITS.get(kind)
    if model is None or not may(request, "change", model):
        raise PermissionDenied
    client = _say_client(entry.client, _users([entry]))
    try:
        limits.forget(entry.name)
    except StoreUnavailable:
        messages.error(request, _("Redis cannot be reached: nothing was changed. Try again."))
        return
    # From here on it is done, whatever becomes of the list.
    try:
        blocked.forget(entry.name)
    except StoreUnavailable:
        messages.warning(request, _("Redis cannot be reached: the list may show it for a while."))
    text = _("Unblocked: %(client)s.") % {"client": client}
    record(
        Action.CLIENT_UNBLOCK,
        actor_of(request),
        kind=kind,
        key={"name": key},
        request_id=request_id_of(request),
        fields={"client": {"before": client, "after": None}},
    )
    row = model.objects.filter(name=key).first()
    user: Any = request.user
    LogEntry.objects.create(
        user=user,
        content_type_id=ContentType.objects.get_for_model(model).pk,
        object_id=None if row is None else str(row.pk),
        object_repr=key[:200],
        action_flag=CHANGE,
        change_message=text,
    )
    told = _("%(client)s may go on: what was used of %(rule)s is forgotten.")
    messages.success(request, told % {"client": client, "rule": _say_rule(entry.rule)})


def _rows(entries: Iterable[Blocked], request: HttpRequest, site: str) -> list[Row]:
    entries = list(entries)
    users, places = _users(entries), _places(entries, site)
    may_add = may(request, "add", AccessRule)
    may_look = holds(request.user, Scope.VIEW)
    rows = []
    for entry in entries:
        model = _LIMITS.get(entry.rule.partition(":")[0])
        denied = model is None
        link = _rule_link(entry, site) if may_add else ""
        rows.append(
            Row(
                entry,
                _say_client(entry.client, users),
                _say_rule(entry.rule),
                places.get(entry.rule, ""),
                _say_since(entry.since),
                _say_until(entry),
                model is not None and may(request, "change", model),
                deny="" if denied else link,
                allow=link if denied else "",
                explain=_explain_link(entry) if may_look else "",
            )
        )
    return rows


def _rule_link(entry: Blocked, site: str) -> str:
    """Lead to a new rule for an address; empty where it has none, or the rule names it alone."""
    address = parse_address(entry.address)
    if address is None:
        return ""
    network = client_prefix(address)
    fields = {"network": network, "ends_in": "1h"}
    if entry.rule.startswith(f"{ACCESS}:"):
        named, _space, path = entry.rule.removeprefix(f"{ACCESS}:").partition(" ")
        if parse_network(named) == parse_network(network):
            return ""
        fields |= {"action": "allow", "path": path}
    else:
        fields |= {"action": "deny", "why": _("Refused by %s") % _say_rule(entry.rule)}
    address_of_form = reverse("admin:pulse_accessrule_add", current_app=site)
    return f"{address_of_form}?{urlencode(fields)}"


def _explain_link(entry: Blocked) -> str:
    """Lead to the explanation of what was asked for last; empty where the site has no such page.

    Where the route has parts that vary, its path is left to be filled in.
    """
    try:
        page = reverse("pulse:explain")
    except NoReverseMatch:  # A host may mount only what it wants of pulse.
        return ""
    method, _space, route = entry.request.partition(" ")
    fields = {"address": entry.address, "method": method}
    if route and not VARYING.search(route):
        fields["path"] = route
    return f"{page}?{urlencode({name: text for name, text in fields.items() if text})}"


def _places(entries: Iterable[Blocked], site: str) -> dict[str, str]:
    """Find the forms of the rules that are named; a query for each kind."""
    wanted: dict[str, set[str]] = {}
    for entry in entries:
        name, _colon, key = entry.rule.partition(":")
        wanted.setdefault(name, set()).add(key.partition(" ")[0])
    places = {}
    for name, keys in wanted.items():
        kind = kinds.find_kind(name)
        if kind is None:
            continue
        form = f"admin:pulse_{kind.model._meta.model_name}_change"
        found = kind.model._default_manager.filter(**{f"{kind.key[0]}__in": keys})
        for pk, *parts in found.values_list("pk", *kind.key):
            try:
                address = reverse(form, args=[pk], current_app=site)
            except NoReverseMatch:  # A host's own admin site may leave screens out.
                continue
            places[f"{name}:{' '.join(parts)}"] = address
    return places


def _users(entries: Iterable[Blocked]) -> dict[str, str]:
    """Name the users among the clients; one query, none where there is none."""
    keys = {
        part.removeprefix("user:")
        for entry in entries
        for part in entry.client.removeprefix(PREFLIGHT).split("|")
        if part.startswith("user:")
    }
    if not keys:
        return {}
    model = get_user_model()
    found = model._default_manager.filter(pk__in=[key for key in keys if _is_key(model, key)])
    return {str(user.pk): user.get_username() for user in found}


def _is_key(model: Any, text: str) -> bool:
    """Whether a text can be the key of a row: the site may have had users of another kind."""
    try:
        model._meta.pk.to_python(text)
    except ValidationError:
        return False
    return True


def _matches(entry: Blocked, query: str) -> bool:
    """Whether an entry is what one searches: its address lies in a network, or a text has it."""
    try:
        network = parse_network(query)
    except InvalidNetwork:
        text = f"{entry.client} {entry.address} {entry.rule} {entry.request}"
        return query.lower() in text.lower()
    address = parse_address(entry.address)
    return address is not None and address.version == network.version and address in network


def _say_client(client: str, users: Mapping[str, str]) -> str:
    """Say who is counted, as a person would."""
    if client.startswith(PREFLIGHT):
        return _("preflights of %s") % _say_client(client.removeprefix(PREFLIGHT), users)
    if client.startswith("ceiling:"):
        return _("unverified clients of %s") % client.removeprefix("ceiling:")
    return _(" with ").join(_say_part(part, users) for part in client.split("|"))


def _say_part(part: str, users: Mapping[str, str]) -> str:
    kind, _colon, value = part.partition(":")
    if kind == "ip":
        return _("no address") if value == UNKNOWN else value
    if kind == "global":
        return _("all clients together")
    if kind == "user":
        return _("user %s") % users.get(value, value)
    header, _colon, digest = value.rpartition(":")
    return _("%(header)s, value %(digest)s") % {"header": header, "digest": digest[:8]}


def _say_rule(rule: str) -> str:
    kind, _colon, key = rule.partition(":")
    if kind == ACCESS:
        return _("the access rule %s") % key.removesuffix(" /")
    text = _("the endpoint limit %s") if kind == ENDPOINTS else _("the tier %s")
    return text % key


def _say_since(since: int) -> str:
    return _("the first %s ago") % _say_seconds(max(1, int(time.time() - since)))


def _say_until(entry: Blocked) -> str:
    denied = entry.rule.startswith(f"{ACCESS}:")
    if entry.until is None:
        return _("the rule has no end")
    left = math.ceil(entry.until - time.time())
    if left <= 0:
        return _("the rule has ended") if denied else _("a retry passes")
    moment = timezone.localtime(datetime.fromtimestamp(entry.until, UTC))
    near = left < NEAR_S and moment.date() == timezone.localdate()
    shown = date_format(moment, "H:i:s" if near else "SHORT_DATETIME_FORMAT")
    text = _("the rule ends %(time)s, in %(left)s") if denied else _("%(time)s, in %(left)s")
    return text % {
        "time": shown,
        "left": _say_seconds(left),
    }


def _say_seconds(seconds: int) -> str:
    """Say a duration in whole minutes, half hours or days: it is no longer exact once read."""
    unit = next((unit for begin, unit in UNITS_S if seconds >= begin), 1)
    return words.say_duration(round(seconds / unit) * unit * SECOND_US)


def _say_count(count: int, listing: blocked.Listing) -> str:
    if listing.unavailable:
        text = ngettext(
            "%d client, refused by this process alone: Redis cannot be asked now.",
            "%d clients, refused by this process alone: Redis cannot be asked now.",
            count,
        )
    elif listing.shared:
        text = ngettext(
            "%d client, refused by any process.", "%d clients, refused by any process.", count
        )
    else:
        text = ngettext(
            "%d client, refused by this process alone: there is no Redis to tell of others.",
            "%d clients, refused by this process alone: there is no Redis to tell of others.",
            count,
        )
    return text % count


_LIMITS: Final[Mapping[str, Any]] = {TIERS: RateTier, ENDPOINTS: EndpointLimit}
