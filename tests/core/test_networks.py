"""Addresses in every form that they are sent in, and networks found among many."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core import networks
from pulse.core.networks import NetworkIndex, client_prefix, parse_address, parse_network
from pulse.exceptions import InvalidNetwork


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("  203.0.113.9\t", "203.0.113.9"),
        ("203.0.113.9:443", "203.0.113.9"),
        ("[203.0.113.9]:443", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:65535", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
        ("::ffff:203.0.113.9%eth0", "203.0.113.9"),
    ],
)
def test_every_form_of_an_address_is_the_same_address(text: str, address: str) -> None:
    """Ports, brackets and zones go, IPv4-mapped is IPv4 (S3-02)."""
    assert str(parse_address(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unknown", "_hidden", "203.0.113", "203.0.113.256", "203.0.113.09", "010.0.0.1",
        "0x7f.1", "2130706433", "203.0.113.9:", "203.0.113.9:123456", "203.0.113.9:80:80",
        "203.0.113.9/32", "[2001:db8::1", "2001:db8::1]", "[]", "[]:80", "[[::1]]", "::1::",
        "2001:db8::1:80:443:1:2:3:4", "%eth0", "localhost", "203.0.113.9, 10.0.0.1", "٢٠٣.0.113.9",
        "203.0.113.9\x00", "[::1]80", "1" * 101, "0" * 100_000 + "1",
    ],
)  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    """Leading zeros, odd notations, other alphabets and over-long texts are none."""
    assert parse_address(text) is None


@given(st.text(max_size=60) | st.from_regex(r"[\[\]0-9a-fA-F:.%/ ]{0,50}", fullmatch=True))
def test_reading_an_address_never_raises(text: str) -> None:
    """Whatever a client sends is an address or none."""
    address = parse_address(text)
    assert address is None or isinstance(address, IPv4Address | IPv6Address)


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_ipv4_with_a_port_mapped_or_bare_is_one_client(address: IPv4Address, port: int) -> None:
    """No spelling of an IPv4 address makes another client."""
    spellings = {
        str(address),
        f"{address}:{port}",
        f"::ffff:{address}",
        f"[::ffff:{address}]:{port}",
    }
    assert {parse_address(text) for text in spellings} == {address}


def test_ipv4_is_counted_whole_and_ipv6_by_its_64() -> None:
    """A subscriber owns a /64: walking through it does not make new clients."""
    assert client_prefix(IPv4Address("203.0.113.9")) == "203.0.113.9"
    inside = {client_prefix(IPv6Address(f"2001:db8:1:2:{n:x}::{n}")) for n in range(1, 50)}
    assert inside == {"2001:db8:1:2::/64"}
    assert client_prefix(IPv6Address("2001:db8:1:3::1")) == "2001:db8:1:3::/64"


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_two_addresses_of_one_64_are_one_client(address: IPv6Address, low: int) -> None:
    """Only the first 64 bits tell clients apart."""
    other = IPv6Address(int(address) >> 64 << 64 | low)
    assert client_prefix(address) == client_prefix(other)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 203.0.113.9 ", "203.0.113.9/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
    ],
)
def test_networks_are_read(text: str, network: str) -> None:
    """An address is a network of one (S3-03)."""
    assert str(parse_network(text)) == network


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.1/8", "has host bits set. Did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", "has host bits set. Did you mean 2001:db8::/32?"),
        ("10.0.0.0/33", "is not a network"),
        ("", "is not a network"),
        ("everyone", "is not a network"),
        ("::ffff:10.0.0.0/104", "is IPv4 written as IPv6. Write the IPv4 network."),
    ],
)
def test_a_slip_in_a_network_is_told(text: str, reason: str) -> None:
    """Host bits hide a slip, and a mapped network would never match."""
    with pytest.raises(InvalidNetwork) as caught:
        parse_network(text)
    assert reason in caught.value.reason
    assert caught.value.value == text


def test_the_most_specific_network_comes_first() -> None:
    """A look-up yields every network around an address, narrowest first."""
    texts = ["0.0.0.0/0", "10.1.0.0/16", "10.0.0.0/8", "10.1.2.3/32", "192.0.2.0/24"]
    index = NetworkIndex((parse_network(text), text) for text in texts)
    address = IPv4Address("10.1.2.3")
    assert list(index.find(address)) == ["10.1.2.3/32", "10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]


def test_the_two_versions_do_not_meet() -> None:
    """``::/0`` is not around an IPv4 address, nor the other way round."""
    index = NetworkIndex([(parse_network("::/0"), 6)])
    assert IPv6Address("::1") in index
    assert IPv4Address("10.0.0.1") not in index
    assert not NetworkIndex()


v4_networks = st.builds(
    lambda number, length: ip_network((number >> (32 - length) << (32 - length), length)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
v6_networks = st.builds(
    lambda number, length: ip_network((number >> (128 - length) << (128 - length), length)),
    st.integers(2**33, 2**128 - 1),
    st.integers(1, 128),
).filter(lambda network: network.version == 6)


@given(st.lists(v4_networks | v6_networks, max_size=30), st.data())
def test_the_index_finds_what_a_scan_finds(found, data) -> None:
    """The same values as comparing with each network, most specific first."""
    index = NetworkIndex((network, place) for place, network in enumerate(found))
    inside = [st.sampled_from([n.network_address, n.broadcast_address]) for n in found]
    address = data.draw(st.one_of(st.ip_addresses(), *inside))
    around = [(-n.prefixlen, place) for place, n in enumerate(found) if address in n]
    assert list(index.find(address)) == [place for _, place in sorted(around)]
    assert (address in index) == bool(around)


def test_no_long_text_is_remembered() -> None:
    """Clients choose them: 8,192 of 8 kB would be 64 MB."""
    before = networks._parse_address.cache_info()
    for number in range(5):
        assert parse_address("x" * 8000 + str(number)) is None
    assert networks._parse_address.cache_info() == before
    assert str(parse_address(" " * 200 + "203.0.113.9")) == "203.0.113.9"


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::%1/64", "10.0.0.1%"])
def test_a_network_of_one_interface_is_refused(text: str) -> None:
    """No client's address has a zone, and what writes addresses out fails on one."""
    with pytest.raises(InvalidNetwork, match="interface"):
        parse_network(text)
