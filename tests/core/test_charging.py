"""Which counters a request is charged to."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.charging import Charge, charges, exempt_by, tiers
from pulse.core.claims import Allowance
from pulse.core.clients import in_percent
from pulse.core.endpoints import Match, Matcher, PathSet
from pulse.core.networks import NetworkIndex, parse_network
from pulse.core.snapshot import Assignments, Mode
from tests.factories import (
    SECRET,
    assignment,
    endpoint,
    facts,
    kim,
    networks,
    snapshot,
    tier,
)

PAID, TRIAL = tier("paid", "100/s"), tier("trial", "1/s")


def keys(found: Iterable[Charge]) -> list[str]:
    return [charge.claim.key for charge in found]


def shape(found: Iterable[Charge]) -> list[tuple[str, bool, bool]]:
    """Name, enforced and ceiling of each charge."""
    return [(charge.rule.name, charge.claim.enforced, charge.ceiling) for charge in found]


def held(policy, request) -> list[tuple[str, bool]]:
    return [(rule.name, enforced) for rule, enforced, _why in tiers(policy, request)]


def test_every_client_is_charged_to_the_default_tier() -> None:
    """By its address, where nothing else names it (S2-04)."""
    assert keys(charges(snapshot(), facts())) == ["rate_tiers:default:ip:203.0.113.9"]


def test_all_addresses_of_a_64_are_charged_as_one() -> None:
    """An IPv6 subscriber cannot walk through its addresses."""
    one, other = (charges(snapshot(), facts(f"2001:db8::{n}")) for n in (1, 2))
    assert keys(one) == keys(other) == ["rate_tiers:default:ip:2001:db8::/64"]


def test_a_request_from_nowhere_is_charged_to_unknown() -> None:
    """It does not escape (S3-05)."""
    assert keys(charges(snapshot(), facts("garbage"))) == ["rate_tiers:default:ip:unknown"]


def test_without_a_default_tier_nobody_has_one() -> None:
    """A document without a default is legal."""
    assert charges(snapshot(default_tier=None), facts()) == []


def test_an_invented_identity_is_charged_to_its_address_too() -> None:
    """At the ceiling, five times the limit: inventing names buys no more than that (S3-04)."""
    found = charges(snapshot(), facts(headers={"X-Track-ID": "me"}))
    assert shape(found) == [("default", True, False), ("default", True, True)]
    assert found[1].claim.key == "rate_tiers:default:ceiling:203.0.113.9"
    assert [c.claim.allowance.quotas[0].capacity for c in found] == [10, 50]
    assert [c.counted_by for c in found] == ["header", "ip"]


def test_many_invented_identities_share_one_ceiling() -> None:
    """The second claim is the same, whatever the name."""
    ceilings = {
        keys(charges(snapshot(), facts(headers={"Authorization": f"Bearer {n}"})))[1]
        for n in range(50)
    }
    assert ceilings == {"rate_tiers:default:ceiling:203.0.113.9"}


def test_a_user_needs_no_ceiling() -> None:
    """Django has verified who that is."""
    found = charges(snapshot(), facts(user=kim(), headers={"X-Track-ID": "me"}))
    assert keys(found) == ["rate_tiers:default:user:7"]


def test_every_endpoint_limit_that_matches_is_charged_beside_the_tier() -> None:
    """Tier first, then each rule, each on a counter of its own."""
    policy = snapshot(
        endpoint("search"),
        endpoint("api", matcher=Matcher(path="/api/"), key=("ip",)),
        endpoint("post", matcher=Matcher(path="/api/", methods=frozenset({"POST"}))),
    )
    assert keys(charges(policy, facts())) == [
        "rate_tiers:default:ip:203.0.113.9",
        "endpoint_limits:search:ip:203.0.113.9",
        "endpoint_limits:api:ip:203.0.113.9",
    ]


def test_a_path_that_resolves_to_nothing_meets_the_tier_alone() -> None:
    """No prefix matches what no view answers."""
    policy = snapshot(endpoint("all", matcher=Matcher(path="/")))
    assert shape(charges(policy, facts(match=None))) == [("default", True, False)]


def test_a_preflight_is_charged_to_the_same_limits_on_keys_of_its_own() -> None:
    """Every claim of it, in shadow and on the ceiling too; the limits are the request's."""
    policy = snapshot(endpoint("search"), endpoint("watched", mode=Mode.SHADOW, key=("ip",)))
    names = {"Origin": "https://app.example.com", "X-Track-ID": "me"}
    asked = {"Access-Control-Request-Method": "POST"}
    preflight = charges(policy, facts(method="OPTIONS", headers=names | asked))
    request = charges(policy, facts(headers=names))
    assert shape(preflight) == shape(request)
    assert [c.claim.allowance for c in preflight] == [c.claim.allowance for c in request]
    assert keys(preflight)[1::3] == [
        "rate_tiers:default:preflight:ceiling:203.0.113.9",
        "shadow:endpoint_limits:watched:preflight:ip:203.0.113.9",
    ]
    assert not set(keys(preflight)) & set(keys(request))
    assert preflight[0].why == "tier of every client; preflights count apart"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", {}),
        ("OPTIONS", {"Origin": "https://app.example.com"}),
        ("OPTIONS", {"Access-Control-Request-Method": "POST"}),
        ("GET", {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}),
    ],
)
def test_what_only_resembles_a_preflight_is_charged_as_any(method: str, headers) -> None:
    """No browser asks so, and a GET never asks first."""
    found = charges(snapshot(), facts(method=method, headers=headers))
    assert keys(found) == ["rate_tiers:default:ip:203.0.113.9"]


