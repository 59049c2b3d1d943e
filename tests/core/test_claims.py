from pulse.core.claims import (
    WIRE,
    Allowance,
    Claim,
    Decision,
    OnStoreError,
    Outcome,
    Store,
    decide_alone,
    settle,
)
from pulse.core.quotas import Algorithm, Quota, Verdict

S = 1_000_000
NOW = 1_800_000_000 * S
HOUR = 3600 * S
WINDOW = Quota(5, HOUR, 5, Algorithm.FIXED_WINDOW)


def test_slots_name_the_algorithm_and_the_rank_by_period() -> None:
    """Numbers are no part of the name, so that an edited rate finds what was used."""
    second, hour, other = Quota(1, S, 1), Quota(9, HOUR, 9), Quota(5, HOUR, 5)
    assert Allowance((hour,)).slots == ("t0",)
    assert Allowance((second, WINDOW, hour)).slots == ("t1", "f0", "t0")
    assert Allowance((second, other, hour)).slots == ("t2", "t0", "t1")


def test_wire_is_what_the_script_reads() -> None:
    wire = Allowance((Quota(10, S, 20), WINDOW), cost=2).wire
    assert [*WIRE.iter_unpack(wire)] == [(0, 100_000, 20, 2), (1, HOUR, 5, 2)]


def test_share_and_times_of_every_quota() -> None:
    allowance = Allowance((Quota(10, S, 20), WINDOW), cost=8)
    assert allowance.times(3).quotas == (Quota(30, S, 60), Quota(15, HOUR, 15, WINDOW.algorithm))
    share = allowance.share(4)
    assert share.quotas == (Quota(2, S, 5), Quota(1, HOUR, 1, WINDOW.algorithm))
    assert share.cost == 1


def claim(key: str, *quotas: Quota, enforced: bool = True) -> Claim:
    return Claim(key, Allowance(quotas), enforced)


def test_admitted_request_is_charged_everywhere() -> None:
    claims = [claim("a", Quota(10, S, 20)), claim("b", WINDOW)]
    outcomes, states = settle(claims, [None, None], NOW)
    assert [outcome.passed for outcome in outcomes] == [True, True]
    assert states == [(NOW + 100_000, 100_000), (NOW + HOUR, 1)]


def test_refused_request_is_charged_nowhere() -> None:
    claims = [
        claim("a", Quota(10, S, 20)),
        claim("b", WINDOW),
        claim("c", Quota(1, HOUR, 1), enforced=False),
    ]
    outcomes, states = settle(claims, [None, (NOW + 9 * S, 5), None], NOW)
    assert [outcome.passed for outcome in outcomes] == [True, False, True]
    assert outcomes[0].verdicts == (Verdict(True, 20, 0, 0),)
    assert outcomes[1].verdicts == (Verdict(False, 0, 9 * S, 9 * S),)
    assert states == [None, None, None]


def test_shadow_claim_is_charged_only_if_it_passes_whole() -> None:
    claims = [
        claim("a", Quota(10, S, 20)),
        claim("b", Quota(1, HOUR, 1), WINDOW, enforced=False),
    ]
    outcomes, states = settle(claims, [None, (NOW + HOUR, HOUR), None], NOW)
    assert [outcome.passed for outcome in outcomes] == [True, False]
    assert outcomes[1].verdicts[1] == Verdict(True, 5, 0, 0)
    assert states == [(NOW + 100_000, 100_000), None, None]


def test_share_is_granted_and_the_claim_kept() -> None:
    asked = claim("a", Quota(10, S, 20))
    outcomes, _ = settle([asked], [None], NOW, parts=5)
    assert outcomes == (Outcome(asked, True, (Verdict(True, 3, 0, 500_000),)),)


def alone(*manners: OnStoreError, enforced: bool = True) -> tuple[Decision, list[list[Claim]]]:
    """Decide one claim of each manner without the store, and tell what was counted."""
    asked: list[list[Claim]] = []

    def count(claims: list[Claim]) -> Decision:
        asked.append(claims)
        outcomes, _ = settle(claims, [None] * len(claims), NOW)
        return Decision(True, outcomes, NOW + 7, Store.LOCAL)

    claims = [Claim(str(m), Allowance((WINDOW,)), enforced, m) for m in manners]
    return decide_alone(claims, NOW, count), asked


def test_alone_each_claim_does_as_its_rule_says() -> None:
    decision, asked = alone(OnStoreError.OPEN, OnStoreError.LOCAL)
    assert [claim.key for claim in asked[0]] == ["local"]
    assert [len(outcome.verdicts) for outcome in decision.outcomes] == [0, 1]
    assert (decision.allowed, decision.store, decision.now_us) == (True, Store.LOCAL, NOW + 7)
    assert alone(OnStoreError.OPEN)[0].store is Store.NONE


def test_alone_a_closed_claim_refuses_all_and_counts_nothing() -> None:
    decision, asked = alone(OnStoreError.LOCAL, OnStoreError.CLOSED)
    assert not asked
    assert (decision.allowed, decision.unavailable) == (False, True)
    assert [outcome.passed for outcome in decision.outcomes] == [True, False]
    assert (decision.store, decision.now_us) == (Store.NONE, NOW)
    assert alone(OnStoreError.CLOSED, enforced=False)[0].allowed


def test_uncounted_outcome_waits_for_nothing() -> None:
    asked = Claim("a", Allowance((WINDOW,)), on_store_error=OnStoreError.OPEN)
    assert Outcome(asked, True, ()).retry_after_us == 0
