"""What lies under the guard: the internet, or what a test puts in its place."""

import contextlib
import functools
import socket
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from django.utils.module_loading import import_string

from pulse.conf import conf


class Network(Protocol):
    """Answers look-ups and leads connections. What it answers is judged before it is used."""

    def look_up(self, host: str) -> Sequence[str]:
        """Return the addresses of a name. Blocks, in a thread of its own.

        Raises:
            OSError: There is none, or nobody can be asked.
        """

    def route(self, address: str, port: int) -> tuple[str, int]:
        """Say where a connection to an address, which was judged and let pass, really goes.

        Raises:
            OSError: Nowhere.
        """


class Internet:
    """The network of this machine. Proxies that the environment names count for nothing."""

    def look_up(self, host: str) -> Sequence[str]:
        """Ask the resolver for every address, in the order in which to try them."""
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(info[4][0]) for info in infos))

    def route(self, address: str, port: int) -> tuple[str, int]:
        """Lead each connection where it wants to go."""
        return address, port


INTERNET: Final = Internet()


def current_network() -> Network:
    """Return the network that ``PULSE["OUTBOUND_NETWORK"]`` names, or a test put in force.

    Raises:
        ImportError: The setting names none. Nothing else stands in for it: whoever set it meant
            to reach nothing else.
    """
    if _overrides:
        return _overrides[-1]
    path = conf.OUTBOUND_NETWORK
    return _load(path) if path else INTERNET


@contextlib.contextmanager
def overridden(network: Network) -> Iterator[None]:
    """Put a network in force in every thread of this process."""
    _overrides.append(network)
    try:
        yield
    finally:
        _overrides.remove(network)


_overrides: Final[list[Network]] = []


@functools.cache
def _load(path: str) -> Network:
    """Make the one network of this process that a dotted path names: it may count its look-ups."""
    network: Network = import_string(path)()
    return network
