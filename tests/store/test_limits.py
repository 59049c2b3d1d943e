"""What every store promises, in exact numbers."""

import pytest

from pulse.core.announcement import Announcement
from pulse.core.claims import Allowance, Claim, OnStoreError, Store
from pulse.core.quotas import Quota, Verdict, make_quota
from pulse.exceptions import StaleAnnouncement
from pulse.store import announcement, limits
from tests.store.conftest import Counters, keys_of

S = 1_000_000
HOUR = 3600 * S
TEN_A_SECOND = Allowance((make_quota("10/s", 20),))
WINDOW = Allowance((make_quota("3/m", algorithm="fixed_window"),))


def claim(key: str = "tiers:default:ip:192.0.2.1", allowance=TEN_A_SECOND, **more) -> Claim:
    return Claim(key, allowance, **more)


def verdict(counters: Counters, *claims: Claim) -> Verdict:
    (outcome, *_) = counters.decide(*claims).outcomes
    return outcome.verdicts[0]


def test_full_burst_then_one_spacing(counters: Counters) -> None:
    """Twenty at once pass; the next waits period / count."""
    for taken in range(1, 21):
        assert verdict(counters, claim()) == Verdict(True, 20 - taken, 0, taken * 100_000)
    assert verdict(counters, claim()) == Verdict(False, 0, 100_000, 2_000_000)
    counters.advance(99_999)
    assert verdict(counters, claim()) == Verdict(False, 0, 1, 1_900_001)
    counters.advance(1)
    assert verdict(counters, claim()) == Verdict(True, 0, 0, 2_000_000)


def test_twenty_five_at_once_admit_twenty(counters: Counters) -> None:
    decisions = [counters.decide(claim()) for _ in range(25)]
    assert [decision.allowed for decision in decisions] == [True] * 20 + [False] * 5
    assert {decision.now_us for decision in decisions} == {counters.now_us}


def test_store_is_named(counters: Counters) -> None:
    expected = Store.LOCAL if counters.kind == "memory" else Store.REDIS
    assert counters.decide(claim()).store is expected


def test_no_claims_pass_uncounted(counters: Counters) -> None:
    decision = counters.decide()
    assert decision.allowed
    assert decision.store is Store.NONE


def test_clients_do_not_know_each_other(counters: Counters) -> None:
    for _ in range(20):
        assert counters.decide(claim("tiers:default:ip:192.0.2.1")).allowed
    assert verdict(counters, claim("tiers:default:ip:192.0.2.2")).remaining == 19


def test_full_again_after_rest(counters: Counters) -> None:
    for _ in range(20):
        counters.decide(claim())
    counters.advance(5 * S)
    assert verdict(counters, claim()) == Verdict(True, 19, 0, 100_000)


def test_all_or_nothing(counters: Counters) -> None:
    """One spent limit refuses the request, and the other limits are not charged."""
    tight = claim("endpoint:a", Allowance((Quota(1, 60 * S, 1),)))
    assert counters.decide(claim(), tight).allowed
    for _ in range(5):
        decision = counters.decide(claim(), tight)
        assert not decision.allowed
        wide, narrow = decision.outcomes
        assert wide.passed
        assert wide.verdicts == (Verdict(True, 19, 0, 100_000),)
        assert not narrow.passed
        assert narrow.verdicts == (Verdict(False, 0, 60 * S, 60 * S),)
    assert verdict(counters, claim()).remaining == 18


def test_all_or_nothing_within_one_claim(counters: Counters) -> None:
    both = claim(allowance=Allowance((make_quota("2/s"), make_quota("3/h"))))
    assert [counters.decide(both).allowed for _ in range(3)] == [True, True, False]
    counters.advance(S)
    assert [counters.decide(both).allowed for _ in range(2)] == [True, False]
    second, hourly = counters.decide(both).outcomes[0].verdicts
    assert second == Verdict(True, 1, 0, 500_000)
    assert not hourly.allowed
    assert hourly.retry_after_us == 1200 * S - S


