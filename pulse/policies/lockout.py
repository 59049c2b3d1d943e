"""Whether an edit would refuse its own author, asked of the code that enforces.

A limit that the admin cannot live with is one that its operator may be unable to take back.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import OnStoreError
from pulse.core.clients import User, client_secret, resolve_address
from pulse.core.document import Document
from pulse.core.endpoints import Match
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
    """A limit that the author could not work with.

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
        rule = _("The tier %s") if self.kind == TIERS else _("The endpoint limit %s")
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
    author in it, and not to; what starts later counts as started.

    Raises:
        InvalidDocument: A document cannot be compiled.
    """
    found = _all_threats(after, author, visits)
    known = _all_threats(before, author, visits) if found else {}
    return [threat for what, threat in found.items() if what not in known]


def threats(snapshot: Snapshot, author: Author, visits: Sequence[Visit]) -> list[Threat]:
    """List the limits of a policy that its author could not work with, each once."""
    found: dict[tuple[str, str], Threat] = {}
    for visit in visits:
        facts = _facts(snapshot, author, visit)
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
    return list(found.values())


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
    return {
        threat.what: threat
        for percent in ((100, 0) if shared else (100,))
        for threat in threats(_snapshot(document, percent), author, visits)
    }


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
        secret=client_secret(settings.SECRET_KEY),
    )
    # As on a request: the user is looked at only where a policy asks.
    return facts._replace(user=author.user) if snapshot.wants_user else facts
