"""When schedules are due, to the second."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pulse.core.schedules import (
    MAX_MISSED,
    Due,
    Schedule,
    due,
    format_every,
    make_schedule,
    next_runs,
    parse_cron,
    parse_every,
    parse_time_zone,
    phase_of,
)
from pulse.exceptions import InvalidSchedule

DAY = 86_400


def epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def utc(slots: list[int]) -> list[str]:
    return [f"{datetime.fromtimestamp(slot, UTC):%m-%d %H:%M}" for slot in slots]


def berlin(cron: str) -> Schedule:
    return make_schedule("x", cron=cron, time_zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("60s", 60, "1m"),
        ("5m", 300, "5m"),
        ("1h", 3600, "1h"),
        ("90s", 90, "90s"),
        ("90m", 5400, "90m"),
        (" 24 h ", DAY, "1d"),
        ("5s", 5, "5s"),
        ("30d", 30 * DAY, "30d"),
    ],
)
def test_intervals_are_read_as_people_write_them(text: str, seconds: int, canonical: str) -> None:
    assert parse_every(text) == seconds
    assert format_every(seconds) == canonical


@given(st.integers(5, 30 * DAY))
def test_an_interval_that_is_written_is_read_again(seconds: int) -> None:
    assert parse_every(format_every(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an interval"),
        ("60", "not an interval"),
        ("1.5h", "not an interval"),
        ("-5m", "not an interval"),
        ("1h30m", "not an interval"),
        ("5 M", "not an interval"),
        ("\u0665m", "not an interval"),
        ("1w", "not an interval"),
        ("9" * 400 + "s", "not an interval"),
        ("0s", "too often. Write at least 5s"),
        ("4s", "too often"),
        ("31d", "too seldom. Write at most 30d"),
        ("721h", "too seldom"),
    ],
)
def test_what_is_no_interval_is_told_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidSchedule, match=reason):
        parse_every(text)


def test_slots_lie_on_a_grid_that_the_name_shifts() -> None:
    """The first multiple of the interval, and the phase, strictly after the instant."""
    schedule = Schedule(every_s=60, phase_s=17)
    assert schedule.next_after(0) == 17
    assert schedule.next_after(16.999) == 17
    assert schedule.next_after(17) == 77
    assert schedule.next_after(76.5) == 77
    assert schedule.slot_of(76.999) == 17
    assert schedule.slot_of(77) == 77
    assert schedule.interval_s(80) == 60
    assert next_runs(schedule, 1000) == [1037, 1097, 1157, 1217, 1277]


def test_a_late_or_long_run_moves_no_slot() -> None:
    """From each end of a run, 0 to 59 s after its slot, the next is 60 s after the slot."""
    schedule = Schedule(every_s=60, phase_s=17)
    slot = 17
    for took in (59, 0.2, 31, 58.9):
        assert schedule.next_after(slot + took) == slot + 60
        slot += 60


def test_the_phase_is_the_same_in_every_process() -> None:
    """Python's own hash is salted anew in each, and would shift the slots at each start."""
    assert phase_of("shop", 60) == 25
    assert phase_of("shop", 86_400) == 56_125
    script = "from pulse.core.schedules import phase_of; print(phase_of('shop', 86_400))"
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == "56125"


def test_ten_thousand_schedules_are_spread_over_their_interval() -> None:
    """No second of the minute has twice what it would have of an even spread."""
    seconds = [phase_of(f"target-{number}", 60) for number in range(10_000)]
    counts = [seconds.count(second) for second in range(60)]
    assert min(counts) > 83
    assert max(counts) < 333


def test_an_interval_or_cron_makes_a_schedule() -> None:
    assert make_schedule("shop", every="60s") == Schedule(every_s=60, phase_s=25)
    made = make_schedule("core", cron=" 0  3 * * * ", time_zone="Europe/Berlin")
    assert made == Schedule(cron="0 3 * * *", time_zone="Europe/Berlin")