def test_eight_limits(counters: Counters) -> None:
    eight = claim(allowance=Allowance(tuple(Quota(n, HOUR, n) for n in range(8, 0, -1))))
    first = counters.decide(eight)
    assert [v.remaining for v in first.outcomes[0].verdicts] == [7, 6, 5, 4, 3, 2, 1, 0]
    second = counters.decide(eight)
    assert [v.allowed for v in second.outcomes[0].verdicts] == [True] * 7 + [False]
    assert [v.remaining for v in second.outcomes[0].verdicts] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_shadow_counts_on_its_own_and_never_refuses(counters: Counters) -> None:
    shadow = claim("shadow:tight", Allowance((Quota(1, HOUR, 1),)), enforced=False)
    passed = []
    for _ in range(3):
        decision = counters.decide(claim(), shadow)
        assert decision.allowed
        passed.append(decision.outcomes[1].passed)
    assert passed == [True, False, False]
    assert verdict(counters, claim()).remaining == 16


def test_shadow_is_charged_only_when_the_request_is_admitted(counters: Counters) -> None:
    shadow = claim("shadow:tight", Allowance((Quota(2, HOUR, 2),)), enforced=False)
    tight = claim("endpoint:a", Allowance((Quota(1, HOUR, 1),)))
    assert counters.decide(tight, shadow).allowed
    for _ in range(3):
        decision = counters.decide(tight, shadow)
        assert not decision.allowed
        assert decision.outcomes[1].passed
        assert decision.outcomes[1].verdicts[0].remaining == 1


def test_shadow_claims_are_charged_apart(counters: Counters) -> None:
    """A shadow claim of which one quota is spent is not charged in its others."""
    two = Allowance((Quota(1, HOUR, 1), Quota(5, HOUR, 5)))
    one = claim("shadow:1", two, enforced=False)
    other = claim("shadow:2", Allowance((Quota(5, HOUR, 5),)), enforced=False)
    counters.decide(one, other)
    first, second = counters.decide(one, other).outcomes
    assert not first.passed
    assert [v.remaining for v in first.verdicts] == [0, 4]
    assert second.passed
    assert second.verdicts[0].remaining == 3


def test_cost_takes_several(counters: Counters) -> None:
    dear = claim(allowance=Allowance((make_quota("10/s", 20),), cost=8))
    assert verdict(counters, dear) == Verdict(True, 12, 0, 800_000)
    assert verdict(counters, dear) == Verdict(True, 4, 0, 1_600_000)
    assert verdict(counters, dear) == Verdict(False, 4, 400_000, 1_600_000)
    counters.advance(400_000)
    assert verdict(counters, dear) == Verdict(True, 0, 0, 2_000_000)


def test_fixed_window_opens_with_the_client(counters: Counters) -> None:
    window = claim(allowance=WINDOW)
    assert verdict(counters, window) == Verdict(True, 2, 0, 60 * S)
    counters.advance(10 * S)
    assert verdict(counters, window) == Verdict(True, 1, 0, 50 * S)
    assert verdict(counters, window) == Verdict(True, 0, 0, 50 * S)
    assert verdict(counters, window) == Verdict(False, 0, 50 * S, 50 * S)
    counters.advance(50 * S)
    assert verdict(counters, window) == Verdict(True, 2, 0, 60 * S)


def test_uncharged_window_is_not_open(counters: Counters) -> None:
    tight = claim("endpoint:a", Allowance((Quota(1, HOUR, 1),)))
    counters.decide(tight)
    decision = counters.decide(claim(allowance=WINDOW), tight)
    assert decision.outcomes[0].verdicts == (Verdict(True, 3, 0, 0),)
    counters.advance(7)
    assert verdict(counters, claim(allowance=WINDOW)) == Verdict(True, 2, 0, 60 * S)


@pytest.mark.parametrize("rate", ["5/s", "20/s", "600/m", "1/s", "40/m"])
def test_edited_rate_keeps_what_was_used(counters: Counters, rate: str) -> None:
    """An edit neither refills a client nor locks it out."""
    for _ in range(15):
        counters.decide(claim())
    edited = claim(allowance=Allowance((make_quota(rate, 20),)))
    assert verdict(counters, edited).remaining == 4


