"""Jobs and results in JSON: the names and forms that clients rely on (API.md 3)."""

from datetime import UTC, datetime, timedelta

import pytest

from pulse.probes import engine, jobs
from pulse.probes.state import ProbeItem
from pulse.probes.summary.wire import eta_s, item_as_dict, job_as_dict, result_as_dict
from tests import factories

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def counts_of(job):
    return jobs.counts([job.pk], engine.database())[job.pk]


def test_a_job_is_written_as_the_contract_says():
    job = factories.job("ok", "failed", "running", "queued", status="running", now=NOW)
    assert job_as_dict(job, counts_of(job), NOW) == {
        "id": str(job.pk),
        "status": "running",
        "trigger": "page",
        "schedule": None,
        "actor": {"type": "user", "name": "kim"},
        "created_at": "2026-03-01T11:59:40Z",
        "started_at": "2026-03-01T11:59:50Z",
        "finished_at": None,
        "deadline_at": "2026-03-01T12:09:40Z",
        "eta_s": 10,
        "error": None,
        "counts": {
            "total": 4,
            "queued": 1,
            "running": 1,
            "ok": 1,
            "degraded": 0,
            "failed": 1,
            "timeout": 0,
            "lost": 0,
            "cancelled": 0,
        },
    }


def test_a_result_is_written_as_the_contract_says():
    job = factories.job("failed", schedule="core", now=NOW, revision=42)
    item = ProbeItem.objects.get()
    assert result_as_dict(item) == {
        "id": str(item.pk),
        "job": str(job.pk),
        "schedule": "core",
        "target": "t0",
        "endpoint_id": "GET /api/t0/",
        "state": "failed",
        "error": "expectation",
        "detail": "status 500, expected 200",
        "attempts": 1,
        "started_at": "2026-03-01T11:59:55Z",
        "latency_ms": 40.0,
        "phases_ms": {"dns": 0.1, "connect": 0.3, "tls": None, "first_byte": 38, "body": 1.6},
        "status_code": 500,
        "bytes": 512,
        "address": "127.0.0.1",
        "certificate_days": None,
        "expectations": [{"name": "status", "expected": [200], "actual": 200, "ok": False}],
        "revision": 42,
    }


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_probe_that_has_not_ended_has_no_result(state):
    factories.job(state, status="running")
    assert item_as_dict(ProbeItem.objects.get()) == {"target": "t0", "state": state, "result": None}


def test_a_probe_that_was_never_sent_has_no_result():
    """API.md 3: exactly one result for each item that was sent."""
    factories.job("queued", status="cancelled")
    ProbeItem.objects.update(state="cancelled")
    assert item_as_dict(ProbeItem.objects.get())["result"] is None


def test_what_is_left_is_told_by_what_was_done_and_ends_with_the_deadline():
    job = factories.job("ok", *["queued"] * 99, status="running", now=NOW)
    assert eta_s(job, counts_of(job), NOW) == 580
    job.deadline_at = NOW + timedelta(hours=1)
    assert eta_s(job, counts_of(job), NOW) == 990


@pytest.mark.parametrize("status", ["queued", "completed", "cancelled"])
def test_of_a_job_that_does_not_run_nothing_is_left_to_tell(status):
    job = factories.job("ok", "queued", status=status, now=NOW)
    assert eta_s(job, counts_of(job), NOW) is None


def test_a_job_whose_single_results_are_gone_still_tells_how_many_there_were():
    job = factories.job("ok", "ok", now=NOW)
    ProbeItem.objects.all().delete()
    assert job_as_dict(job, counts_of(job), NOW)["counts"]["total"] == 2
