"""Who may come in: the most specific network, then the longest path."""

import time
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.access import AccessIndex, AccessRule, Action, access_index
from pulse.core.clients import ClientAddress
from pulse.core.networks import parse_address
from tests.factories import SECRET


def item(network: str, action: str = "deny", path: str = "/", **fields: Any) -> dict[str, Any]:
    usual = {"reason": "", "mode": "enforce", "percent": 100, "starts_at": None, "ends_at": None}
    return {"network": network, "path": path, "action": action, **usual, **fields}


def client(address: str) -> ClientAddress:
    return ClientAddress(parse_address(address))


def refusing(index: AccessIndex, address: str, path: str = "/") -> str | None:
    found = index.judge(client(address), path, SECRET)
    return found.rule.name if found.refused and found.rule else None


def would_refuse(index: AccessIndex, address: str, path: str = "/") -> str | None:
    found = index.judge(client(address), path, SECRET).would_refuse
    return None if found is None else found.name


def test_no_rule_lets_everybody_in() -> None:
    """Nobody is denied where no rule says so; and asking costs a truth value."""
    index = access_index([])
    assert not index
    assert refusing(index, "203.0.113.9") is None


@pytest.mark.parametrize(
    ("address", "path", "rule"),
    [
        ("203.0.113.9", "/", "access_rules:203.0.113.0/24 /"),
        ("203.0.113.9", "/api/echo/", "access_rules:203.0.113.0/24 /"),
        ("203.0.113.7", "/", None),
        # The host's own rule for / is more specific than the network's for /admin/.
        ("203.0.113.7", "/admin/", None),
        ("203.0.113.6", "/admin/", "access_rules:203.0.113.0/24 /admin/"),
        ("203.0.113.7", "/administer", None),
        ("203.0.113.7", "/admin", None),
        ("198.51.100.1", "/", None),
        ("198.51.100.1", "/private", "access_rules:0.0.0.0/0 /private"),
        ("198.51.100.1", "/private/x", "access_rules:0.0.0.0/0 /private"),
        ("::ffff:203.0.113.9", "/", "access_rules:203.0.113.0/24 /"),
        ("2001:db8::1", "/", "access_rules:2001:db8::/32 /"),
        ("2001:db9::1", "/private", None),
    ],
)
def test_the_most_specific_network_decides_then_the_longest_path(address, path, rule) -> None:
    """An allowed address within a denied network; where it says nothing, the wider network."""
    index = access_index(
        [
            item("0.0.0.0/0", path="/private"),
            item("203.0.113.0/24"),
            item("203.0.113.0/24", path="/admin/"),
            item("203.0.113.7", "allow", "/"),
            item("203.0.113.7", "deny", "/nothing/"),
            item("2001:db8::/32"),
        ]
    )
    assert refusing(index, address, path) == rule


def test_a_network_that_says_nothing_of_the_path_leaves_it_to_the_next() -> None:
    """The host is allowed under /api/ alone; elsewhere its network is denied."""
    index = access_index([item("203.0.113.0/24"), item("203.0.113.7", "allow", "/api/")])
    assert refusing(index, "203.0.113.7", "/api/echo/") is None
    assert refusing(index, "203.0.113.7", "/") == "access_rules:203.0.113.0/24 /"


def test_an_unknown_address_meets_no_rule() -> None:
    """A Unix socket has none."""
    index = access_index([item("0.0.0.0/0"), item("::/0")])
    assert index.judge(ClientAddress(None), "/", SECRET) == (None, None)


def test_one_network_written_twice_is_denied() -> None:
    """Nothing in the document keeps 10.0.0.1 and 10.0.0.1/32 apart: the denial holds."""
    rules = [item("10.0.0.1", "allow"), item("10.0.0.1/32")]
    for order in (rules, rules[::-1]):
        assert refusing(access_index(order), "10.0.0.1") == "access_rules:10.0.0.1/32 /"


