"""Which process runs which revision, by the API."""

import pytest

from pulse.policies import current
from pulse.store import processes
from pulse.store.connection import current_backend, member
from tests.api.conftest import problem

pytestmark = pytest.mark.django_db
ALIVE, RUNNING = (f"test:1:{{pulse}}:{name}" for name in ("alive", "running"))


def test_processes_are_told_with_what_they_run(redis_cache, viewer) -> None:
    revision = current.current_snapshot().revision
    backend = current_backend()
    assert backend is not None
    processes.beat(backend)
    with redis_cache.client() as client:
        client.zadd(ALIVE, {"web-9:1": client.time()[0]})
        client.hset(RUNNING, "web-9:1", '{"kind":"worker","revision":3,"since":1759575000.5}')
    told = viewer.get("processes/").json()
    assert told["count"] == 2
    by_id = {one["id"]: one for one in told["results"]}
    assert by_id[member()]["revision"] == revision
    assert by_id["web-9:1"] | {"seen_at": ""} == {
        "id": "web-9:1",
        "kind": "worker",
        "revision": 3,
        "since_at": "2025-10-04T10:50:00.500000Z",
        "seen_at": "",
        "resources": None,
    }
    used = by_id[member()]["resources"]
    assert used["memory_bytes"] > 2**20
    assert used["caches"]["endpoints"]["most"] == 1000
    second = viewer.get("processes/?page=2&page_size=1").json()
    assert len(second["results"]) == 1
    assert (second["next"], second["previous"][-19:]) == (None, "?page=1&page_size=1")


def test_without_redis_the_one_that_answers_is_told(viewer) -> None:
    (one,) = viewer.get("processes/").json()["results"]
    assert (one["id"], one["kind"]) == (member(), "web")


def test_who_asks_is_asked(nobody) -> None:
    problem(nobody.get("processes/"), 401, "not_authenticated")
