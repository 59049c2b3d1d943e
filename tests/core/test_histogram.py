"""Latencies added up, and how exact they are read back."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.histogram import (
    EXACT_BELOW_US,
    MAX_BUCKET,
    MAX_US,
    RELATIVE_ERROR,
    Histogram,
    add_counts,
    bucket_of,
    from_json,
    value_of,
)

#: Evenly over the orders of magnitude: from one microsecond to twelve days.
latencies = st.one_of(
    st.integers(0, MAX_US),
    st.integers(0, 40).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
)
many = st.lists(latencies, max_size=60)


def of(values: list[int]) -> Histogram:
    histogram = Histogram()
    for us in values:
        histogram.add(us)
    return histogram


@pytest.mark.parametrize(
    ("us", "bucket", "value"),
    [
        (0, 0, 0),
        (31, 31, 31),
        (32, 32, 32.5),
        (33, 32, 32.5),
        (34, 33, 34.5),
        (63, 47, 62.5),
        (64, 48, 65.5),
        (1_000, 111, 1007.5),
        (1_000_000, 270, 999_423.5),
        (MAX_US, MAX_BUCKET, MAX_US - (2**35 - 1) / 2),
    ],
)
def test_buckets_are_sixteen_to_a_doubling(us: int, bucket: int, value: float) -> None:
    """What is stored today is read with the same meaning for ever."""
    assert (bucket_of(us), value_of(bucket)) == (bucket, value)


def test_buckets_have_no_gaps() -> None:
    """Each begins where the one before ends; 592 of them, at most."""
    assert MAX_BUCKET == 591
    edges = [us for us in range(1, 2**14) if bucket_of(us) != bucket_of(us - 1)]
    assert [bucket_of(us) for us in edges] == list(range(1, len(edges) + 1))
    assert edges[: EXACT_BELOW_US - 1] == list(range(1, EXACT_BELOW_US))


@given(latencies)
def test_a_value_read_back_is_little_off(us: int) -> None:
    """At most 3.125 %, and in any case less than 5 %."""
    assert RELATIVE_ERROR == 0.03125
    assert abs(Fraction(value_of(bucket_of(us))) - us) <= Fraction(RELATIVE_ERROR) * us


@given(latencies, latencies)
def test_buckets_keep_the_order(one: int, other: int) -> None:
    first, second = sorted((one, other))
    assert bucket_of(first) <= bucket_of(second)
    assert value_of(bucket_of(first)) <= value_of(bucket_of(second))


@given(st.lists(many, max_size=6))
def test_merged_is_as_if_added_in_one_place(parts: list[list[int]]) -> None:
    """In whatever pieces; by objects, and by what is stored of them."""
    whole = of([us for part in parts for us in part])
    merged = Histogram()
    for part in parts:
        merged.merge(of(part))
    assert merged == whole
    stored = [json.loads(json.dumps(of(part).to_json())) for part in parts]
    total = add_counts(stored)
    assert from_json(total, whole.sum_us, whole.min_us, whole.max_us) == whole
    assert sum(total.values()) == whole.count


@given(many.filter(bool), st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_quantiles_are_little_off(values: list[int], shares: list[float]) -> None:
    """Of the nearest rank, in any order; never beyond the ends."""
    ordered = sorted(values)
    found = of(values).quantiles_ms(shares)
    for share, told in zip(shares, found, strict=True):
        assert told is not None
        true = ordered[max(1, math.ceil(share * len(values))) - 1]
        assert abs(told * 1000 - true) <= true * RELATIVE_ERROR * (1 + 1e-9) + 1e-9
        assert ordered[0] <= told * 1000 * (1 + 1e-12)
        assert told * 1000 <= ordered[-1] * (1 + 1e-12)


@given(many.filter(bool), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_rise_with_their_share(values: list[int], one: float, other: float) -> None:
    first, second = of(values).quantiles_ms(sorted((one, other)))
    assert first is not None
    assert second is not None
    assert first <= second


def test_a_histogram_tells_in_milliseconds() -> None:
    """The ends and the mean exactly, quantiles within their error."""
    histogram = of([1000 * ms for ms in range(1, 101)])
    assert (histogram.count, histogram.mean_ms) == (100, 50.5)
    assert (histogram.min_us, histogram.max_us) == (1000, 100_000)
    assert histogram.quantiles_ms([0.5, 0.99, 0.0, 1.0]) == [50.1755, 100.0, 1.0, 100.0]
    assert histogram.quantile_ms(0.95) == 96.2555
    assert of([7_777]).quantile_ms(0.5) == 7.777


def test_what_no_clock_can_say_is_counted_at_the_ends() -> None:
    """Negative after a clock was set, or longer than any request lasts."""
    assert of([-5, 10**20]) == of([0, MAX_US])


def test_of_nothing_nothing_is_told() -> None:
    assert (Histogram().count, Histogram().mean_ms) == (0, None)
    assert Histogram().quantiles_ms([0.5, 0.9]) == [None, None]
    assert Histogram().to_json() == {}


def test_an_hour_of_many_fits_little_room() -> None:
    """What is stored has at most 592 counts, whatever came."""
    histogram = of([int(1.001**power) for power in range(30_000)])
    assert len(histogram.to_json()) <= MAX_BUCKET + 1
    assert histogram.count == 30_000


def test_what_is_no_count_is_left_out() -> None:
    """A row that somebody edited must not break every page that reads it."""
    stored = {"40": 3, "592": 1, "-1": 1, "x": 1, "\u0664": 1, "41": -1, "42": True, "9" * 5000: 1}
    assert from_json(stored, 0, 0, 0).counts == {40: 3}
