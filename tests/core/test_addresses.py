"""Which addresses may be connected to, in every form that IPv6 hides one in (S2-49)."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.addresses import (
    MAX_PORT,
    METADATA,
    Opening,
    Reason,
    check_address,
    embedded_in,
    parse_answer,
    parse_opening,
    parse_openings,
    reason_of,
)
from pulse.core.networks import parse_network
from pulse.exceptions import ForbiddenAddress, InvalidNetwork


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.255.255", "private"),
        ("fc00::", "private"),
        ("fdff:ffff::1", "private"),
        ("169.254.0.1", "link_local"),
        ("fe80::1", "link_local"),
        ("febf::1", "link_local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fe80::a9fe:a9fe", "metadata"),
        ("100.64.0.0", "cgnat"),
        ("100.127.255.255", "cgnat"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("ff02::1", "multicast"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "reserved"),
        ("192.88.99.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("198.51.100.1", "reserved"),
        ("203.0.113.1", "reserved"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("100::1", "reserved"),
        ("2001:2::1", "reserved"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("3fff::1", "reserved"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fec0::1", "reserved"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
    ],
)
def test_special_addresses_have_their_reason(text: str, reason: str) -> None:
    """The registries of special-purpose addresses, first and last of each block."""
    assert reason_of(ip_address(text)) == reason


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
        "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
        "198.20.0.0", "223.255.255.255", "2000::1", "2001:200::1", "2606:2800:220:1::1",
        "2a00:1450::1", "3ffe::1",
    ],
)  # fmt: skip
def test_public_addresses_are_free(text: str) -> None:
    """What borders on a special block is not in it."""
    assert reason_of(ip_address(text)) is None


EMBEDDINGS = [
    "::ffff:{v4}",
    "::ffff:0:{v4}",
    "::{v4}",
    "64:ff9b::{v4}",
    "64:ff9b:1::{v4}",
    "64:ff9b:1:a:b:c:{v4}",
    "2606:4700::5efe:{v4}",
    "2606:4700::200:5efe:{v4}",
    "fe80::5efe:{v4}",
]


@pytest.mark.parametrize("form", EMBEDDINGS)
@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "0.0.0.0", "100.64.0.1", "224.0.0.1"])
def test_an_embedded_address_is_no_way_in(form: str, inner: str) -> None:
    """Mapped, translated, compatible, NAT64, ISATAP: each leads to the IPv4 within."""
    address = IPv6Address(form.format(v4=inner))
    if address == IPv6Address("::"):
        assert reason_of(address) == "unspecified"
    else:
        assert reason_of(address) == "embedded"
        with pytest.raises(ForbiddenAddress):
            openings = parse_openings(["127.0.0.0/8", "10.0.0.0/8", "::1/128", "fc00::/7"])
            check_address(address, 80, openings, trusted=True)


@pytest.mark.parametrize("form", EMBEDDINGS)
def test_embedded_metadata_is_metadata(form: str) -> None:
    """It is told as what it is, however it is written."""
    assert reason_of(IPv6Address(form.format(v4="169.254.169.254"))) == "metadata"


@pytest.mark.parametrize("form", EMBEDDINGS)
def test_only_the_well_known_nat64_prefix_leads_to_public_addresses(form: str) -> None:
    """A network without IPv4 reaches the rest by it; the other forms are no answer of a name."""
    reason = reason_of(IPv6Address(form.format(v4="93.184.216.34")))
    assert reason == (None if form == "64:ff9b::{v4}" else "embedded")


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("2002:7f00:1::", "127.0.0.1"),
        ("2002:a9fe:a9fe::1", "169.254.169.254"),
        ("2001:0:5db8:d822:0:0:80ff:fffe", "127.0.0.1"),
        ("2001::f5ff:fffe", "10.0.0.1"),
    ],
)
def test_tunnels_are_seen_through(text: str, inner: str) -> None:
    """6to4 has the address after its prefix, Teredo has it inverted at the end."""
    assert embedded_in(IPv6Address(text)) == IPv4Address(inner)
    assert reason_of(IPv6Address(text)) in {"embedded", "metadata"}


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_no_embedding_makes_a_forbidden_address_free(inner: IPv4Address) -> None:
    """For every IPv4 address and every form."""
    for form in EMBEDDINGS:
        address = IPv6Address(form.format(v4=inner))
        assert reason_of(address) or reason_of(inner) is None


@settings(deadline=None)
@given(st.ip_addresses())
def test_what_python_calls_private_is_never_free(address: IPv4Address | IPv6Address) -> None:
    """The standard library's list and ours, but for the anycast addresses both may leave out."""
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        assert reason_of(address) is not None


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("10.0.0.5/32", "10.0.0.5/32", None),
        (" 10.0.0.5 ", "10.0.0.5/32", None),
        ("10.0.0.5/32:8000", "10.0.0.5/32", 8000),
        ("10.0.0.0/8:1", "10.0.0.0/8", 1),
        ("127.0.0.0/8:65535", "127.0.0.0/8", MAX_PORT),
        ("::1/128:8000", "::1/128", 8000),
        ("::1", "::1/128", None),
        ("fd00::/8", "fd00::/8", None),
    ],
)
def test_openings(text: str, network: str, port: int | None) -> None:
    """A private or loopback network, and a port if only that one is meant."""
    assert parse_opening(text) == Opening(parse_network(network), port)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", ":", "10.0.0.5:8000", "10.0.0.5/32:", "10.0.0.5/32:0", "10.0.0.5/32:65536",
        "10.0.0.5/32:80:80", "10.0.0.5/32:http", "10.0.0.5/8", "10.0.0.0/7", "0.0.0.0/0", "::/0",
        "8.8.8.8/32", "169.254.169.254/32", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.1/32",
        "::ffff:10.0.0.5/128", "fe80::1%eth0/128", "fd00:ec2::254/128", "192.168.0.0/15",
        "localhost", "10.0.0.5/32:\uff18\uff10",
    ],
)  # fmt: skip
def test_what_opens_nothing_is_refused(text: str) -> None:
    """Public, metadata and mixed networks, and slips of the pen."""
    with pytest.raises(InvalidNetwork):
        parse_opening(text)
    assert parse_openings([text, "10.0.0.5/32"]) == (parse_opening("10.0.0.5/32"),)