@pytest.mark.parametrize(("every", "cron"), [(None, None), ("5m", "* * * * *"), ("", "")])
def test_both_or_neither_make_none(every: str | None, cron: str | None) -> None:
    with pytest.raises(InvalidSchedule, match="exactly one"):
        make_schedule("core", every=every, cron=cron)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a cron"),
        ("* * * *", "not a cron"),
        ("* * * * * *", "not a cron"),
        ("60 * * * *", "Bad minute"),
        ("* 24 * * *", "Bad hour"),
        ("* * 0 * *", "Bad day-of-month"),
        ("*/0 * * * *", "Bad minute"),
        ("@daily", "not a cron"),
        ("\u0660 * * * *", "not a cron"),
        ("0 0 31 2 *", "Bad day-of-month"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("0 0 31 4,6,9,11 *", "Bad day-of-month"),
        ("0 0 32 * *", "Bad day-of-month"),
        ("*,*," * 60 + "* * * * *", "too long"),
    ],
)
def test_what_is_no_cron_expression_is_told_why(text: str, reason: str) -> None:
    """A day that never comes is refused when it is written, not found missing years later."""
    with pytest.raises(InvalidSchedule, match=reason):
        parse_cron(text)


@given(
    st.one_of(
        st.text(),
        st.lists(st.text("0123456789*/,-#LW MONFRI", min_size=1), min_size=5, max_size=5).map(
            " ".join
        ),
    )
)
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    """No other error; and what is read has a next slot."""
    try:
        cron = parse_cron(text)
    except InvalidSchedule:
        return
    assert Schedule(cron=cron).next_after(0) > 0


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Salta", "Etc/GMT+5"])
def test_time_zones_have_names(name: str) -> None:
    assert parse_time_zone(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "Berlin", "Europe", "Europe/", "../etc/passwd", "/etc/localtime", "localtime"),
        *("CEST+x y", "posix/Europe/Berlin", "zone.tab", "tzdata.zi", "Europe/Berlin\n", "+01:00"),
        "A" * 5000,
    ],
)
def test_what_is_no_time_zone(name: str) -> None:
    with pytest.raises(InvalidSchedule, match="no time zone"):
        parse_time_zone(name)


def test_a_time_that_summer_time_leaves_out_is_moved_behind_the_gap() -> None:
    """2026-03-29 has no 02:30 in Berlin: it runs at 03:00, once, and at 02:30 the next day."""
    slots = next_runs(berlin("30 2 * * *"), epoch("2026-03-28T00:00Z"), 3)
    assert utc(slots) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_a_time_that_comes_twice_runs_once() -> None:
    """2026-10-25 has 02:30 twice in Berlin; asked between and after, it is the next day's."""
    daily = berlin("30 2 * * *")
    slots = next_runs(daily, epoch("2026-10-24T00:00Z"), 4)
    assert utc(slots) == ["10-24 00:30", "10-25 00:30", "10-26 01:30", "10-27 01:30"]
    for at in ("2026-10-25T00:45Z", "2026-10-25T01:10Z", "2026-10-25T01:30Z", "2026-10-25T01:59Z"):
        assert utc([daily.next_after(epoch(at))]) == ["10-26 01:30"]
        assert utc([daily.slot_of(epoch(at))]) == ["10-25 00:30"]


def test_each_quarter_of_an_hour_goes_by_what_has_passed() -> None:
    """No gap and no double in the nights of the change."""
    quarters = berlin("*/15 * * * *")
    for night in ("2026-03-29T00:00Z", "2026-10-25T00:00Z"):
        start = epoch(night)
        assert next_runs(quarters, start, 12) == [start + 900 * n for n in range(1, 13)]


def test_leap_days_come_every_four_years() -> None:
    slots = next_runs(make_schedule("x", cron="0 0 29 2 *"), epoch("2026-01-01T00:00Z"), 2)
    assert slots == [epoch("2028-02-29T00:00Z"), epoch("2032-02-29T00:00Z")]
    fifth_monday = make_schedule("x", cron="0 0 * 2 MON#5")
    assert fifth_monday.next_after(epoch("2026-01-01T00:00Z")) == epoch("2044-02-29T00:00Z")


