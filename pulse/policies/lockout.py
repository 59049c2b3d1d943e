"""Whether an edit would refuse its own author, asked of the code that enforces.

A limit that the admin cannot live with, or a rule that denies its author, is one that its operator
may be unable to take back. A rule that denies the probes of the site's health takes it off the net.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.access import ACCESS, AccessIndex, Action
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import OnStoreError
from pulse.core.clients import ClientAddress, User, resolve_address
from pulse.core.document import Document
from pulse.core.endpoints import Match, prefixes
from pulse.core.networks import Network, parse_address, parse_network
from pulse.core.quotas import Quota
from pulse.core.replay import Problem, once
from pulse.core.snapshot import TIERS, Mode, Snapshot
from pulse.policies.compiler import compile_document
from pulse.policies.words import say_quota

HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Need:
    """What using a page takes of one client: requests at once, and requests an hour."""

    at_once: int
    an_hour: int


#: A form is a page, its catalogue of texts, look-ups while typing, and the saving.
WORK: Final = Need(10, 100)
LOGIN: Final = Need(3, 10)
#: Who shares a limit with all clients needs room beside them.
SHARED_FACTOR: Final = 10
#: What load balancers and orchestrators ask all day, and from where: this machine, and each kind
#: of private network.
HEALTH: Final = ("/healthz", "/readyz")
PROBES: Final = tuple(
    ClientAddress(parse_address(text))
    for text in ("127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "fd00::1")
)
PRIVATE: Final = tuple(
    parse_network(text)
    for text in ("127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)

#: A network as its version, the bits that are free in it, and the number before those.
Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that the author must be able to make."""

    method: str
    path: str
    match: Match | None
    need: Need = WORK


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes the edit, as the request road sees one.

    Attributes:
        peer: The socket's peer.
        forwarded_for: ``X-Forwarded-For`` as it came.
        header: Looks a request header up by name.
        user: Who is logged in.
        api_key: The prefix of the key of pulse's that came with it.
    """

    peer: str
    forwarded_for: str
    header: Callable[[str], str | None]
    user: User | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class Threat:
    """A rule that the author could not work with, or that hides the site's health.

    Attributes:
        kind: The rule's kind, and ``name`` its name.
        method: The first request that it holds for, and its ``path``.
        problem: What is wrong with it, in words.
    """

    kind: str
    name: str
    method: str
    path: str
    problem: str

    @property
    def what(self) -> tuple[str, str, str]:
        """What makes it the same threat on another page."""
        return self.kind, self.name, self.problem

    def __str__(self) -> str:
        rule = {TIERS: _("The tier %s"), ACCESS: _("The access rule %s")}.get(
            self.kind, _("The endpoint limit %s")
        )
        return _("%(rule)s holds for %(method)s %(path)s: %(problem)s") % {
            "rule": rule % self.name,
            "method": self.method,
            "path": self.path,
            "problem": self.problem,
        }


def new_threats(
    before: Document, after: Document, author: Author, visits: Sequence[Visit]
) -> list[Threat]:
    """List what one document would do to its author that the other does not.

    Both are judged as they are now, and as they may be: the author's address may be another
    tomorrow, so a share of clients is taken to have the author in it, and not to; what starts
    later counts as started, and an allowance that ends before the denials do, as ended. What was
    only possible does not excuse what is made certain: like is compared with like.

    Raises:
        InvalidDocument: A document cannot be compiled.
    """
    now = time.time()
    found = _all_threats(after, author, visits, now)
    if not any(found.values()):
        return []
    known = _all_threats(before, author, visits, now)
    return list(
        {
            what: threat
            for variant, threats_of_it in found.items()
            for what, threat in threats_of_it.items()
            if what not in known[variant]
        }.values()
    )


def threats(snapshot: Snapshot, author: Author, visits: Sequence[Visit]) -> list[Threat]:
    """List the rules of a policy that its author could not work with, each once."""
    found: dict[tuple[str, str], Threat] = {}
    for visit in visits:
        facts = _facts(snapshot, author, visit)
        denied_by = _denied_by(snapshot.access, facts.address, visit.path)
        if denied_by:
            text = _("it refuses your address %s.") % facts.address
            threat = Threat(ACCESS, denied_by, visit.method, visit.path, text)
            found.setdefault((ACCESS, denied_by), threat)
        if exempt_by(snapshot, facts):
            continue
        for charge in charges(snapshot, facts):
            problem = _problem(charge, visit.need) if charge.claim.enforced else None
            if problem:
                rule = charge.rule
                found.setdefault(
                    (rule.kind, rule.name),
                    Threat(rule.kind, rule.name, visit.method, visit.path, problem),
                )
        for charge in once(snapshot, facts, time.time()):
            if charge.claim.enforced and charge.why == Problem.MISSING:
                rule, text = charge.rule, _("it takes a X-Nonce, which no browser sends.")
                found.setdefault(
                    (rule.kind, rule.name),
                    Threat(rule.kind, rule.name, visit.method, visit.path, text),
                )
    return [*found.values(), *hidden_health(snapshot.access)]


def hidden_health(access: AccessIndex) -> Iterator[Threat]:
    """Find the rules that deny probes of the site's health, each once."""
    seen: set[str] = set()
    for path in HEALTH if access else ():
        for probe in (*PROBES, *_denied_private(access, path)):
            name = _denied_by(access, probe, path)
            if name and name not in seen:
                seen.add(name)
                problem = _("it refuses probes of the site's health from %s.") % probe
                yield Threat(ACCESS, name, "GET", path, problem)


