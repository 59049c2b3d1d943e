"""Which addresses pulse may connect to on somebody's word, and what opens others.

Source: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890 and its updates);
RFC 6052 and RFC 8215 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from pulse.core.networks import Address, Network, NetworkIndex, parse_network
from pulse.exceptions import ForbiddenAddress, InvalidNetwork

MAX_PORT: Final = 65_535


class Reason(StrEnum):
    """What an address is that may not be connected to."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    CGNAT = "cgnat"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    UNSPECIFIED = "unspecified"
    EMBEDDED = "embedded"
    PUBLIC = "public"


#: What an entry of ``allow_networks`` can open.
OPENABLE: Final = frozenset({Reason.LOOPBACK, Reason.PRIVATE})
#: What the site itself may have for an address: clusters number their own by RFC 6598 as well.
TRUSTABLE: Final = OPENABLE | {Reason.CGNAT}

#: Where clouds hand out credentials to whoever asks from within.
METADATA: Final = tuple(
    ip_network(text)
    for text in (
        "169.254.169.254/32",  # most of them
        "169.254.170.2/32",  # tasks and pods at AWS
        "169.254.170.23/32",
        "169.254.0.23/32",  # Tencent
        "169.254.42.42/32",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # AWS
        "fd20:ce::254/128",  # Google
        "fd00:42::42/128",  # Scaleway
        "fe80::a9fe:a9fe/128",  # OpenStack
    )
)
#: The longest prefix around an address counts.
SPECIAL: Final = (
    ("0.0.0.0/8", Reason.UNSPECIFIED),
    ("10.0.0.0/8", Reason.PRIVATE),
    ("100.64.0.0/10", Reason.CGNAT),
    ("127.0.0.0/8", Reason.LOOPBACK),
    ("169.254.0.0/16", Reason.LINK_LOCAL),
    ("172.16.0.0/12", Reason.PRIVATE),
    ("192.0.0.0/24", Reason.RESERVED),
    ("192.0.2.0/24", Reason.RESERVED),
    ("192.88.99.0/24", Reason.RESERVED),
    ("192.168.0.0/16", Reason.PRIVATE),
    ("198.18.0.0/15", Reason.RESERVED),
    ("198.51.100.0/24", Reason.RESERVED),
    ("203.0.113.0/24", Reason.RESERVED),
    ("224.0.0.0/4", Reason.MULTICAST),
    ("240.0.0.0/4", Reason.RESERVED),
    ("::/128", Reason.UNSPECIFIED),
    ("::1/128", Reason.LOOPBACK),
    ("2001::/23", Reason.RESERVED),
    ("2001:db8::/32", Reason.RESERVED),
    ("3fff::/20", Reason.RESERVED),
    ("fc00::/7", Reason.PRIVATE),
    ("fe80::/10", Reason.LINK_LOCAL),
    ("ff00::/8", Reason.MULTICAST),
)
#: Where unicast addresses of IPv6 are given out; what lies elsewhere leads nowhere good.
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

#: The prefix of every NAT64 in the open (RFC 6052): behind it lies the IPv4 internet.
NAT64: Final = IPv6Network("64:ff9b::/96")
#: Prefixes after which an IPv4 address stands, and how many bits follow it.
EMBEDDING: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated
    (IPv6Network("::/96"), 0),  # IPv4-compatible
    (NAT64, 0),
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 within a site, most often a /96 of it
    (IPv6Network("2002::/16"), 80),  # 6to4
)
TEREDO: Final = IPv6Network("2001::/32")
#: The upper half of an ISATAP interface identifier, its local bit and group bit masked out.
ISATAP: Final = 0x0000_5EFE
ISATAP_MASK: Final = 0xFCFF_FFFF
LOW_32: Final = 0xFFFF_FFFF

