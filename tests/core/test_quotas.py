from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.quotas import (
    MAX_COUNT,
    MAX_FULL_US,
    MAX_PERIOD_US,
    Algorithm,
    Quota,
    Verdict,
    fixed_window,
    format_rate,
    gcra,
    judge,
    make_quota,
    mend,
    parse_rate,
    standing,
)
from pulse.exceptions import InvalidQuota

S = 1_000_000
NOW = 1_800_000_000 * S
TEN = Quota(count=10, period_us=S, burst=20)
WINDOW = Quota(3, 60 * S, 3, Algorithm.FIXED_WINDOW)


def test_full_burst_then_one_spacing() -> None:
    """Twenty at once pass; the next waits period / count."""
    arrival = 0
    for taken in range(1, 21):
        verdict, arrival = gcra(TEN, arrival, now_us=NOW)
        assert verdict == Verdict(True, 20 - taken, 0, taken * 100_000)
    verdict, arrival = gcra(TEN, arrival, now_us=NOW)
    assert verdict == Verdict(False, 0, 100_000, 2 * S)
    verdict, arrival = gcra(TEN, arrival, now_us=NOW + 99_999)
    assert verdict == Verdict(False, 0, 1, 2 * S - 99_999)
    verdict, _ = gcra(TEN, arrival, now_us=NOW + 100_000)
    assert verdict == Verdict(True, 0, 0, 2 * S)


def test_refused_request_costs_nothing() -> None:
    _, arrival = gcra(TEN, 0, NOW, cost=20)
    for _ in range(10):
        _, kept = gcra(TEN, arrival, NOW)
        assert kept == arrival


def test_cost_is_taken_whole_or_not_at_all() -> None:
    _, arrival = gcra(TEN, 0, NOW, cost=15)
    verdict, arrival = gcra(TEN, arrival, NOW, cost=8)
    assert verdict == Verdict(False, 5, 300_000, 1_500_000)
    verdict, _ = gcra(TEN, arrival, NOW, cost=5)
    assert verdict == Verdict(True, 0, 0, 2 * S)


def test_arrival_far_ahead_is_clamped_to_a_spent_burst() -> None:
    verdict, arrival = gcra(TEN, NOW + 3600 * S, NOW)
    assert verdict == Verdict(False, 0, 100_000, 2 * S)
    assert arrival == NOW + 2 * S


@pytest.mark.parametrize("spacing_us", [1, 50_000, 200_000, 86_400 * S])
def test_what_is_owed_is_carried_over_in_requests(spacing_us: int) -> None:
    """Fifteen taken before an edit of the rate are fifteen taken after it."""
    verdict, _ = gcra(TEN, NOW + 15 * spacing_us, NOW, spacing_us=spacing_us)
    assert verdict.remaining == 20 - 15 - 1


def test_window_opens_with_the_first_request() -> None:
    verdict, ends, used = fixed_window(WINDOW, 0, 0, NOW)
    assert (verdict, ends, used) == (Verdict(True, 2, 0, 60 * S), NOW + 60 * S, 1)
    verdict, ends, used = fixed_window(WINDOW, ends, 3, NOW + 10 * S)
    assert (verdict, ends, used) == (Verdict(False, 0, 50 * S, 50 * S), NOW + 60 * S, 3)
    verdict, ends, used = fixed_window(WINDOW, ends, 3, NOW + 60 * S)
    assert (verdict, ends, used) == (Verdict(True, 2, 0, 60 * S), NOW + 120 * S, 1)


def test_window_never_ends_later_than_a_period_from_now() -> None:
    verdict, ends, _ = fixed_window(WINDOW, NOW + 3600 * S, 3, NOW)
    assert verdict == Verdict(False, 0, 60 * S, 60 * S)
    assert ends == NOW + 60 * S


def test_window_of_a_smaller_count_has_nothing_left() -> None:
    verdict, _, used = fixed_window(replace(WINDOW, count=2), NOW + S, 3, NOW)
    assert verdict == Verdict(False, 0, S, S)
    assert used == 3


def test_standing_is_what_is_left() -> None:
    assert standing(TEN, None, NOW) == Verdict(True, 20, 0, 0)
    assert standing(TEN, (NOW + 250_000, 100_000), NOW) == Verdict(True, 17, 0, 250_000)
    assert standing(WINDOW, None, NOW) == Verdict(True, 3, 0, 0)
    assert standing(WINDOW, (NOW + 10 * S, 2), NOW) == Verdict(True, 1, 0, 10 * S)
    assert standing(WINDOW, (NOW, 2), NOW) == Verdict(True, 3, 0, 0)


def test_only_states_of_another_quota_are_mended() -> None:
    assert mend(TEN, None, NOW) is None
    assert mend(TEN, (NOW - 1, 7), NOW) is None
    assert mend(TEN, (NOW + S, 100_000), NOW) is None
    assert mend(TEN, (NOW + S, 200_000), NOW) == (NOW + 500_000, 100_000)
    assert mend(TEN, (NOW + 3 * S, 100_000), NOW) == (NOW + 2 * S, 100_000)
    assert mend(WINDOW, (NOW + 60 * S, 2), NOW) is None
    assert mend(WINDOW, (NOW + 61 * S, 2), NOW) == (NOW + 60 * S, 2)


