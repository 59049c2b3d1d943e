"""``simulate/`` tries a draft on recorded requests; endpoint limits tell of their last day."""

import time
from typing import Any

import pytest
from django.test import Client

from pulse.policies import current
from pulse.policies import document as documents
from pulse.policies.publisher import SYSTEM
from pulse.store import peaks, sample
from tests.api.conftest import Script, problem
from tests.store.conftest import LOCMEM, mortal_cache

__all__ = ["mortal_cache"]

ECHO = "/api/echo/"
DRAFT = {"endpoint_limits": [{"name": "echo", "path": ECHO, "limits": [{"rate": "3/h"}]}]}


@pytest.fixture
def traffic(db, settings) -> None:
    """Ten requests of one client, and two of another."""
    settings.CACHES = LOCMEM
    for client, count in (("one", 10), ("other", 2)):
        for _ in range(count):
            Client().get(ECHO, headers={"X-Track-ID": client})
    sample.flush()


def test_draft_is_simulated(traffic, viewer: Script) -> None:
    answer = viewer.post("simulate/", {"document": DRAFT, "window_s": 600})
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert told["requests"] == told["sampled"] == 12
    assert told["draft"]["refused"] == told["draft"]["low"] == told["draft"]["high"] == 7
    assert told["draft"]["share"] == round(7 / 12, 6)
    assert told["draft"]["clients"] == 1
    assert told["now"]["refused"] == 0
    assert [client["refused"] for client in told["top_clients"]] == [7]
    assert told["rules"][0] == {
        "kind": "endpoint_limits",
        "key": {"name": "echo"},
        "draft": 7,
        "now": 0,
        "draft_would": 0,
        "now_would": 0,
    }
    assert viewer.get("endpoint-limits/?search=echo").json()["count"] == 0


def test_nothing_recorded_is_null(viewer: Script, settings) -> None:
    settings.CACHES = LOCMEM
    told = viewer.post("simulate/", {"document": {}}).json()
    assert told["requests"] == 0
    assert told["draft"] == told["now"] == dict.fromkeys(told["draft"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"document": None}, "document"),
        ({"document": [1]}, "document"),
        ({"prune": "yes"}, "prune"),
        ({"window_s": 0}, "window_s"),
        ({"window_s": 10**30}, "window_s"),
        ({"window_s": True}, "window_s"),
        ({"window_s": "3600"}, "window_s"),
        ({"window": 3}, "window"),
        ({"document": {"nonsense": []}}, "document.nonsense"),
        (
            {"document": {"endpoint_limits": [{"name": "x", "path": "/", "limits": ["many"]}]}},
            "document.endpoint_limits.0.limits.0.rate",
        ),
    ],
)
def test_what_cannot_be_is_told_by_field(viewer: Script, changes, field) -> None:
    answer = viewer.post("simulate/", {"document": {}, **changes})
    assert list(problem(answer, 400, "invalid")["errors"]) == [field]


def test_large_document_takes_no_longer_than_it_would_to_apply(viewer: Script) -> None:
    many = [{"name": f"n{n}", "path": f"/{n}/", "limits": [{"rate": "many"}]} for n in range(3000)]
    began = time.perf_counter()
    answer = viewer.post("simulate/", {"document": {"endpoint_limits": many}})
    problem(answer, 400, "invalid")
    assert time.perf_counter() - began < 10


def test_nobody_may_not(nobody: Script) -> None:
    assert nobody.post("simulate/", {"document": {}}).status_code == 401


def test_redis_away_is_told(viewer: Script, mortal_cache) -> None:
    mortal_cache.kill()
    told = viewer.post("simulate/", {"document": {}}).json()
    assert (told["scope"], told["available"]) == ("process", False)


def test_endpoint_limits_tell_of_their_last_day(administrator: Script, redis_cache) -> None:
    documents.apply(DRAFT, SYSTEM)
    current.forget()
    client = Client()
    for _ in range(2):
        client.get(ECHO)
    peaks.flush()
    (row,) = administrator.get("endpoint-limits/").json()["results"]
    assert row["peak_24h"] == pytest.approx(2 / 3, abs=1e-6)
    assert row["refused_24h"] == 0
    for _ in range(3):
        client.get(ECHO)
    row = administrator.get(f"endpoint-limits/{row['id']}/").json()
    assert (row["peak_24h"], row["refused_24h"]) == (1.0, 2)
    # Sent back they are ignored, as every read-only field.
    answer = administrator.put(f"endpoint-limits/{row['id']}/", {**row, "peak_24h": 0})
    assert answer.status_code == 200, answer.content


def test_last_day_is_null_where_it_cannot_be_read(administrator: Script, mortal_cache) -> None:
    documents.apply(DRAFT, SYSTEM)
    mortal_cache.kill()
    row: dict[str, Any] = administrator.get("endpoint-limits/").json()["results"][0]
    assert (row["peak_24h"], row["refused_24h"]) == (None, None)
