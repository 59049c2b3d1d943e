"""Maintenance windows: when they are open, and for what."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.windows import (
    Opening,
    Scope,
    Window,
    find_open,
    is_open,
    make_window,
    next_openings,
    opening_at,
    openings_between,
)
from pulse.exceptions import InvalidSchedule, InvalidWindow


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def every_night(duration_s: int = 7200, cron: str = "0 2 * * *") -> Window:
    return make_window("night", cron=cron, time_zone="Europe/Berlin", duration_s=duration_s)


def test_a_window_is_open_from_its_start_until_its_end() -> None:
    window = make_window("move", starts_s=1000, ends_s=2000)
    assert [is_open(window, at) for at in (999.9, 1000, 1999.9, 2000)] == [False, True, True, False]
    assert opening_at(window, 1500) == Opening(1000, 2000)
    assert opening_at(window, 2000) is None
    assert next_openings(window, 999) == [Opening(1000, 2000)]
    assert next_openings(window, 1000) == []


def test_a_window_opens_again_and_again() -> None:
    window = every_night()
    start = epoch("2026-01-10T02:00+01:00")
    assert [is_open(window, start + s) for s in (-1, 0, 7199, 7200)] == [False, True, True, False]
    assert opening_at(window, start + 60) == Opening(start, start + 7200)
    days = [Opening(start + day, start + day + 7200) for day in (86_400, 2 * 86_400)]
    assert next_openings(window, start + 60, 2) == days
    assert next_openings(window, start - 1, 1) == [Opening(start, start + 7200)]


def test_a_duration_is_time_that_passes() -> None:
    """The night that has 02:00 twice, and the one that has none: two hours each."""
    for opens in ("2026-10-25T02:00+02:00", "2026-03-29T03:00+02:00"):
        start = epoch(opens)
        assert opening_at(every_night(), start + 3600) == Opening(start, start + 7200)
        assert not is_open(every_night(), start + 7200)


def test_openings_that_meet_are_one() -> None:
    """At 22:00 and 23:00 for two hours: from 22:00 until 01:00, wherever it is asked."""
    window = every_night(cron="0 22,23 * * *")
    start = epoch("2026-01-10T22:00+01:00")
    whole = Opening(start, start + 3 * 3600)
    assert {opening_at(window, start + s) for s in (0, 3599, 3600, 7200, 10_799)} == {whole}
    assert opening_at(window, start + 10_800) is None
    assert next_openings(window, start - 1, 1) == [whole]
    assert next_openings(window, start + 3599, 1)[0].starts_s == start + 86_400


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "needs a start and an end, or"),
        ({"starts_s": 1}, "both"),
        ({"ends_s": 1}, "both"),
        ({"starts_s": 2, "ends_s": 2}, "ends before it begins"),
        ({"starts_s": 1, "ends_s": 2, "cron": "* * * * *"}, "needs a start and an end, or"),
        ({"starts_s": 1, "ends_s": 2, "duration_s": 60}, "needs a start and an end, or"),
        ({"cron": "0 2 * * *"}, "duration"),
        ({"cron": "0 2 * * *", "duration_s": 59}, "duration"),
        ({"cron": "0 2 * * *", "duration_s": 31 * 86_400 + 1}, "duration"),
        ({"cron": "0 2 * * *", "duration_s": 86_400}, "for ever"),
        ({"cron": "* * * * *", "duration_s": 60}, "for ever"),
        ({"duration_s": 60}, "needs a start and an end, or"),
    ],
)
def test_what_makes_no_window_is_told(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidWindow, match=reason):
        make_window("night", **fields)


def test_a_window_by_a_wrong_schedule_is_refused_as_that() -> None:
    with pytest.raises(InvalidSchedule, match="cron"):
        make_window("night", cron="0 25 * * *", duration_s=60)


def test_a_window_that_names_nothing_is_for_everything() -> None:
    window = make_window("move", starts_s=0, ends_s=1, targets=[""])
    assert window.covers_everything
    assert window.covers(Scope())
    assert window.covers(Scope("products", "shop", "slow"))


def test_one_name_that_fits_is_enough() -> None:
    window = make_window("move", starts_s=0, ends_s=1, targets=["products"], groups=["shop"])
    assert window.covers(Scope(target="products"))
    assert window.covers(Scope(target="search", group="shop"))
    assert not window.covers(Scope(target="search", group="other"))
    assert not window.covers(Scope(rule="products"))
    assert not window.covers(Scope())
    rules = make_window("quiet", starts_s=0, ends_s=1, rules=["slow"])
    assert rules.covers(Scope(rule="slow"))
    assert not rules.covers(Scope(target="slow"))


def test_the_first_open_window_that_fits_is_found() -> None:
    shop = make_window("shop", starts_s=0, ends_s=100, groups=["shop"])
    everything = make_window("all", starts_s=50, ends_s=100)
    windows = [shop, everything]
    assert find_open(windows, Scope("products", "shop"), 60) is shop
    assert find_open(windows, Scope("search"), 60) is everything
    assert find_open(windows, Scope("search"), 40) is None
    assert find_open(windows, Scope("products", "shop"), 100) is None


def test_openings_of_a_time_are_those_that_reach_into_it() -> None:
    """For time accounts: the one that it begins in, whole, and those that begin within it."""
    start = epoch("2026-01-10T02:00+01:00")
    nights = [Opening(start + day * 86_400, start + day * 86_400 + 7200) for day in range(4)]
    once = make_window("move", starts_s=start + 40_000, ends_s=start + 50_000, targets=["a"])
    windows = [every_night(), once]
    found = openings_between(windows, Scope("a"), start + 60, start + 2 * 86_400)
    assert found == [nights[0], Opening(start + 40_000, start + 50_000), nights[1]]
    assert openings_between(windows, Scope("b"), start + 7200, start + 86_401) == [nights[1]]
    assert openings_between(windows, Scope("b"), start + 7200, start + 86_400) == []
    assert openings_between([once], Scope("a"), start + 45_000, start + 46_000) == [once.once]
    assert openings_between([once], Scope("a"), start + 50_000, start + 60_000) == []


@given(
    st.sampled_from(["0 2 * * *", "0 22,23 * * *", "*/30 9-11 * * MON-FRI", "15 3 L * *"]),
    st.integers(60, 7200),
    st.floats(epoch("2026-01-01T00:00Z"), epoch("2027-01-01T00:00Z")),
)
def test_openings_say_when_a_window_is_open(cron: str, duration_s: int, at: float) -> None:
    """At an instant it is open, or will be; never between an end and the next start."""
    window = every_night(duration_s, cron)
    current = opening_at(window, at)
    assert is_open(window, at) == (current is not None)
    if current:
        assert current.starts_s <= at < current.ends_s
        assert not is_open(window, current.starts_s - 1)
        assert not is_open(window, current.ends_s)
        at = current.ends_s
    upcoming = next_openings(window, at, 2)
    assert at < upcoming[0].starts_s < upcoming[0].ends_s < upcoming[1].starts_s
    assert not is_open(window, (at + upcoming[0].starts_s) / 2)
    assert opening_at(window, upcoming[0].starts_s) == upcoming[0]
