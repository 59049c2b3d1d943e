"""The sample of requests: bounded, whole by client, and the same whoever sends it again."""

import os
import time

import pytest

from pulse.core import recording
from pulse.core.clients import mark_of, resolve_address
from pulse.core.networks import NetworkIndex
from pulse.core.recording import SLOT_S, TIME, Seen, limit_of
from pulse.core.snapshot import Snapshot
from pulse.exceptions import StoreUnavailable
from pulse.store import sample
from pulse.store.connection import Backend
from tests.store.conftest import LOCMEM

SECRET = b"secret"
NOW = 1_800_000_000 // SLOT_S * SLOT_S + 100.0
SLOT = int(NOW) // SLOT_S
SNAPSHOT = Snapshot()


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = NOW

    monkeypatch.setattr(time, "time", lambda: Clock.now)
    return Clock


def see(client: str, path: str = "/", at: float = NOW) -> None:
    """A request of a client, as the middleware keeps it."""
    next(sample.gathered.count)
    mark = mark_of(client, SECRET)
    if mark < sample.gathered.limit:
        address = resolve_address("10.0.0.1", "", NetworkIndex())
        args = ("GET", path, None, address, (), None, True, None, False, False)
        sample.add(Seen(int(at * 1e6), mark, SNAPSHOT, *args))


def kept(*slots: int) -> dict[str, int]:
    """How many requests of each client there are."""
    found: dict[str, int] = {}
    for slot in sample.read(slots or (SLOT,)).slots.values():
        for field, times in slot.times.items():
            found[field[:12]] = found.get(field[:12], 0) + len(times) // TIME.size
    return found


def test_requests_of_all_processes_come_together(redis_cache, clock) -> None:
    see("a")
    see("a", at=NOW + 1)
    sample.flush()
    sample.forget()
    see("a")
    see("b")
    sample.flush()
    assert kept() == {mark_of("a", SECRET): 3, mark_of("b", SECRET): 1}
    slot = sample.read([SLOT]).slots[SLOT]
    assert slot.minutes == {int(NOW) // 60: 4}
    assert slot.bytes == sum(120 + len(f) + len(t) for f, t in slot.times.items())


def test_times_are_kept_to_the_microsecond(redis_cache, clock) -> None:
    see("a", at=NOW + 0.123457)
    sample.flush()
    (times,) = sample.read([SLOT]).slots[SLOT].times.values()
    assert TIME.unpack(times) == (100_123_457,)


def test_flush_that_is_sent_again_counts_once(redis_cache, clock, monkeypatch) -> None:
    """It was carried out, and the answer was lost; what was seen meanwhile is added."""
    run = Backend.run
    see("a")

    def lose(self: Backend, *arguments: object) -> object:
        run(self, *arguments)
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Backend, "run", lose)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                sample.flush()
    see("a")
    sample.flush()
    sample.flush()
    assert kept() == {mark_of("a", SECRET): 2}
    assert sample.read([SLOT]).slots[SLOT].minutes.total() == 2


def test_without_redis_it_stays_here(settings, clock) -> None:
    settings.CACHES = LOCMEM
    see("a")
    sample.flush()
    found = sample.read([SLOT])
    assert kept() == {mark_of("a", SECRET): 1}
    assert not found.shared
    assert not found.unavailable


def test_redis_away_is_told_and_loses_nothing(mortal_cache, clock) -> None:
    """Meanwhile this process has its own to tell of."""
    see("a")
    sample.flush()
    mortal_cache.kill()
    see("a")
    with pytest.raises(StoreUnavailable):
        sample.flush()
    see("b")
    sample.flush()
    found = sample.read([SLOT])
    assert found.unavailable
    assert not found.shared


@pytest.mark.parametrize("shared", [True, False])
def test_sample_keeps_within_its_room(redis_cache, settings, clock, shared) -> None:
    """The more there are, the fewer clients are kept, each of them whole."""
    settings.PULSE = {"SAMPLE_BYTES": 200_000}
    if not shared:
        settings.CACHES = LOCMEM
    for number in range(1500):
        for _ in range(2):
            see(f"client {number}")
        if number % 300 == 299:
            sample.flush()
    slot = sample.read([SLOT]).slots[SLOT]
    assert 0 < slot.bytes <= 200_000 // 14
    assert slot.level > 3
    found = kept()
    assert set(found.values()) == {2}
    expected = {mark for n in range(1500) if (mark := mark_of(f"client {n}", SECRET))}
    assert found.keys() == {mark for mark in expected if mark < limit_of(slot.level)}
    assert slot.minutes.total() == 3000
    # Whoever is not kept costs no more than the look.
    assert sample.gathered.level == slot.level
    assert limit_of(slot.level) == sample.gathered.limit