def test_the_interval_of_cron_is_that_of_its_slot() -> None:
    """What is watched from nine to five on working days has a long night and a longer weekend."""
    office = berlin("0 9-17 * * MON-FRI")
    assert office.interval_s(epoch("2026-01-05T10:30+01:00")) == 3600
    assert office.interval_s(epoch("2026-01-05T17:00+01:00")) == 16 * 3600
    assert office.interval_s(epoch("2026-01-10T12:00+01:00")) == 64 * 3600


CRONS = ["* * * * *", "*/7 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */2 * * *", "0 3 1 * *"]
CRONS += ["* 2 * * *", "59 23 L * *", "0 0 29 2 *", "5 4 * * SUN", "0 2,3 * * *", "0 12 13 * FRI"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo"]
schedules = st.one_of(
    st.builds(
        lambda every, phase: Schedule(every_s=every, phase_s=phase % every),
        st.integers(5, 30 * DAY),
        st.integers(0, 30 * DAY),
    ),
    st.builds(
        lambda cron, zone: Schedule(cron=cron, time_zone=zone),
        st.sampled_from(CRONS),
        st.sampled_from(ZONES),
    ),
)
#: Around the changes of 2026, and anywhere.
instants = st.one_of(
    st.floats(epoch("2026-03-28T20:00Z"), epoch("2026-03-29T08:00Z")),
    st.floats(epoch("2026-10-24T20:00Z"), epoch("2026-10-25T08:00Z")),
    st.floats(epoch("2026-03-08T00:00Z"), epoch("2026-03-08T12:00Z")),
    st.floats(epoch("2000-01-01T00:00Z"), epoch("2060-01-01T00:00Z")),
)


@given(schedules, instants, st.floats(0, 1))
def test_slots_are_one_ordered_grid(schedule: Schedule, at: float, part: float) -> None:
    """Each instant lies in one slot, and every instant of a slot has the same next one."""
    slot, upcoming = schedule.slot_of(at), schedule.next_after(at)
    assert slot <= at < upcoming
    assert schedule.next_after(slot) == upcoming
    between = slot + (upcoming - slot) * part
    assume(between < upcoming)
    assert schedule.next_after(between) == upcoming
    assert schedule.slot_of(between) == slot
    assert schedule.interval_s(between) == upcoming - slot


def test_a_slot_still_runs_until_the_next() -> None:
    schedule = Schedule(every_s=60)
    assert due(schedule, 600, 600) == Due(600, 0)
    assert due(schedule, 600, 659.9) == Due(600, 0)


def test_what_was_missed_is_counted_and_not_made_up_for() -> None:
    """Late by an interval or more: all slots that came are missed, and the next one runs."""
    schedule = Schedule(every_s=60)
    assert due(schedule, 600, 660) == Due(720, 2)
    assert due(schedule, 600, 719.9) == Due(720, 2)
    assert due(schedule, 600, 720) == Due(780, 3)
    assert due(schedule, 600, 600 + 30 * DAY) == Due(660 + 30 * DAY, MAX_MISSED)
    daily = berlin("30 2 * * *")
    late = due(daily, epoch("2026-10-24T00:30Z"), epoch("2026-10-26T12:00Z"))
    assert late == Due(epoch("2026-10-27T01:30Z"), 3)


@given(schedules, instants, st.floats(0, 400 * 3600))
def test_missed_slots_are_those_that_came(schedule: Schedule, at: float, late: float) -> None:
    """One by one on the grid, up to the bound."""
    slot = schedule.next_after(at)
    found = due(schedule, slot, slot + late)
    came = [slot]
    while len(came) <= MAX_MISSED and (upcoming := schedule.next_after(came[-1])) <= slot + late:
        came.append(upcoming)
    if len(came) == 1:
        assert found == Due(slot, 0)
    else:
        assert found == Due(schedule.next_after(slot + late), min(len(came), MAX_MISSED))
