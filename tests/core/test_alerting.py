"""Where an alert rule stands, look by look."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.alerting import LONGEST_CALM_S, Standing, State, calm_after, compare, step

OK, PENDING, FIRING = Standing.OK, Standing.PENDING, Standing.FIRING


def walk(*looks: bool | None, for_s: float = 30, calm_s: float = 20, every_s: float = 10) -> list:
    """Where a rule stands after each look, ten seconds apart."""
    state, found = None, []
    for place, is_wrong in enumerate(looks):
        state = step(state, place * every_s, is_wrong=is_wrong, for_s=for_s, calm_s=calm_s)
        found.append(state.standing)
    return found


def test_it_fires_once_it_was_wrong_for_long_enough() -> None:
    assert walk(True, True, True, True, True) == [PENDING, PENDING, PENDING, FIRING, FIRING]
    assert walk(True, for_s=0) == [FIRING]


def test_a_moment_of_trouble_is_none() -> None:
    assert walk(True, True, False, True, True, True) == [PENDING, PENDING, OK, *[PENDING] * 3]


def test_it_is_over_once_it_was_well_for_long_enough() -> None:
    assert walk(True, False, False, False, for_s=0) == [FIRING, FIRING, FIRING, OK]
    assert walk(True, False, True, False, False, False, for_s=0)[-2:] == [FIRING, OK]
    assert walk(True, False, for_s=0, calm_s=0) == [FIRING, OK]


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    def at(state: State | None, now_s: float, *, is_wrong: bool) -> State:
        return step(state, now_s, is_wrong=is_wrong, for_s=30, calm_s=20)

    pending = at(at(None, 3600, is_wrong=True), 0, is_wrong=True)
    assert pending == State(PENDING, 0)
    firing = at(pending, 30, is_wrong=True)
    assert firing == State(FIRING, 30)
    clearing = at(at(firing, 3600, is_wrong=False), 100, is_wrong=False)
    assert clearing == State(FIRING, 30, 100)
    assert at(clearing, 120, is_wrong=False).standing == OK


def test_what_cannot_be_known_changes_nothing() -> None:
    assert walk(None) == [OK]
    assert walk(True, None, None, True, for_s=30) == [PENDING, PENDING, PENDING, FIRING]
    assert walk(True, None, None, None, None, for_s=0) == [FIRING] * 5


@pytest.mark.parametrize(
    ("op", "value", "is_wrong"),
    [
        (">", 1.1, True),
        (">", 1.0, False),
        (">=", 1.0, True),
        ("<", 1.0, False),
        ("<", 0.9, True),
        ("<=", 1.0, True),
        (">", None, False),
        ("<", None, False),
        ("absent", None, True),
        ("absent", 0.0, False),
        ("absent", 3.0, False),
    ],
)
def test_values_are_compared_as_they_are_written(op, value, is_wrong) -> None:
    assert compare(op, value, None if op == "absent" else 1.0) is is_wrong


def test_what_comes_back_must_be_well_for_longer_each_time() -> None:
    assert [calm_after(60, returns) for returns in range(4)] == [60, 120, 240, 480]
    assert calm_after(60, 1000) == LONGEST_CALM_S
    assert calm_after(7200, 3) == 7200
    assert calm_after(0, 0) == 0
    assert calm_after(0, 2) == 4


@given(
    st.lists(st.sampled_from([True, False, None]), max_size=60),
    st.floats(0, 100),
    st.floats(0, 100),
    st.lists(st.floats(-50, 50), min_size=60, max_size=60),
)
def test_whatever_happens_a_word_begins_and_ends_in_turn(looks, for_s, calm_s, steps) -> None:
    """Also where the clock is stepped; and what was last seen well for ever is over."""
    state: State | None = None
    now, before = 0.0, OK
    for is_wrong, passed in zip(looks, steps, strict=False):
        now += passed
        state = step(state, now, is_wrong=is_wrong, for_s=for_s, calm_s=calm_s)
        assert not (before == FIRING and state.standing == PENDING)
        before = state.standing
    for _ in range(3):
        now += 10_000
        state = step(state, now, is_wrong=False, for_s=for_s, calm_s=calm_s)
    assert state.standing == OK
