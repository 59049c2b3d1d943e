"""What is kept of requests so that another policy can be tried on them, and of whom.

Clients are kept whole or not at all: a client's mark, a keyed hash, is below the threshold of the
level or not, and each level keeps half of the clients of the one before. Identities are keyed
hashes; of a path only what its route, or a policy's own path, says is kept.
"""

import json
import operator
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from pulse.core.charging import Facts
from pulse.core.clients import (
    HEADER_SOURCE,
    MARK_DIGITS,
    ClientAddress,
    User,
    identify,
    mark_of,
)
from pulse.core.endpoints import Match, known_method
from pulse.core.quotas import SECOND_US
from pulse.core.snapshot import Snapshot

#: A client is kept or not for so long at a time, in seconds.
SLOT_S: Final = 600
SLOT_US: Final = SLOT_S * SECOND_US
#: As many digits as a mark has, in bits.
MARK_BITS: Final = 48
#: Greater than every mark.
EVERYBODY: Final = "g"
#: The level of which nobody is kept.
NOBODY: Final = MARK_BITS + 1
#: What keeping one request takes beside its text and its times, in bytes.
OVERHEAD: Final = 120
#: A time within its slot, in microseconds.
TIME: Final = struct.Struct(">I")
#: So many headers of a request are kept.
MAX_HEADERS: Final = 16
#: Where the literal part of a route ends, whether it is a regular expression or not.
NOT_LITERAL: Final = re.compile(r"[<^$()\[\]{}.*+?\\]")


class Seen(NamedTuple):
    """A request as it was decided, in this process and for a second.

    Attributes:
        at_us: When, in epoch microseconds.
        mark: Of its client.
        headers: Name and value of those that ``headers_of`` names; None for a missing value.
        user_known: Whether ``user`` is all there is to know, if it is None too.
    """

    at_us: int
    mark: str
    snapshot: Snapshot
    method: str
    path: str
    match: Match | None
    address: ClientAddress
    headers: tuple[tuple[str, str | None], ...]
    user: User | None
    user_known: bool
    api_key: str | None
    is_preflight: bool
    refused: bool


class Recorded(NamedTuple):
    """What is kept of a request beside its time: the same for all that a client repeats.

    Attributes:
        route: The URL pattern; None where the path resolved to nothing.
        path: The part of the path that is known, from its beginning; ends at a segment.
        is_whole: That part is the whole path.
        revision: By which it was decided.
        address: The mark of the address, ``user``, ``user_name``, ``groups``, ``api_key`` and the
            values of ``headers`` are hashes likewise; empty for none.
        groups: None where they were not looked at.
        headers: Those that were looked at.
        networks: Hashes of those networks of the policy in force that the address is in.
    """

    method: str
    route: str | None
    url_name: str
    view: str
    path: str
    is_whole: bool
    revision: int
    refused: bool
    is_preflight: bool
    peer_trusted: bool
    user_known: bool
    address: str
    user: str
    user_name: str
    groups: tuple[str, ...] | None
    api_key: str
    headers: tuple[tuple[str, str], ...]
    networks: tuple[str, ...]

    @property
    def match(self) -> Match | None:
        """What the request resolved to."""
        return None if self.route is None else Match(self.route, self.url_name, self.view)


def mark_of_client(facts: Facts) -> str:
    """Return the mark of a request's client: what is kept, or not, as one.

    A client that pulse has verified is one wherever it comes from; all others are one with the
    address that they are also charged to.
    """
    if facts.user is None and facts.api_key is None:
        return mark_of(facts.address.prefix, facts.secret)
    client = identify(
        facts.sources,
        user=facts.user,
        header=facts.header,
        address=facts.address,
        secret=facts.secret,
        api_key=facts.api_key,
    )
    is_own = client.verified and client.kind != "ip"
    return mark_of(client.key if is_own else facts.address.prefix, facts.secret)


def limit_of(level: int) -> str:
    """Return the text that the marks of those who are kept at a level are below."""
    if level <= 0:
        return EVERYBODY
    return "" if level >= NOBODY else f"{1 << (MARK_BITS - level):012x}"