quotas = st.builds(
    lambda count, period, burst, algorithm: Quota(min(count, period), period, burst, algorithm),
    st.integers(1, MAX_COUNT),
    st.integers(S, MAX_PERIOD_US),
    st.integers(1, MAX_COUNT),
    st.sampled_from(Algorithm),
)


@given(quotas, st.integers(0, 2**53 - 1), st.integers(0, MAX_PERIOD_US), st.integers(1, 50))
def test_wait_that_is_told_is_enough_and_not_too_long(
    quota: Quota, first: int, second: int, cost: int
) -> None:
    cost = min(cost, quota.capacity)
    verdict, state = judge(quota, (first, second), NOW, cost)
    assert 0 <= verdict.remaining <= quota.capacity
    assert verdict.reset_after_us <= max(MAX_FULL_US, MAX_PERIOD_US)
    if verdict.allowed:
        assert verdict.retry_after_us == 0
        return
    assert not judge(quota, state, NOW + verdict.retry_after_us - 1, cost)[0].allowed
    assert judge(quota, state, NOW + verdict.retry_after_us, cost)[0].allowed


@given(quotas, st.integers(1, 100), st.lists(st.integers(0, 5 * S), max_size=40))
def test_never_more_than_capacity_and_what_time_earns(
    quota: Quota, cost: int, rests: list[int]
) -> None:
    cost, now, state, taken = min(cost, quota.capacity), NOW, None, 0
    for rest in rests:
        now += rest
        verdict, state = judge(quota, state, now, cost)
        taken += cost if verdict.allowed else 0
    if quota.algorithm is Algorithm.TOKEN_BUCKET:
        assert taken <= quota.capacity + (now - NOW) // quota.spacing_us
    else:
        assert taken <= quota.count * (1 + (now - NOW) // quota.period_us)


@pytest.mark.parametrize(
    ("rate", "spacing_us"),
    [("10/s", 100_000), ("7/s", 142_858), ("3000/s", 334), ("600000/s", 2), ("1000000/s", 1)],
)
def test_spacing_is_rounded_up(rate: str, spacing_us: int) -> None:
    """Down, 600,000 a second would let 1,000,000 through."""
    assert make_quota(rate).spacing_us == spacing_us


@given(quotas)
def test_no_more_is_earned_in_a_period_than_its_count(quota: Quota) -> None:
    assert quota.period_us // quota.spacing_us <= quota.count


@given(quotas, st.integers(1, 64))
def test_shares_together_are_no_more_than_the_whole(quota: Quota, parts: int) -> None:
    """In the long run: a part may keep one request of burst."""
    share = quota.share(parts)
    assert (
        share.count * parts * quota.period_us <= quota.count * share.period_us
        or share.period_us == MAX_PERIOD_US
    )
    assert share.burst == max(1, quota.burst // parts)


def test_share_of_less_than_one_waits_longer() -> None:
    assert Quota(2, 60 * S, 2).share(4) == Quota(1, 120 * S, 1)
    assert Quota(3, S, 3).share(4) == Quota(1, 1_333_334, 1)


def test_times_never_passes_one_a_microsecond() -> None:
    assert Quota(900_000, S, 10).times(5) == Quota(S, S, 50)


def test_bucket_fills_within_a_century() -> None:
    quota = Quota(1, MAX_PERIOD_US, MAX_COUNT)
    assert quota.capacity == 100
    assert quota.capacity * quota.spacing_us <= MAX_FULL_US


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/s", (10, S)),
        ("1000/h", (1000, 3600 * S)),
        ("5/10m", (5, 600 * S)),
        ("100 / day", (100, 86_400 * S)),
        (" 3/2 Hours ", (3, 7200 * S)),
        ("1/366d", (1, MAX_PERIOD_US)),
        ("1000000/s", (1_000_000, S)),
    ],
)
def test_rates_are_read(text: str, expected: tuple[int, int]) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "10", "10/", "/s", "ten/s", "1.5/s", "-1/s", "0/s", "10/0s", "1/367d", "1000001/s",
     "2000000000/d", "10/fortnight", "10/s/s", "\u0661/s"],
)  # fmt: skip
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuota):
        parse_rate(text)


@pytest.mark.parametrize("text", ["10/s", "5/10m", "1000/h", "100/d", "7/90s", "1/2d"])
def test_rates_are_written_as_they_are_read(text: str) -> None:
    assert format_rate(*parse_rate(text)) == text


def test_burst_is_the_count_unless_it_is_told() -> None:
    assert make_quota("10/s") == Quota(10, S, 10)
    assert make_quota("10/s", 20, "fixed_window").algorithm is Algorithm.FIXED_WINDOW


@pytest.mark.parametrize(
    ("burst", "algorithm"), [(0, "token_bucket"), (MAX_COUNT + 1, "token_bucket"), (1, "leaky")]
)
def test_what_makes_no_quota_is_refused(burst: int, algorithm: str) -> None:
    with pytest.raises(InvalidQuota):
        make_quota("10/s", burst, algorithm)


def test_burst_of_more_than_a_century_is_refused() -> None:
    with pytest.raises(InvalidQuota, match="century"):
        make_quota("1/d", 40_000)
    assert make_quota("1/d", 36_600).capacity == 36_600