def test_a_rule_can_take_the_place_of_the_tier() -> None:
    """An export may be looser than the tier."""
    policy = snapshot(endpoint("export", "100/s", replaces_tier=True))
    assert shape(charges(policy, facts())) == [("export", True, False)]


@pytest.mark.parametrize("fields", [{"mode": Mode.SHADOW}, {"percent": 0}])
def test_a_rule_that_does_not_act_replaces_no_tier(fields) -> None:
    """Shadow never acts, and leaving the tier out would be an act."""
    policy = snapshot(endpoint("export", "100/s", replaces_tier=True, **fields))
    assert shape(charges(policy, facts())) == [("default", True, False), ("export", False, False)]


def test_a_rule_without_limits_only_takes_the_tier_away() -> None:
    """It makes no claim: a claim of nothing could be neither counted nor refused."""
    bare = endpoint("free", replaces_tier=True, allowance=Allowance(()), ceiling=Allowance(()))
    assert charges(snapshot(bare), facts()) == []
    assert shape(charges(snapshot(bare, endpoint("search")), facts())) == [("search", True, False)]


@pytest.mark.parametrize(
    ("key", "counted", "kind", "with_ceiling"),
    [
        (("client",), "ip:203.0.113.9", "ip", False),
        (("ip",), "ip:203.0.113.9", "ip", False),
        (("global",), "global", "global", False),
        (("user",), "ip:203.0.113.9", "ip", False),
        (("api_key",), "ip:203.0.113.9", "ip", False),
        (("header:X-Key",), "ip:203.0.113.9", "ip", False),
        (("ip", "global"), "ip:203.0.113.9|global", "ip+global", False),
    ],
)
def test_what_a_rule_counts_by_an_anonymous_client(key, counted, kind, with_ceiling) -> None:
    """Where nobody is logged in or no header came the address stands in: no way out."""
    found = charges(snapshot(endpoint(key=key), default_tier=None), facts())
    assert [(c.claim.key, c.counted_by, c.ceiling) for c in found] == [
        (f"endpoint_limits:search:{counted}", kind, with_ceiling)
    ]


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        (("user",), ["user"]),
        (("client",), ["user"]),
        (("header:X-Key",), ["header", "ip"]),
        (("header:x-key", "user"), ["header+user", "ip"]),
        (("ip", "user"), ["ip+user"]),
        (("client", "header:X-Key"), ["user+header", "ip"]),
    ],
)
def test_what_a_rule_counts_by_a_known_client(key, kinds) -> None:
    """A header of the client's own making brings the ceiling of its address along."""
    request = facts(user=kim(), headers={"X-Key": "secret"})
    found = charges(snapshot(endpoint(key=key), default_tier=None), request)
    assert [charge.counted_by for charge in found] == kinds
    assert [charge.ceiling for charge in found] == [False, True][: len(kinds)]
    assert not any("secret" in charge.claim.key for charge in found)


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        (("client",), ["api_key"]),
        (("api_key",), ["api_key"]),
        (("user",), ["user"]),
        (("api_key", "ip"), ["api_key+ip"]),
    ],
)
def test_what_a_rule_counts_by_a_client_with_a_key(key, kinds) -> None:
    """A right key is the first that names a client, and needs no ceiling."""
    request = facts(user=kim(), api_key="k3v9x2ab", headers={"X-Track-ID": "7"})
    found = charges(snapshot(endpoint(key=key), default_tier=None), request)
    assert [charge.counted_by for charge in found] == kinds