def test_flood_between_two_beats_keeps_whole_clients(redis_cache, clock) -> None:
    """What waits is bounded, and of whom it says too little nothing is kept."""
    for _ in range(3):
        for number in range(1500):
            see(f"client {number}")
    assert len(sample.gathered.seen) <= sample.MAX_SEEN
    sample.flush()
    level = sample.read([SLOT]).slots[SLOT].level
    assert level == sample.gathered.level > 0
    expected = {mark_of(f"client {n}", SECRET) for n in range(1500)}
    assert kept() == {mark: 3 for mark in expected if mark < limit_of(level)}


def test_other_process_that_kept_fewer_is_heeded(redis_cache, clock) -> None:
    for number in range(100):
        see(f"client {number}")
    sample.flush()
    sample.forget()
    sample.gathered.set_level(2)
    for number in range(100):
        see(f"client {number}")
    sample.flush()
    expected = {mark_of(f"client {n}", SECRET) for n in range(100)}
    assert kept() == {mark: 2 for mark in expected if mark < limit_of(2)}


def test_next_slot_keeps_more_clients_where_there_was_room(redis_cache, clock) -> None:
    """From its first request on: it is made out before it begins."""
    sample.gathered.set_level(3)
    sample.flush()
    clock.now = (SLOT + 1) * SLOT_S - 1
    sample.flush()
    for number in range(64):
        see(f"client {number}", at=clock.now)
    clock.now += 2
    for number in range(64):
        see(f"client {number}", at=clock.now)
    sample.flush()
    expected = {mark_of(f"client {n}", SECRET) for n in range(64)}
    assert kept() == dict.fromkeys([mark for mark in expected if mark < limit_of(3)], 1)
    assert kept(SLOT + 1) == dict.fromkeys([mark for mark in expected if mark < limit_of(2)], 1)


def test_slot_that_nobody_made_ready_keeps_no_more_than_before(redis_cache, clock) -> None:
    sample.gathered.set_level(3)
    sample.flush()
    clock.now = (SLOT + 1) * SLOT_S + 1
    sample.flush()
    see("a", at=clock.now)
    sample.flush()
    assert sample.read([SLOT + 1]).slots[SLOT + 1].level == 3


def test_older_slots_take_less(redis_cache, settings, clock) -> None:
    settings.PULSE = {"SAMPLE_BYTES": 400_000}
    for number in range(100):
        see(f"client {number}")
    sample.flush()
    before = sample.read([SLOT]).slots[SLOT]
    assert before.level == 0
    for _ in range(sample.RECENT):
        clock.now += SLOT_S
        sample.flush()
    after = sample.read([SLOT]).slots[SLOT]
    assert 0 < after.bytes <= 200_000 // 138
    assert after.level > 0
    clock.now += 86_400
    sample.flush()
    with redis_cache.client() as client:
        assert 0 < client.ttl(f"test:1:{{pulse}}:sample:{SLOT}:about") <= sample.KEPT_S


def test_client_that_comes_too_often_is_left_out_whole(redis_cache, settings, clock) -> None:
    settings.PULSE = {"SAMPLE_BYTES": 100_000}
    see("quiet")
    for _ in range(4):
        for _ in range(300):
            see("loud", path="/")
        sample.flush()
    slot = sample.read([SLOT]).slots[SLOT]
    assert kept() == {mark_of("quiet", SECRET): 1}
    assert slot.left_out == {mark_of("loud", SECRET)}
    assert slot.left == 1200


def test_switched_off_keeps_nothing(redis_cache, settings, clock) -> None:
    settings.PULSE = {"SAMPLE_BYTES": 0}
    see("a")
    sample.flush()
    assert kept() == {}


def test_script_and_core_agree_on_numbers() -> None:
    source = sample.RECORD.source.decode()
    numbers = (recording.MARK_DIGITS, recording.NOBODY, recording.OVERHEAD)
    assert f"local MARK, NOBODY, OVERHEAD = {numbers[0]}, {numbers[1]}, {numbers[2]}" in source
    assert f"2 ^ ({recording.MARK_BITS} - level)" in source


def test_forked_child_begins_with_nothing(settings) -> None:
    settings.CACHES = LOCMEM
    see("a", at=time.time())
    with sample.gathered.lock:
        child = os.fork()
        if child == 0:
            fine = sample.gathered.lock.acquire(timeout=1) and not sample.gathered.seen
            os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