def test_smaller_burst_neither_refills_nor_locks_out(counters: Counters) -> None:
    for _ in range(15):
        counters.decide(claim())
    smaller = claim(allowance=Allowance((make_quota("10/s", 5),)))
    assert verdict(counters, smaller) == Verdict(False, 0, 100_000, 500_000)
    counters.advance(100_000)
    assert verdict(counters, smaller).allowed


@pytest.mark.parametrize("rate", ["1/s", "5/h", "90/s"])
def test_wait_told_after_an_edit_is_true(counters: Counters, rate: str) -> None:
    for _ in range(20):
        counters.decide(claim())
    edited = claim(allowance=Allowance((make_quota(rate, 20),)))
    wait = verdict(counters, edited).retry_after_us
    assert wait == edited.allowance.quotas[0].spacing_us
    counters.advance(wait - 1)
    assert verdict(counters, edited).retry_after_us == 1
    counters.advance(1)
    assert verdict(counters, edited).allowed


def test_edited_window_keeps_what_was_used(counters: Counters) -> None:
    for _ in range(3):
        counters.decide(claim(allowance=WINDOW))
    wider = claim(allowance=Allowance((make_quota("5/30s", algorithm="fixed_window"),)))
    assert verdict(counters, wider) == Verdict(True, 1, 0, 30 * S)


def test_clock_set_back_does_not_lock_out(redis_counters: Counters) -> None:
    """A failover to a server an hour behind costs a client its burst at the most."""
    redis_counters.decide(claim())
    redis_counters.advance(-HOUR)
    assert verdict(redis_counters, claim()) == Verdict(False, 0, 100_000, 2_000_000)
    redis_counters.advance(100_000)
    assert verdict(redis_counters, claim()).allowed


def test_peek_tells_and_charges_nothing(counters: Counters) -> None:
    for _ in range(3):
        decision = counters.peek(claim())
        assert decision.allowed
        assert decision.outcomes[0].verdicts == (Verdict(True, 19, 0, 100_000),)
    for _ in range(20):
        counters.decide(claim())
    assert not counters.peek(claim()).allowed
    assert counters.peek(claim()) == counters.decide(claim())


def test_state_that_is_no_state_counts_as_none(redis_counters: Counters, redis_server) -> None:
    redis_counters.decide(claim())
    with redis_server.client() as client:
        for key in keys_of(redis_server):
            client.set(key, "garbage")
    assert verdict(redis_counters, claim()).remaining == 19


def test_state_lives_until_it_says_nothing(redis_counters: Counters, redis_server) -> None:
    """A key lives one second longer than the bucket takes to fill, the window to end."""
    redis_counters.decide(claim("a"), claim("b", WINDOW))
    bucket, window = keys_of(redis_server)
    with redis_server.client() as client:
        assert 1_000 < client.pttl(bucket) <= 1_101
        assert 60_900 < client.pttl(window) <= 61_001


def test_keys_are_the_caches_own(redis_counters: Counters, redis_server) -> None:
    redis_counters.decide(claim("tiers:default:ip:192.0.2.1"))
    assert keys_of(redis_server) == ["test:1:{pulse}:l:tiers:default:ip:192.0.2.1:t0"]


def test_stale_announcement_charges_nothing(redis_counters: Counters) -> None:
    announcement.announce(Announcement("a", 7))
    with pytest.raises(StaleAnnouncement) as caught:
        redis_counters.decide(claim(), announcement="a:6:0")
    assert caught.value.announced == "a:7:0"
    assert (
        redis_counters.decide(claim(), announcement="a:7:0").outcomes[0].verdicts[0].remaining == 19
    )


def test_missing_announcement_charges_nothing(redis_counters: Counters) -> None:
    with pytest.raises(StaleAnnouncement) as caught:
        redis_counters.decide(claim(), announcement="a:6:0")
    assert caught.value.announced is None
    assert verdict(redis_counters, claim()).remaining == 19


