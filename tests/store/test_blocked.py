"""Who is refused now: one list of all processes, bounded, and letting go."""

import os
import time
from typing import Any

import pytest

from pulse.exceptions import StoreUnavailable
from pulse.store import blocked
from pulse.store.blocked import MAX_ENTRIES, QUIET_S
from pulse.store.connection import Backend
from tests.store.conftest import LOCMEM, cache_of

NOW = 1_800_000_000
LOGIN = "endpoint_limits:login"
EVE = "ip:203.0.113.9"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Time stands still until the test moves it."""
    now = [float(NOW)]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


@pytest.fixture(params=["memory", "redis"])
def cache(request, settings, redis_server) -> str:
    """With Redis, and without."""
    settings.CACHES = LOCMEM if request.param == "memory" else cache_of(redis_server.url)
    if request.param == "redis":
        redis_server.empty()
    return request.param


def refuse(client: str = EVE, rule: str = LOGIN, until: float | None = None, **fields: Any) -> None:
    usual = {"address": "203.0.113.9", "method": "POST", "route": "login/"}
    blocked.note(rule, client, until=until, **{**usual, **fields})


def listed() -> list[tuple[str, int]]:
    return [(entry.client, entry.refused) for entry in blocked.listing().entries]


def test_an_entry_tells_who_by_what_since_and_until_when(cache, clock) -> None:
    """Everything that the page shows; sent or not sent makes no difference (S3-13)."""
    refuse(until=NOW + 12.3)
    clock(5)
    refuse(until=NOW + 17.2, route="login/again/")
    expected = blocked.Blocked(
        LOGIN, EVE, "203.0.113.9", NOW, NOW + 5, NOW + 18, 2, "POST /login/again/"
    )
    assert blocked.listing().entries == [expected]
    blocked.flush()
    assert blocked.listing() == ([expected], cache == "redis", False)
    refuse(until=NOW + 17.2)
    blocked.flush()
    [entry] = blocked.listing().entries
    assert (entry.since, entry.refused, entry.request) == (NOW, 3, "POST /login/")


def test_who_would_pass_and_is_quiet_is_not_listed(cache, clock) -> None:
    """A minute after the last refusal, or when a retry passes, whichever is later."""
    refuse("ip:198.51.100.1", until=NOW + 1)
    refuse("ip:198.51.100.2", until=NOW + 3 * QUIET_S)
    blocked.flush()
    clock(QUIET_S - 0.1)
    assert len(listed()) == 2
    clock(0.1)
    assert listed() == [("ip:198.51.100.2", 1)]
    clock(2 * QUIET_S)
    assert listed() == []


def test_who_comes_back_later_begins_anew(cache, clock) -> None:
    """What was before is another matter."""
    refuse(until=NOW + 1)
    blocked.flush()
    clock(QUIET_S)
    refuse(until=NOW + QUIET_S + 1)
    blocked.flush()
    [entry] = blocked.listing().entries
    assert (entry.since, entry.refused) == (NOW + QUIET_S, 1)


def test_the_list_begins_with_who_was_refused_last(cache, clock) -> None:
    for number in range(5):
        refuse(f"user:{number}")
        clock(1)
    refuse("user:2")
    blocked.flush()
    assert [client for client, _count in listed()] == [
        f"user:{number}" for number in (2, 4, 3, 1, 0)
    ]


def test_each_rule_and_each_client_is_an_entry(cache) -> None:
    """One client refused by two rules is refused by two rules."""
    refuse()
    refuse(rule="rate_tiers:default")
    refuse("user:5")
    assert len(listed()) == 3
    assert blocked.find(f"{LOGIN}:{EVE}") is not None
    assert blocked.find("endpoint_limits:login:ip:203.0.113.1") is None


def test_who_is_let_go_is_gone_and_can_come_back(cache, clock) -> None:
    """Also what another process had gathered before, and sends only now."""
    refuse()
    blocked.flush()
    refuse()
    kept = dict(blocked._gathered.entries)
    blocked.forget(f"{LOGIN}:{EVE}")
    assert listed() == []
    if cache == "redis":
        blocked._gathered.entries.update(kept)
        assert listed() == []
        blocked.flush()
        assert listed() == []
    clock(1)
    refuse()
    assert listed() == [(EVE, 1)]
    blocked.flush()
    assert listed() == [(EVE, 1)]


def test_a_client_that_invents_methods_fills_no_memory(cache) -> None:
    """What it wrote is not kept; the route is the site's own."""
    refuse(method="X" * 10_000)
    refuse("user:5", method="X" * 10_000, route=None)
    assert {entry.request for entry in blocked.listing().entries} == {"/login/", ""}


def test_a_flood_of_clients_is_bounded_here(settings, clock) -> None:
    """The longest quiet go first."""
    settings.CACHES = LOCMEM
    for number in range(MAX_ENTRIES + 10):
        refuse(f"user:{number}")
    refuse("user:10")
    refuse("user:new")
    found = [entry.client for entry in blocked.listing().entries]
    assert len(found) == MAX_ENTRIES
    assert {"user:10", "user:new"} <= set(found)
    assert "user:11" not in found


def test_a_flood_of_clients_is_bounded_in_redis(redis_cache, monkeypatch) -> None:
    """As many as the cap, in both of its structures; one beat sends so many at most."""
    monkeypatch.setattr(blocked, "MAX_ENTRIES", 700)
    for beat in range(3):
        for number in range(450):
            refuse(f"user:{beat}:{number}")
        blocked.flush()
        assert not blocked._gathered.entries
    with redis_cache.client() as client:
        [entries, times] = sorted(client.keys("*blocked*"), key=len)
        assert (client.hlen(entries), client.zcard(times)) == (700, 700)
        assert 0 < client.ttl(entries) <= blocked.KEPT_S
    assert "user:2:449" in dict(listed())
    monkeypatch.setattr(blocked, "MAX_SENT", 10)
    for number in range(30):
        refuse(f"user:{number}")
    blocked.flush()
    assert len(blocked._gathered.entries) == 20
    assert len(listed()) == 720


