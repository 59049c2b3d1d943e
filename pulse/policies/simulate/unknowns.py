"""What recorded requests cannot tell of a policy: said with each answer, never guessed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.clients import HEADER_SOURCE
from pulse.core.document import Change, Document, Item, difference, key_of
from pulse.core.quotas import Quota
from pulse.core.recording import Recorded
from pulse.core.snapshot import ENDPOINTS, TIERS, Snapshot
from pulse.policies import kinds
from pulse.policies.models import PolicyRevision
from pulse.policies.simulate.replay import Policy, Traffic, is_shared

ASSIGNMENTS: Final = "tier_assignments"
EXEMPTIONS: Final = "exemptions"
#: What decides before limits are asked, or for whom they count.
BEFORE: Final = ("access_rules", "trusted_proxies")
#: What an endpoint limit bounds beside the rate.
BOUNDS: Final = ("max_body_bytes", "timeout_s", "require_nonce", "on_store_error")
#: So many are told.
MOST: Final = 50
#: So many revisions are looked at for what was known when a request was recorded.
REVISIONS: Final = 50


@dataclass(frozen=True, slots=True)
class Unknown:
    """One policy that is not replayed, or not for all requests.

    Attributes:
        why: In words.
        requests: Of how many recorded requests it is not known; None where of any.
    """

    kind: str
    key: Mapping[str, Any]
    why: str
    requests: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {
            "kind": self.kind,
            "key": dict(self.key),
            "why": self.why,
            "requests": self.requests,
        }


class _Known:
    """What was known of requests when they were recorded, by the policies of that time."""

    def __init__(self, requests: Iterable[Recorded]) -> None:
        numbers = {recorded.revision for recorded in requests}
        revisions = PolicyRevision.objects.filter(number__in=numbers).order_by("-number")
        documents = revisions.values_list("number", "document")[:REVISIONS]
        self.networks: dict[int, set[str]] = {}
        self.paths: dict[int, set[str]] = {}
        for number, document in documents:
            items = [
                *_items(document, EXEMPTIONS),
                *_items(document, ASSIGNMENTS),
                *_items(document, ENDPOINTS),
            ]
            self.networks[number] = {item["network"] for item in items if item.get("network")}
            self.paths[number] = {item["path"] for item in items if item.get("path")}


def unknowns(
    before: Document, after: Document, policy: Policy, traffic: Traffic, counts: Sequence[int]
) -> list[Unknown]:
    """List what of a draft recorded requests cannot tell.

    Queries the revisions by which they were recorded.

    Args:
        before: The document in force.
        after: The draft.
        policy: The draft, as it is replayed.
        traffic: The requests.
        counts: How often each of them came.
    """
    changes = difference(before, after, kinds.keys())
    known = _Known(traffic.requests)
    found = [
        *_not_replayed(changes),
        *_not_in_time(changes, after, policy.snapshot),
        *_by_user(after, policy.snapshot, traffic, counts),
        *_by_header(after, policy.snapshot, traffic, counts),
        *_by_network(after, known, traffic, counts),
        *_by_path(after, known, traffic, counts),
    ]
    return found[:MOST]


def across_clients(policy: Policy, traffic: Traffic, counts: Sequence[int]) -> list[Unknown]:
    """List what is counted over several clients, of whom only a share was recorded.

    Args:
        policy: The draft, as it is replayed.
        traffic: The requests.
        counts: How often each of them came.
    """
    shared = [rule for rule in policy.snapshot.rules if is_shared(rule.key)]
    why = _("it counts all clients as one, and only a share of them is recorded: left out")
    found = [Unknown(rule.kind, {"name": rule.name}, why) for rule in shared]
    holders: dict[str, set[str]] = {}
    charged = [policy.charges(recorded) for recorded in traffic.requests]
    for mark, charges in zip(traffic.marks, charged, strict=True):
        for charge in charges:
            holders.setdefault(charge.claim.key, set()).add(mark)
    spread: Counter[tuple[str, str]] = Counter()
    for count, charges in zip(counts, charged, strict=True):
        spread.update(
            {
                (charge.rule.kind, charge.rule.name): count
                for charge in charges
                if len(holders[charge.claim.key]) > 1
            }
        )
    why = _("it counts what comes from several addresses or users, only some of which are recorded")
    found += [Unknown(kind, {"name": name}, why, n) for (kind, name), n in spread.items()]
    return found[:MOST]


def begun_full(policy: Policy, recorded_us: int) -> list[Unknown]:
    """List the rules that remember for longer than there are recorded requests.

    Args:
        policy: The draft, as it is replayed.
        recorded_us: For how long before the window requests are replayed.
    """
    why = _("it remembers longer than is recorded before the window, so buckets begin full")
    return [
        Unknown(rule.kind, {"name": rule.name}, why)
        for rule in policy.snapshot.rules
        if any(memory_us(quota) > recorded_us for quota in rule.allowance.quotas)
    ][:MOST]


def memory_us(quota: Quota) -> int:
    """Return how long what a client did matters to a quota, in microseconds."""
    return max(quota.period_us, quota.tolerance_us)


def _not_replayed(changes: Iterable[Change]) -> Iterator[Unknown]:
    for change in changes:
        if change["kind"] in BEFORE:
            why = _("no address is kept, so who is denied or whose proxy is trusted is not known")
            yield Unknown(change["kind"], change["key"], why)
        elif change["kind"] == ENDPOINTS:
            fields = [name for name in BOUNDS if _differs(change, name)]
            if fields:
                why = _("not replayed: %s") % ", ".join(fields)
                yield Unknown(ENDPOINTS, change["key"], why)


def _differs(change: Change, name: str) -> bool:
    values = change["fields"].get(name)
    if values is None:
        return False
    # Of what is made or deleted, only what it says.
    told = values["after"] if values["before"] is None else values["before"]
    return change["action"] == "update" or told not in (None, False, "local")


def _not_in_time(
    changes: Iterable[Change], after: Document, snapshot: Snapshot
) -> Iterator[Unknown]:
    in_force = {(rule.kind, rule.name) for rule in snapshot.rules}
    timed = {
        (kind, item["name"])
        for kind in (TIERS, ENDPOINTS)
        for item in _items(after, kind)
        if item.get("starts_at") or item.get("ends_at")
    }
    for change in changes:
        name = (change["kind"], change["key"].get("name"))
        if name in timed and name not in in_force:
            yield Unknown(change["kind"], change["key"], _("it is not in force at this time"))


def _by_user(
    after: Document, snapshot: Snapshot, traffic: Traffic, counts: Sequence[int]
) -> Iterator[Unknown]:
    if not snapshot.wants_user:
        return
    pairs = list(zip(traffic.requests, counts, strict=True))
    no_user = sum(count for recorded, count in pairs if not recorded.user_known)
    no_groups = no_user + sum(
        count for recorded, count in pairs if recorded.user and recorded.groups is None
    )
    why = _("who was logged in was not looked at when this was recorded")
    if no_user and "user" in conf.CLIENT_IDENTITY and snapshot.default_tier is not None:
        # As some policy asks for users, all who are logged in are counted as such.
        yield Unknown(TIERS, {"name": snapshot.default_tier.name}, why, no_user)
    for item in _items(after, ENDPOINTS):
        if no_user and "user" in item["key"]:
            yield Unknown(ENDPOINTS, {"name": item["name"]}, why, no_user)
    for item in _items(after, ASSIGNMENTS):
        count = no_user if item.get("user") else no_groups if item.get("group") else 0
        if count:
            yield Unknown(ASSIGNMENTS, _key(ASSIGNMENTS, item), why, count)


def _by_header(
    after: Document, snapshot: Snapshot, traffic: Traffic, counts: Sequence[int]
) -> Iterator[Unknown]:
    missing: Counter[str] = Counter()
    wanted = {
        part for rule in snapshot.rules for part in rule.key if part.startswith(HEADER_SOURCE)
    }
    names = {part.removeprefix(HEADER_SOURCE).lower() for part in wanted}
    names |= {name.lower() for name in snapshot.assignments.headers}
    if not names:
        return
    for recorded, count in zip(traffic.requests, counts, strict=True):
        for name in names.difference(name for name, _value in recorded.headers):
            missing[name] += count
    for item in _items(after, ENDPOINTS):
        key = [item["key"]] if isinstance(item["key"], str) else item["key"]
        for part in key:
            name = part.removeprefix(HEADER_SOURCE).lower()
            if part.startswith(HEADER_SOURCE) and missing[name]:
                yield Unknown(ENDPOINTS, {"name": item["name"]}, _no_header(name), missing[name])
    for item in _items(after, ASSIGNMENTS):
        name = (item.get("header") or "").partition(":")[0].strip().lower()
        if missing[name]:
            yield Unknown(ASSIGNMENTS, _key(ASSIGNMENTS, item), _no_header(name), missing[name])


def _no_header(name: str) -> str:
    return _("the header %s was not looked at when this was recorded") % name


def _by_network(
    after: Document, known: _Known, traffic: Traffic, counts: Sequence[int]
) -> Iterator[Unknown]:
    """Find the networks that no policy named when requests were recorded."""
    revisions: Counter[int] = Counter()
    for recorded, count in zip(traffic.requests, counts, strict=True):
        revisions[recorded.revision] += count
    why = _("no address is kept, and no policy named this network by then")
    for kind, item in _naming(after, "network", EXEMPTIONS, ASSIGNMENTS):
        count = sum(
            count
            for number, count in revisions.items()
            if item["network"] not in known.networks.get(number, ())
        )
        if count:
            yield Unknown(kind, _key(kind, item), why, count)


def _by_path(
    after: Document, known: _Known, traffic: Traffic, counts: Sequence[int]
) -> Iterator[Unknown]:
    """Find the paths that may lie in what is not kept of a path."""
    parts: Counter[tuple[int, str, bool]] = Counter()
    for recorded, count in zip(traffic.requests, counts, strict=True):
        if not recorded.is_whole:
            parts[recorded.revision, recorded.path, recorded.route is not None] += count
    why = _("no path is kept beyond its route's first parameter")
    for kind, item in _naming(after, "path", EXEMPTIONS, ENDPOINTS):
        path = item["path"]
        count = sum(
            count
            for (number, part, resolved), count in parts.items()
            if path not in known.paths.get(number, ())
            and (resolved or kind == EXEMPTIONS)
            and path != part
            and path.startswith(part)
        )
        if count:
            yield Unknown(kind, _key(kind, item), why, count)


def _naming(after: Document, field: str, *names: str) -> Iterator[tuple[str, Item]]:
    for kind in names:
        yield from ((kind, item) for item in _items(after, kind) if item.get(field))


def _items(document: Document, kind: str) -> list[Item]:
    """Return the items of a kind that may act."""
    return [item for item in document.get(kind, ()) if item["mode"] != "off"]


def _key(kind: str, item: Item) -> Mapping[str, Any]:
    return key_of(item, kinds.keys()[kind])