def test_a_combination_counts_each_pair_apart() -> None:
    """(user, address): another of either is another counter."""
    rule = endpoint(key=("user", "ip"))
    found = [
        keys(charges(snapshot(rule, default_tier=None), facts(address, user=user)))[0]
        for address in ("203.0.113.1", "203.0.113.2")
        for user in (kim(), None)
    ]
    assert len(set(found)) == 4


def test_shadow_rules_count_on_keys_of_their_own() -> None:
    """They never share a counter with what is enforced."""
    found = charges(snapshot(endpoint(mode=Mode.SHADOW), default_tier=tier(percent=0)), facts())
    assert keys(found) == [
        "shadow:rate_tiers:default:ip:203.0.113.9",
        "shadow:endpoint_limits:search:ip:203.0.113.9",
    ]
    assert not any(charge.claim.enforced for charge in found)


def test_percent_looks_at_the_address_and_not_at_what_a_client_says() -> None:
    """A client cannot leave the enforced share by inventing another name."""
    policy = snapshot(default_tier=tier(percent=50))
    for n in range(30):
        address = f"203.0.113.{n}"
        names = [{"X-Track-ID": str(i)} for i in range(8)]
        acted = {charges(policy, facts(address, headers=h))[0].claim.enforced for h in names}
        assert acted == {in_percent("rate_tiers:default:", address, 50, SECRET)}


# Assignments


def given_to_kim(*held, **fields) -> Assignments:
    return Assignments(users={"kim": tuple(held)}, **fields)


def test_an_assignment_takes_the_place_of_the_default() -> None:
    """One tier holds (S3-23)."""
    policy = snapshot(assignments=given_to_kim(assignment(PAID)))
    assert held(policy, facts(user=kim())) == [("paid", True)]
    assert held(policy, facts()) == [("default", True)]


def test_the_highest_priority_holds() -> None:
    """Whatever kind of assignment it is of."""
    policy = snapshot(
        assignments=Assignments(
            users={"kim": (assignment(PAID, priority=1),)},
            networks=NetworkIndex(
                [(parse_network("203.0.113.0/24"), assignment(TRIAL, "network", priority=2))]
            ),
        )
    )
    assert held(policy, facts(user=kim())) == [("trial", True)]
    assert held(policy, facts("198.51.100.1", user=kim())) == [("paid", True)]


