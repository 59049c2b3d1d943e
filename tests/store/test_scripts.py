"""The decision script and the core functions are one arithmetic."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulse.core.claims import Allowance, Claim, settle
from pulse.core.quotas import MAX_PERIOD_US, Algorithm, Quota
from pulse.store import limits
from tests.store.conftest import CLOCK, START_US, ClockedScript

S = 1_000_000
PERIODS = st.one_of(st.integers(S, 10 * S), st.integers(S, MAX_PERIOD_US))
COUNTS = st.one_of(st.integers(1, 12), st.integers(1, 1_000_000_000))
QUOTAS = st.builds(
    lambda count, period, burst, algorithm: Quota(min(count, period), period, burst, algorithm),
    COUNTS, PERIODS, COUNTS, st.sampled_from(Algorithm),
)  # fmt: skip


@st.composite
def allowances(draw) -> Allowance:
    quotas = tuple(draw(st.lists(QUOTAS, min_size=1, max_size=3)))
    most = min(quota.capacity for quota in quotas)
    return Allowance(quotas, draw(st.integers(1, min(most, 10))))


REQUESTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, S), st.integers(-60 * S, MAX_PERIOD_US)),
        st.lists(
            st.tuples(st.sampled_from("abc"), allowances(), st.booleans()),
            min_size=1, max_size=3, unique_by=lambda asked: asked[0],
        ),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def script(redis_server):
    with redis_server.client() as client:
        yield client, client.register_script(ClockedScript("decide").source)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(REQUESTS)
def test_script_agrees_with_core_on_any_sequence(script, requests) -> None:
    """Rates edited between any two requests, clocks that go back, shadow claims: digit by digit."""
    client, decide = script
    for key in client.scan_iter("{pulse}*"):
        client.delete(key)
    now, kept = START_US, {}
    for rest, asked in requests:
        now += rest
        claims = [Claim(key, allowance, enforced) for key, allowance, enforced in asked]
        places = [(claim.key, slot) for claim in claims for slot in claim.allowance.slots]
        outcomes, states = settle(claims, [kept.get(place) for place in places], now)
        groups = bytes(
            0 if claim.enforced else number
            for number, claim in enumerate(claims, 1)
            for _ in claim.allowance.slots
        )
        wire = b"".join(claim.allowance.wire for claim in claims)
        client.set(CLOCK, now)
        keys = ["none", *(f"{{pulse}}{key}{slot}" for key, slot in places)]
        reply = decide(keys, ["", wire, groups])
        assert limits._read(claims, reply).outcomes == outcomes
        kept.update((place, state) for place, state in zip(places, states, strict=True) if state)
        for place in places:
            value = client.get(f"{{pulse}}{place[0]}{place[1]}")
            if value is not None:
                assert value.decode() == "{}:{}".format(*kept[place])
