"""The list of targets, and the page of one."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.policies.models import PolicyRevision
from pulse.policies.publisher import Actor, edit
from pulse.probes.models import ProbeTarget
from pulse.probes.state import ProbeItem, ProbeScheduleState, ProbeTransition, ProbeWorker
from tests import factories
from tests.pages.conftest import text_of

pytestmark = pytest.mark.usefixtures("policy")

ENDPOINT = "GET /api/products/<int:pk>/"
ENDPOINT_URL = "/pulse/probes/GET~api~products~%3Cint:pk%3E~/"


def rows_of(response) -> list[str]:
    return [card.view.name for card in response.context["overview"].cards]


def test_nothing_to_probe_says_what_to_do(viewer, apply):
    apply(prune=True)
    assert "Nothing is probed yet." in text_of(viewer.get("/pulse/probes/"))


def test_what_nobody_has_looked_at_is_not_watched_and_not_up(viewer):
    """M7: not watched is a state of its own."""
    text = text_of(viewer.get("/pulse/probes/"))
    assert "Nobody has looked yet." in text
    assert "0 up" in text
    assert "4 not watched" in text


def test_the_worst_stands_first_and_the_banner_tells_since_when_and_what_changed_before(viewer):
    now = timezone.now()
    PolicyRevision.objects.update(created_at=now - timedelta(hours=2, minutes=3))
    factories.target_state("products", "up")
    factories.target_state("search", "down", since=now - timedelta(hours=2))
    response = viewer.get("/pulse/probes/")
    assert rows_of(response)[0] == "search"
    text = text_of(response)
    assert "1 target is down since" in text
    assert "Shortly before, the policy was changed: revision" in text
    assert "ana: Begin" in text


def test_a_target_that_nobody_looks_at_any_more_is_not_watched_though_it_was_up(viewer):
    factories.target_state(
        "products", "up", last_at=timezone.now() - timedelta(minutes=10), grace_s=130.0
    )
    assert "products Choose" not in text_of(viewer.get("/pulse/probes/?status=up"))
    assert "products" in rows_of(viewer.get("/pulse/probes/?status=not_watched"))


def test_a_target_in_maintenance_is_neither_up_nor_down(viewer, apply):
    now = timezone.now()
    window = {
        "name": "move",
        "targets": ["search"],
        "starts_at": (now - timedelta(minutes=1)).isoformat(),
        "ends_at": (now + timedelta(hours=1)).isoformat(),
    }
    apply(maintenance_windows=[window])
    factories.target_state("search", "down")
    assert rows_of(viewer.get("/pulse/probes/?status=maintenance")) == ["search"]


def test_due_probes_without_a_worker_are_told_first(viewer):
    now = timezone.now()
    factories.target_state("products", "up")
    ProbeScheduleState.objects.create(name="core", next_at=now - timedelta(minutes=3))
    assert "no worker is there to send them" in text_of(viewer.get("/pulse/probes/"))
    ProbeWorker.objects.create(name="w1", started_at=now, seen_at=now + timedelta(seconds=5))
    assert "Probes run late" in text_of(viewer.get("/pulse/probes/"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=customers", ["products"]),
        ("q=customers+search", []),
        ("group=Shop", ["search"]),
        ("schedule=core&sort=name", ["products", "search"]),
        ("schedule=routes", [ENDPOINT]),
        ("sort=name", [ENDPOINT, "paused", "products", "search"]),
        ("status=up", []),
        ("status=nonsense&sort=nonsense&page=nonsense", [ENDPOINT, "paused", "products", "search"]),
    ],
)
def test_the_address_narrows_and_sorts(viewer, query, found):
    assert rows_of(viewer.get(f"/pulse/probes/?{query}")) == found


def test_bars_say_in_words_what_they_show(viewer):
    factories.job("ok", "ok", "failed", targets=["products"] * 3)
    factories.target_state("products", "down")
    content = viewer.get("/pulse/probes/").content.decode()
    assert 'aria-label="Last 3 results: 2 ok, 1 failed; the newest is failed"' in content


def test_a_page_of_targets_takes_as_many_queries_as_one_target(viewer, apply):
    names = [f"t{number}" for number in range(60)]
    factories.target_state("products")
    factories.job("ok", targets=["products"])
    factories.hour("products", timezone.now().replace(minute=0, second=0, microsecond=0))
    viewer.get("/pulse/probes/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/pulse/probes/")
    apply(probe_targets=[{"name": name, "path": "/api/products/"} for name in names])
    for name in names:
        factories.target_state(name)
    factories.job(*["ok"] * 60, targets=names)
    viewer.get("/pulse/probes/")
    with CaptureQueriesContext(connection) as many:
        response = viewer.get("/pulse/probes/")
    assert len(response.context["overview"].cards) == 50
    assert "Page 1 of 2" in text_of(response)
    assert len(few) == len(many) <= 16


def test_one_target_tells_everything(viewer):
    now = timezone.now()
    this = now.replace(minute=0, second=0, microsecond=0)
    for back in range(5):
        factories.hour("search", this - timedelta(hours=back), 40, 50, 60, down_s=360, up_s=3240)
    job = factories.job("ok", "failed", targets=["search", "search"], schedule="core")
    ProbeItem.objects.filter(state="failed").update(
        evidence={
            "request": {
                "method": "GET",
                "url": "http://127.0.0.1:8000/api/search/?q=a&token=s3cr3t9",
                "headers": {"Authorization": "Bearer abc", "Accept": "application/json"},
                "body": "",
            },
            "response": {
                "status_code": 500,
                "headers": {"content-type": "application/json"},
                "body": '{"detail": "Something broke.", "password": "hunter22"}',
            },
        }
    )
    factories.target_state("search", "down", since=now - timedelta(hours=1))
    ProbeScheduleState.objects.create(name="core", next_at=now + timedelta(seconds=30), missed=2)
    ProbeTransition.objects.create(
        target="search", at=now, before="up", after="down", detail="status 500, expected 200"
    )
    response = viewer.get("/pulse/probes/search/")
    text = text_of(response)
    assert "GET http://127.0.0.1:8000/api/search/?q=a" in text
    assert "Uptime 24 h 90 %" in text.replace("90.00", "90")
    assert "seconds down ÷ seconds watched, by confirmed status" in text
    assert "every 1 min" in text
    assert "status 500, expected 200" in text
    assert "Something broke." in text
    assert f"job {job.pk}" in text
    content = response.content.decode()
    assert 'class="line line-p99"' in content
    assert "Show as a table" in text
    assert "curl --include --header" in text
    for secret in ("s3cr3t9", "Bearer abc", "hunter22"):
        assert secret not in content


def test_changes_of_the_policy_are_marked_where_they_happened(administrator):
    now = timezone.now()
    factories.hour("search", now.replace(minute=0, second=0, microsecond=0))
    response = administrator.get("/pulse/probes/search/")
    (mark,) = [mark for mark in response.context["chart"].marks if "Begin" in mark.text]
    revision = PolicyRevision.objects.get(number=mark.number)
    assert mark.address == f"/admin/pulse/policyrevision/{revision.pk}/change/"
    assert f'<a href="{mark.address}" aria-label="{mark.text}">' in response.content.decode()
    # What has links in it is no image to who cannot see it.
    assert '<svg class="chart" viewBox="0 0 720 200" role="group"' in response.content.decode()


@pytest.mark.parametrize("window", ["24h", "7d", "30d"])
def test_each_window_of_latencies_has_its_chart(viewer, window):
    factories.hour("search", timezone.now().replace(minute=0, second=0, microsecond=0))
    response = viewer.get(f"/pulse/probes/search/?window={window}")
    assert [point.checks for point in response.context["chart"].points][-1] == 3


def test_an_endpoint_id_has_a_page_of_its_own(operator):
    """An id has slashes and marks; its address is one segment."""
    assert f'href="{ENDPOINT_URL}"' in operator.get("/pulse/probes/").content.decode()
    response = operator.get(ENDPOINT_URL)
    assert response.status_code == 200
    assert "GET /api/products/&lt;int:pk&gt;/" in text_of(response)
    assert "It cannot be sent:" in text_of(response)


@pytest.mark.parametrize("name", ["unknown", "GET~api~unknown~", "Nonsense", "GET~..~etc"])
def test_an_unknown_target_is_not_found(viewer, name):
    assert viewer.get(f"/pulse/probes/{name}/").status_code == 404


def test_the_pages_results_are_paged(viewer):
    for _ in range(30):
        factories.job("ok", targets=["products"])
    first = viewer.get("/pulse/probes/products/")
    older = first.context["results"].older
    second = viewer.get(f"/pulse/probes/products/?cursor={older}")
    assert [len(each.context["results"].rows) for each in (first, second)] == [25, 5]
    assert second.context["results"].newer is not None
    assert viewer.get("/pulse/probes/products/?cursor=nonsense").status_code == 200


def test_one_target_takes_as_many_queries_whatever_it_has(viewer):
    factories.target_state("products")
    factories.job("ok", targets=["products"])
    viewer.get("/pulse/probes/products/")
    with CaptureQueriesContext(connection) as few:
        viewer.get("/pulse/probes/products/")
    for _ in range(20):
        factories.job("ok", "failed", targets=["products"] * 2)
    with CaptureQueriesContext(connection) as many:
        viewer.get("/pulse/probes/products/")
    assert len(few) == len(many) <= 22


def test_pausing_is_an_edit_of_the_policy(administrator, django_capture_on_commit_callbacks):
    """A revision names who paused it; resuming is another."""
    with django_capture_on_commit_callbacks(execute=True):
        response = administrator.post("/pulse/probes/products/mode/", {"mode": "off"})
    assert response["Location"] == "/pulse/probes/products/"
    revision = PolicyRevision.objects.first()
    assert (revision.actor_name, revision.reason) == ("adm", "Paused on its page")
    assert ProbeTarget.objects.get(name="products").mode == "off"
    text = text_of(administrator.get("/pulse/probes/products/"))
    assert "It is paused: nobody looks until it is resumed." in text
    administrator.post("/pulse/probes/products/mode/", {"mode": "enforce"})
    assert ProbeTarget.objects.get(name="products").mode == "enforce"
    assert PolicyRevision.objects.first().reason == "Resumed on its page"


def test_what_was_in_shadow_goes_back_to_shadow(administrator, django_capture_on_commit_callbacks):
    """Resuming undoes the pause, and enforces nothing that was not."""
    with edit(Actor("command"), source="command"):
        ProbeTarget.objects.filter(name="products").update(mode="shadow")
    for mode in ("off", "enforce"):
        with django_capture_on_commit_callbacks(execute=True):
            administrator.post("/pulse/probes/products/mode/", {"mode": mode})
    assert ProbeTarget.objects.get(name="products").mode == "shadow"


@pytest.mark.parametrize("form", [{}, {"mode": "shadow"}, {"mode": "no"}])
def test_a_mode_that_is_none_changes_nothing(administrator, form):
    """Least of all does it end the shadow of a target."""
    ProbeTarget.objects.filter(name="products").update(mode="shadow")
    assert administrator.post("/pulse/probes/products/mode/", form).status_code == 400
    assert ProbeTarget.objects.get(name="products").mode == "shadow"


def test_a_draft_is_told_as_one(administrator, settings):
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    response = administrator.post("/pulse/probes/products/mode/", {"mode": "off"})
    assert response.status_code == 202
    assert "saved as a draft" in text_of(response)


def test_pausing_what_has_no_row_is_not_found(administrator):
    assert administrator.post(f"{ENDPOINT_URL}mode/", {"mode": "off"}).status_code == 404


def test_a_secret_of_a_query_is_shown_and_found_nowhere(apply, viewer):
    """Whoever may look at probes need not be one who may read policies."""
    apply(
        probe_targets=[
            {"name": "one", "url": "https://a.example/?api_key=hunter22"},
            {"name": "two", "path": "/api/products/", "query": {"token": "hunter22"}},
            {"name": "off", "url": "https://a.example/?api_key=hunter22", "mode": "off"},
        ]
    )
    for address in ("", "one/", "two/", "off/"):
        assert "hunter22" not in viewer.get(f"/pulse/probes/{address}").content.decode()
    assert "GET https://a.example/?api_key=***" in text_of(viewer.get("/pulse/probes/one/"))
    assert "No target is like that." in text_of(viewer.get("/pulse/probes/", {"q": "key=hunter2"}))
    assert "one" in text_of(viewer.get("/pulse/probes/", {"q": "a.example"}))
