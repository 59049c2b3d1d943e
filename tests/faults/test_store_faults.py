"""Redis that hangs, dies and comes back."""

import threading
import time

import pytest

from pulse.core.announcement import Announcement
from pulse.core.claims import Allowance, Claim, OnStoreError, Store
from pulse.core.quotas import Quota
from pulse.exceptions import StoreUnavailable
from pulse.store import announcement, connection, heartbeat, limits, memory
from pulse.store.connection import current_backend
from tests.store.conftest import mortal_cache
from tests.store.test_heartbeat import wait_for

__all__ = ["mortal_cache"]

HOURLY = Allowance((Quota(20, 3_600_000_000, 20),))


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch) -> None:
    monkeypatch.setattr(limits, "memory", memory.MemoryStore())
    monkeypatch.setitem(heartbeat._live, "processes", 1)


@pytest.fixture(autouse=True)
def _heartbeat(mortal_cache) -> None:
    """The thread that the middleware starts, which tries a lost server again."""
    heartbeat.ensure()


def claim(key: str = "a", **more) -> Claim:
    return Claim(key, HOURLY, **more)


def recovered() -> bool:
    return limits.decide([claim("probe")]).store is Store.REDIS


def timed(function, *arguments) -> float:
    before = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - before


def test_frozen_redis_costs_two_budgets_and_then_nothing(mortal_cache) -> None:
    assert limits.decide([claim()]).store is Store.REDIS
    mortal_cache.freeze()
    # The heartbeat may have met the frozen server too: then the first request opens the guard.
    assert timed(limits.decide, [claim()]) < 0.12
    assert timed(limits.decide, [claim()]) < 0.12
    assert current_backend().guard.is_open
    times = sorted(timed(limits.decide, [claim(f"k{n}")]) for n in range(200))
    assert times[100] < 0.002
    assert times[-2] < 0.06
    assert limits.decide([claim()]).store is Store.LOCAL
    mortal_cache.thaw()
    assert wait_for(recovered, 2.0)


def test_frozen_under_many_threads_each_pays_once(mortal_cache) -> None:
    limits.decide([claim()])
    mortal_cache.freeze()
    worst: list[float] = []

    def ask() -> None:
        worst.append(max(timed(limits.decide, [claim()]) for _ in range(20)))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mortal_cache.thaw()
    assert max(worst) < 0.2
    assert wait_for(recovered, 2.0)


def test_killed_redis_is_noticed_at_once_and_missed_until_it_is_back(mortal_cache, caplog) -> None:
    for _ in range(15):
        assert limits.decide([claim()]).allowed
    mortal_cache.kill()
    assert timed(limits.decide, [claim()]) < 0.05
    assert sum(limits.decide([claim()]).allowed for _ in range(30)) == 19
    assert limits.decide([claim()]).store is Store.LOCAL
    mortal_cache.start()
    assert wait_for(recovered, 2.0)
    assert any("does not answer" in record.message for record in caplog.records)


def test_share_of_the_processes_last_heard_of(mortal_cache, monkeypatch) -> None:
    limits.decide([claim()])
    mortal_cache.kill()
    heartbeat.stop()
    monkeypatch.setitem(heartbeat._live, "processes", 4)
    assert sum(limits.decide([claim()]).allowed for _ in range(20)) == 5
    assert heartbeat.live_processes() == 4


def test_closed_rule_refuses_the_whole_request(mortal_cache) -> None:
    mortal_cache.kill()
    closed = claim("closed", on_store_error=OnStoreError.CLOSED)
    decision = limits.decide([claim(), closed])
    assert not decision.allowed
    assert decision.unavailable
    assert decision.store is Store.NONE
    assert [outcome.passed for outcome in decision.outcomes] == [True, False]
    assert all(outcome.verdicts == () for outcome in decision.outcomes)
    assert limits.decide([claim()]).outcomes[0].verdicts[0].remaining == 19


def test_closed_rule_in_shadow_reports_and_refuses_nothing(mortal_cache) -> None:
    mortal_cache.kill()
    closed = claim("closed", on_store_error=OnStoreError.CLOSED, enforced=False)
    decision = limits.decide([claim(), closed])
    assert decision.allowed
    assert [outcome.passed for outcome in decision.outcomes] == [True, False]


