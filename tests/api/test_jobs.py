"""Jobs by the API: started, refused, watched, cancelled, run again; their probes and results."""

from collections.abc import Iterator
from typing import Any

import pytest

from pulse import tasks
from pulse.access.scopes import Scope
from pulse.audit.models import AuditEntry
from pulse.policies import document
from pulse.probes import jobs
from pulse.probes.state import ProbeItem, ProbeJob, ProbeStart
from tests import factories
from tests.api.conftest import Script, problem, script

pytestmark = pytest.mark.django_db

TARGETS = [
    {"name": "products", "path": "/api/products/"},
    {"name": "search", "path": "/api/search/"},
    {"name": "order", "path": "/api/orders/", "method": "POST", "allow_unsafe": True},
]
CORE = {
    "name": "core",
    "every": "1h",
    "targets": ["products"],
    "cooldown_s": 100,
    "deadline_s": 300,
}


@pytest.fixture(autouse=True)
def policy(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """Some targets; and how often a worker was told of something."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:1"}
    nudges: list[None] = []
    monkeypatch.setattr(tasks, "nudge", lambda: nudges.append(None))
    given = {"version": 1, "probe_targets": TARGETS, "probe_schedules": [CORE]}
    document.apply(given, factories.KIM, prune=True)
    yield nudges


@pytest.fixture
def operator() -> Script:
    return script(Scope.OPERATE)


def errors(answer: Any) -> dict[str, list[str]]:
    return problem(answer, 400, "invalid")["errors"]


def targets_of(job: str) -> list[str]:
    rows = ProbeItem.objects.filter(job=job).order_by("pk")
    return list(rows.values_list("target", flat=True))


def test_a_job_is_started_watched_and_cancelled(operator: Script, policy: list[None]) -> None:
    """Who started it is the key, and so it stands in the audit."""
    order = {"targets": ["search", "GET /api/products/"], "deadline_s": 30}
    answer = operator.post("jobs/", order)
    assert answer.status_code == 202, answer.content
    told = answer.json()
    place = f"jobs/{told['id']}/"
    assert answer.headers["Location"] == f"http://testserver/pulse/api/v1/{place}"
    assert told["counts"] == {
        "total": 2,
        "queued": 2,
        **dict.fromkeys(("running", "ok", "degraded", "failed", "timeout", "lost", "cancelled"), 0),
    }
    assert (told["status"], told["trigger"], told["schedule"]) == ("queued", "api", None)
    assert told["actor"] == {"type": "api_key", "name": "ci"}
    assert (told["started_at"], told["finished_at"], told["eta_s"]) == (None, None, None)
    job = ProbeJob.objects.get(pk=told["id"])
    assert (job.deadline_at - job.created_at).total_seconds() == 30
    assert job.request_id == answer.headers["X-Request-ID"]
    assert targets_of(told["id"]) == ["search", "GET /api/products/"]
    assert policy == [None]

    seen = operator.get(place)
    assert seen.json() == told
    same = operator.get(place, If_None_Match=seen.headers["ETag"])
    assert (same.status_code, same.content) == (304, b"")

    done = operator.post(f"{place}cancel/", {})
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    assert done.json()["counts"]["cancelled"] == 2
    assert operator.post(f"{place}cancel/", {}).json()["status"] == "cancelled"
    after = operator.get(place, If_None_Match=seen.headers["ETag"])
    assert after.status_code == 200
    entries = AuditEntry.objects.filter(action__startswith="job.").order_by("pk")
    assert [(entry.action, entry.actor_name) for entry in entries] == [
        ("job.start", "ci"),
        ("job.cancel", "ci"),
    ]
    assert operator.get("results/").json()["results"] == [], "none was sent"


def test_without_names_everything_safe_is_meant(operator: Script) -> None:
    """What is not safe has to be named."""
    told = operator.post("jobs/", {}).json()
    assert targets_of(told["id"]) == ["products", "search"]
    named = operator.post("jobs/", {"targets": ["order"]}).json()
    assert targets_of(named["id"]) == ["order"]


def test_a_schedule_is_started_by_hand_once_in_its_cooldown(operator: Script) -> None:
    """429 with what is left of it; a refused start leaves nothing behind."""
    assert operator.post("jobs/", {"schedule": "core"}).json()["schedule"] == "core"
    again = operator.post("jobs/", {"schedule": "core"})
    told = problem(again, 429, "cooldown")
    assert told["detail"].startswith("Probe cooldown active. Please wait ")
    assert 90 < told["retry_after"] <= 100
    assert again.headers["Retry-After"] == str(told["retry_after"])
    assert ProbeJob.objects.count() == 1


def test_so_many_jobs_are_open_and_no_more(operator: Script) -> None:
    for name in ("products", "search", "order"):
        assert operator.post("jobs/", {"targets": [name]}).status_code == 202
    told = problem(operator.post("jobs/", {"schedule": "core"}), 409, "too_many_jobs")
    assert told["detail"] == (
        "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete."
    )
    assert ProbeStart.objects.count() == 3


@pytest.mark.parametrize(
    ("order", "field", "text"),
    [
        ({"targets": ["nobody"]}, "targets", "Unknown target: nobody"),
        ({"targets": ["../etc"]}, "targets", "Invalid endpoint_id format: ../etc"),
        ({"targets": ["POST /api/orders/"]}, "targets", "Unknown target: POST /api/orders/"),
        ({"schedule": "nightly"}, "schedule", "Unknown schedule: nightly"),
        ({"targets": []}, "targets", "Choose at least one target."),
        ({"targets": "products"}, "targets", "Write a list of names."),
        (
            {"targets": ["products"], "schedule": "core"},
            "targets",
            "Name either a schedule or targets.",
        ),
        ({"everything": True}, "everything", "There is no such field."),
        ({"timeout_s": 0}, "timeout_s", "Write a number of seconds above 0, at most 86400."),
        ({"deadline_s": True}, "deadline_s", "Write a number of seconds above 0, at most 86400."),
        ({"deadline_s": 601}, "deadline_s", "It is at most 600 s here."),
        ({"schedule": "core", "deadline_s": 301}, "deadline_s", "It is at most 300 s here."),
    ],
)
def test_what_is_no_order_is_told_by_its_field(
    operator: Script, order: dict[str, Any], field: str, text: str
) -> None:
    assert errors(operator.post("jobs/", order)) == {field: [text]}
    assert not ProbeJob.objects.exists()


def test_a_start_that_is_repeated_starts_nothing(operator: Script) -> None:
    """Though its cooldown is on: the answer was lost, not the job."""
    key = {"Idempotency_Key": "once"}
    first = operator.post("jobs/", {"targets": ["search"]}, **key)
    again = operator.post("jobs/", {"targets": ["search"]}, **key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert ProbeJob.objects.count() == 1


def test_what_ended_is_not_cancelled_and_is_run_again(operator: Script) -> None:
    """A new job of what was not ok; both refusals hold for it."""
    job = factories.job("ok", "failed", "timeout", targets=["products", "search", "gone"])
    told = problem(operator.post(f"jobs/{job.pk}/cancel/", {}), 409, "job_finished")
    assert told["detail"] == f"Job {job.pk} has ended already: completed."
    again = operator.post(f"jobs/{job.pk}/rerun/", {})
    assert again.status_code == 202
    assert targets_of(again.json()["id"]) == ["search"], "what is gone is left out"
    assert again.headers["Location"].endswith(f"/jobs/{again.json()['id']}/")
    problem(operator.post(f"jobs/{job.pk}/rerun/", {}), 429, "cooldown")
    well = factories.job("ok", targets=["products"])
    nothing = errors(operator.post(f"jobs/{well.pk}/rerun/", {}))
    assert nothing == {"targets": ["There is nothing to probe."]}


def test_who_views_starts_nothing(viewer: Script, nobody: Script) -> None:
    """Reading takes ``view``, acting ``operate``; nobody does neither."""
    job = factories.job("queued", status="queued", targets=["products"])
    places = ["jobs/", f"jobs/{job.pk}/cancel/", f"jobs/{job.pk}/rerun/"]
    for place in places:
        problem(viewer.post(place, {}), 403, "permission_denied")
        problem(nobody.post(place, {}), 401, "not_authenticated")
    for place in ("jobs/", f"jobs/{job.pk}/", f"jobs/{job.pk}/items/", "results/"):
        assert viewer.get(place).status_code == 200
        problem(nobody.get(place), 401, "not_authenticated")
        problem(viewer.delete(place), 405, "method_not_allowed")
    assert ProbeJob.objects.get().status == "queued"


def test_jobs_are_read_newest_first_and_narrowed(viewer: Script, django_assert_max_num_queries):
    """By cursor, and in as many queries for fifty as for one."""
    made = [factories.job("ok", schedule="core" if number % 2 else "") for number in range(6)]
    first = viewer.get("jobs/?page_size=4").json()
    assert [row["id"] for row in first["results"]] == [str(job.pk) for job in made[:1:-1]]
    assert (first["previous"], "count" in first) == (None, False)
    rest = viewer.get(first["next"].removeprefix("http://testserver")).json()
    assert [row["id"] for row in rest["results"]] == [str(job.pk) for job in made[1::-1]]
    assert len(viewer.get("jobs/?schedule=core&status=completed").json()["results"]) == 3
    assert viewer.get("jobs/?trigger=api").json()["results"] == []
    with django_assert_max_num_queries(6):
        viewer.get("jobs/")
    assert "status" in errors(viewer.get("jobs/?status=odd"))
    assert "odd" in errors(viewer.get("jobs/?odd=1"))
    problem(viewer.get("jobs/0/"), 404, "not_found")
    problem(viewer.get("jobs/abc/"), 404, "not_found")


def test_the_probes_of_a_job_have_results_once_they_ended(viewer: Script) -> None:
    job = factories.job("failed", "queued", "running", status="running")
    told = viewer.get(f"jobs/{job.pk}/items/").json()
    assert told["count"] == 3
    assert [(row["target"], row["state"]) for row in told["results"]] == [
        ("t0", "failed"),
        ("t1", "queued"),
        ("t2", "running"),
    ]
    failed, queued, running = (row["result"] for row in told["results"])
    assert (queued, running) == (None, None)
    assert failed == {
        "id": str(ProbeItem.objects.get(target="t0").pk),
        "job": str(job.pk),
        "schedule": None,
        "target": "t0",
        "endpoint_id": "GET /api/t0/",
        "state": "failed",
        "error": "expectation",
        "detail": "status 500, expected 200",
        "attempts": 1,
        "started_at": failed["started_at"],
        "latency_ms": 40.0,
        "phases_ms": {"dns": 0.1, "connect": 0.3, "tls": None, "first_byte": 38, "body": 1.6},
        "status_code": 500,
        "bytes": 512,
        "address": "127.0.0.1",
        "certificate_days": None,
        "expectations": [{"name": "status", "expected": [200], "actual": 200, "ok": False}],
        "revision": 1,
    }
    assert viewer.get(f"jobs/{job.pk}/items/?state=queued").json()["count"] == 1
    problem(viewer.get("jobs/0/items/"), 404, "not_found")
    one = viewer.get(f"results/{failed['id']}/")
    assert one.json() == failed
    assert viewer.get(
        f"results/{failed['id']}/", If_None_Match=one.headers["ETag"]
    ).status_code == (304)


def test_results_are_read_newest_first_and_narrowed(
    viewer: Script, django_assert_max_num_queries
) -> None:
    """Of what was sent alone: neither what waits nor what was cancelled before."""
    core = factories.job("ok", "failed", schedule="core", targets=["products", "search"])
    other = factories.job("ok", "queued", "cancelled", status="running")
    ProbeItem.objects.filter(state="cancelled").update(started_at=None)

    def found(query: str = "") -> list[tuple[str, str]]:
        rows = viewer.get(f"results/?{query}").json()["results"]
        return [(row["job"], row["target"]) for row in rows]

    everything = [
        (str(other.pk), "t0"),
        (str(core.pk), "search"),
        (str(core.pk), "products"),
    ]
    assert found() == everything
    assert found(f"job={core.pk}") == found("schedule=core") == everything[1:]
    assert found("target=search&state=failed") == everything[1:2]
    assert found("error=expectation") == everything[1:2]
    with django_assert_max_num_queries(5):
        viewer.get("results/")
    assert set(errors(viewer.get("results/?job=abc&state=well"))) == {"job", "state"}
    waiting = ProbeItem.objects.get(state="queued")
    problem(viewer.get(f"results/{waiting.pk}/"), 404, "not_found")


def test_the_pages_tell_jobs_in_the_same_words(viewer: Script, client, admin_user) -> None:
    """One form on the wire, whatever asks for it."""
    job = factories.job("ok", "failed", "queued", status="running")
    client.force_login(admin_user)
    by_page = client.get(f"/pulse/jobs/{job.pk}/?format=json").json()
    assert viewer.get(f"jobs/{job.pk}/").json() == by_page
    listed = client.get("/pulse/jobs/?format=json").json()["results"]
    assert viewer.get("jobs/").json()["results"] == listed
    jobs.cancel(job.pk)
