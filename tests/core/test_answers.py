"""What an answer tells of the limits, to the character."""

import pytest

from pulse.core.answers import ceil_s, rate_limit_headers, refusing, retry_after_s
from pulse.core.charging import Charge
from pulse.core.claims import Claim, Decision, Outcome, Store
from pulse.core.quotas import Verdict
from tests.factories import allowance, tier

LEGACY = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
IETF = {"RateLimit-Policy", "RateLimit"}
NOW_US = 1_759_575_000_250_000


def charge(name: str, *rates: str, enforced: bool = True, ceiling: bool = False) -> Charge:
    rule = tier(name, *rates)
    claim = Claim(f"{name}:{ceiling}", allowance(*rates), enforced)
    return Charge(rule, claim, "ip", ceiling, "")


def decided(*pairs: tuple[Charge, tuple[Verdict, ...]]) -> tuple[list[Charge], Decision]:
    outcomes = tuple(Outcome(c.claim, all(v.allowed for v in vs), vs) for c, vs in pairs)
    allowed = all(o.passed for o in outcomes if o.claim.enforced)
    return [c for c, _ in pairs], Decision(allowed, outcomes, NOW_US, Store.LOCAL)


def passed(remaining: int, reset_us: int) -> Verdict:
    return Verdict(True, remaining, 0, reset_us)


def refused(retry_us: int, reset_us: int = 0) -> Verdict:
    return Verdict(False, 0, retry_us, reset_us)


def test_allowed_tells_when_the_bucket_is_full_again() -> None:
    """Limit is the capacity, Reset the second of the clock at which all of it is free (S2-06)."""
    found, decision = decided((charge("default", "10/s"), (passed(9, 100_000),)))
    assert rate_limit_headers(found, decision, "both") == {
        "X-RateLimit-Limit": "10",
        "X-RateLimit-Remaining": "9",
        "X-RateLimit-Reset": "1759575001",
        "RateLimit-Policy": '"default";q=10;w=1',
        "RateLimit": '"default";r=9;t=1',
    }


def test_refused_tells_when_a_retry_passes() -> None:
    """Reset is then the second of the retry, not of the full bucket (S2-08)."""
    found, decision = decided((charge("default", "10/m"), (refused(2_400_000, 60_000_000),)))
    headers = rate_limit_headers(found, decision, "both")
    assert headers["X-RateLimit-Remaining"] == "0"
    assert headers["X-RateLimit-Reset"] == "1759575003"
    assert headers["RateLimit"] == '"default";r=0;t=3'


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("both", LEGACY | IETF),
        ("legacy", LEGACY),
        ("ietf", IETF),
        ("off", set()),
    ],
)  # fmt: skip
def test_the_form_chooses_the_fields(form: str, names: set[str]) -> None:
    """``PULSE["RATE_LIMIT_HEADERS"]``."""
    found, decision = decided((charge("default"), (passed(9, 1),)))
    assert set(rate_limit_headers(found, decision, form)) == names


def test_the_tightest_is_told_and_all_are_named() -> None:
    """The longest wait, then the fewest remaining (S2-07)."""
    one, other = charge("one", "10/s", "100/m"), charge("other", "5/m")
    found, decision = decided((one, (passed(9, 5), passed(99, 5))), (other, (passed(4, 7),)))
    headers = rate_limit_headers(found, decision, "both")
    assert headers["RateLimit"] == '"other";r=4;t=1'
    assert headers["RateLimit-Policy"] == '"one";q=10;w=1, "one-2";q=100;w=60, "other";q=5;w=60'
    found, decision = decided((one, (passed(9, 5), refused(9_000_000))), (other, (refused(1),)))
    assert rate_limit_headers(found, decision, "both")["RateLimit"] == '"one-2";r=0;t=9'


def test_what_is_in_shadow_is_never_shown() -> None:
    """Nor named, also where it would have refused."""
    shadow = charge("shadow", "1/s", enforced=False)
    found, decision = decided((charge("default"), (passed(9, 5),)), (shadow, (refused(9),)))
    headers = rate_limit_headers(found, decision, "both")
    assert "shadow" not in str(headers)
    assert rate_limit_headers(*decided((shadow, (refused(9),))), "both") == {}


def test_nothing_counted_is_nothing_told() -> None:
    """A rule that lets through while the store is away has no numbers."""
    assert rate_limit_headers(*decided((charge("default"), ())), "both") == {}
    assert rate_limit_headers([], Decision(True, (), NOW_US, Store.NONE), "both") == {}


def test_the_ceiling_of_an_address_has_a_name_of_its_own() -> None:
    """Two policies of one name in a field would be one to its reader."""
    found, decision = decided(
        (charge("default"), (passed(9, 5),)), (charge("default", ceiling=True), (passed(3, 5),))
    )
    headers = rate_limit_headers(found, decision, "ietf")
    assert headers["RateLimit"].startswith('"default-address";r=3')
    assert headers["RateLimit-Policy"].count('"default-address"') == 1


def test_the_claim_with_the_longest_wait_is_what_refuses() -> None:
    """Waiting for a shorter one would be refused again; shadow is never it."""
    short, long = charge("short"), charge("long")
    shadow = charge("shadow", enforced=False)
    found, decision = decided(
        (short, (refused(5),)), (long, (refused(9),)), (shadow, (refused(99),))
    )
    assert refusing(found, decision)[0] is long


@pytest.mark.parametrize(
    ("us", "seconds"), [(0, 1), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)]
)
def test_retry_after_is_rounded_up_and_at_least_one(us: int, seconds: int) -> None:
    """A lone client that waits so long passes."""
    outcome = Outcome(charge("x").claim, False, (Verdict(False, 0, us, 0),))
    assert retry_after_s(outcome) == seconds
    assert ceil_s(us) == -(-us // 1_000_000)
