"""What was measured, by the API."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from django.test import Client

from pulse.metrics import flush, window
from pulse.metrics.models import MetricHour
from pulse.metrics.wire import rule_as_dict
from pulse.policies import current, document
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def measured(redis_cache, settings) -> None:
    limit = {"name": "search", "url_name": "search", "key": "ip", "limits": ["1/h"]}
    document.apply({"version": 1, "endpoint_limits": [limit]}, factories.KIM)
    current.forget()
    client = Client(REMOTE_ADDR="198.51.100.7")
    for path in ("/api/search/?q=a", "/api/search/?q=a", "/api/echo/", "/no/such/place/"):
        client.get(path)
    flush.flush()
    window.forget()


def test_a_reading_is_told_whole(measured: None, viewer) -> None:
    told = viewer.get("metrics/").json()
    assert (told["scope"], told["stale"]) == ("all", False)
    total = told["total"]
    assert total["requests"] == 4
    assert total["statuses"] == {"200": 2, "404": 1, "429": 1}
    assert (total["refused"], total["errors"], total["error_rate"], total["sla"]) == (1, 0, 0, True)
    assert total["rate_per_s"] > 0
    assert total["latency_ms"]["min"] <= total["latency_ms"]["p50"] <= total["latency_ms"]["max"]
    by_id = {each["endpoint_id"]: each for each in told["endpoints"]}
    assert told["endpoints"][0]["endpoint_id"] == "GET /api/search/"
    assert by_id["GET /api/search/"]["refused_by"] == [
        {"kind": "endpoint_limits", "key": {"name": "search"}, "count": 1}
    ]
    assert by_id["* (unresolved)"]["requests"] == 1
    assert told["lifetime"]["requests"] == 4
    assert set(told["apart"]) == {"probes", "pulse", "streams"}


def test_what_was_not_measured_is_null(redis_cache, viewer) -> None:
    window.forget()
    total = viewer.get("metrics/").json()["total"]
    assert total["requests"] == 0
    assert total["error_rate"] is None
    assert total["sla"] is None
    assert set(total["latency_ms"].values()) == {None}


def test_the_promise_is_a_setting(measured: None, viewer, settings) -> None:
    settings.PULSE = {"SLA_P95_MS": 86_400_000, "SLA_ERROR_RATE": 0}
    assert viewer.get("metrics/").json()["total"]["sla"] is True


def test_who_has_the_reading_is_told_so(measured: None, viewer) -> None:
    first = viewer.get("metrics/")
    again = viewer.get("metrics/", headers={"If-None-Match": first.headers["ETag"]})
    # Another second may have come, with what pulse itself was asked.
    assert again.status_code in {200, 304}
    assert again.headers["ETag"] == first.headers["ETag"] or again.status_code == 200


@pytest.mark.parametrize("query", ["window_s=0", "window_s=7201", "window_s=x", "window=5"])
def test_a_window_that_cannot_be_is_refused(viewer, query: str) -> None:
    assert viewer.get(f"metrics/?{query}").status_code == 400


def test_rules_are_told_by_kind_and_natural_key() -> None:
    assert rule_as_dict("rate_tiers:default") == {"kind": "rate_tiers", "key": {"name": "default"}}
    found = rule_as_dict("access_rules:203.0.113.0/24 /api/")
    assert found["key"] == {"network": "203.0.113.0/24", "path": "/api/"}
    assert rule_as_dict("site") == {"kind": "site", "key": {"name": ""}}


def test_a_history_has_a_point_for_each_minute_and_none_is_made_up(measured, viewer) -> None:
    told = viewer.get("metrics/history/").json()
    assert (told["step_s"], len(told["points"])) == (60, 60)
    assert sum(point["requests"] or 0 for point in told["points"]) == 4
    assert sum(point["refused"] or 0 for point in told["points"]) == 1
    first = told["points"][0]
    assert (first["requests"], first["errors"], first["latency_ms"]["p95"]) == (None, None, None)
    one = viewer.get(f"metrics/history/?{urlencode({'endpoint': 'GET /api/echo/'})}").json()
    assert sum(point["requests"] or 0 for point in one["points"]) == 1


def test_a_history_of_hours_is_of_what_was_kept(viewer) -> None:
    kept = {"requests": 9, "errors": 1, "statuses": {"200": 8, "500": 1}, "seconds": 3600.0}
    at = datetime(2026, 3, 10, 9, tzinfo=UTC)
    MetricHour.objects.create(at=at, **kept)
    query = {"from_at": "2026-03-10T08:30:00Z", "to_at": "2026-03-10T10:00:00Z", "step_s": 3600}
    points = viewer.get(f"metrics/history/?{urlencode(query)}").json()["points"]
    assert [(point["at"], point["requests"], point["errors"]) for point in points] == [
        ("2026-03-10T08:00:00Z", None, None),
        ("2026-03-10T09:00:00Z", 9, 1),
        ("2026-03-10T10:00:00Z", None, None),
    ]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from_at": "2026-03-10T09:00:00Z", "to_at": "2026-03-10T08:00:00Z"}, "from_at"),
        ({"from_at": "2020-01-01T00:00:00Z"}, "from_at"),
        ({"step_s": "61"}, "step_s"),
        ({"to_at": "soon"}, "to_at"),
        ({"endpoint": "\x00"}, "endpoint"),
    ],
)
def test_a_history_that_cannot_be_told_is_refused(viewer, query, field) -> None:
    response = viewer.get(f"metrics/history/?{urlencode(query)}")
    assert response.status_code == 400
    assert field in response.json()["errors"]