def test_among_equals_the_more_personal_holds() -> None:
    """API key, user, group, header, then the narrowest network."""
    names = ("by_key", "by_user", "by_group", "by_header", "narrow", "wide")
    rules = {name: tier(name) for name in names}
    ways = {
        "api_keys": {"k3v9x2ab": (assignment(rules["by_key"], "api_key k3v9x2ab"),)},
        "users": {"kim": (assignment(rules["by_user"]),)},
        "groups": {"staff": (assignment(rules["by_group"], "group staff"),)},
        "headers": {"X-Plan": {"gold": (assignment(rules["by_header"], "header"),)}},
        "networks": NetworkIndex(
            [
                (parse_network("203.0.113.0/24"), assignment(rules["narrow"], "network")),
                (parse_network("203.0.0.0/16"), assignment(rules["wide"], "network")),
            ]
        ),
    }
    request = facts(
        user=kim("staff", "other"),
        api_key="k3v9x2ab",
        headers={"X-Plan": "gold"},
        peer_trusted=True,
    )
    for way, name in zip(list(ways), names, strict=False):
        assert held(snapshot(assignments=Assignments(**ways)), request) == [(name, True)]
        del ways[way]


def test_groups_are_asked_in_a_fixed_order() -> None:
    """Two groups of equal priority do not take turns between processes."""
    groups = {"b": (assignment(PAID, "group b"),), "a": (assignment(TRIAL, "group a"),)}
    policy = snapshot(assignments=Assignments(groups=groups))
    assert held(policy, facts(user=kim("b", "a"))) == [("trial", True)]


def test_a_header_assigns_only_from_a_trusted_proxy() -> None:
    """Else a client would write its own tier."""
    values = {"X-Plan": {"gold": (assignment(PAID, "header"),)}}
    policy = snapshot(assignments=Assignments(headers=values))
    headers = {"X-Plan": "gold"}
    assert held(policy, facts(headers=headers)) == [("default", True)]
    assert held(policy, facts(headers=headers, peer_trusted=True)) == [("paid", True)]
    assert held(policy, facts(headers={"X-Plan": "tin"}, peer_trusted=True)) == [("default", True)]


@pytest.mark.parametrize(
    "given_tier",
    [
        assignment(PAID, mode=Mode.SHADOW),
        assignment(PAID, percent=0),
        assignment(tier("paid", mode=Mode.SHADOW)),
        assignment(tier("paid", percent=0)),
    ],
)
def test_what_is_in_shadow_counts_beside_the_default_and_takes_no_place(given_tier) -> None:
    """A tier put to shadow does not free those who have it from every limit."""
    found = charges(snapshot(assignments=given_to_kim(given_tier)), facts(user=kim()))
    assert shape(found) == [("default", True, False), ("paid", False, False)]


def test_one_tier_is_charged_once_however_often_it_is_given() -> None:
    """Enforced, or else in shadow: never both, and never twice."""
    shadow = assignment(PAID, mode=Mode.SHADOW)
    twice = given_to_kim(assignment(PAID), shadow, shadow)
    assert held(snapshot(assignments=twice), facts(user=kim())) == [("paid", True)]
    twice = given_to_kim(shadow, shadow)
    assert held(snapshot(assignments=twice), facts(user=kim())) == [
        ("default", True), ("paid", False),
    ]  # fmt: skip


def test_why_a_rule_is_charged_is_told() -> None:
    """In words, for ``pulse_explain``."""
    policy = snapshot(endpoint(), assignments=given_to_kim(assignment(PAID)))
    found = charges(policy, facts(headers={"X-Track-ID": "me"}))
    assert [charge.why for charge in found] == [
        "tier of every client",
        "address of an unverified client",
        "matches the request",
        "address of an unverified client",
    ]
    assert charges(policy, facts(user=kim()))[0].why == "tier of user kim"


# Exemptions


def test_an_exempt_path_or_network_is_named() -> None:
    """On segment boundaries, also where the path resolves to nothing (S2-09)."""
    policy = snapshot(
        exempt_paths=PathSet(["/healthz"]),
        exempt_networks=NetworkIndex([(parse_network("10.0.0.0/8"), "10.0.0.0/8")]),
    )
    assert exempt_by(policy, facts(path="/healthz", match=None)) == "/healthz"
    assert exempt_by(policy, facts(path="/healthz/live")) == "/healthz"
    assert exempt_by(policy, facts(path="/healthzz")) is None
    assert exempt_by(policy, facts("10.1.2.3")) == "10.0.0.0/8"
    assert exempt_by(policy, facts("garbage")) is None


