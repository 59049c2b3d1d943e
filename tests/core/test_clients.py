"""Who a client is, whatever it says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.clients import (
    MAX_HOPS,
    UNKNOWN,
    ClientAddress,
    User,
    by_header,
    came_over_https,
    client_secret,
    digest,
    identify,
    in_percent,
    resolve_address,
)
from pulse.core.networks import NetworkIndex, parse_address, parse_network
from tests.factories import SECRET, SOURCES, networks

PROXIES = networks("10.0.0.0/8", "172.16.0.0/12", "2001:db8:feed::/48")


def client(peer: str, forwarded_for: str = "", trusted=PROXIES) -> str:
    return str(resolve_address(peer, forwarded_for, trusted))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:51234", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::9]:51234", "2001:db8::9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:feed::1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1,203.0.113.9 ,172.16.0.1", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 203.0.113.9, 10.0.0.3, 172.16.0.1", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_walk_ends_at_the_first_address_that_is_no_proxy(
    peer: str, forwarded_for: str, address: str
) -> None:
    """From the right over trusted networks, and never further (S3-02, S3-03, S3-04)."""
    assert client(peer, forwarded_for) == address


@given(st.text(max_size=80))
def test_an_untrusted_peer_cannot_change_who_it_is(forwarded_for: str) -> None:
    """No X-Forwarded-For of a client that speaks to the site itself counts (S3-27)."""
    assert resolve_address("203.0.113.9", forwarded_for, PROXIES) == ClientAddress(
        parse_address("203.0.113.9")
    )


@given(st.lists(st.text(max_size=20) | st.ip_addresses().map(str), max_size=40).map(",".join))
def test_what_a_client_forges_stays_left_of_what_the_proxy_saw(forged: str) -> None:
    """A proxy appends; whatever the client wrote before is not reached (S3-04)."""
    assert client("10.0.0.1", f"{forged}, 203.0.113.9") == "203.0.113.9"
    assert client("10.0.0.1", f"{forged}, 203.0.113.9, 10.0.0.2") == "203.0.113.9"


def test_two_clients_behind_one_proxy_are_two() -> None:
    """Users behind one proxy do not share a limit (S3-04)."""
    assert client("10.0.0.1", "203.0.113.9") != client("10.0.0.1", "203.0.113.10")


def test_a_chain_of_more_than_32_proxies_is_not_read_further() -> None:
    """A header of a million trusted entries costs what 32 cost."""
    chain = ", ".join(["203.0.113.9", *["10.0.0.2"] * MAX_HOPS])
    assert client("10.0.0.1", chain) == "10.0.0.2"
    chain = ", ".join(["203.0.113.9", *["10.0.0.2"] * (MAX_HOPS - 1)])
    assert client("10.0.0.1", chain) == "203.0.113.9"


@pytest.mark.parametrize("peer", ["", "unix:", "garbage"])
def test_a_peer_without_an_address_is_unknown(peer: str) -> None:
    """All of them are counted together, under ``unknown``, and none is a proxy (S3-05)."""
    found = resolve_address(peer, "203.0.113.9", PROXIES)
    assert (str(found), found.prefix, found.peer_trusted) == (UNKNOWN, UNKNOWN, False)


def test_the_steps_of_a_walk_are_told_in_words() -> None:
    """For ``pulse_explain``: each address looked at, and why it was believed."""
    found = resolve_address("10.0.0.1", "1.2.3.4, oops, 10.0.0.2", PROXIES, explain=True)
    assert found.steps == (
        "The connection comes from 10.0.0.1.",
        "10.0.0.1 is a trusted proxy and was called by 10.0.0.2.",
        "10.0.0.2 is a trusted proxy and was called by oops, which is no address: the walk ends.",
    )
    found = resolve_address("203.0.113.9", "1.2.3.4", PROXIES, explain=True)
    assert found.steps[1] == "That is no trusted proxy, so X-Forwarded-For is not believed."
    assert resolve_address("10.0.0.1", "1.2.3.4", PROXIES).steps == ()


def named(headers: dict[str, str] | None = None, user: User | None = None, sources=SOURCES):
    return identify(
        sources,
        user=user,
        header=(headers or {}).get,
        address=ClientAddress(parse_address("203.0.113.9")),
        secret=SECRET,
    )


def test_the_first_source_that_the_request_has_names_the_client() -> None:
    """User, then ``X-Track-ID``, then ``Authorization``, then the address (S2-05)."""
    both = {"X-Track-ID": "a", "Authorization": "Bearer b"}
    assert named(both, User("7", "kim")).key == "user:7"
    assert named(both).key.startswith("header:x-track-id:")
    assert named({"Authorization": "Bearer b"}).key.startswith("header:authorization:")
    assert named({"X-Track-ID": ""}).key == "ip:203.0.113.9"
    assert named().verified
    assert not named(both).verified
    assert named(both, sources=("address", "header:X-Track-ID")).key == "ip:203.0.113.9"
    assert named(sources=()).key == "ip:203.0.113.9"


def test_no_credential_is_part_of_a_key() -> None:
    """Header values are hashed under the site's secret before anything keeps them (S2-05)."""
    key = named({"Authorization": "Bearer hunter2"}).key
    assert "hunter2" not in key
    other = identify(
        SOURCES,
        user=None,
        header={"Authorization": "Bearer hunter2"}.get,
        address=ClientAddress(None),
        secret=client_secret("another site"),
    )
    assert other.key != key


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_values_are_different_clients(one: str, other: str) -> None:
    """Also those with blanks, other alphabets, or surrogates."""
    same = digest(one, SECRET) == digest(other, SECRET)
    assert same == (one == other)
    assert len(digest(one + "\udcff", SECRET)) == 24


