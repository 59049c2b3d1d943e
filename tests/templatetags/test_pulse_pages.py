"""How pages write statuses, times, durations and shares."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone, translation

from pulse.probes.state import ItemState, JobStatus, TargetStatus
from pulse.probes.summary import public
from pulse.probes.summary.history import BARS, Bar
from pulse.templatetags.pulse_pages import (
    KINDS,
    NOTHING,
    bars,
    duration,
    moment,
    ms,
    percent,
    status,
)

NOON = datetime(2026, 3, 10, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "word", [*TargetStatus.values, *ItemState.values, *JobStatus.values, *public.WORST]
)
def test_each_status_has_a_shape_and_a_word_beside_its_colour(word):
    """WCAG 1.4.1: nothing is told by colour alone."""
    assert word in KINDS
    drawn = status(word)
    assert drawn.count("<svg") == 1
    assert f"<span>{word.replace('_', ' ')}</span>" in drawn


def test_kinds_differ_in_shape_too():
    drawn = {word: status(word).split("currentColor", 1)[1] for word in TargetStatus.values}
    assert len({each.split("</svg>")[0] for each in drawn.values()}) == len(drawn)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (0.42, "0.4 ms"), (43.1, "43 ms"), (1234.5, "1.23 s"), (31_000, "31.0 s")],
)
def test_latencies_have_as_many_digits_as_tell_something(value, text):
    assert ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (1.0, "100 %"), (0.99999, "99.99 %"), (0.5, "50.00 %"), (0.0, "0 %")],
)
def test_nothing_less_than_all_is_written_as_all(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        (0, "0 s"),
        (0.043, "43 ms"),
        (2.25, "2.2 s"),
        (59.6, "1 min"),
        (80, "1 min 20 s"),
        (3600, "1 h"),
        (3 * 86_400 + 7200 + 59, "3 d 2 h"),
        (86_400 + 59, "1 d"),
        (timedelta(minutes=5), "5 min"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(value, text):
    assert duration(value) == text


def test_times_stand_in_the_sites_zone_and_in_utc_for_machines():
    with timezone.override("Europe/Berlin"), time_machine.travel(NOON, tick=False):
        assert moment(NOON) == (
            '<time datetime="2026-03-10T12:00:05Z" title="2026-03-10T12:00:05Z">13:00:05</time>'
        )
        assert ">03/09/2026 13:00</time>" in moment(NOON - timedelta(days=1))
    assert moment(None) == NOTHING


def test_numbers_in_drawings_are_no_words_of_a_language():
    """A decimal comma is none to SVG."""
    found = [Bar(number, "ok", NOON, 1.5) for number in range(3)]
    with translation.override("de"):
        assert ms(1234.5) == "1,23 s"
        drawn = bars(found)
    assert "," not in drawn.split("aria-label")[0] + drawn.split('">', 1)[1]


def test_bars_are_one_path_a_kind_however_many():
    found = [Bar(number, "failed" if number % 9 == 0 else "ok", NOON, 1.0) for number in range(80)]
    drawn = bars(found)
    assert drawn.count("<path") == 2
    assert drawn.count("h3v") == BARS
    assert 'role="img"' in drawn


def test_no_bars_are_told_as_none():
    assert 'aria-label="No result yet"' in bars([])
