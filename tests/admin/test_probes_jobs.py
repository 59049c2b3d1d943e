"""Jobs, probes and workers in the admin: to read, however many there are."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from pulse.probes.state import ItemState, JobStatus, ProbeItem, ProbeJob, ProbeWorker
from tests.admin.conftest import url

SCREENS = ("probejob", "probeitem", "probeworker")


@pytest.fixture
def job(kim) -> ProbeJob:
    now = timezone.now()
    made = ProbeJob.objects.create(
        trigger="schedule",
        schedule="core",
        status=JobStatus.RUNNING,
        created_at=now,
        started_at=now,
        deadline_at=now + timedelta(minutes=10),
        total=3,
    )
    for state in (ItemState.OK, ItemState.OK, ItemState.FAILED):
        ProbeItem.objects.create(
            job=made,
            target="product",
            host="h:80",
            state=state,
            due_at=now,
            finished_at=now,
            latency_ms=12.34,
            detail="status <500>",
            phases_ms={"dns": 0.1, "connect": 12, "tls": None},
            expectations=[{"name": "status", "expected": [200], "actual": 500, "ok": False}],
            evidence={"request": {"headers": {"X-Quiet": "kept apart"}}},
        )
    ProbeWorker.objects.create(name="box:1:ab", started_at=now, seen_at=now, in_flight=2)
    return made


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_added_changed_or_deleted(kim, clerk, job, screen):
    row = {"probejob": ProbeJob, "probeitem": ProbeItem, "probeworker": ProbeWorker}[screen]
    pk = row.objects.first().pk
    for who in (kim, clerk):
        assert who.get(f"{screen}_changelist").status_code == 200
        assert who.get(f"{screen}_change", pk).status_code == 200
        assert who.get(f"{screen}_add").status_code == 403
        assert who.post(f"{screen}_change", pk, status="failed").status_code == 403
        assert who.post(f"{screen}_delete", pk, post="yes").status_code == 403
    assert row.objects.filter(pk=pk).exists()


@pytest.mark.parametrize("screen", SCREENS)
def test_an_empty_list_says_what_to_do(kim, screen):
    assert "pulse-empty" in kim.get(f"{screen}_changelist").content.decode()


def test_a_job_is_told_in_shapes_and_words(kim, job):
    page = kim.get("probejob_changelist").content.decode()
    assert '<span aria-hidden="true">◔</span> running' in page
    page = kim.get("probejob_change", job.pk).content.decode()
    assert '<span aria-hidden="true">●</span> ok</span> 2' in page
    assert '<span aria-hidden="true">✕</span> failed</span> 1' in page
    assert f"{url('probeitem_changelist')}?job__id__exact={job.pk}" in page
    assert reverse("pulse:job", args=[job.pk]) in page


def test_a_job_leads_to_its_probes(kim, job):
    other = ProbeJob.objects.create(
        trigger="admin", created_at=timezone.now(), deadline_at=timezone.now()
    )
    ProbeItem.objects.create(job=other, target="x", host="h:80", due_at=timezone.now())
    page = kim.get("probeitem_changelist", job__id__exact=job.pk)
    assert [row.job_id for row in page.context["cl"].result_list] == [job.pk] * 3
    text = page.content.decode()
    assert "12.3 ms" in text
    assert "status &lt;500&gt;" in text
    assert "kept apart" not in text
    item = page.context["cl"].result_list[0]
    text = kim.get("probeitem_change", item.pk).content.decode()
    assert "dns 0.1 ms, connect 12.0 ms" in text
    assert "missed: status [200] (500)" in text
    page = kim.get("probeitem_changelist", job__id__exact=job.pk, state__exact="failed")
    assert [row.state for row in page.context["cl"].result_list] == ["failed"]
    assert kim.get("probeitem_changelist", q="product").context["cl"].result_count == 3


def test_long_lists_are_not_counted(kim, job):
    """Of millions of results and jobs a page reads the newest thousand's keys."""
    now = timezone.now()
    ProbeItem.objects.bulk_create(
        ProbeItem(job=job, target=f"t{number}", host="h:80", due_at=now) for number in range(1500)
    )
    for screen in ("probeitem", "probejob"):
        kim.get(f"{screen}_changelist")
        with CaptureQueriesContext(connection) as queries:
            page = kim.get(f"{screen}_changelist", p="2")
        assert page.status_code == 200
        tables = [query["sql"] for query in queries if "pulse_probe" in query["sql"]]
        assert tables
        assert not [sql for sql in tables if "COUNT(" in sql.upper()]
    page = kim.get("probeitem_changelist", p="20")
    assert page.context["cl"].result_count == 1000
    assert len(page.context["cl"].result_list) == 50


def test_a_worker_is_alive_or_gone(kim, job):
    worker = ProbeWorker.objects.get()
    page = kim.get("probeworker_changelist").content.decode()
    assert '<span aria-hidden="true">●</span> alive' in page
    worker.turn_until = timezone.now() + timedelta(minutes=1)
    worker.save()
    assert '<span aria-hidden="true">●</span> working' in (
        kim.get("probeworker_changelist").content.decode()
    )
    worker.seen_at -= timedelta(minutes=5)
    worker.save()
    page = kim.get("probeworker_changelist").content.decode()
    assert '<span aria-hidden="true">✕</span> gone' in page
    assert "5\xa0minutes ago" in page
