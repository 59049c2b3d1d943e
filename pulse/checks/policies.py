"""Whether the published policy does what it seems to.

Asks the database, so only where ``check --database`` or ``migrate`` allows it.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import islice
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import DatabaseError, connections, transaction

from pulse.checks.access import check_access
from pulse.checks.cors import check_deployed_rules, check_rules
from pulse.checks.endpoints import check_endpoints
from pulse.checks.findings import found, one_of
from pulse.checks.headers import check_deployed_headers, check_headers
from pulse.checks.keys import check_keys
from pulse.checks.probes import check_probes, check_secrets
from pulse.core.document import Document, Item
from pulse.core.networks import Network, parse_network
from pulse.core.snapshot import TIERS, Mode
from pulse.exceptions import InvalidNetwork
from pulse.policies import proof, publisher
from pulse.policies.models import PolicyRevision

#: Of rows that make no policy, this many are told of.
MAX_FAULTS: Final = 20
#: The shortest prefix of a public network that a provider of proxies still publishes as one.
LEAST_PREFIX: Final = {4: 12, 6: 24}
#: Networks whose addresses nobody has on the Internet (RFC 1918, 6598, 3927, 1122; 4193, 4291).
PRIVATE: Final = tuple(
    parse_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("169.254.0.0/16", "127.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128"),
    )
)


def check_policy(databases: frozenset[str]) -> Iterator[CheckMessage]:
    """Look at what is in force. Silent before the first ``migrate``, and without the database."""
    alias = publisher.database()
    if alias not in databases:
        return
    yield from _check_rows(alias)
    document = _published(alias)
    yield from _check_proxies(document)
    yield from _check_default_tier(document)
    yield from check_headers(document)
    yield from check_rules(document)
    yield from check_access(document)
    yield from check_endpoints(document)
    yield from check_probes(document)
    yield from check_secrets(alias)
    yield from check_keys(alias)


def check_deployed_policy(databases: frozenset[str]) -> Iterator[CheckMessage]:
    """Look at what the policy in force needs in production."""
    alias = publisher.database()
    if alias in databases:
        document = _published(alias)
        yield from check_deployed_headers(document)
        yield from check_deployed_rules(document)
        yield from _check_https(document)


def _published(alias: str) -> Document:
    """Read the newest revision; the empty document where none can be read. Two queries."""
    try:
        # Asking a table that is not there would break a transaction that is open around us.
        return publisher.newest_document(alias) if _has_tables(alias) else {}
    except DatabaseError:
        return {}


def _has_tables(alias: str) -> bool:
    return PolicyRevision._meta.db_table in connections[alias].introspection.table_names()


def _check_rows(alias: str) -> Iterator[CheckMessage]:
    """Look whether the rows could be published, whatever is."""
    try:
        if not _has_tables(alias):
            return
        # Before a migration a column may be missing; to ask for it would break a transaction.
        with transaction.atomic(using=alias):
            faults = list(islice(proof.faults(alias), MAX_FAULTS))
    except DatabaseError:
        return
    for fault in faults:
        reason = fault.reason if fault.reason.endswith(".") else f"{fault.reason}."
        yield found("E041", place=fault.place, reason=reason)


def _check_proxies(document: Document) -> Iterator[CheckMessage]:
    trusted = list(_trusted(document))
    everyone = _covering_everyone(trusted)
    if everyone:
        yield found("E040", networks=one_of(everyone))
    for network in trusted:
        if network not in everyone and _is_wide(network):
            yield found("W040", network=network, addresses=f"{network.num_addresses:,}")


def _check_https(document: Document) -> Iterator[CheckMessage]:
    """Django and pulse know of the same proxies."""
    is_proxied = any(
        item.get("mode", Mode.ENFORCE) == Mode.ENFORCE
        for item in _items(document, "trusted_proxies")
    )
    if settings.SECURE_PROXY_SSL_HEADER and not is_proxied:
        yield found("W042")
    elif is_proxied and settings.SECURE_SSL_REDIRECT and not settings.SECURE_PROXY_SSL_HEADER:
        yield found("W043")


def _check_default_tier(document: Document) -> Iterator[CheckMessage]:
    tiers = _items(document, TIERS)
    for item in tiers:
        if item.get("default") and item.get("mode") == Mode.SHADOW:
            yield found("W041", name=item.get("name"))
    if tiers and not any(item.get("default") for item in tiers):
        yield found("W044")


def _trusted(document: Document) -> Iterator[Network]:
    for item in _items(document, "trusted_proxies"):
        # A proxy in shadow is not believed.
        if item.get("mode", Mode.ENFORCE) == Mode.ENFORCE:
            try:
                yield parse_network(str(item.get("network")))
            except InvalidNetwork:
                continue


def _covering_everyone(networks: Iterable[Network]) -> list[Network]:
    """Return the networks that together leave no address of their family out."""
    four = [network for network in networks if isinstance(network, IPv4Network)]
    six = [network for network in networks if isinstance(network, IPv6Network)]
    everyone: list[Network] = []
    if any(network.prefixlen == 0 for network in collapse_addresses(four)):
        everyone += four
    if any(network.prefixlen == 0 for network in collapse_addresses(six)):
        everyone += six
    return everyone


def _is_wide(network: Network) -> bool:
    if any(_is_within(network, private) for private in PRIVATE):
        return False
    return network.prefixlen < LEAST_PREFIX[network.version]


def _is_within(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.network_address in other
        and network.broadcast_address in other
    )


def _items(document: Document, kind: str) -> Sequence[Item]:
    items: Any = document.get(kind, ())
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else ()