def test_open_rule_passes_uncounted(mortal_cache) -> None:
    mortal_cache.kill()
    opened = claim("open", on_store_error=OnStoreError.OPEN)
    for _ in range(30):
        decision = limits.decide([opened])
        assert decision.allowed
        assert decision.outcomes[0].verdicts == ()
        assert decision.store is Store.NONE
    both = [limits.decide([opened, claim()]).allowed for _ in range(25)]
    assert sum(both) == 20


def test_announcement_that_cannot_be_compared_is_not(mortal_cache) -> None:
    mortal_cache.kill()
    assert limits.decide([claim()], "a:1:0").store is Store.LOCAL
    with pytest.raises(StoreUnavailable):
        announcement.read()
    with pytest.raises(StoreUnavailable):
        announcement.announce(Announcement("a", 1))


def test_restarted_empty_it_counts_anew_and_knows_no_announcement(mortal_cache) -> None:
    announcement.announce(Announcement("a", 1))
    limits.decide([claim()], "a:1:0")
    mortal_cache.restart()
    limits.decide([claim()])
    assert wait_for(recovered, 2.0)
    assert announcement.read() is None


def test_without_a_heartbeat_a_request_tries_in_the_end(mortal_cache) -> None:
    """Hosts that run no threads recover too."""
    heartbeat.stop()
    mortal_cache.kill()
    assert limits.decide([claim()]).store is Store.LOCAL
    mortal_cache.start()
    assert limits.decide([claim()]).store is Store.LOCAL
    assert wait_for(recovered, 3.0)


@pytest.mark.parametrize(
    ("harm", "heal"),
    [
        (("CONFIG SET", "maxmemory", 1), ("CONFIG SET", "maxmemory", 0)),
        (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "replica"],
)
def test_server_that_answers_and_does_not_write_is_away(mortal_cache, caplog, harm, heal) -> None:
    """It passes no trial, so that the guard stays open until it writes again."""
    assert limits.decide([claim()]).store is Store.REDIS
    with mortal_cache.client() as client:
        client.execute_command(*harm)
        assert limits.decide([claim()]).store is Store.LOCAL
        assert current_backend().guard.is_open
        assert not wait_for(lambda: not current_backend().guard.is_open, 1.0)
        client.execute_command(*heal)
    assert wait_for(recovered, 2.0)
    assert sum("does not answer" in record.message for record in caplog.records) == 1


def test_peek_and_a_copy_tell_what_is_decided_without_redis(mortal_cache, monkeypatch) -> None:
    """Whatever each rule says of a lost store; and neither charges anything."""
    monkeypatch.setitem(heartbeat._live, "processes", 4)
    mortal_cache.kill()
    limits.decide([claim()])
    for number, manners in enumerate(
        (
            ["local"], ["open"], ["closed"], ["open", "local"], ["local", "closed"],
            ["closed", "open"],
        )
    ):  # fmt: skip
        claims = [claim(f"{number}{m}", on_store_error=OnStoreError(m)) for m in manners]
        for _ in range(7):
            copy = limits.read(claims)
            told = [limits.peek(claims), limits.peek(claims), copy.decide(claims)]
            again = copy.decide(claims)
            done = limits.decide(claims)
            assert [(t.allowed, t.unavailable, t.store) for t in told] == [
                (done.allowed, done.unavailable, done.store)
            ] * 3
            assert [outcome.passed for outcome in told[0].outcomes] == [
                outcome.passed for outcome in done.outcomes
            ]
        assert again.allowed is limits.decide(claims).allowed


def test_first_call_of_a_process_is_patient_once(mortal_cache) -> None:
    """A slow answer to a cold process is waited for; one that never comes opens the guard."""
    heartbeat.stop()
    mortal_cache.freeze()
    threading.Timer(0.2, mortal_cache.thaw).start()
    assert limits.decide([claim()]).store is Store.REDIS
    connection._abandon()  # as a forked child begins
    mortal_cache.freeze()
    assert limits.decide([claim()]).store is Store.LOCAL
    backend = current_backend()
    assert backend is not None
    assert backend.guard.is_open
