"""Addresses and networks, and finding one among many at a flat cost."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, Generic, TypeVar

from pulse.exceptions import InvalidNetwork

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
T = TypeVar("T")

#: A subscriber is given at least a /64; what lies inside it is one client.
IPV6_CLIENT_PREFIX: Final = 64
#: Stands among trusted proxies for one on a Unix socket, which has no address.
UNIX: Final = "unix"
#: The longest address text worth reading: IPv6 with an embedded IPv4, brackets, zone and port.
MAX_TEXT: Final = 100

BRACKETED: Final = re.compile(r"\[([^\[\]]*)\](?::[0-9]{1,5})?", re.ASCII)
WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}", re.ASCII)


def parse_address(text: str) -> Address | None:
    """Read an address as a proxy or a socket writes it.

    Ports, brackets and zones are stripped and IPv4-mapped IPv6 is unwrapped.

    Returns:
        The address, or None if the text is none.
    """
    text = text.strip()
    # Asked before anything is remembered: clients choose the texts, and could fill memory.
    return _parse_address(text) if text and len(text) <= MAX_TEXT else None


@lru_cache(maxsize=8192)
def _parse_address(text: str) -> Address | None:
    match = BRACKETED.fullmatch(text) or WITH_PORT.fullmatch(text)
    if match:
        text = match[1]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


#: Addresses as they were read, for who tells how full that is.
remembered: Final = _parse_address


@lru_cache(maxsize=8192)
def client_prefix(address: Address) -> str:
    """Name the client behind an address: IPv4 whole, IPv6 by its /64."""
    if isinstance(address, IPv4Address):
        return str(address)
    bits = 128 - IPV6_CLIENT_PREFIX
    return f"{IPv6Address(int(address) >> bits << bits)}/{IPV6_CLIENT_PREFIX}"


def parse_network(text: str) -> Network:
    """Read an address or a CIDR network; host bits are an error, as they hide a slip.

    Raises:
        InvalidNetwork: The text is no network, or one with host bits.
    """
    if "%" in text:
        raise InvalidNetwork(
            text, "names an interface of one machine. Leave out the % and its name."
        )
    try:
        network = ip_network(text.strip())
    except ValueError:
        try:
            loose = ip_network(text.strip(), strict=False)
        except ValueError:
            raise InvalidNetwork(
                text, "is not a network. Write an address or a CIDR such as 10.0.0.0/8."
            ) from None
        raise InvalidNetwork(text, f"has host bits set. Did you mean {loose}?") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped:
        raise InvalidNetwork(text, "is IPv4 written as IPv6. Write the IPv4 network.")
    return network


class NetworkIndex(Generic[T]):
    """Values by network; a look-up costs one hash for each prefix length in use, at most 128.

    Ten thousand networks cost what ten of the same lengths cost.
    """

    __slots__ = ("_v4", "_v6")

    def __init__(self, items: Iterable[tuple[Network, T]] = ()) -> None:
        by_length: dict[int, dict[int, dict[int, list[T]]]] = {4: {}, 6: {}}
        for network, value in items:
            shift = network.max_prefixlen - network.prefixlen
            table = by_length[network.version].setdefault(shift, {})
            table.setdefault(int(network.network_address) >> shift, []).append(value)
        # Longest prefix first, so that the most specific network is found first.
        self._v4 = sorted(by_length[4].items())
        self._v6 = sorted(by_length[6].items())

    def __bool__(self) -> bool:
        return bool(self._v4 or self._v6)

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        tables = self._v4 if address.version == 4 else self._v6
        return any(number >> shift in table for shift, table in tables)

    def values(self) -> Iterator[T]:
        """Yield every value, that of a more specific network before that of a wider one."""
        for tables in (self._v4, self._v6):
            for _shift, table in tables:
                for values in table.values():
                    yield from values

    def find(self, address: Address) -> list[T]:
        """Return the values of every network around an address, most specific first."""
        found: list[T] = []
        number = int(address)
        for shift, table in self._v4 if address.version == 4 else self._v6:
            # One probe of each length, and nothing else where no network is around it.
            if values := table.get(number >> shift):
                found += values
        return found