def test_long_values_leave_nothing_in_memory() -> None:
    """A client that sends ever new kilobytes as its name cannot fill the process with them."""
    from pulse.core import clients

    before = clients._remembered.cache_info().currsize
    for number in range(20):
        digest(f"{number}" + "x" * 1000, SECRET)
    assert clients._remembered.cache_info().currsize == before
    assert digest("y" * 1000, SECRET) == digest("y" * 1000, SECRET)


@given(st.text(max_size=30), st.text(max_size=30), st.integers(0, 99))
def test_who_is_in_stays_in_as_the_share_grows(rule: str, name: str, percent: int) -> None:
    """``percent`` is stable and monotone; 0 is nobody, 100 is everybody."""
    inside = in_percent(rule, name, percent, SECRET)
    assert in_percent(rule, name, percent, SECRET) is inside
    assert not inside or in_percent(rule, name, percent + 1, SECRET)
    assert not in_percent(rule, name, 0, SECRET)
    assert in_percent(rule, name, 100, SECRET)


def test_a_share_of_the_clients_is_that_share() -> None:
    """30 percent of 4,000 addresses are 1,200, within what chance allows, apart for each rule."""
    addresses = [f"198.51.{n >> 8}.{n & 255}" for n in range(4000)]
    one = {a for a in addresses if in_percent("one", a, 30, SECRET)}
    other = {a for a in addresses if in_percent("other", a, 30, SECRET)}
    assert 1080 < len(one) < 1320
    assert 270 < len(one & other) < 450


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("", "203.0.113.9", "203.0.113.9"),
        ("", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("", "198.51.100.1, 10.0.0.1", "198.51.100.1"),
        ("", "", "unknown"),
        ("", "garbage", "unknown"),
        ("garbage", "203.0.113.9", "unknown"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),
    ],
)
def test_proxy_on_a_unix_socket_is_believed_where_that_is_said(peer, forwarded, expected) -> None:
    """It has no address to be named by; a peer with an address is none the more trusted."""
    trusted = NetworkIndex([(parse_network("10.0.0.0/8"), None)])
    assert str(resolve_address(peer, forwarded, trusted, trusts_unix=True)) == expected
    if not peer:
        assert str(resolve_address(peer, forwarded, trusted)) == "unknown"


@pytest.mark.parametrize("name", ["User", "IP", "Global", "Ceiling"])
def test_no_header_is_taken_for_another_kind_of_client(name: str) -> None:
    """Its name is the operator's to choose, and may be that of a kind."""
    assert by_header(name, "x", b"k").key.startswith(f"header:{name.lower()}:")


@pytest.mark.parametrize(
    ("told", "secure"),
    [
        ("https", True),
        (" HTTPS ", True),
        ("http, https", True),
        ("https, http", False),
        ("http", False),
        ("", False),
        ("httpss", False),
    ],
)
def test_the_scheme_is_the_last_that_is_told(told: str, secure: bool) -> None:
    """A proxy appends what it saw; before that stands what clients write."""
    assert came_over_https(told) is secure