def test_a_rule_in_shadow_tells_and_hides_nothing() -> None:
    """What it would refuse is told apart; the enforced rule below decides."""
    index = access_index(
        [
            item("203.0.113.0/24", mode="shadow"),
            item("203.0.113.7", "allow", mode="shadow"),
            item("203.0.113.8", "allow"),
            item("203.0.113.9", "deny"),
            item("203.0.113.9", "deny", "/api/", mode="shadow"),
            item("198.51.100.0/24"),
            item("198.51.100.1", "allow", mode="shadow"),
        ]
    )
    assert refusing(index, "203.0.113.1") is None
    assert would_refuse(index, "203.0.113.1") == "access_rules:203.0.113.0/24 /"
    # Were all in force, these two would come in.
    assert would_refuse(index, "203.0.113.7") is None
    assert would_refuse(index, "203.0.113.8") is None
    # Who is refused anyway would not be refused by it.
    assert refusing(index, "203.0.113.9", "/api/") == "access_rules:203.0.113.9 /"
    assert would_refuse(index, "203.0.113.9", "/api/") is None
    # An allowance in shadow opens nothing.
    assert refusing(index, "198.51.100.1") == "access_rules:198.51.100.0/24 /"


def test_a_share_of_clients_is_stable_and_grows() -> None:
    """Who is in stays in; the others are in shadow."""
    addresses = [f"203.0.113.{number}" for number in range(200)]
    shares = []
    for percent in (0, 20, 60, 100):
        index = access_index([item("203.0.113.0/24", percent=percent)])
        denied = {address for address in addresses if refusing(index, address)}
        told = {address for address in addresses if would_refuse(index, address)}
        assert denied | told == set(addresses)
        assert not denied & told
        shares.append(denied)
    assert [len(share) for share in shares[::3]] == [0, 200]
    assert shares[1] < shares[2]
    assert 20 < len(shares[1]) < 60


def test_the_end_of_a_rule_is_known() -> None:
    """In epoch seconds, for the list of who is refused until when."""
    index = access_index([item("10.0.0.1", ends_at="2027-01-01T00:00:00Z", reason="abuse")])
    rule = index.judge(client("10.0.0.1"), "/", SECRET).rule
    assert rule is not None
    assert (rule.ends_at, rule.reason) == (1_798_761_600.0, "abuse")


_octet = st.integers(0, 3)
_length = st.sampled_from([0, 8, 14, 15, 16, 23, 24, 30, 31, 32])
_path = st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c/", "/ab"])


@given(
    st.lists(st.tuples(_octet, _octet, _length, _path, st.booleans(), st.booleans()), max_size=12),
    st.tuples(_octet, _octet),
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c/d", "/abc", "/ab/", "//a"]),
)
def test_the_index_says_what_a_search_through_all_rules_says(rules, where, path) -> None:
    """The same rule as sorting every rule that holds by network and path."""
    found = {}
    for one, two, length, prefix, denies, enforced in rules:
        network = str(ip_network(f"10.0.{one}.{two}/{length}", strict=False))
        action = Action.DENY if denies else Action.ALLOW
        found[network, prefix] = AccessRule(
            f"{network} {prefix}", network, prefix, action, "", enforced
        )
    address = f"10.0.{where[0]}.{where[1]}"
    holding = sorted(
        (
            rule
            for rule in found.values()
            if parse_address(address) in ip_network(rule.network) and _covers(rule.path, path)
        ),
        key=lambda rule: (-ip_network(rule.network).prefixlen, -len(rule.path)),
    )
    expected = next((rule for rule in holding if rule.enforced), None)
    verdict = AccessIndex(found.values()).judge(client(address), path, SECRET)
    assert verdict.rule == expected
    refused = expected is not None and expected.action is Action.DENY
    told = holding and not holding[0].enforced and holding[0].action is Action.DENY and not refused
    assert verdict.would_refuse == (holding[0] if told else None)


def _covers(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


@pytest.mark.parametrize("shape", ["networks", "paths"])
def test_ten_thousand_rules_cost_what_ten_do(shape: str) -> None:
    """By network, and by path within one network; at most a fifth more, in the best of many."""
    ten, many = (access_index(_rules(shape, count)) for count in (10, 10_000))
    inside = client("10.0.0.1")
    assert refusing(many, "10.0.0.1", "/p/1/x") is not None
    timings: dict[int, list[float]] = {0: [], 1: []}
    for _round in range(60):
        for place, index in enumerate((ten, many)):
            started = time.perf_counter()
            for _ in range(200):
                index.judge(inside, "/p/1/x", SECRET)
            timings[place].append(time.perf_counter() - started)
    assert min(timings[1]) < min(timings[0]) * 1.2


def _rules(shape: str, count: int) -> list[dict[str, Any]]:
    if shape == "paths":
        return [item("10.0.0.0/8", path=f"/p/{number}/") for number in range(count)]
    return [item(f"10.{n >> 8 & 255}.{n & 255}.0/24") for n in range(count)]
