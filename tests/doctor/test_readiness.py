"""What the site stands on, asked within a time of its own."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pulse.doctor import readiness
from pulse.doctor.readiness import Board, Check, Found, Health

WELL = Found(Health.HEALTHY)
#: A board, and what is added to with each look.
Lossy = tuple[Board, list[None]]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "BUDGET_S", 0.05)
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)


def fails() -> Found:
    raise ConnectionError("redis://:secret@away")


def test_what_fails_counts_as_bad_as_it_is_needed(short: None) -> None:
    """Only what nothing can be served without makes a process unready; no error's text is told."""
    found = Board([Check("one", lambda: WELL), Check("two", fails)]).read()
    assert (found.status, found.says("two")) == (Health.DEGRADED, Health.DEGRADED)
    assert [check.detail for check in found.checks] == ["", "ConnectionError"]
    vital = Board([Check("one", lambda: WELL), Check("two", fails, is_vital=True)]).read()
    assert vital.status == Health.UNHEALTHY


def test_what_the_site_does_without_is_left_out(short: None) -> None:
    found = Board([Check("one", lambda: WELL), Check("broker", lambda: None)]).read()
    assert [check.name for check in found.checks] == ["one"]
    assert found.says("broker") is None


def test_what_hangs_is_waited_for_so_long_by_one_thread_and_then_well_again(short: None) -> None:
    """However many look meanwhile, what does not answer is asked once."""
    asked: list[int] = []
    answer = threading.Event()

    def hang() -> Found:
        asked.append(threading.get_ident())
        answer.wait(10)
        return WELL

    board = Board([Check("one", lambda: WELL), Check("cache", hang)])
    try:
        for _ in range(3):
            began = time.monotonic()
            found = board.read()
            assert time.monotonic() - began < 5
            assert found.says("cache") == Health.DEGRADED
            assert found.checks[1].detail.startswith("No answer within")
        assert len(asked) == 1
    finally:
        answer.set()
    deadline = time.monotonic() + 5
    while board.read().status != Health.HEALTHY:
        assert time.monotonic() < deadline


@pytest.fixture
def lossy(short: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Lossy]]:
    """Makes a board of a check whose first looks never come back."""
    monkeypatch.setattr(readiness, "GIVEN_UP_S", 0.0)
    over = threading.Event()

    def make(lost: int) -> Lossy:
        looks: list[None] = []

        def look() -> Found:
            looks.append(None)
            if len(looks) <= lost:
                over.wait(10)
            return WELL

        return Board([Check("database", look, is_vital=True)]), looks

    yield make
    over.set()


def test_a_connection_that_is_lost_for_good_is_given_up(lossy: Callable[[int], Lossy]) -> None:
    """Others that come later are good; and few wait for ever."""
    board, looks = lossy(readiness.MAX_GIVEN_UP)
    found = [board.read().status for _ in range(readiness.MAX_GIVEN_UP + 1)]
    assert found[0] == Health.UNHEALTHY
    assert found[-1] == Health.HEALTHY
    assert len(looks) == readiness.MAX_GIVEN_UP + 1


def test_no_more_than_some_wait_for_what_never_comes(lossy: Callable[[int], Lossy]) -> None:
    board, looks = lossy(1000)
    for _ in range(readiness.MAX_GIVEN_UP + 5):
        assert board.read().status == Health.UNHEALTHY
    assert len(looks) == readiness.MAX_GIVEN_UP + 1


def test_many_who_ask_at_once_get_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []

    def look() -> Found:
        looks.append(None)
        time.sleep(0.02)
        return WELL

    board = Board([Check("one", look)])
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        board.read()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looks) == 1