def test_processes_are_added_up(redis_cache, clock) -> None:
    """The first refusal of any is since when; the last is what was asked for."""
    refuse(until=NOW + 30)
    blocked.flush()
    clock(2)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        assert not blocked._gathered.entries
        refuse(until=NOW + 32, route="child/")
        blocked.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    [entry] = blocked.listing().entries
    assert (entry.since, entry.last, entry.refused) == (NOW, NOW + 2, 2)
    assert (entry.until, entry.request) == (NOW + 32, "POST /child/")


def test_while_redis_is_away_this_process_tells_what_it_knows(mortal_cache, clock) -> None:
    """And says that it is alone; nothing is lost once Redis is back."""
    refuse()
    mortal_cache.kill()
    with pytest.raises(StoreUnavailable):
        blocked.flush()
    refuse("user:5")
    found = blocked.listing()
    assert (found.shared, found.unavailable) == (False, True)
    assert ("user:5", 1) in listed()
    with pytest.raises(StoreUnavailable):
        blocked.forget(f"{LOGIN}:user:5")
    assert listed() == []


def test_what_was_not_sent_is_sent_later_and_nothing_twice(redis_cache, monkeypatch) -> None:
    """A batch without an answer may have arrived; those behind it are kept."""
    monkeypatch.setattr(blocked, "BATCH", 2)
    for number in range(5):
        refuse(f"user:{number}")
    calls = []
    run = Backend.run

    def fail_second(self: Backend, *arguments: Any) -> Any:
        calls.append(arguments)
        reply = run(self, *arguments)
        if len(calls) == 2:
            raise StoreUnavailable("no answer")
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(Backend, "run", fail_second)
        with pytest.raises(StoreUnavailable):
            blocked.flush()
    assert [entry.client for entry in blocked._gathered.entries.values()] == ["user:0"]
    refuse("user:0")
    blocked.flush()
    assert sorted(listed()) == [("user:0", 2), *((f"user:{number}", 1) for number in range(1, 5))]


def test_what_another_release_wrote_harms_nobody(redis_cache) -> None:
    refuse()
    blocked.flush()
    with redis_cache.client() as client:
        [entries, _times] = sorted(client.keys("*blocked*"), key=len)
        client.hset(entries, "other", '{"last": 1, "colour": "red"}')
    assert listed() == [(EVE, 1)]


def test_redis_is_not_asked_while_nobody_is_refused(redis_cache, monkeypatch) -> None:
    monkeypatch.setattr(Backend, "run", lambda *_: pytest.fail("asked"))
    blocked.flush()


DENIED = "access_rules:203.0.113.0/24 /"


@pytest.mark.parametrize("until", [None, NOW + 30 * 86_400])
def test_whom_an_access_rule_denies_is_told_of_while_it_asks(cache, clock, until) -> None:
    """The rule's end is not when it would pass; it lives on another page (S3-13)."""
    refuse(rule=DENIED, until=until)
    blocked.flush()
    clock(QUIET_S - 0.1)
    [entry] = blocked.listing().entries
    assert entry.until == until
    clock(0.1)
    assert listed() == []
    refuse(rule=DENIED, until=until)
    blocked.flush()
    [entry] = blocked.listing().entries
    assert (entry.since, entry.refused) == (NOW + QUIET_S, 1)


def test_what_comes_late_from_another_process_does_not_hide_what_is_newer(
    redis_cache, clock
) -> None:
    """Address, end and request are those of the last refusal, sent or not, in either order."""
    refuse(until=NOW + 5, address="198.51.100.1", route="old/")
    late = dict(blocked._gathered.entries)
    blocked.forget_all()
    clock(6)
    refuse(until=NOW + 60, address="198.51.100.2", route="new/")
    expected = [
        blocked.Blocked(LOGIN, EVE, "198.51.100.2", NOW, NOW + 6, NOW + 60, 2, "POST /new/")
    ]
    blocked.flush()
    blocked._gathered.entries.update(late)
    assert blocked.listing().entries == expected
    blocked.flush()
    assert blocked.listing().entries == expected
    with redis_cache.client() as client:
        [_entries, times] = sorted(client.keys("*blocked*"), key=len)
        assert [score for _name, score in client.zrange(times, 0, -1, withscores=True)] == [NOW + 6]


@pytest.mark.parametrize(
    "other",
    [
        '{"rule": "x"}',
        '{"last": "soon", "since": 1, "refused": 1, "rule": "x"}',
        '{"last": 1, "since": null, "refused": 1, "rule": "x"}',
        '{"last": 1, "since": 1, "refused": 1, "rule": "x", "until": null, "client": 1}',
        '{"last": 1, "since": 1, "refused": 1, "rule": 5, "client": "y", "address": "z"}',
        '{"forgotten": true}',
        "[1]",
        "1",
        "not JSON",
    ],
)
def test_an_entry_of_another_shape_is_as_if_there_were_none(redis_cache, other: str) -> None:
    """It neither fails the batch that it is met in, nor the page."""
    refuse()
    blocked.flush()
    with redis_cache.client() as client:
        [entries, _times] = sorted(client.keys("*blocked*"), key=len)
        client.hset(entries, f"{LOGIN}:{EVE}", other)
    assert listed() == []
    refuse("user:5")
    refuse()
    blocked.flush()
    assert sorted(listed()) == [(EVE, 1), ("user:5", 1)]
