"""Jobs: started, refused, listed, watched, cancelled and run again, by people and by machines."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.probes.state import ProbeItem, ProbeJob, ProbeStart
from tests import factories
from tests.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("policy")

MACHINE = {"accept": "application/json"}


def post(client: Client, body: object = None, **headers: str):
    return client.post(
        "/pulse/jobs/",
        json.dumps({} if body is None else body),
        "application/json",
        headers={**MACHINE, **headers},
    )


def rest() -> None:
    """The cooldowns are over."""
    ProbeStart.objects.update(started_at=timezone.now() - timedelta(hours=1))


def test_a_person_who_starts_is_led_to_the_job(operator):
    response = operator.post("/pulse/jobs/", {"targets": ["products", "search"]})
    job = ProbeJob.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/pulse/jobs/{job.pk}/")
    assert (job.trigger, job.actor_type, job.actor_name) == ("page", "user", "op")
    assert job.request_id == response["X-Request-ID"]
    assert [item.target for item in job.items.order_by("pk")] == ["products", "search"]


def test_a_machine_that_starts_gets_202_and_the_job(operator):
    """API.md 3."""
    response = post(operator, {"targets": ["GET /api/search/"], "timeout_s": 2, "deadline_s": 60})
    job = ProbeJob.objects.get()
    assert (response.status_code, response["Location"]) == (202, f"/pulse/jobs/{job.pk}/")
    body = response.json()
    assert (body["id"], body["status"], body["counts"]["queued"]) == (str(job.pk), "queued", 1)
    assert (job.deadline_at - job.created_at).total_seconds() == 60
    assert job.timeout_s == 2


def test_nothing_named_starts_every_safe_target_in_force(operator):
    assert post(operator).json()["counts"]["total"] == 2


def test_a_schedule_is_started_by_its_name(operator):
    operator.post("/pulse/jobs/", {"schedule": "core"})
    job = ProbeJob.objects.get()
    assert (job.schedule, job.total) == ("core", 2)


def test_a_second_start_within_the_cooldown_is_429_with_the_text(operator):
    """S0-15, and the defect: it was a 500 whose text reached nobody."""
    post(operator, {"targets": ["products"]})
    response = post(operator, {"targets": ["products"]})
    assert response.status_code == 429
    assert response["Retry-After"] == "30"
    body = response.json()
    assert (body["code"], body["type"]) == ("cooldown", "urn:pulse:cooldown")
    assert body["retry_after"] == 30
    text = r"Probe cooldown active\. Please wait (30\.0|2\d\.\d)s before starting another probe"
    assert re.fullmatch(text, body["detail"])
    page = operator.post("/pulse/jobs/", {"targets": "products"})
    assert (page.status_code, page["Retry-After"]) == (429, "30")
    assert re.search(text, text_of(page))
    assert ProbeJob.objects.count() == 1


def test_a_fourth_job_is_409_with_the_text(operator):
    """S0-16."""
    text = "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete."
    for _ in range(3):
        factories.job("queued", status="queued")
    response = post(operator)
    assert (response.status_code, response.json()["code"]) == (409, "too_many_jobs")
    assert response.json()["detail"] == text
    page = operator.post("/pulse/jobs/", {"targets": "products"})
    assert page.status_code == 409
    assert text in text_of(page)


@pytest.mark.parametrize(
    ("body", "field", "text"),
    [
        ({"targets": ["nothing"]}, "targets", "Unknown target: nothing"),
        ({"targets": ["paused"]}, "targets", "Target paused is off, or not in its time."),
        ({"targets": ["POST /api/orders/"]}, "targets", "Unknown target: POST /api/orders/"),
        (
            {"targets": ["../../../etc/passwd"]},
            "targets",
            "Invalid endpoint_id format: ../../../etc/passwd",
        ),
        ({"schedule": "nothing"}, "schedule", "Unknown schedule: nothing"),
        ({"schedule": 7}, "schedule", "Write a schedule's name."),
        ({"targets": "products"}, "targets", "Write a list of names."),
        ({"targets": ["a"], "schedule": "core"}, "targets", "Name either a schedule or targets."),
        ({"targets": []}, "targets", "Choose at least one target."),
        ({"nonsense": 1}, "nonsense", "There is no such field."),
        ({"timeout_s": -1}, "timeout_s", "Write a number of seconds above 0, at most 86400."),
        ({"deadline_s": True}, "deadline_s", "Write a number of seconds above 0, at most 86400."),
        ([], "non_field_errors", "Write an object."),
    ],
)
def test_what_cannot_be_started_is_400_by_its_field(operator, body, field, text):
    response = post(operator, body)
    assert response.status_code == 400
    problem = response.json()
    assert (problem["code"], problem["errors"]) == ("invalid", {field: [text]})
    assert problem["detail"] == text
    assert not ProbeJob.objects.exists()


def test_what_is_no_json_is_a_parse_error(operator):
    response = operator.post("/pulse/jobs/", "{", "application/json", headers=MACHINE)
    assert (response.status_code, response.json()["code"]) == (400, "parse_error")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ('{"targets": ["products"]}', "text/plain", 415),
        ("<targets/>", "application/xml", 415),
        ('{"targets": ["products"]}', "application/x-www-form-urlencoded", 400),
    ],
)
def test_what_is_not_read_starts_nothing(operator, body, content_type, status):
    """Everything is much: who does not say it does not mean it."""
    response = operator.post("/pulse/jobs/", body, content_type, headers=MACHINE)
    assert response.status_code == status
    assert not ProbeJob.objects.exists()


def test_choosing_nothing_starts_nothing(operator):
    """An empty choice is a slip; without one it would mean everything."""
    response = operator.post("/pulse/jobs/", {"chosen": "1"})
    assert response.status_code == 400
    assert "Choose at least one target." in text_of(response)
    assert not ProbeJob.objects.exists()


def test_the_list_tells_progress_and_outcome(viewer):
    factories.job("ok", "failed", "running", "queued", status="running", schedule="core")
    factories.job("ok", "ok")
    text = text_of(viewer.get("/pulse/jobs/"))
    assert "2 / 4" in text
    assert "1 not ok" in text
    assert "all ok" in text


def test_the_list_is_narrowed_by_the_address(viewer):
    old = factories.job("ok", trigger="schedule", schedule="core")
    factories.job("queued", status="queued")
    response = viewer.get("/pulse/jobs/?status=completed&trigger=schedule&schedule=core")
    assert [view.job.pk for view in response.context["views"]] == [old.pk]
    body = viewer.get("/pulse/jobs/?status=completed", headers=MACHINE).json()
    assert [job["id"] for job in body["results"]] == [str(old.pk)]
    assert (body["next"], body["previous"]) == (None, None)


@pytest.mark.parametrize("query", ["nonsense=1", "status=nonsense", "cursor=nonsense"])
def test_a_machines_unknown_filter_is_400(viewer, query):
    """API.md 1: an unknown query parameter, field or value is 400."""
    response = viewer.get(f"/pulse/jobs/?{query}", headers=MACHINE)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [query.partition("=")[0]]


def test_the_list_is_paged_by_cursors_that_new_jobs_do_not_shift(viewer):
    made = [factories.job("ok").pk for _ in range(120)]
    first = viewer.get("/pulse/jobs/", headers=MACHINE).json()
    factories.job("ok")
    second = viewer.get(first["next"], headers=MACHINE).json()
    third = viewer.get(second["next"], headers=MACHINE).json()
    told = [int(job["id"]) for each in (first, second, third) for job in each["results"]]
    assert told == made[::-1]
    assert third["next"] is None
    back = viewer.get(third["previous"], headers=MACHINE).json()
    assert back["results"] == second["results"]


def test_a_list_takes_as_many_queries_as_one_job(viewer):
    factories.job("ok")
    viewer.get("/pulse/jobs/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/pulse/jobs/")
    for _ in range(20):
        factories.job("ok", "running", status="running")
    with CaptureQueriesContext(connection) as many:
        viewer.get("/pulse/jobs/")
    assert len(few) == len(many) <= 9


def test_one_job_tells_how_far_it_is(viewer):
    job = factories.job("ok", "ok", "failed", "running", "queued", status="running")
    response = viewer.get(f"/pulse/jobs/{job.pk}/")
    text = text_of(response)
    assert "3 / 5 · 60 % · about" in text
    assert "Started by kim (page)" in text
    assert "status 500, expected 200" in text
    assert response.context["poll_ms"] == 2000
    content = response.content.decode()
    assert '<progress max="5" value="3"' in content
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in content


def test_a_job_that_has_ended_asks_no_more(viewer):
    job = factories.job("ok", "failed")
    response = viewer.get(f"/pulse/jobs/{job.pk}/")
    assert 'data-poll="0"' in response.content.decode()
    assert "refresh" not in response.content.decode()
    assert f"Job {job.pk} has ended: completed, 1 of 2 not ok." in text_of(response)


@pytest.mark.parametrize(
    ("done", "told"), [(0, "0 % done."), (2, "25 % done."), (3, "50 % done."), (5, "75 % done.")]
)
def test_progress_is_read_aloud_in_few_steps(viewer, done, told):
    job = factories.job(*["ok"] * done, *["queued"] * (6 - done), status="running")
    assert f"Job {job.pk}: {told}" in text_of(viewer.get(f"/pulse/jobs/{job.pk}/"))


def test_a_job_as_json_is_tagged_by_what_it_says(viewer):
    job = factories.job("ok", "running", status="running")
    for address, headers in (
        (f"/pulse/jobs/{job.pk}/", MACHINE),
        (f"/pulse/jobs/{job.pk}/?format=json", {}),
        (f"/pulse/jobs/{job.pk}/", {"accept": "*/*"}),
    ):
        ProbeJob.objects.update(deadline_at=timezone.now())
        first = viewer.get(address, headers=headers)
        assert first.json()["counts"]["running"] == 1
        same = viewer.get(address, headers={**headers, "if-none-match": first["ETag"]})
        assert (same.status_code, same.content) == (304, b"")
    ProbeItem.objects.update(state="ok")
    changed = viewer.get(address, headers={**headers, "if-none-match": first["ETag"]})
    assert changed.status_code == 200


def test_a_job_that_is_not_there_is_not_found(viewer):
    assert viewer.get("/pulse/jobs/99999999999999999999/").status_code == 404
    response = viewer.get("/pulse/jobs/7/", headers=MACHINE)
    assert (response.status_code, response.json()["detail"]) == (404, "Unknown job: 7")


@pytest.mark.parametrize(
    ("show", "found"),
    [("", 6), ("trouble", 3), ("open", 1), ("ok", 1), ("cancelled", 1), ("nonsense", 6)],
)
def test_the_probes_of_a_job_are_narrowed(viewer, show, found):
    job = factories.job("ok", "failed", "timeout", "lost", "cancelled", "queued", status="running")
    response = viewer.get(f"/pulse/jobs/{job.pk}/?show={show}")
    assert len(response.context["items"]) == found


def test_the_probes_of_a_large_job_are_paged_at_a_fixed_cost(viewer):
    job = factories.job(*["ok"] * 120)
    with CaptureQueriesContext(connection) as queries:
        first = viewer.get(f"/pulse/jobs/{job.pk}/")
    second = viewer.get(f"/pulse/jobs/{job.pk}/?page=2")
    assert [len(each.context["items"]) for each in (first, second)] == [100, 20]
    assert "Next" in text_of(first)
    assert "Next" not in text_of(second)
    assert len(queries) <= 8


def test_cancelling_ends_what_is_open_and_again_changes_nothing(operator):
    job = factories.job("ok", "running", "queued", status="running")
    address = f"/pulse/jobs/{job.pk}/cancel/"
    assert operator.post(address)["Location"] == f"/pulse/jobs/{job.pk}/"
    assert list(job.items.order_by("pk").values_list("state", flat=True)) == [
        "ok",
        "cancelled",
        "cancelled",
    ]
    response = operator.post(address, headers=MACHINE)
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")


def test_what_has_ended_cannot_be_cancelled(operator):
    job = factories.job("ok")
    response = operator.post(f"/pulse/jobs/{job.pk}/cancel/", headers=MACHINE)
    assert (response.status_code, response.json()["code"]) == (409, "job_finished")
    page = operator.post(f"/pulse/jobs/{job.pk}/cancel/")
    assert page.status_code == 409
    assert f"Job {job.pk} has ended already: completed." in text_of(page)


def test_running_again_takes_what_was_not_ok(operator):
    job = factories.job("ok", "failed", targets=["products", "search"])
    assert "Run what is not ok again" in text_of(operator.get(f"/pulse/jobs/{job.pk}/"))
    response = operator.post(f"/pulse/jobs/{job.pk}/rerun/", headers=MACHINE)
    assert response.status_code == 202
    again = ProbeJob.objects.get(pk=response.json()["id"])
    assert response["Location"] == f"/pulse/jobs/{again.pk}/"
    assert [item.target for item in again.items.all()] == ["search"]
    refused = operator.post(f"/pulse/jobs/{job.pk}/rerun/")
    assert refused.status_code == 429
    assert "Probe cooldown active." in text_of(refused)


def test_of_what_went_well_nothing_is_run_again(operator):
    job = factories.job("ok", targets=["products"])
    assert "again" not in text_of(operator.get(f"/pulse/jobs/{job.pk}/"))
    response = operator.post(f"/pulse/jobs/{job.pk}/rerun/", headers=MACHINE)
    assert (response.status_code, response.json()["detail"]) == (400, "There is nothing to probe.")


@pytest.mark.parametrize("number", ["00", "-1", "1e9", "9" * 5000, "٣"])
def test_a_page_that_is_no_number_is_the_first(viewer, number):
    """Whatever a query says, there is a page."""
    job = factories.job("failed", status="completed", targets=["products"])
    response = viewer.get(f"/pulse/jobs/{job.pk}/", {"page": number})
    assert response.status_code == 200
    assert response.context["number"] == 1


@pytest.mark.parametrize("text", ["GET /\x00", "\x00", "GET /\ud800", "\ud800"])
@pytest.mark.parametrize("name", ["schedule", "targets"])
def test_what_no_database_can_hold_is_refused(operator, text, name):
    """A hostile text is the client's mistake, on every database and in every form of answer."""
    body = {name: [text] if name == "targets" else text}
    for accept in ("application/json", "text/html"):
        assert post(operator, body, accept=accept).status_code == 400
    assert not ProbeJob.objects.exists()


def test_a_filter_that_no_database_can_hold_is_left_out(viewer):
    factories.job("ok", status="completed", targets=["products"])
    assert viewer.get("/pulse/jobs/", {"schedule": "\x00"}).status_code == 200
    response = viewer.get("/pulse/jobs/", {"schedule": "\x00"}, headers=MACHINE)
    assert (response.status_code, list(response.json()["errors"])) == (400, ["schedule"])


def test_what_a_browser_reads_has_no_separators(viewer, settings):
    """A host may write thousands with a comma: neither the script nor a bar understands it."""
    settings.USE_THOUSAND_SEPARATOR = True
    job = factories.job("queued", status="running", targets=["products"])
    ProbeJob.objects.update(total=2500)
    for address in ("/pulse/jobs/", f"/pulse/jobs/{job.pk}/"):
        page = viewer.get(address).content.decode()
        assert 'data-poll="2000"' in page
        assert 'max="2500"' in page
