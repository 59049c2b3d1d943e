"""A backend of the host's own is told of every answer, and fails no request."""

import pytest

from pulse.metrics import backends, record_request, window
from pulse.metrics.recorder import recorder
from pulse.store import heartbeat


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None):
    with heartbeat.suspended():
        yield


def test_it_is_told_and_read(settings, client, db) -> None:
    settings.PULSE = {"METRICS_BACKEND": "tests.metrics.backend.Kept"}
    record_request("/mine/", "GET", 201, 1.0)
    assert client.get("/no/such/path/").status_code == 404
    assert window.read().scope == "mine"
    assert window.read().total.statuses == {201: 1, 404: 1}
    assert backends.current().told == [
        ("/mine/", "GET", 201),
        ("* (unresolved)", "GET", 404),
    ]
    assert not recorder.tracked
    assert not recorder.queue


def test_one_that_fails_fails_nothing_else(settings, client, db, caplog) -> None:
    """S0-20, S0-21."""
    settings.PULSE = {"METRICS_BACKEND": "tests.metrics.backend.Failing"}
    assert client.get("/no/such/path/").status_code == 404
    record_request("/mine/", "GET", 201, 1.0)
    lines = [r for r in caplog.records if r.message == "Failed to record metrics (non-fatal)"]
    assert [line.error for line in lines] == ["RuntimeError: no room"] * 2
    assert recorder.in_flight() == 0
    assert window.read().is_stale
    assert "METRICS_BACKEND cannot be read: no shelf" in caplog.messages


def test_where_it_cannot_be_had_pulse_measures(settings, client, db) -> None:
    settings.PULSE = {"METRICS_BACKEND": "nowhere.at.all"}
    client.get("/no/such/path/")
    assert len(recorder.queue) == 1