def _denied_private(access: AccessIndex, path: str) -> Iterator[ClientAddress]:
    """Yield the first private address of each network that is denied around a path."""
    for rule in access.rules.values():
        if rule.action is not Action.DENY or not rule.enforced:
            continue
        if rule.path in prefixes(path, len(rule.path)):
            yield from _private_in(rule.network)


@lru_cache(maxsize=16_384)  # Of one policy several variants are judged, each for two paths.
def _private_in(text: str) -> tuple[ClientAddress, ...]:
    """Return where each private network begins in a network, or it begins in one of these."""
    network = parse_network(text)
    first = int(network.network_address)
    return tuple(
        ClientAddress(type(network.network_address)(max(first, int(private.network_address))))
        for private in PRIVATE
        # Of two networks that overlap, one holds the other.
        if network.version == private.version and network.overlaps(private)
    )


def _denied_by(access: AccessIndex, client: ClientAddress, path: str) -> str:
    """Name the access rule that refuses a client; empty where none does."""
    found = access.judge(client, path, conf.client_secret)
    if found.rule is None or not found.refused:
        return ""
    return found.rule.name.removeprefix(f"{ACCESS}:")


def _problem(charge: Charge, need: Need) -> str | None:
    """Say why a claim leaves too little, None if it leaves enough."""
    shared = "global" in charge.counted_by
    factor = SHARED_FACTOR if shared else 1
    allowance = charge.claim.allowance
    for quota in allowance.quotas:
        at_once = quota.capacity // allowance.cost
        an_hour = _an_hour(quota) // allowance.cost
        if at_once >= need.at_once * factor and an_hour >= need.an_hour * factor:
            continue
        if shared:
            return _(
                "%(limit)s, for all clients together, so that others can use up what you need."
            ) % {"limit": say_quota(quota)}
        return _(
            "%(limit)s. Working there takes about %(at_once)d at once and %(an_hour)d an hour."
        ) % {"limit": say_quota(quota), "at_once": need.at_once, "an_hour": need.an_hour}
    if charge.claim.on_store_error is OnStoreError.CLOSED and need is WORK:
        return _("everything is refused while Redis cannot be reached, this page too.")
    return None


