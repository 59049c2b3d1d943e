"""Which limits a request is charged to, and why.

Enforcement and ``pulse_explain`` run this one code, so an explanation cannot differ from the act.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from pulse.core.claims import Claim
from pulse.core.clients import (
    HEADER_SOURCE,
    ClientAddress,
    Identity,
    User,
    by_api_key,
    by_header,
    by_user,
    identify,
    in_percent,
    in_share,
)
from pulse.core.cors import ASKED_METHOD
from pulse.core.endpoints import Match
from pulse.core.snapshot import TIERS, Assignment, Mode, Rule, Snapshot

#: Stands between a rule and a client in the key under which preflights are counted.
PREFLIGHT: Final = "preflight:"
#: Charges that are remembered: clients come again, and making one costs more than finding it.
MAX_REMEMBERED: Final = 8192
#: Whom a rule by ``client`` alone counts: what nearly every rule does.
BY_CLIENT: Final = ("client",)
OF_EVERYONE: Final = "tier of every client"
#: The view that tells a client of its own limits: asking costs none of them.
FREE_VIEW: Final = "pulse.api.quota.Quota"
FREE: Final = "quota/"


class Facts(NamedTuple):
    """A request, as plain values.

    Attributes:
        match: What it resolved to; None for a path that resolves to nothing, or that another
            middleware answered before a view was found.
        path: The decoded path that Django resolved.
        user: The authenticated user; None for nobody, and where no policy asks.
        header: Looks a request header up by name.
        sources: Who a client is (the setting ``CLIENT_IDENTITY``).
        secret: Keys the hashes.
        api_key: The prefix of the key of pulse's that came with it; None without a right one.
        mark: The mark of the address, where its prefix is not known, as of a recorded request.
    """

    method: str
    path: str
    match: Match | None
    address: ClientAddress
    header: Callable[[str], str | None]
    sources: Sequence[str]
    secret: bytes
    user: User | None = None
    api_key: str | None = None
    mark: str | None = None

    @property
    def is_preflight(self) -> bool:
        """Whether a browser asks by it what a script may do, as far as anybody can tell."""
        return (
            self.method == "OPTIONS"
            and self.header("Origin") is not None
            and self.header(ASKED_METHOD) is not None
        )


class Charge(NamedTuple):
    """One claim on the counters, with the rule that makes it.

    Attributes:
        counted_by: ``ip``, ``user``, ``api_key``, ``header``, ``global``, or several joined by
            ``+``.
        ceiling: The claim is on the address behind an identity that is not verified.
        why: In words, why the rule is for this request.
    """

    rule: Rule
    claim: Claim
    counted_by: str
    ceiling: bool
    why: str


def exempt_by(snapshot: Snapshot, facts: Facts) -> str | None:
    """Return the exemption, a path or a network, that keeps limits from a request."""
    match = facts.match
    if match is not None and match.view == FREE_VIEW:
        return FREE
    path = snapshot.exempt_paths.find(facts.path)
    if path is not None:
        return path
    if snapshot.exempt_networks and facts.address.address is not None:
        return next(iter(snapshot.exempt_networks.find(facts.address.address)), None)
    return None


def charges(snapshot: Snapshot, facts: Facts) -> list[Charge]:
    """Return every claim of a request that is not exempt: its tier, then its endpoint limits.

    All claims have different keys. An identity that is not verified is also charged to its
    address, so that inventing identities buys at most the ceiling. A preflight has the same
    limits and keys of its own: it takes nothing from the request that follows it, and who
    invents preflights is refused as anybody.
    """
    client = identify(
        facts.sources,
        user=facts.user,
        header=facts.header,
        address=facts.address,
        secret=facts.secret,
        api_key=facts.api_key,
    )
    rules: Sequence[Rule] = ()
    if facts.match is not None:
        rules = snapshot.endpoints.find(facts.match, facts.path, facts.method)
    found: list[Charge] = []
    if not rules or not any(rule.replaces_tier and acts(rule, facts) for rule in rules):
        if snapshot.assigns:
            for tier, enforced, why in tiers(snapshot, facts):
                _charge(found, tier, client, facts, why, enforced=enforced)
        elif snapshot.default_tier is not None:
            _charge(found, snapshot.default_tier, client, facts, OF_EVERYONE)
    for rule in rules:
        _charge(found, rule, client, facts, "matches the request")
    if facts.method == "OPTIONS" and facts.is_preflight:
        return [_apart(charge) for charge in found]
    return found


def acts(rule: Rule, facts: Facts) -> bool:
    """Whether a rule is enforced for this client, rather than in shadow."""
    return rule.mode is Mode.ENFORCE and (
        rule.percent >= 100 or _in_percent(rule.prefix, rule.percent, facts)
    )


def _in_percent(rule: str, percent: int, facts: Facts) -> bool:
    if facts.mark is None:
        return in_percent(rule, facts.address.prefix, percent, facts.secret)
    return in_share(rule, facts.mark, percent, facts.secret)


def waits_for_user(snapshot: Snapshot, charge: Charge) -> bool:
    """Whether a charge waits for the user whom a view finds that settles limits itself.

    An endpoint limit by ``client`` does not, although a client may be a user: it is what most
    limits count by, and waiting would cost each of their requests a second call, and let every
    one of them reach the view's authentication.
    """
    if charge.rule.kind == TIERS:
        return bool(snapshot.assignments.users or snapshot.assignments.groups)
    return charge.rule.by_user


def tiers(snapshot: Snapshot, facts: Facts) -> Iterator[tuple[Rule, bool, str]]:
    """Yield the tier of a client, and the tiers that it has in shadow.

    The assignment of the highest priority holds; among equals, API key goes before user, group,
    header and network, and the more specific network before the wider. One whose tier is not
    enforced for this client takes nobody's place: shadow never acts.
    """
    held: Assignment | None = None
    shadows: list[Assignment] = []
    if snapshot.assigns:
        for assignment in _assigned(snapshot, facts):
            if not _assigns(assignment, facts):
                shadows.append(assignment)
            elif held is None or assignment.priority > held.priority:
                held = assignment
    tier = snapshot.default_tier if held is None else held.tier
    if tier is not None:
        why = OF_EVERYONE if held is None else f"tier of {held.who}"
        yield tier, True, why
    if not shadows:
        return
    seen = {None if tier is None else tier.name}
    for assignment in shadows:
        if assignment.tier.name not in seen:
            seen.add(assignment.tier.name)
            yield assignment.tier, False, f"tier of {assignment.who}, in shadow"


def _assigned(snapshot: Snapshot, facts: Facts) -> Iterator[Assignment]:
    assignments, user, address = snapshot.assignments, facts.user, facts.address
    if facts.api_key is not None:
        yield from assignments.api_keys.get(facts.api_key, ())
    if user is not None:
        yield from assignments.users.get(user.name, ())
        for group in sorted(user.groups & assignments.groups.keys()):
            yield from assignments.groups[group]
    if address.peer_trusted:
        for name, values in assignments.headers.items():
            yield from values.get(facts.header(name) or "", ())
    if assignments.networks and address.address is not None:
        yield from assignments.networks.find(address.address)


def _assigns(assignment: Assignment, facts: Facts) -> bool:
    """Whether an assignment takes the default tier's place for this client."""
    return (
        assignment.mode is Mode.ENFORCE
        and _in_percent(assignment.who, assignment.percent, facts)
        and acts(assignment.tier, facts)
    )


