"""Whether an edit would refuse its own author, asked of the code that enforces.

A limit that the admin cannot live with, or a rule that denies its author, is one that its operator
may be unable to take back. A rule that denies the probes of the site's health takes it off the net.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.access import ACCESS, AccessIndex, Action
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import OnStoreError
from pulse.core.clients import ClientAddress, User, resolve_address
from pulse.core.document import Document
from pulse.core.endpoints import Match
from pulse.core.networks import parse_address
from pulse.core.quotas import Quota
from pulse.core.snapshot import TIERS, Snapshot
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
    """

    peer: str
    forwarded_for: str
    header: Callable[[str], str | None]
    user: User | None = None


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

    The author's address may be another tomorrow, so a share of clients is taken to have the
    author in it, and not to; what starts later counts as started, and an allowance that ends
    before the denials do, as ended.

    Raises:
        InvalidDocument: A document cannot be compiled.
    """
    found = _all_threats(after, author, visits)
    known = _all_threats(before, author, visits) if found else {}
    return [threat for what, threat in found.items() if what not in known]


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
    return [*found.values(), *hidden_health(snapshot.access)]


def hidden_health(access: AccessIndex) -> Iterator[Threat]:
    """Find the rules that deny probes of the site's health, each once."""
    seen: set[str] = set()
    for path in HEALTH if access else ():
        for probe in PROBES:
            name = _denied_by(access, probe, path)
            if name and name not in seen:
                seen.add(name)
                problem = _("it refuses probes of the site's health from %s.") % probe
                yield Threat(ACCESS, name, "GET", path, problem)


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
    document: Document, author: Author, visits: Sequence[Visit]
) -> dict[tuple[str, str, str], Threat]:
    shared = any(item["percent"] % 100 for item in _items(document))
    lasting = _without_passing_allowances(document)
    return {
        threat.what: threat
        for variant in ((document,) if lasting is document else (document, lasting))
        for percent in ((100, 0) if shared else (100,))
        for threat in threats(_snapshot(variant, percent), author, visits)
    }


def _without_passing_allowances(document: Document) -> Document:
    """Leave out what lets clients in for a shorter time than others are kept out."""
    rules = document.get(ACCESS, ())
    forever = "9999"  # After every time that a document has: both are texts in one form.
    denied = max(
        (rule["ends_at"] or forever for rule in rules if rule["action"] == Action.DENY), default=""
    )
    left = [
        rule
        for rule in rules
        if rule["action"] == Action.DENY or (rule["ends_at"] or forever) >= denied
    ]
    return document if len(left) == len(rules) else {**document, ACCESS: left}


def _snapshot(document: Document, percent: int) -> Snapshot:
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
    return compile_document(whole, None, time.time())


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
    )
    # As on a request: the user is looked at only where a policy asks.
    return facts._replace(user=author.user) if snapshot.wants_user else facts