@lru_cache(maxsize=4)
def headers_of(snapshot: Snapshot, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return the headers that clients are told apart by, the same few for every request."""
    by_sources = [source for source in sources if source.startswith(HEADER_SOURCE)]
    by_rules = {part for rule in snapshot.rules for part in rule.key}
    by_rules |= {HEADER_SOURCE + name for name in snapshot.assignments.headers}
    names = (
        name.removeprefix(HEADER_SOURCE).lower()
        for name in (*by_sources, *sorted(by_rules))
        if name.startswith(HEADER_SOURCE)
    )
    return tuple(dict.fromkeys(names))[:MAX_HEADERS]


def record(seen: Seen, secret: bytes) -> Recorded:
    """Keep of a request what is nobody's secret.

    Args:
        seen: The request.
        secret: Keys the hashes.
    """
    snapshot, match, user = seen.snapshot, seen.match, seen.user
    path, is_whole = known_part(snapshot, match, seen.path)

    def hashed(text: str | None) -> str:
        return mark_of(text, secret) if text else ""

    groups = None
    if user is not None and snapshot.wants_groups:
        groups = tuple(sorted(map(hashed, user.groups)))
    return Recorded(
        method=known_method(seen.method),
        route=None if match is None else match.route,
        url_name="" if match is None else match.url_name,
        view="" if match is None else match.view,
        path=path,
        is_whole=is_whole,
        revision=snapshot.revision,
        refused=seen.refused,
        is_preflight=seen.is_preflight,
        peer_trusted=seen.address.peer_trusted,
        user_known=seen.user_known,
        address=mark_of(seen.address.prefix, secret),
        user="" if user is None else hashed(user.id),
        user_name="" if user is None else hashed(user.name),
        groups=groups,
        api_key=hashed(seen.api_key),
        headers=tuple(
            (name, mark_of(value, secret) if value else "") for name, value in seen.headers
        ),
        networks=tuple(hashed(name) for name in _networks(snapshot, seen.address)),
    )


def known_part(snapshot: Snapshot, match: Match | None, path: str) -> tuple[str, bool]:
    """Return what of a path may be kept, and whether that is all of it.

    It is what the route says before its first parameter, or the longest path that the policy
    names and the request lies under: never what a client made up.
    """
    if match is not None and path == f"/{match.route}":
        return path, True
    found = [snapshot.exempt_paths.find(path), snapshot.endpoints.prefix_of(path), "/"]
    if match is not None and path.startswith(static_part(match.route)):
        found.append(static_part(match.route))
    return max(filter(None, found), key=len), False


@lru_cache(maxsize=4096)
def static_part(route: str) -> str:
    """Return the path that every request of a route lies under, up to its last slash."""
    if "|" in route:
        return "/"
    text = route.removeprefix("^")
    found = NOT_LITERAL.search(text)
    literal = text if found is None else text[: found.start()]
    if found is not None and found[0] in "*+?{":
        literal = literal[:-1]  # What may be missing, or come again.
    return f"/{literal[: literal.rfind('/') + 1]}"


class Slot:
    """What is kept of the requests of one slot of time, as ``store/scripts/record.lua`` keeps it.

    Attributes:
        level: Of the clients in it.
        bytes: What it takes, about.
        times: When each request came, four bytes each, by mark and text.
        minutes: How many requests there were, kept or not, by minutes since the epoch.
        left_out: Marks of clients that came too often to be kept.
        left: How many requests of theirs there were.
    """

    def __init__(self, level: int = 0) -> None:
        self.level = level
        self.bytes = 0
        self.times: dict[str, bytearray] = {}
        self.minutes: Counter[int] = Counter()
        self.left_out: set[str] = set()
        self.left = 0

    def add(self, field: str, times: bytes, room: int) -> None:
        """Add requests that are equal but for their times, unless their client is not kept."""
        mark = field[:MARK_DIGITS]
        if mark >= limit_of(self.level):
            return
        if mark in self.left_out:
            self.left += len(times) // TIME.size
            return
        if field not in self.times:
            self.times[field] = bytearray()
            self.bytes += OVERHEAD + len(field)
        self.times[field] += times
        self.bytes += len(times)
        if len(self.times[field]) * 4 > room:
            self.left_out.add(mark)
            self.left += self._drop(lambda other: other == mark)

    def shrink(self, level: int, room: int) -> None:
        """Let whole clients go until the level is reached, and the rest fits."""
        while level > self.level or (self.bytes > room and self.level < NOBODY):
            self.level = max(level, self.level + (self.bytes > room))
            limit = limit_of(self.level)
            self._drop(partial(operator.le, limit))

    def join(self, other: "Slot") -> None:
        """Take in what another process kept of the same time."""
        for field, times in other.times.items():
            self.times.setdefault(field, bytearray()).extend(times)
        self.minutes += other.minutes
        self.left_out |= other.left_out
        self.left += other.left
        self.shrink(other.level, sys.maxsize)

    def _drop(self, test: Callable[[str], bool]) -> int:
        gone = 0
        for field in [field for field in self.times if test(field[:MARK_DIGITS])]:
            times = self.times.pop(field)
            self.bytes -= OVERHEAD + len(field) + len(times)
            gone += len(times) // TIME.size
        return gone


def encode(recorded: Recorded) -> str:
    """Write what is kept of a request as text."""
    return json.dumps(recorded, separators=(",", ":"), ensure_ascii=False)


def decode(text: str) -> Recorded | None:
    """Read it again; None for what another release may have written."""
    try:
        found = json.loads(text)
    except (RecursionError, ValueError):
        return None
    if not isinstance(found, list) or len(found) != len(Recorded._fields):
        return None
    recorded = Recorded._make(found)
    try:
        return recorded._replace(
            groups=None if recorded.groups is None else tuple(recorded.groups),
            headers=tuple((str(name), str(value)) for name, value in recorded.headers),
            networks=tuple(recorded.networks),
        )
    except (TypeError, ValueError):
        return None


def _networks(snapshot: Snapshot, address: ClientAddress) -> Iterable[str]:
    """Name the networks of the policy that an address is in."""
    if address.address is None:
        return ()
    exempt = snapshot.exempt_networks.find(address.address)
    assigned: Any = snapshot.assignments.networks.find(address.address)
    return dict.fromkeys((*exempt, *(each.who.partition(" ")[2] for each in assigned)))
