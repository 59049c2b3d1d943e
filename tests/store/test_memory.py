import threading
import time

import time_machine

from pulse.core.claims import Allowance, Claim
from pulse.core.quotas import Quota, make_quota
from pulse.store.memory import MemoryStore, monotone_clock

S = 1_000_000
START_US = 1_800_000_000 * S
TEN = Allowance((make_quota("10/s", 20),))
HOURLY = Allowance((Quota(10, 3600 * S, 10),))


def store_at(now: list[int]) -> MemoryStore:
    return MemoryStore(lambda: now[0])


def take(store: MemoryStore, key: str, allowance: Allowance = TEN, max_keys: int = 100) -> bool:
    return store.decide([Claim(key, allowance)], max_keys=max_keys).allowed


def test_clock_set_back_neither_locks_out_nor_refills() -> None:
    with time_machine.travel(START_US // S, tick=False) as wall:
        clock = monotone_clock()
        before = clock()
        wall.shift(-3600)
        assert clock() >= before


def test_clock_starts_at_the_wall_clocks_time() -> None:
    assert abs(monotone_clock()() - time.time_ns() // 1000) < S


def test_bounded_however_many_clients_come() -> None:
    store = store_at([START_US])
    for client in range(1000):
        take(store, f"client {client}", HOURLY)
    assert len(store) == 100


def test_full_buckets_go_before_those_that_count() -> None:
    now = [START_US]
    store = store_at(now)
    for _ in range(10):
        take(store, "spent", HOURLY)
    take(store, "rests", TEN)
    now[0] += S
    take(store, "new", HOURLY, max_keys=2)
    assert len(store) == 2
    assert not take(store, "spent", HOURLY, max_keys=2)


def test_then_the_least_recently_used_goes() -> None:
    store = store_at([START_US])
    for _ in range(10):
        take(store, "spent", HOURLY)
    take(store, "idle", HOURLY)
    take(store, "spent", Allowance((Quota(100, 3600 * S, 100),)))
    take(store, "new", HOURLY, max_keys=2)
    _, states = store.read([Claim("idle", HOURLY)])
    assert states == [None]
    assert not take(store, "spent", HOURLY, max_keys=2)


def test_client_that_is_refused_is_using_its_counter() -> None:
    """Else it need only go on asking until others push its counter out."""
    store = store_at([START_US])
    for _ in range(10):
        take(store, "spent", HOURLY)
    for number in range(10):
        take(store, f"another {number}", HOURLY, max_keys=3)
        assert not take(store, "spent", HOURLY, max_keys=3)


def test_share_of_several_processes() -> None:
    store = store_at([START_US])
    passed = [store.decide([Claim("a", TEN)], max_keys=9, parts=4).allowed for _ in range(20)]
    assert sum(passed) == 5


def test_threads_take_exactly_what_is_there() -> None:
    store = MemoryStore()
    passed: list[bool] = []

    def hammer() -> None:
        passed.extend([take(store, "one", HOURLY) for _ in range(50)])

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 10
