"""Who a client is: its address behind proxies, and the name under which it is counted."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

from pulse.core.networks import Address, NetworkIndex, client_prefix, parse_address

#: Before the name of a header, among what a client is counted by.
HEADER_SOURCE: Final = "header:"
#: Counted under this name when not even the socket has an address (a Unix socket, say).
UNKNOWN: Final = "unknown"
#: A forwarding chain longer than this is not read further: no real one is.
MAX_HOPS: Final = 32
#: The digits of a client's mark, which a double holds exactly as a number.
MARK_DIGITS: Final = 12
#: The hashes of longer values are not remembered: clients choose them, and could fill memory.
MAX_REMEMBERED: Final = 256


class Identity(NamedTuple):
    """The name under which a client is counted.

    Attributes:
        kind: ``api_key``, ``user``, ``ip`` or ``header``.
        key: The kind and a value that is safe in a key: never a credential.
        verified: False when the client could have invented it.
    """

    kind: str
    key: str
    verified: bool


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a request came from, and how that was found.

    Attributes:
        address: The client's address, None if not even the socket has one.
        peer_trusted: The socket's peer is a trusted proxy: headers that it sets count.
        steps: What was looked at, in order, in words.
        prefix: The name under which the address is counted.
        identity: Who the client is, where nothing but its address tells.
    """

    address: Address | None
    peer_trusted: bool = False
    steps: tuple[str, ...] = ()
    prefix: str = field(init=False, compare=False)
    identity: Identity = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        prefix = UNKNOWN if self.address is None else client_prefix(self.address)
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "identity", Identity("ip", f"ip:{prefix}", verified=True))

    def __str__(self) -> str:
        return UNKNOWN if self.address is None else str(self.address)


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user as policies see one."""

    id: str
    name: str
    groups: frozenset[str] = frozenset()


def resolve_address(
    peer: str,
    forwarded_for: str,
    trusted: NetworkIndex[None],
    *,
    trusts_unix: bool = False,
    explain: bool = False,
) -> ClientAddress:
    """Find the client's address from the right of ``X-Forwarded-For`` over trusted networks.

    Each proxy appends the address that it saw, so only what trusted proxies wrote can be
    believed: the walk ends at the first address that is not one of theirs. An entry that is
    no address ends it too, at the proxy that passed it on.

    Args:
        peer: The socket's peer (``REMOTE_ADDR``).
        forwarded_for: ``X-Forwarded-For``, several headers joined by commas.
        trusted: The networks whose forwarding headers count.
        trusts_unix: A peer without an address, on a Unix socket, is a trusted proxy.
        explain: Whether to tell the steps.
    """
    if not trusted and not trusts_unix and not explain:
        return _direct(peer)
    address = parse_address(peer)
    steps = [f"The connection comes from {peer or 'a Unix socket'}."] if explain else []
    if not (trusts_unix and not peer if address is None else address in trusted):
        if explain and forwarded_for:
            steps.append("That is no trusted proxy, so X-Forwarded-For is not believed.")
        return ClientAddress(address, steps=tuple(steps))
    for hop in reversed(forwarded_for.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        if address is not None and address not in trusted:
            break
        before = parse_address(hop)
        if explain and hop.strip():
            fate = "" if before else ", which is no address: the walk ends"
            here = address or "The Unix socket"
            steps.append(f"{here} is a trusted proxy and was called by {hop.strip()}{fate}.")
        if before is None:
            break
        address = before
    return ClientAddress(address, peer_trusted=True, steps=tuple(steps))


def identify(
    sources: Sequence[str],
    *,
    user: User | None,
    header: Callable[[str], str | None],
    address: ClientAddress,
    secret: bytes,
    api_key: str | None = None,
) -> Identity:
    """Name a client by the first source that the request has; its address if it has none.

    Args:
        sources: ``api_key``, ``user``, ``address`` or ``header:NAME``, in order.
        user: The authenticated user, if any.
        header: Looks a request header up by name.
        address: The client's address.
        secret: Keys the hash of header values.
        api_key: The prefix of the right key of pulse's that it sent, if any.
    """
    for source, name in _before_address(tuple(sources)):
        if source == "header":
            if value := header(name):
                return by_header(name, value, secret)
        elif source == "user":
            if user is not None:
                return by_user(user)
        elif source == "api_key" and api_key is not None:
            return by_api_key(api_key)
    return address.identity


def by_user(user: User) -> Identity:
    """Name a client by the user that the host authenticated."""
    return Identity("user", f"user:{user.id}", verified=True)


def by_api_key(prefix: str) -> Identity:
    """Name a client by the prefix of a key that was found right."""
    return Identity("api_key", f"api_key:{prefix}", verified=True)


def by_header(name: str, value: str, secret: bytes) -> Identity:
    """Name a client by a header value that it sent, hashed: it may be a credential."""
    key = f"{HEADER_SOURCE}{name.lower()}:{digest(value, secret)}"
    return Identity("header", key, verified=False)


def came_over_https(told: str) -> bool:
    """Whether ``X-Forwarded-Proto`` says so of the last hop, which a trusted proxy wrote."""
    return told.rpartition(",")[2].strip().lower() == "https"


@lru_cache(maxsize=4)
def client_secret(site_secret: str | bytes) -> bytes:
    """Derive the key under which clients are hashed from the site's secret."""
    raw = site_secret if isinstance(site_secret, bytes) else site_secret.encode()
    return hashlib.blake2b(raw, person=b"pulse.client", digest_size=32).digest()


def digest(value: str, secret: bytes) -> str:
    """Hash a value under a key: 96 bits as hexadecimal digits."""
    return _remembered(value, secret) if len(value) <= MAX_REMEMBERED else _digest(value, secret)


def _digest(value: str, secret: bytes) -> str:
    text = value.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, key=secret[:64], digest_size=12).hexdigest()


def mark_of(client: str, secret: bytes) -> str:
    """Hash a client to its mark: 48 bits as hexadecimal digits, by which shares are taken."""
    return digest(client, secret)[:MARK_DIGITS]


def in_percent(rule: str, client: str, percent: int, secret: bytes) -> bool:
    """Whether a client is among the ``percent`` of clients for whom a rule is enforced.

    Stable for a client and a rule, and monotone: who is in stays in as the share grows.
    """
    return percent >= 100 or in_share(rule, mark_of(client, secret), percent, secret)


def in_share(rule: str, mark: str, percent: int, secret: bytes) -> bool:
    """Whether a client is among them, of whom no more than the mark is known."""
    return int(digest(f"{rule}\n{mark}", secret)[:8], 16) * 100 < percent << 32


@lru_cache(maxsize=16)
def _before_address(sources: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return what is looked at before the address, each with the name of its header."""
    before = takewhile(lambda source: source != "address", sources)
    parts = (source.partition(":") for source in before)
    return tuple((kind, name) for kind, _colon, name in parts)


@lru_cache(maxsize=8192)
def _direct(peer: str) -> ClientAddress:
    """The client where no proxy is trusted: the peer."""
    return ClientAddress(parse_address(peer))


_remembered = lru_cache(maxsize=8192)(_digest)