# All policies, all requests

_names = st.sampled_from(["a", "b", "default", "ip", "ceiling", "shadow", "a-b", "a_b"])
_modes = st.sampled_from([Mode.ENFORCE, Mode.SHADOW])
_sources = st.sampled_from(
    ["client", "ip", "user", "global", "header:ip", "header:ceiling", "header:user"]
)
_matched_by = st.sampled_from(
    [
        Matcher(url_name="search"),
        Matcher(path="/"),
        Matcher(route="api/search/"),
        Matcher(path="/no"),
    ]
)
_rules = st.lists(
    st.builds(
        endpoint,
        _names,
        mode=_modes,
        percent=st.sampled_from([0, 50, 100]),
        key=st.lists(_sources, min_size=1, max_size=3, unique=True).map(tuple),
        matcher=_matched_by,
        replaces_tier=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda rule: rule.name,
)
_tiers = {name: tier(name) for name in ("a", "b", "default", "shadow")}
_assigned = st.lists(
    st.builds(
        assignment,
        st.sampled_from(list(_tiers.values())),
        st.sampled_from(["user kim", "group g"]),
        mode=_modes,
        percent=st.sampled_from([0, 50, 100]),
        priority=st.integers(-2, 2),
    ),
    max_size=4,
).map(tuple)
_requests = st.builds(
    facts,
    st.sampled_from(["203.0.113.9", "2001:db8::1", "garbage"]),
    headers=st.dictionaries(
        st.sampled_from(["X-Track-ID", "Authorization", "ip", "ceiling", "user"]),
        st.sampled_from(["", "7", "203.0.113.9", "kim", "a|b", "ceiling:203.0.113.9"]),
    ),
    user=st.sampled_from([None, kim(), kim("g")]),
    match=st.sampled_from([None, Match("api/search/", "search", "v")]),
    peer_trusted=st.booleans(),
)


@settings(max_examples=400)
@given(
    _rules, _assigned, _assigned, _assigned, st.sampled_from([None, *_tiers.values()]), _requests
)
def test_no_two_claims_of_a_request_share_a_key(
    rules, users, groups, wide, default, request
) -> None:
    """Else one of them would be charged twice, or overwritten."""
    policy = snapshot(
        *rules,
        default_tier=default,
        assignments=Assignments(
            users={"kim": users},
            groups={"g": groups},
            headers={"ip": {"7": wide}},
            networks=NetworkIndex((parse_network("203.0.113.0/24"), one) for one in wide),
        ),
    )
    found = charges(policy, request)
    assert len(set(keys(found))) == len(found)
    assert charges(policy, request) == found
    enforced_tiers = {
        c.rule.name for c in found if c.rule.kind == "rate_tiers" and c.claim.enforced
    }
    assert len(enforced_tiers) <= 1
    for charge in found:
        assert charge.claim.key.startswith("shadow:") is not charge.claim.enforced


@given(
    st.dictionaries(
        st.sampled_from(["X-Track-ID", "Authorization", "X-Other", "Cookie"]), st.text()
    )
)
def test_whatever_headers_say_the_address_is_charged(headers) -> None:
    """Every anonymous request is charged to a counter of its address, its own or the ceiling."""
    found = keys(charges(snapshot(), facts(headers=headers)))
    assert {
        "rate_tiers:default:ip:203.0.113.9", "rate_tiers:default:ceiling:203.0.113.9",
    } & set(found)  # fmt: skip


def test_trusting_a_proxy_is_what_makes_its_headers_count() -> None:
    """The factory's network index is what the resolver asks; one look at both together."""
    from pulse.core.clients import resolve_address

    proxies = networks("10.0.0.0/8")
    assert resolve_address("10.0.0.1", "203.0.113.9", proxies).peer_trusted
    assert not resolve_address("203.0.113.9", "10.0.0.1", proxies).peer_trusted
