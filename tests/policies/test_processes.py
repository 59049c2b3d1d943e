"""Which process runs which revision, and how long the slowest took."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from pulse.policies import current, publisher
from pulse.policies.models import Exemption, PolicyRevision
from pulse.policies.processes import Convergence, Process, convergence
from pulse.store import processes
from pulse.store.connection import current_backend, member
from tests.factories import KIM

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
ALIVE, RUNNING = (f"test:1:{{pulse}}:{name}" for name in ("alive", "running"))


def process(revision: int | None, after_s: float = 0.4, *, is_first: bool = False) -> Process:
    since = NOW + timedelta(seconds=after_s)
    return Process(f"web:{after_s}", "web", revision, since, NOW, is_first)


def test_all_are_there_and_the_slowest_is_told() -> None:
    """Who came up with a revision did not change to it."""
    found = Convergence(
        [process(41, 0.1), process(41, 0.4), process(41, 900, is_first=True)], 41, NOW
    )
    assert found.sentence() == "3 of 3 processes on revision 41, slowest 0.4 s."
    assert found.behind == []


def test_who_is_behind_is_counted_and_clocks_that_differ_are_no_time() -> None:
    found = Convergence([process(41, -2.0), process(40), process(None)], 41, NOW)
    assert found.sentence() == "1 of 3 processes on revision 41, slowest 0.0 s."
    assert [one.revision for one in found.behind] == [40, None]


def test_where_nobody_changed_nothing_is_slow() -> None:
    found = Convergence([process(41, 5, is_first=True)], 41, NOW)
    assert found.sentence() == "1 of 1 process on revision 41."


def test_an_edit_is_seen_in_every_process_that_is_alive(redis_cache) -> None:
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/a/")
    number = PolicyRevision.objects.latest("number").number
    backend = current_backend()
    assert backend is not None
    processes.beat(backend)
    with redis_cache.client() as client:
        client.zadd(ALIVE, {"other:1": client.time()[0]})
        said = {"kind": "worker", "revision": number - 1, "since": 1.5}
        client.hset(RUNNING, "other:1", json.dumps(said))
    found = convergence()
    assert [(one.id == member(), one.kind, one.revision) for one in found.processes] == sorted(
        [(True, "web", number), (False, "worker", number - 1)],
        key=lambda one: member() if one[0] else "other:1",
    )
    assert [one.id for one in found.behind] == ["other:1"]
    own = next(one for one in found.processes if one.id == member())
    assert own.since is not None and own.seen is not None
    told = next(one for one in found.processes if one.id == "other:1").as_dict()
    assert told["since_at"] == "1970-01-01T00:00:01.500000Z"
    assert set(told) == {"id", "kind", "revision", "since_at", "seen_at", "resources"}


def test_the_time_is_that_of_the_change_not_of_a_load_of_the_same(redis_cache) -> None:
    publisher.finish_leftovers()
    first = current.standing()
    assert first["revision"] is None
    current.current_snapshot()
    came_up = current.standing()
    assert came_up["first"] is True
    current.look_at_database()
    assert current.standing() == came_up
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/b/")
    changed = current.standing()
    assert (changed["revision"], changed["first"]) == (came_up["revision"] + 1, False)
    assert changed["since"] >= came_up["since"]


def test_without_redis_this_process_speaks_for_itself(settings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    publisher.finish_leftovers()
    found = convergence()
    assert [one.id for one in found.processes] == [member()]
    assert not found.shared
    assert "this process alone" in found.sentence()
    assert found.behind == []


def test_a_redis_that_cannot_be_asked_is_told(settings) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    publisher.finish_leftovers()
    found = convergence()
    assert found.unavailable
    assert "Redis cannot be asked now" in found.sentence()