def test_announcement_not_given_is_not_compared(redis_counters: Counters) -> None:
    announcement.announce(Announcement("a", 7))
    assert redis_counters.decide(claim()).allowed


def test_one_command_a_decision(redis_cache) -> None:
    """At steady state a request is one EVALSHA on the wire, and nothing else."""
    eight = claim(allowance=Allowance(tuple(Quota(n, HOUR, n) for n in range(101, 109))))
    announcement.announce(Announcement("a", 7))
    limits.decide([eight], "a:7:0")
    with redis_cache.client() as client:
        client.config_resetstat()
        for _ in range(50):
            assert limits.decide([eight, claim("b", WINDOW)], "a:7:0").store is Store.REDIS
        stats = client.info("commandstats")
        assert client.info("stats")["total_connections_received"] <= 1
    # What the script itself calls is counted too, under its own names; INFO's are the test's.
    called = {name: row["calls"] for name, row in stats.items()}
    assert called.pop("cmdstat_evalsha") == 50
    assert called.pop("cmdstat_mget") == 50
    assert called.pop("cmdstat_time") == 50
    called.pop("cmdstat_psetex")
    assert {
        name
        for name in called
        if not name.startswith(
            ("cmdstat_config", "cmdstat_client", "cmdstat_info", "cmdstat_hello")
        )
    } == set()


def test_request_beyond_many_shadow_claims(counters: Counters) -> None:
    shadows = [claim(f"s{n}", enforced=False) for n in range(300)]
    decision = counters.decide(claim(), *shadows)
    assert decision.allowed
    assert all(outcome.passed for outcome in decision.outcomes)


def test_request_beyond_what_lua_unpacks(counters: Counters, settings) -> None:
    """Nine thousand counters are judged as one is; the first and the last are charged."""
    settings.PULSE = {"STORE_TIMEOUT_MS": 5000}
    hourly = Allowance((Quota(2, HOUR, 2),))
    many = [claim(f"k{number}", hourly) for number in range(9_000)]
    for left in (1, 0):
        decision = counters.decide(*many)
        assert decision.allowed
        assert {outcome.verdicts[0].remaining for outcome in decision.outcomes} == {left}
    assert decision.store is (Store.LOCAL if counters.kind == "memory" else Store.REDIS)
    assert not counters.decide(many[-1]).allowed
    assert not counters.decide(*many).allowed


def test_shorter_limit_that_comes_and_goes_leaves_the_longer_ones(counters: Counters) -> None:
    """What was used of an hour stays used."""
    hour, second = make_quota("9/h"), make_quota("1/s")
    for remaining in (8, 7):
        decision = counters.decide(claim(allowance=Allowance((hour,))))
        assert decision.outcomes[0].verdicts[0].remaining == remaining
    decision = counters.decide(claim(allowance=Allowance((second, hour))))
    assert [v.remaining for v in decision.outcomes[0].verdicts] == [0, 6]
    decision = counters.decide(claim(allowance=Allowance((hour,))))
    assert decision.outcomes[0].verdicts[0].remaining == 5


def test_on_store_error_does_not_matter_while_it_works(counters: Counters) -> None:
    for manner in OnStoreError:
        assert counters.decide(claim(f"k:{manner}", on_store_error=manner)).allowed


def test_a_client_that_is_let_go_has_all_of_one_rule_again(counters: Counters) -> None:
    """Whatever its quotas are by now; other clients and other rules keep what they used."""
    window = make_quota("2/h", algorithm="fixed_window")
    both = Allowance((make_quota("2/m"), window, make_quota("2/d")))
    claims = [Claim(f"{rule}:ip:{n}", both) for rule in ("one", "two") for n in (1, 2)]
    for claim in claims:
        assert [counters.decide(claim).allowed for _ in range(3)] == [True, True, False]
    limits.forget("one:ip:1")
    assert [counters.peek(claim).allowed for claim in claims] == [True, False, False, False]
    assert counters.decide(claims[0]).outcomes[0].verdicts[0].remaining == 1