def _an_hour(quota: Quota) -> int:
    return max(quota.capacity, quota.count * HOUR_US // quota.period_us)


def _all_threats(
    document: Document, author: Author, visits: Sequence[Visit], now: float
) -> dict[str, dict[tuple[str, str, str], Threat]]:
    """List the threats of every variant of a document; of equal variants one is compiled."""

    def found(snapshot: Snapshot) -> dict[tuple[str, str, str], Threat]:
        return {threat.what: threat for threat in threats(snapshot, author, visits)}

    items = list(_items(document))
    shared = any(item["percent"] % 100 for item in items)
    starts = any(item.get("starts_at") for item in items)
    lasting = _without_passing_allowances(document)
    everybody = found(_snapshot(document, 100, now))
    later = everybody if lasting is document else found(_snapshot(lasting, 100, now))
    nobody, nobody_later = everybody, later
    if shared:
        nobody = found(_snapshot(document, 0, now))
        nobody_later = nobody if lasting is document else found(_snapshot(lasting, 0, now))
    certain = shared or starts
    return {
        "now": found(compile_document(document, None, now)) if certain else everybody,
        "everybody": everybody,
        "nobody": nobody,
        "later": later,
        "nobody later": nobody_later,
    }


def _without_passing_allowances(document: Document) -> Document:
    """Leave out the allowances that a denial around or within their network outlives.

    With them go the denials that outlive none of these: what they do, they do beside them.
    """
    if not any(r["action"] == Action.ALLOW and r["ends_at"] for r in document.get(ACCESS, ())):
        return document
    forever = "9999"  # After every time that a document has: all are texts in one form.
    denials: dict[Place, str] = {}
    allowances: dict[Place, str] = {}
    ends = []
    for rule in document.get(ACCESS, ()):
        end = rule["ends_at"] or forever
        place = _place(parse_network(rule["network"])) if rule["mode"] == Mode.ENFORCE else None
        ends.append((rule, place, end))
        if place is not None and rule["action"] == Action.DENY:
            denials[place] = max(end, denials.get(place, ""))
        elif place is not None and end != forever:
            allowances[place] = min(end, allowances.get(place, forever))
    if not allowances or not denials:
        return document
    # The last end of the denials that overlap an allowance, and the first of the other way round.
    outlived, outlives = dict.fromkeys(allowances, ""), dict.fromkeys(denials, forever)
    for denial, allowance in _overlaps(denials, allowances):
        outlived[allowance] = max(outlived[allowance], denials[denial])
        outlives[denial] = min(outlives[denial], allowances[allowance])
    left = [
        rule
        for rule, place, end in ends
        if place is None
        or (
            end > outlives[place]
            if rule["action"] == Action.DENY
            else end >= outlived.get(place, "")
        )
    ]
    if all(end >= outlived[place] for place, end in allowances.items()):
        return document
    return {**document, ACCESS: left}


def _place(network: Network) -> Place:
    shift = network.max_prefixlen - network.prefixlen
    return network.version, shift, int(network.network_address) >> shift


def _overlaps(
    denials: Collection[Place], allowances: Collection[Place]
) -> Iterator[tuple[Place, Place]]:
    """Yield each denial with each allowance where one of the two networks holds the other."""
    for denial in denials:
        for allowance in _around(denial, allowances):
            yield denial, allowance
    for allowance in allowances:
        for denial in _around(allowance, denials):
            yield denial, allowance


def _around(place: Place, others: Collection[Place]) -> list[Place]:
    version, shift, number = place
    around = (
        (version, shift + up, number >> up)
        for up in range((32 if version == 4 else 128) - shift + 1)
    )
    return [other for other in around if other in others]


def _snapshot(document: Document, percent: int, now: float) -> Snapshot:
    """Compile a document with every share at ``percent``, and everything started."""
    whole: dict[str, Any] = {
        name: [
            {
                **item,
                "starts_at": None,
                "percent": percent if item["percent"] % 100 else item["percent"],
            }
            for item in value
        ]
        if isinstance(value, list)
        else value
        for name, value in document.items()
    }
    return compile_document(whole, None, now)


def _items(document: Document) -> Iterator[Mapping[str, Any]]:
    for value in document.values():
        if isinstance(value, list):
            yield from value


def _facts(snapshot: Snapshot, author: Author, visit: Visit) -> Facts:
    facts = Facts(
        method=visit.method,
        path=visit.path,
        match=visit.match,
        address=resolve_address(
            author.peer,
            author.forwarded_for,
            snapshot.trusted_proxies,
            trusts_unix=snapshot.trusts_unix,
        ),
        header=author.header,
        sources=conf.CLIENT_IDENTITY,
        secret=conf.client_secret,
        api_key=author.api_key,
    )
    # As on a request: the user is looked at only where a policy asks.
    return facts._replace(user=author.user) if snapshot.wants_user else facts