_metadata: Final = NetworkIndex((network, Reason.METADATA) for network in METADATA)
_special: Final = NetworkIndex((ip_network(text), reason) for text, reason in SPECIAL)
_openable: Final = NetworkIndex(
    (ip_network(text), ip_network(text).prefixlen) for text, reason in SPECIAL if reason in OPENABLE
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A private network that one target may reach, at one port or at every."""

    network: Network
    port: int | None = None

    def covers(self, address: Address, port: int) -> bool:
        return self.port in (None, port) and address in self.network


@lru_cache(maxsize=4096)
def parse_opening(text: str) -> Opening:
    """Read an entry of ``allow_networks``, such as ``10.0.0.5/32`` or ``10.0.0.5/32:8000``.

    Raises:
        InvalidNetwork: It is none, or has addresses that are neither private nor loopback, which
            no entry can open.
    """
    network_text, slash, rest = text.strip().partition("/")
    length, colon, port_text = rest.partition(":")
    port = _parse_port(text, port_text) if colon else None
    network = parse_network(f"{network_text}{slash}{length}")
    address = network.network_address
    lies_in_one = any(network.prefixlen >= length for length in _openable.find(address))
    if reason_of(address) not in OPENABLE or not lies_in_one:
        raise InvalidNetwork(
            text, "is neither private nor loopback as a whole: no entry opens other addresses."
        )
    return Opening(network, port)


def parse_openings(texts: Iterable[str]) -> tuple[Opening, ...]:
    """Read a list of entries; what is none opens nothing."""
    openings = []
    for text in texts:
        try:
            openings.append(parse_opening(text))
        except InvalidNetwork:
            continue
    return tuple(openings)


@lru_cache(maxsize=8192)
def reason_of(address: Address) -> Reason | None:
    """Say why an address may not be connected to on anybody's word; None if it may."""
    if isinstance(address, IPv6Address):
        within = embedded_in(address)
        if within is not None:
            if within in _metadata:
                return Reason.METADATA
            # A public address behind the well-known prefix is how a network without IPv4 reaches
            # the rest; the other forms are for hosts and routers, never for a name's answer.
            public = address in NAT64 and reason_of(within) is None
            return None if public else Reason.EMBEDDED
    if address in _metadata:
        return Reason.METADATA
    for reason in _special.find(address):
        return reason
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return Reason.RESERVED
    return None


def embedded_in(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for or tunnels to, if any."""
    number = int(address)
    if number <= 1:  # Unspecified and loopback, which look like IPv4-compatible ones.
        return None
    for network, after in EMBEDDING:
        if address in network:
            return IPv4Address(number >> after & LOW_32)
    if address in TEREDO:
        return IPv4Address(~number & LOW_32)
    if number >> 32 & ISATAP_MASK == ISATAP:
        return IPv4Address(number & LOW_32)
    return None


def check_address(
    address: Address,
    port: int,
    openings: Iterable[Opening] = (),
    *,
    trusted: bool = False,
    public: bool = True,
) -> None:
    """Refuse an address that may not be connected to.

    Args:
        address: Which is to be connected to.
        port: At which port.
        openings: What the target may reach beside the public internet.
        trusted: It is the site's own, so private and loopback ones are as good.
        public: Addresses of the internet may be connected to; False: what is opened alone.

    Raises:
        ForbiddenAddress: It may not.
    """
    reason = reason_of(address)
    if reason is None:
        if public:
            return
        raise ForbiddenAddress(str(address), Reason.PUBLIC.value)
    if trusted and reason in TRUSTABLE:
        return
    if reason in OPENABLE and any(opening.covers(address, port) for opening in openings):
        return
    raise ForbiddenAddress(str(address), reason.value)


def parse_answer(text: str) -> Address:
    """Read an address as a look-up gives it, without the zone that a link-local one may have.

    Raises:
        ValueError: It is none.
    """
    return ip_address(text.partition("%")[0])


def _parse_port(text: str, port: str) -> int:
    if port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= MAX_PORT:
        return int(port)
    raise InvalidNetwork(text, "has no such port. Write a number from 1 to 65535 after the colon.")
