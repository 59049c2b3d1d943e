"""How much of each limit its busiest client used, noted in processes and brought together."""

import os
import time

import pytest

from pulse.core.charging import Charge
from pulse.core.claims import Allowance, Claim
from pulse.core.quotas import make_quota
from pulse.core.snapshot import TIERS, Mode, Rule
from pulse.exceptions import StoreUnavailable
from pulse.store import hourly, limits, peaks
from pulse.store.connection import Backend
from tests.store.conftest import LOCMEM

NAME = f"{TIERS}:default"


def charge_of(rates: tuple[str, ...] = ("10/h",), client: str = "a", **fields: object) -> Charge:
    allowance = Allowance(tuple(make_quota(rate) for rate in rates))
    rule = Rule(TIERS, "default", Mode.ENFORCE, allowance, allowance, **fields)
    claim = Claim(f"{rule.prefix}{client}", allowance)
    return Charge(rule, claim, "ip", ceiling=False, why="")


def take(charge: Charge, times: int) -> None:
    for _ in range(times):
        peaks.note([charge], limits.decide([charge.claim]))


def test_highest_of_any_client_stands(settings) -> None:
    settings.CACHES = LOCMEM
    take(charge_of(client="a"), 3)
    take(charge_of(client="b"), 6)
    take(charge_of(client="c"), 1)
    assert peaks.last_day() == {NAME: 0.6}


def test_tightest_of_several_quotas_stands(settings) -> None:
    settings.CACHES = LOCMEM
    take(charge_of(("100/h", "4/m")), 1)
    assert peaks.last_day() == {NAME: 0.25}


def test_refused_client_has_used_all(settings) -> None:
    """Also where what is left is only too little for the cost of one request."""
    settings.CACHES = LOCMEM
    quota = make_quota("3/h")
    rule = Rule(TIERS, "default", Mode.ENFORCE, Allowance((quota,), 2), Allowance((quota,), 2))
    take(Charge(rule, Claim("x", rule.allowance), "ip", ceiling=False, why=""), 2)
    assert peaks.last_day() == {NAME: 1.0}


def test_processes_meet_in_redis(redis_cache) -> None:
    """Sent twice they count once, and a lower mark of another process changes nothing."""
    take(charge_of(client="a"), 5)
    peaks.flush()
    peaks.flush()
    peaks.forget()
    take(charge_of(client="b"), 2)
    assert peaks.last_day() == {NAME: 0.5}
    peaks.flush()
    assert peaks.last_day() == {NAME: 0.5}
    peaks.forget()
    take(charge_of(client="b"), 7)
    peaks.flush()
    peaks.forget()
    assert peaks.last_day() == {NAME: 0.9}


def test_each_hour_has_its_own(redis_cache, monkeypatch) -> None:
    """Within a day the highest hour stands, after it the mark is gone."""
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now - 23 * hourly.HOUR_S)
        take(charge_of(client="a"), 8)
        peaks.flush()
    peaks.flush()
    take(charge_of(client="b"), 2)
    peaks.flush()
    assert peaks.last_day() == {NAME: 0.8}
    monkeypatch.setattr(time, "time", lambda: now + 3 * hourly.HOUR_S)
    assert peaks.last_day() == {NAME: 0.2}


def test_what_could_not_be_sent_is_sent_again(redis_cache, monkeypatch) -> None:
    take(charge_of(), 4)

    def fail(self: Backend, *arguments: object) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Backend, "run", fail)
        with pytest.raises(StoreUnavailable):
            peaks.flush()
    peaks.flush()
    peaks.forget()
    assert peaks.last_day() == {NAME: 0.4}


def test_redis_that_is_away(mortal_cache) -> None:
    """Of the part that a process grants alone nothing is noted, and who asks is told."""
    mortal_cache.kill()
    take(charge_of(), 4)
    assert peaks._noted.unsent == {}
    with pytest.raises(StoreUnavailable):
        peaks.last_day()


def test_forked_child_begins_with_nothing(settings) -> None:
    settings.CACHES = LOCMEM
    take(charge_of(), 1)
    with peaks._noted.lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if peaks._noted.lock.acquire(timeout=1) and not peaks._noted.unsent else 1)
    assert os.waitpid(child, 0)[1] == 0