def allowed(text: str, port: int, *openings: str, trusted: bool = False) -> bool:
    try:
        check_address(ip_address(text), port, parse_openings(openings), trusted=trusted)
    except ForbiddenAddress:
        return False
    return True


def test_an_opening_opens_its_addresses_and_port_alone() -> None:
    """10.0.0.5 at 8000 is no 10.0.0.6, and no 8001."""
    assert allowed("10.0.0.5", 8000, "10.0.0.5/32:8000")
    assert not allowed("10.0.0.5", 8001, "10.0.0.5/32:8000")
    assert not allowed("10.0.0.6", 8000, "10.0.0.5/32:8000")
    assert allowed("10.0.0.5", 1, "10.0.0.5/32")
    assert allowed("127.0.0.1", 1, "127.0.0.1/32")
    assert allowed("::1", 1, "::1/128")
    assert not allowed("::1", 1, "127.0.0.0/8")


@pytest.mark.parametrize("network", METADATA)
def test_metadata_is_never_opened(network) -> None:
    """Not by an entry around it, and not to the site itself."""
    everything = ("10.0.0.0/8", "127.0.0.0/8", "fc00::/7", "fd00::/8", "::1/128")
    assert not allowed(str(network.network_address), 80, *everything, trusted=True)


def test_the_site_itself_may_be_private() -> None:
    """Or at loopback, or among a cluster's addresses; not link-local or reserved."""
    for text in ("127.0.0.1", "::1", "10.0.0.1", "fd00::1", "100.64.0.1", "93.184.216.34"):
        assert allowed(text, 80, trusted=True)
    for text in ("169.254.1.1", "240.0.0.1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1"):
        assert not allowed(text, 80, trusted=True)


def test_the_refusal_names_address_and_reason() -> None:
    """As the wire contract has it."""
    with pytest.raises(ForbiddenAddress) as caught:
        check_address(ip_address("10.0.0.5"), 80)
    assert str(caught.value) == "Address not allowed: 10.0.0.5 (private)"
    assert (caught.value.address, caught.value.reason) == ("10.0.0.5", Reason.PRIVATE)


def test_an_answer_loses_its_zone() -> None:
    """Resolvers add the interface to link-local addresses."""
    assert parse_answer("fe80::1%eth0") == IPv6Address("fe80::1")
    assert reason_of(parse_answer("fe80::1%eth0")) == "link_local"