def _charge(
    found: list[Charge],
    rule: Rule,
    client: Identity,
    facts: Facts,
    why: str,
    *,
    enforced: bool = True,
) -> None:
    if not rule.allowance.quotas:
        return  # It only takes requests off their client's tier.
    enforced = enforced and acts(rule, facts)
    holding = client if rule.key == BY_CLIENT else _holding(rule, client, facts)
    found.append(_charge_of(rule, holding, why, enforced))
    if not holding.verified:
        found.append(_ceiling_of(rule, facts.address.prefix, enforced))


@lru_cache(maxsize=MAX_REMEMBERED)
def _charge_of(rule: Rule, holding: Identity, why: str, enforced: bool) -> Charge:  # noqa: FBT001 - a part of the key
    key = _prefix(rule, enforced=enforced) + holding.key
    claim = Claim(key, rule.allowance, enforced, rule.on_store_error)
    return Charge(rule, claim, holding.kind, ceiling=False, why=why)


#: What clients are charged, for who tells how full that is.
remembered: Final = _charge_of


@lru_cache(maxsize=MAX_REMEMBERED)
def _ceiling_of(rule: Rule, address: str, enforced: bool) -> Charge:  # noqa: FBT001 - as above
    key = f"{_prefix(rule, enforced=enforced)}ceiling:{address}"
    claim = Claim(key, rule.ceiling, enforced, rule.on_store_error)
    return Charge(rule, claim, "ip", ceiling=True, why="address of an unverified client")


def _prefix(rule: Rule, *, enforced: bool) -> str:
    return rule.prefix if enforced else f"shadow:{rule.prefix}"


def _apart(charge: Charge) -> Charge:
    prefix = charge.rule.prefix
    key = charge.claim.key.replace(prefix, prefix + PREFLIGHT, 1)
    return charge._replace(
        claim=charge.claim._replace(key=key), why=f"{charge.why}; preflights count apart"
    )


def _holding(rule: Rule, client: Identity, facts: Facts) -> Identity:
    parts = [_part(source, client, facts) for source in rule.key]
    return Identity(
        "+".join(part.kind for part in parts),
        "|".join(part.key for part in parts),
        all(part.verified for part in parts),
    )


def _part(source: str, client: Identity, facts: Facts) -> Identity:
    if source == "client":
        return client
    if source == "global":
        return Identity("global", "global", verified=True)
    if source == "user" and facts.user is not None:
        return by_user(facts.user)
    if source == "api_key" and facts.api_key is not None:
        return by_api_key(facts.api_key)
    if source.startswith(HEADER_SOURCE):
        name = source.removeprefix(HEADER_SOURCE)
        value = facts.header(name)
        if value:
            return by_header(name, value, facts.secret)
    # Nobody is logged in, or key or header is missing: leaving it out must not escape the limit.
    return facts.address.identity
