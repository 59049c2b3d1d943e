"""From a URL to a connection with an address that was judged.

A name is looked up once. Every answer is judged, one that is forbidden forbids all, and what was
judged is what is connected to: no second look-up can answer otherwise.
"""

import asyncio
import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final

from pulse.core.addresses import Opening, check_address, parse_answer, parse_openings
from pulse.core.attempts import Failure
from pulse.core.networks import Address
from pulse.core.urls import Url, parse_url
from pulse.exceptions import CallFailed
from pulse.probes.client.lookups import lookups
from pulse.probes.client.network import INTERNET, Network, current_network
from pulse.probes.client.wire import Wire

LOOKUP_S: Final = 5.0
#: How long the look-up of the site's own name is believed, so that probing it asks seldom.
TRUSTED_S: Final = 5.0
#: How long a form waits for one.
CHECK_S: Final = 2.0
#: So many addresses of one name are tried, each but the last for its share of the time.
MAX_TRIED: Final = 4
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


async def look_up(
    url: Url,
    network: Network,
    openings: Iterable[Opening],
    *,
    trusted: bool,
    public: bool = True,
) -> Sequence[Address]:
    """Return the addresses of a URL's host, each judged.

    Raises:
        ForbiddenAddress: One of them may not be connected to.
        CallFailed: There is none, or none in time.
    """
    if url.address is not None:
        check_address(url.address, url.port, openings, trusted=trusted, public=public)
        return (url.address,)
    known = _trusted.get(url.host) if trusted and network is INTERNET else None
    if known is not None and known[0] > time.monotonic():
        return known[1]
    addresses = _read(url.host, await _ask(url.host, network))
    for address in addresses:
        check_address(address, url.port, openings, trusted=trusted, public=public)
    if trusted and network is INTERNET:
        _trusted.clear()  # A process has one site.
        _trusted[url.host] = (time.monotonic() + TRUSTED_S, addresses)
    return addresses


async def connect(wire: Wire, address: Address, port: int, network: Network) -> None:
    """Connect to an address that was judged.

    Raises:
        CallFailed: Nobody answers there.
    """
    try:
        await wire.connect(*network.route(str(address), port))
    except OSError as error:
        reason = (error.strerror or "no connection").lower()
        raise CallFailed(Failure.CONNECT, f"{address} port {port}: {reason}.") from None


def check_target(
    text: str,
    allow_networks: Iterable[str] = (),
    *,
    trusted: bool = False,
    public: bool = True,
    network: Network | None = None,
) -> None:
    """Judge a URL as it is saved, by what its host is now; blocks for at most ``CHECK_S``.

    A name that has no address yet is accepted: each attempt judges anew.

    Raises:
        TargetForbidden: The URL, or an address of its host, is not allowed.
    """
    url, openings = parse_url(text), parse_openings(allow_networks)
    if url.address is not None:
        addresses: Sequence[Address] = (url.address,)
    else:
        network = current_network() if network is None else network
        asked = lookups.submit(lambda: list(network.look_up(url.host)))
        try:
            addresses = _read(url.host, asked.result(CHECK_S))
        except (OSError, UnicodeError, CallFailed):  # TimeoutError is an OSError.
            asked.cancel()
            return
    for address in addresses:
        check_address(address, url.port, openings, trusted=trusted, public=public)


async def _ask(host: str, network: Network) -> list[str]:
    asked = lookups.submit(lambda: list(network.look_up(host)))
    try:
        async with asyncio.timeout(LOOKUP_S):
            return await asyncio.wrap_future(asked)
    except TimeoutError:
        detail = f"{host}: the look-up took more than {LOOKUP_S:g} seconds."
        raise CallFailed(Failure.DNS, detail) from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise CallFailed(Failure.DNS, f"{host}: {reason.lower()}.") from None


def _read(host: str, texts: Iterable[str]) -> tuple[Address, ...]:
    try:
        addresses = tuple(parse_answer(text) for text in texts)
    except ValueError:
        raise CallFailed(Failure.DNS, f"{host}: the answer is no address.") from None
    if not addresses:
        raise CallFailed(Failure.DNS, f"{host}: it has no address.")
    return addresses


#: Until when, in monotonic seconds, and which.
_trusted: Final[dict[str, tuple[float, tuple[Address, ...]]]] = {}
