"""How targets stand, and where their time goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse.core.attempts import Failure
from pulse.core.health import (
    Advance,
    Span,
    Standing,
    Status,
    Transition,
    advance,
    by_hour,
    credit,
    status_at,
    uptime,
)
from pulse.core.judging import State
from pulse.core.windows import Opening

UP, DEGRADED, DOWN = Status.UP, Status.DEGRADED, Status.DOWN
MAINTENANCE, NOT_WATCHED = Status.MAINTENANCE, Status.NOT_WATCHED
OK, SLOW, FAILED, TIMEOUT = State.OK, State.DEGRADED, State.FAILED, State.TIMEOUT
GRACE = 130
LETTERS = {"o": OK, "d": SLOW, "f": FAILED, "t": TIMEOUT}


def walk(results: str, failures: int = 1, successes: int = 1) -> list[Status]:
    """The confirmed status after each result, one a minute."""
    standing, statuses = Standing(), []
    for number, letter in enumerate(results, 1):
        standing = advance(
            standing,
            LETTERS[letter],
            60.0 * number,
            failure_threshold=failures,
            success_threshold=successes,
            grace_s=GRACE,
        ).standing
        statuses.append(standing.status)
    return statuses


@pytest.mark.parametrize(
    ("results", "failures", "successes", "statuses"),
    [
        ("oftodo", 1, 1, [UP, DOWN, DOWN, UP, DEGRADED, UP]),
        ("offfo", 3, 1, [UP, UP, UP, DOWN, UP]),
        ("offoffo", 3, 1, [UP] * 7),
        ("ofooo", 1, 3, [NOT_WATCHED, DOWN, DOWN, DOWN, UP]),
        ("foofoo", 1, 3, [DOWN] * 6),
        ("ffo", 3, 1, [NOT_WATCHED, NOT_WATCHED, UP]),
        ("oddo", 2, 1, [UP, UP, DEGRADED, UP]),
        ("oddoo", 2, 2, [NOT_WATCHED, DEGRADED, DEGRADED, DEGRADED, UP]),
        ("fdd", 1, 2, [DOWN, DOWN, DEGRADED]),
        ("fdo", 1, 2, [DOWN, DOWN, UP]),
        ("odff", 2, 1, [UP, UP, UP, DOWN]),
        ("dfd", 1, 1, [DEGRADED, DOWN, DEGRADED]),
    ],
)
def test_so_many_in_a_row_confirm(
    results: str, failures: int, successes: int, statuses: list[Status]
) -> None:
    """A degraded result did not fail; back from down, the newest result says how."""
    assert walk(results, failures, successes) == statuses


def test_a_change_is_told_once_with_its_time() -> None:
    first = advance(Standing(), OK, 60, grace_s=GRACE)
    assert first.transition == Transition(NOT_WATCHED, UP, 60)
    second = advance(first.standing, OK, 120, grace_s=GRACE)
    assert second.transition is None
    assert second.standing.since_s == 60
    third = advance(second.standing, FAILED, 180, grace_s=GRACE)
    assert third.transition == Transition(UP, DOWN, 180)
    assert third.standing.since_s == 180


def test_time_goes_to_what_was_confirmed() -> None:
    """Until the result that confirms another status."""
    standing = Standing(UP, last_s=100, watched_until_s=230)
    failed = advance(standing, FAILED, 160, failure_threshold=2, grace_s=GRACE)
    assert failed.spans == (Span(UP, 100, 160),)
    again = advance(failed.standing, FAILED, 220, failure_threshold=2, grace_s=GRACE)
    assert again.spans == (Span(UP, 160, 220),)
    back = advance(again.standing, OK, 280, failure_threshold=2, grace_s=GRACE)
    assert back.spans == (Span(DOWN, 220, 280),)


def test_time_that_nobody_watched_is_told_apart() -> None:
    """What is known speaks for its grace; beyond, a target is neither up nor down."""
    standing = Standing(UP, failures=2, last_s=100, watched_until_s=230)
    found = advance(standing, FAILED, 1000, failure_threshold=3, grace_s=GRACE)
    assert found.spans == (Span(UP, 100, 230), Span(NOT_WATCHED, 230, 1000))
    assert (found.transition, found.standing.failures) == (None, 1)
    assert found.standing.watched_until_s == 1130


def test_maintenance_is_told_apart_to_the_second() -> None:
    """Openings that meet are one span, and one that outlasts the grace is maintenance still."""
    standing = Standing(DOWN, last_s=100, watched_until_s=230)
    openings = [Opening(110, 120), Opening(120, 130), Opening(220, 300), Opening(0, 50)]
    assert credit(standing, 400, openings) == (
        Span(DOWN, 100, 110),
        Span(MAINTENANCE, 110, 130),
        Span(DOWN, 130, 220),
        Span(MAINTENANCE, 220, 300),
        Span(NOT_WATCHED, 300, 400),
    )
    assert credit(standing, 400, reversed(openings)) == credit(standing, 400, openings)


def test_results_within_maintenance_confirm_nothing() -> None:
    """And end what was in a row: after it, a target is judged anew."""
    standing = Standing(UP, failures=1, last_s=100, watched_until_s=230)
    opening = [Opening(130, 190)]
    during = advance(standing, FAILED, 160, failure_threshold=2, grace_s=GRACE, maintenance=opening)
    assert during.transition is None
    assert during.standing == Standing(UP, last_s=160, watched_until_s=290)
    assert during.spans == (Span(UP, 100, 130), Span(MAINTENANCE, 130, 160))
    after = advance(
        during.standing, FAILED, 220, failure_threshold=2, grace_s=GRACE, maintenance=opening
    )
    assert (after.standing.status, after.standing.failures) == (UP, 1)
    assert after.spans == (Span(MAINTENANCE, 160, 190), Span(UP, 190, 220))


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.LOST, None),
        (State.CANCELLED, None),
        (State.TIMEOUT, Failure.DEADLINE),
        (State.FAILED, Failure.INTERNAL),
    ],
)
def test_what_says_nothing_of_the_target_moves_nothing(state: State, error: Failure | None) -> None:
    """Not even the time until which it is watched: nobody saw anything."""
    standing = Standing(UP, since_s=60, successes=3, well=3, last_s=100, watched_until_s=230)
    found = advance(standing, state, 160, error=error, grace_s=GRACE)
    assert found == Advance(standing, None, ())


def test_the_probes_own_timeout_is_a_failure() -> None:
    standing = Standing(UP, last_s=100, watched_until_s=230)
    found = advance(standing, TIMEOUT, 160, error=Failure.TIMEOUT, grace_s=GRACE)
    assert found.standing.status == DOWN


def test_a_result_that_comes_late_turns_no_clock_back() -> None:
    standing = Standing(UP, since_s=60, successes=3, well=3, last_s=100, watched_until_s=230)
    assert advance(standing, FAILED, 99.9, grace_s=GRACE) == Advance(standing, None, ())
    same = advance(standing, FAILED, 100, grace_s=GRACE)
    assert (same.standing.status, same.spans) == (DOWN, ())


def test_how_a_target_stands_now() -> None:
    standing = Standing(DOWN, last_s=100, watched_until_s=230)
    assert status_at(standing, 230) == DOWN
    assert status_at(standing, 230.1) == NOT_WATCHED
    assert status_at(standing, 500, in_maintenance=True) == MAINTENANCE
    assert status_at(Standing(), 0) == NOT_WATCHED


def test_uptime_is_of_watched_time() -> None:
    """Degraded is up; maintenance and what nobody watched are neither."""
    assert uptime({}) is None
    assert uptime({MAINTENANCE: 60.0, NOT_WATCHED: 60.0}) is None
    assert uptime({UP: 60.0}) == 1
    assert uptime({DOWN: 60.0}) == 0
    assert uptime({UP: 50.0, DEGRADED: 25.0, DOWN: 25.0, MAINTENANCE: 900.0}) == 0.75


def test_hours_get_their_share_of_spans() -> None:
    spans = [Span(UP, 3000, 7300), Span(NOT_WATCHED, 7300, 10**9), Span(DOWN, 10**9, 10**9 + 10)]
    hour = 10**9 // 3600 * 3600
    assert by_hour(spans) == {0: {UP: 600}, 3600: {UP: 3600}, 7200: {UP: 100}, hour: {DOWN: 10}}
    assert by_hour([Span(UP, 0, 60), Span(DOWN, 60, 120), Span(UP, 120, 180)]) == {
        0: {UP: 120, DOWN: 60}
    }
    assert by_hour([]) == {}


results = st.lists(
    st.tuples(st.sampled_from(State), st.integers(-300, 20_000)), min_size=1, max_size=30
)
openings = st.lists(
    st.builds(
        lambda start, length: Opening(start, start + length),
        st.integers(0, 60_000),
        st.integers(1, 9000),
    ),
    max_size=4,
)


@given(results, openings, st.integers(1, 4), st.integers(1, 4))
def test_every_second_is_credited_once(
    steps: list[tuple[State, int]], maintenance: list[Opening], failures: int, successes: int
) -> None:
    """From the first evidence to the newest, without gaps; in hours too; whatever comes late."""
    standing, at, spans, newest = Standing(), 0, [], []
    for state, step in steps:
        at += step
        found = advance(
            standing,
            state,
            at,
            failure_threshold=failures,
            success_threshold=successes,
            grace_s=500,
            maintenance=maintenance,
        )
        standing = found.standing
        spans += found.spans
        newest += [standing.last_s] if standing.last_s is not None else []
        assert (found.transition is None) or found.transition.after is standing.status
    assert newest == sorted(newest)
    if not newest:
        assert spans == []
        return
    ends = [newest[0], *(span.ends_s for span in spans)]
    assert [span.starts_s for span in spans] == ends[:-1]
    assert ends[-1] == newest[-1]
    sums = {
        status: sum(span.ends_s - span.starts_s for span in spans if span.status is status)
        for status in Status
    }
    hours = by_hour(spans)
    for status in Status:
        of_hours = sum(hour.get(status, 0) for hour in hours.values())
        assert of_hours == (0 if status is NOT_WATCHED else sums[status])
    assert all(sum(hour.values()) <= 3600 for hour in hours.values())
    share = uptime(sums)
    assert share is None or 0 <= share <= 1


@given(st.text("odft", max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_a_target_is_down_only_after_so_many_failures(
    results: str, failures: int, successes: int
) -> None:
    """And up only after so many that are not."""
    statuses = walk(results, failures, successes)
    for number, (before, after) in enumerate(zip([NOT_WATCHED, *statuses], statuses, strict=False)):
        if after is DOWN and before is not DOWN:
            assert set(results[number + 1 - failures : number + 1]) <= {"f", "t"}
            assert number + 1 >= failures
        if before is DOWN and after is not DOWN:
            assert set(results[number + 1 - successes : number + 1]) <= {"o", "d"}
