"""Recorded requests decided by another policy: the enforcement's code on a throw-away store."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar, cast

from pulse.conf import conf
from pulse.core.charging import Charge, Facts, charges, exempt_by
from pulse.core.claims import Claim
from pulse.core.clients import HEADER_SOURCE, ClientAddress, Identity, User, mark_of
from pulse.core.cors import ASKED_METHOD
from pulse.core.networks import NetworkIndex
from pulse.core.recording import Recorded
from pulse.core.snapshot import Snapshot
from pulse.store.memory import MemoryStore

T = TypeVar("T")

#: Counters of a replay: as many as its requests ask for.
MAX_KEYS: Final = 10**9
#: So often the time is looked at.
LOOK: Final = 512


@dataclass(slots=True)
class Traffic:
    """Recorded requests in the order of time.

    Attributes:
        requests: Each that differs by more than its time.
        marks: Of the client of each of them.
        events: When, in epoch microseconds, and which of them.
    """

    requests: list[Recorded] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    events: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What one policy did.

    Attributes:
        refused: Requests that it refused, by client.
        would_refuse: Requests that rules in shadow alone would have refused.
        by_rule: Requests that each rule refused, by the rule's prefix.
        by_shadow: Those that each would have refused.
    """

    refused: Counter[str] = field(default_factory=Counter)
    would_refuse: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    by_shadow: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recorded request came from, in the place of its address.

    Attributes:
        address: The networks of the policy that it is known to be in, by name.
        prefix: The mark of the address.
    """

    address: frozenset[str]
    peer_trusted: bool
    prefix: str

    @property
    def identity(self) -> Identity:
        """Who the client is, where nothing but its address tells."""
        return Identity("ip", f"ip:{self.prefix}", verified=True)


class NamedNetworks(NetworkIndex[T], Generic[T]):
    """Networks found by their names, as the addresses in them are not known."""

    __slots__ = ("_named",)

    def __init__(self, items: Sequence[tuple[str, T]]) -> None:
        super().__init__()
        self._named: dict[str, list[tuple[int, T]]] = {}
        for rank, (name, value) in enumerate(items):
            self._named.setdefault(name, []).append((rank, value))

    def __bool__(self) -> bool:
        return bool(self._named)

    def find(self, address: Any) -> list[T]:
        """Return the values of the networks named, most specific first."""
        found = [pair for name in address for pair in self._named.get(name, ())]
        return [value for _rank, value in sorted(found, key=lambda pair: pair[0])]


class Policy:
    """A policy as recorded requests meet it.

    Attributes:
        snapshot: With networks that are found by name.
    """

    def __init__(self, snapshot: Snapshot, *, whole: bool) -> None:
        """Make ready to charge requests.

        Args:
            snapshot: The policy.
            whole: Every client was recorded. Else what all clients share cannot be counted, and
                is left out.
        """
        exempt = [(name, name) for name in snapshot.exempt_networks.values()]
        assigned = [
            (assignment.who.partition(" ")[2], assignment)
            for assignment in snapshot.assignments.networks.values()
        ]
        networks: Any = NamedNetworks(assigned)
        self.snapshot = replace(
            snapshot,
            exempt_networks=NamedNetworks(exempt),
            assignments=replace(snapshot.assignments, networks=networks),
        )
        self._whole = whole
        self._secret = conf.client_secret
        self._names = self._names_in(snapshot)

    def charges(self, recorded: Recorded) -> list[Charge]:
        """Return what a request is charged to."""
        facts = self._facts(recorded)
        if exempt_by(self.snapshot, facts):
            return []
        return [
            charge
            for charge in charges(self.snapshot, facts)
            if is_known(charge.rule.key, recorded)
            and (self._whole or not is_shared(charge.rule.key))
        ]

    def _names_in(self, snapshot: Snapshot) -> dict[str, str]:
        """Return the names that a policy itself has for those whom it tells apart, by mark."""
        given = snapshot.assignments
        values = (value for values in given.headers.values() for value in values)
        named: set[str] = {*given.users, *given.groups, *given.api_keys, *values}
        named |= {assignment.who.partition(" ")[2] for assignment in given.networks.values()}
        named |= set(snapshot.exempt_networks.values())
        return {mark_of(name, self._secret): name for name in named}

    def _facts(self, recorded: Recorded) -> Facts:
        def named(mark: str) -> str:
            return self._names.get(mark, mark)

        user = None
        if recorded.user and self.snapshot.wants_user:
            groups = frozenset(named(mark) for mark in recorded.groups or ())
            user = User(recorded.user, named(recorded.user_name), groups)
        headers = {name: named(mark) for name, mark in recorded.headers if mark}
        if recorded.is_preflight:
            headers |= {"origin": "*", ASKED_METHOD.lower(): "*"}
        networks = frozenset(named(mark) for mark in recorded.networks)
        place = Place(networks, recorded.peer_trusted, recorded.address)
        return Facts(
            method=recorded.method,
            path=recorded.path,
            match=recorded.match,
            address=cast("ClientAddress", place),
            header=_looking_up(headers),
            sources=conf.CLIENT_IDENTITY,
            secret=self._secret,
            user=user,
            api_key=named(recorded.api_key) if recorded.api_key else None,
            mark=recorded.address,
        )


def is_known(key: Sequence[str], recorded: Recorded) -> bool:
    """Whether it was recorded by whom a rule counts a request."""
    return all(
        recorded.user_known
        if part == "user"
        else not part.startswith(HEADER_SOURCE)
        or part.removeprefix(HEADER_SOURCE).lower() in dict(recorded.headers)
        for part in key
    )


def is_shared(key: Sequence[str]) -> bool:
    """Whether a rule counts all clients as one."""
    return set(key) == {"global"}


def replay(
    traffic: Traffic, policies: Sequence[Policy], from_us: int, until: float
) -> tuple[list[Tally], int | None]:
    """Decide recorded requests by each of several policies; all buckets are full at the beginning.

    Args:
        traffic: The requests.
        policies: Each with counters of its own.
        from_us: What came before this time fills the counters, and is not tallied.
        until: When to stop, on ``time.monotonic``'s clock.

    Returns:
        A tally for each policy; and the time of the first request that there was no time for,
        None if all were decided.
    """
    runs = [_Run(policy, traffic) for policy in policies]
    for place, (at_us, number) in enumerate(traffic.events):
        if place % LOOK == 0 and time.monotonic() > until:
            return [run.tally for run in runs], at_us
        for run in runs:
            run.decide(at_us, number, tallied=at_us >= from_us)
    return [run.tally for run in runs], None


class _Run:
    """The counters of one policy, and what came of it."""

    def __init__(self, policy: Policy, traffic: Traffic) -> None:
        self.tally = Tally()
        self._marks = traffic.marks
        self._charges = [policy.charges(recorded) for recorded in traffic.requests]
        self._claims: list[list[Claim]] = [
            [charge.claim for charge in found] for found in self._charges
        ]
        self._now_us = 0
        self._store = MemoryStore(lambda: self._now_us)

    def decide(self, at_us: int, number: int, *, tallied: bool) -> None:
        claims = self._claims[number]
        if not claims:
            return
        self._now_us = at_us
        decision = self._store.decide(claims, max_keys=MAX_KEYS)
        if not tallied:
            return
        tally = self.tally
        if not decision.allowed:
            tally.refused[self._marks[number]] += 1
        refusing: set[str] = set()
        shadows: set[str] = set()
        for charge, outcome in zip(self._charges[number], decision.outcomes, strict=True):
            if not outcome.passed:
                (refusing if outcome.claim.enforced else shadows).add(charge.rule.prefix)
        tally.by_rule.update(refusing)
        tally.by_shadow.update(shadows)
        tally.would_refuse += decision.allowed and bool(shadows)


def _looking_up(headers: Mapping[str, str]) -> Callable[[str], str | None]:
    return lambda name: headers.get(name.lower())
