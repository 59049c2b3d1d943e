"""Whether a change tightens or loosens, told of each item by itself."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse.core.document import difference
from pulse.core.effects import APART, KINDS, Effect, effect_of
from pulse.core.quotas import gcra, make_quota

TIGHTENS, LOOSENS, MIXED, NEUTRAL = Effect

TIER = {"name": "t", "default": False, "mode": "enforce", "percent": 100, "address_ceiling": 5}
TIER["limits"] = [{"rate": "10/s", "burst": 20, "algorithm": "token_bucket"}]
LIMIT = {
    "name": "e",
    "path": "/api/v1/",
    "methods": ["POST"],
    "key": "client",
    "cost": 1,
    "replaces_tier": False,
    "on_store_error": "local",
    "require_nonce": False,
    "limits": TIER["limits"],
    "mode": "enforce",
    "percent": 50,
    "starts_at": None,
    "ends_at": "2027-01-01T00:00:00Z",
}
CORS = {"origin": "https://a.test", "path": "/", "methods": ["GET"], "mode": "enforce"}
CORS |= {"credentials": False, "csrf_trusted": False, "percent": 100}
DENY = {"network": "203.0.113.0/24", "path": "/", "action": "deny", "mode": "enforce"}
HEADERS = {"name": "h", "path": "/", "preset": "api", "headers": {}, "mode": "enforce"}


def limits(*rates: str, algorithm: str = "token_bucket") -> dict[str, Any]:
    quotas = [make_quota(*rate.split("^")[:1]) for rate in rates]
    return {
        "limits": [
            {
                "rate": rate.split("^")[0],
                "burst": int(rate.split("^")[1]) if "^" in rate else quota.count,
                "algorithm": algorithm,
            }
            for rate, quota in zip(rates, quotas, strict=True)
        ]
    }


@pytest.mark.parametrize(
    ("kind", "base", "fields", "expected"),
    [
        # Modes: what does not act, and did not, does nothing.
        ("rate_tiers", TIER, {"mode": "shadow"}, LOOSENS),
        ("rate_tiers", TIER | {"mode": "shadow"}, {"mode": "enforce"}, TIGHTENS),
        ("rate_tiers", TIER | {"mode": "shadow"}, {"mode": "off"}, NEUTRAL),
        ("rate_tiers", TIER | {"mode": "shadow"}, limits("1/s"), NEUTRAL),
        ("exemptions", {"path": "/a/", "mode": "enforce"}, {"mode": "off"}, TIGHTENS),
        ("access_rules", DENY, {"mode": "off"}, LOOSENS),
        ("access_rules", DENY | {"action": "allow"}, {"mode": "off"}, TIGHTENS),
        # Limits: rate and burst, and all of a list.
        ("rate_tiers", TIER, limits("5/s^20"), TIGHTENS),
        ("rate_tiers", TIER, limits("10/s^40"), LOOSENS),
        ("rate_tiers", TIER, limits("5/s^40"), MIXED),
        ("rate_tiers", TIER, limits("600/m^20"), NEUTRAL),
        ("rate_tiers", TIER, limits("10/s^20", "1000/h"), TIGHTENS),
        ("rate_tiers", TIER | limits("10/s^20", "1000/h"), limits("10/s^20"), LOOSENS),
        ("rate_tiers", TIER, limits("10/s", algorithm="fixed_window"), MIXED),
        ("rate_tiers", TIER, {"limits": [{"rate": "many"}]}, MIXED),
        ("rate_tiers", TIER, {"address_ceiling": 2}, TIGHTENS),
        ("rate_tiers", TIER, {"default": True}, MIXED),
        ("rate_tiers", TIER, {"description": "x"}, NEUTRAL),
        # Shares and times.
        ("endpoint_limits", LIMIT, {"percent": 60}, TIGHTENS),
        ("exemptions", {"path": "/a/", "percent": 10}, {"percent": 20}, LOOSENS),
        ("endpoint_limits", LIMIT, {"starts_at": "2026-01-01T00:00:00Z"}, LOOSENS),
        ("endpoint_limits", LIMIT, {"ends_at": None}, TIGHTENS),
        ("tier_assignments", {"user": "kim", "percent": 10}, {"percent": 20}, MIXED),
        # Endpoints.
        ("endpoint_limits", LIMIT, {"cost": 2}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"replaces_tier": True}, LOOSENS),
        ("endpoint_limits", LIMIT, {"on_store_error": "closed"}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"on_store_error": "open"}, LOOSENS),
        ("endpoint_limits", LIMIT, {"methods": []}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"methods": ["GET"]}, MIXED),
        ("endpoint_limits", LIMIT, {"path": "/api/"}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"path": "/api/v1/x/"}, LOOSENS),
        ("endpoint_limits", LIMIT, {"path": "/b/"}, MIXED),
        ("endpoint_limits", LIMIT | {"replaces_tier": True}, {"path": "/api/"}, MIXED),
        ("endpoint_limits", LIMIT, {"key": "ip"}, MIXED),
        ("endpoint_limits", LIMIT, {"tier": "paid", "limits": []}, MIXED),
        ("endpoint_limits", LIMIT, {"max_body_bytes": 10}, MIXED),
        ("endpoint_limits", LIMIT | {"max_body_bytes": 10}, {"max_body_bytes": 9}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"timeout_s": 3.0}, TIGHTENS),
        ("endpoint_limits", LIMIT | {"timeout_s": 3.0}, {"timeout_s": 4.0}, LOOSENS),
        ("endpoint_limits", LIMIT, {"slow_ms": 3}, NEUTRAL),
        ("endpoint_limits", LIMIT, {"require_nonce": True}, TIGHTENS),
        ("endpoint_limits", LIMIT, {"cost": 2, **limits("20/s")}, MIXED),
        ("endpoint_limits", LIMIT, {"cost": 2, "description": "x"}, TIGHTENS),
        # The edge.
        ("access_rules", DENY, {"action": "allow"}, LOOSENS),
        ("access_rules", DENY, {"reason": "abuse"}, NEUTRAL),
        ("cors_origins", CORS, {"methods": ["GET", "PUT"]}, LOOSENS),
        ("cors_origins", CORS, {"methods": ["PUT"]}, MIXED),
        ("cors_origins", CORS, {"credentials": True}, LOOSENS),
        ("cors_origins", CORS, {"max_age": 5}, NEUTRAL),
        ("header_policies", HEADERS, {"preset": "html"}, MIXED),
        ("header_policies", HEADERS, {"headers": {"X-Frame-Options": None}}, LOOSENS),
        ("header_policies", HEADERS, {"headers": {"X-A": "b"}}, TIGHTENS),
        (
            "header_policies",
            HEADERS | {"headers": {"X-A": "b"}},
            {"headers": {"X-A": "c"}},
            MIXED,
        ),
        ("header_policies", HEADERS | {"hsts_stage": "1d"}, {"hsts_stage": "1w"}, TIGHTENS),
        ("header_policies", HEADERS, {"hsts_stage": "1w"}, LOOSENS),
        ("trusted_proxies", {"network": "10.0.0.0/8"}, {"mode": "off"}, MIXED),
        # Probes ask nothing of clients; of what is not known, nobody can tell.
        ("probe_targets", {"name": "a"}, {"mode": "off"}, NEUTRAL),
        ("stars", {"name": "a"}, {"mode": "off"}, MIXED),
        ("rate_tiers", TIER, {"colour": "red"}, MIXED),
    ],
)
def test_a_change_of_an_item(
    kind: str, base: dict[str, Any], fields: dict[str, Any], expected: Effect
) -> None:
    """And taking it back is the opposite."""
    assert effect_of(kind, base, base | fields) is expected
    assert effect_of(kind, base | fields, base) is expected.opposite


@pytest.mark.parametrize(
    ("kind", "item", "expected"),
    [
        ("rate_tiers", TIER, NEUTRAL),
        ("rate_tiers", TIER | {"default": True}, MIXED),
        ("rate_tiers", TIER | {"default": True, "mode": "shadow"}, NEUTRAL),
        ("tier_assignments", {"user": "kim"}, MIXED),
        ("endpoint_limits", LIMIT, TIGHTENS),
        ("endpoint_limits", LIMIT | {"replaces_tier": True}, MIXED),
        ("endpoint_limits", LIMIT | {"max_body_bytes": 1}, MIXED),
        ("endpoint_limits", {"name": "slow", "slow_ms": 5}, NEUTRAL),
        ("exemptions", {"path": "/a/"}, LOOSENS),
        ("access_rules", DENY, TIGHTENS),
        ("cors_origins", CORS, LOOSENS),
        ("header_policies", HEADERS, TIGHTENS),
        ("maintenance_windows", {"name": "m"}, NEUTRAL),
        ("alert_rules", {"name": "m"}, NEUTRAL),
    ],
)
def test_what_is_added_and_deleted(kind: str, item: dict[str, Any], expected: Effect) -> None:
    assert effect_of(kind, None, item) is expected
    gone = effect_of(kind, item, None)
    if kind == "rate_tiers" and expected is MIXED:
        assert gone is LOOSENS  # Whoever had the default has no limit then.
    else:
        assert gone is expected.opposite


def test_every_kind_of_the_house_is_judged() -> None:
    """A new kind, or a new field, has to be thought of here."""
    from pulse.core.effects import _DURATION, _WORDS
    from pulse.policies import kinds

    undecided = {
        "rate_tiers": {"default"},
        "tier_assignments": {"priority"},
        "endpoint_limits": {"route", "url_name", "view", "key", "tier"},
        "header_policies": {"path", "preset", "force"},
    }
    for kind in kinds.all_kinds():
        if kind.name in APART:
            continue
        judged = {*KINDS[kind.name].fields, *_WORDS, *_DURATION, "mode", *kind.key}
        assert set(kind.all_fields) - judged == undecided.get(kind.name, set()), kind.name


def test_a_difference_tells_the_effect() -> None:
    (change,) = difference(
        {"rate_tiers": [TIER]}, {"rate_tiers": [TIER | limits("5/s")]}, {"rate_tiers": ("name",)}
    )
    assert change["effect"] == "tightens"


rates = st.builds(
    lambda count, unit, burst: f"{count}/{unit}^{burst}",
    st.integers(1, 20),
    st.sampled_from(["s", "2s", "m"]),
    st.integers(1, 20),
)


@settings(max_examples=60, deadline=None)
@given(rates, rates, st.lists(st.integers(0, 3_000_000), min_size=1, max_size=40))
def test_what_tightens_never_lets_more_through(one: str, other: str, gaps: list[int]) -> None:
    """Held against the arithmetic of the limiter itself."""
    effect = effect_of("rate_tiers", TIER | limits(one), TIER | limits(other))
    admitted = []
    for text in (one, other):
        rate, burst = text.split("^")
        quota, arrival, now, passed = make_quota(rate, int(burst)), 0, 10**12, 0
        for gap in gaps:
            now += gap
            verdict, arrival = gcra(quota, arrival, now)
            passed += verdict.allowed
        admitted.append(passed)
    before, after = admitted
    if effect in {TIGHTENS, NEUTRAL}:
        assert after <= before
    if effect in {LOOSENS, NEUTRAL}:
        assert after >= before
