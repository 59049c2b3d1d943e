"""What was wrong with pulse's forerunner, each as a promise of this one.

By the numbers of the list that was made of it. How many microseconds a request's measures cost (7)
is for ``make bench`` to say.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.core.signals import got_request_exception
from django.test import Client
from django.utils import timezone

from pulse.conf import conf
from pulse.core import marks
from pulse.exceptions import InvalidEndpointId, UnknownTarget
from pulse.metrics import record_request, window
from pulse.metrics.recorder import recorder
from pulse.policies import current, document, publisher
from pulse.probes import discovery, engine, jobs, retention
from pulse.probes.jobs import Order, Starter
from pulse.probes.models import ProbePayload, ProbeSecret, ProbeTarget
from pulse.probes.state import (
    DiscoveredEndpoint,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    Trigger,
)
from pulse.store import heartbeat
from tests.factories import KIM
from tests.management.test_commands import run
from tests.sites import Site

pytestmark = pytest.mark.django_db

BROWSER = "text/html,application/xhtml+xml"
HAND = Starter(KIM, Trigger.PAGE)
TARGETS = [
    {"name": "products", "path": "/api/products/"},
    {"name": "search", "path": "/api/search/"},
    {"name": "remove", "path": "/api/products/1/", "method": "DELETE", "allow_unsafe": True},
    {"name": "add", "path": "/api/products/", "method": "POST", "allow_unsafe": True},
]


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    with heartbeat.suspended():
        yield


@pytest.fixture
def in_force(settings) -> None:
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}
    document.apply({"version": 1, "probe_targets": TARGETS}, KIM)
    current.forget()


@pytest.fixture
def operator() -> Client:
    user = get_user_model().objects.create_user("op", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="operate"))
    client = Client()
    client.force_login(user)
    return client


def post(client: Client, order: dict[str, Any]) -> Any:
    return client.post("/pulse/jobs/", order, content_type="application/json")


def age(seconds: float) -> None:
    """Let time pass for every open job."""
    rows = ProbeJob.objects.filter(status__in=["queued", "running"])
    for job in rows:
        job.deadline_at -= timedelta(seconds=seconds)
        job.save()


@pytest.mark.usefixtures("in_force")
def test_1_the_cooldown_is_told_to_who_asked(operator: Client) -> None:
    """429 with the text and when to come back; never a 500 (S0-15, S0-32)."""
    assert post(operator, {"targets": ["products"]}).status_code == 202
    answer = post(operator, {"targets": ["products"]})
    assert answer.status_code == 429
    text = r"Probe cooldown active\. Please wait (30|29)\.\ds before starting another probe"
    assert re.fullmatch(text, answer.json()["detail"])
    assert 1 <= int(answer["Retry-After"]) <= 30


@pytest.mark.usefixtures("in_force")
def test_2_nothing_unsafe_runs_unless_somebody_names_it() -> None:
    """Everything means every safe target, and an endpoint by its id is safe or refused."""
    job = jobs.start(Order(), HAND)
    assert set(job.items.values_list("target", flat=True)) == {"products", "search"}
    with pytest.raises(UnknownTarget):
        jobs.start(Order(targets=("DELETE /api/products/<int:pk>/",)), HAND)
    with pytest.raises(ValidationError, match="may change things"):
        ProbeTarget(name="x", path="/api/products/", method="PUT").full_clean()


def test_3_a_probe_is_known_by_its_mark(client: Client, caplog) -> None:
    """Signed, so that nobody hides among probes; told apart in the log, and measured apart."""
    mark = marks.sign("7", conf.probe_secret)
    before = window.read()
    with caplog.at_level(logging.INFO, "pulse.middleware.observe"):
        client.get("/api/products/", headers={marks.HEADER: mark})
        client.get("/api/products/", headers={marks.HEADER: "7.forged"})
    told = [record.probe for record in caplog.records if hasattr(record, "probe")]
    assert told == ["7", None]
    after = window.read()
    assert after.total.requests - before.total.requests == 1  # The one that is no probe.
    assert after.apart["probes"] - before.apart["probes"] == 1


def test_4_that_input_is_needed_is_told(settings) -> None:
    """A query, a body or a path that nobody can guess; and a sample where there is one."""
    discovery.discover()
    rows = {row.endpoint_id: row for row in DiscoveredEndpoint.objects.all()}
    assert rows["POST /api/orders/"].requires_input
    assert rows["POST /api/orders/"].sample is None
    assert not rows["GET /api/products/<int:pk>/"].requires_input
    assert 0 < sum(row.requires_input for row in rows.values()) < len(rows)


def test_5_a_route_with_a_full_stop_is_a_target(settings, in_force: None, operator: Client) -> None:
    """And what is no endpoint is the client's mistake, not a 500 (S0-07)."""
    settings.ROOT_URLCONF = "tests.probes.site"
    name = "GET /files/<int:n>.json"
    ProbePayload(target=name, path_params={"n": 2}).full_clean()
    settings.ROOT_URLCONF = "project.urls"
    answer = post(operator, {"targets": ["../../../etc/passwd"]})
    assert answer.status_code == 400
    assert "Invalid endpoint_id format: ../../../etc/passwd" in json.dumps(answer.json())
    with pytest.raises(InvalidEndpointId):
        jobs.start(Order(targets=("GET /../x",)), HAND)


def test_6_what_visitors_write_is_no_name_and_no_markup(operator: Client, client: Client) -> None:
    """Endpoints are routes; a name is text on every page, and no inline script would run."""
    policy = {"name": "pages", "path": "/", "preset": "html"}
    document.apply({"version": 1, "header_policies": [policy]}, KIM)
    current.forget()
    client.get("/<img src=x onerror=alert(1)>")
    discovery.discover()
    assert not DiscoveredEndpoint.objects.filter(route__contains="onerror").exists()
    now = timezone.now()
    DiscoveredEndpoint.objects.create(
        endpoint_id="GET /<img src=x onerror=alert(1)>",
        method="GET",
        route="<img src=x onerror=alert(1)>",
        first_seen_at=now,
        last_seen_at=now,
    )
    page = operator.get("/pulse/endpoints/", headers={"accept": BROWSER})
    assert page.status_code == 200
    assert "<img src=x" not in page.content.decode()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page.content.decode()
    assert "unsafe-inline" not in page["Content-Security-Policy"]
    # A quoted value may say anything.
    bare = re.sub(r'"[^"]*"', '""', page.content.decode())
    assert not re.search(r"<script(?![^>]*\ssrc=)|<[^>]+\son\w+=", bare)


def test_7_what_a_request_costs_does_not_grow_with_what_was_measured() -> None:
    """Counted in calls, as time is nobody's to promise: the thousandth costs what the first did."""

    def calls() -> int:
        counted = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal counted
            counted += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            record_request("/api/products/", "GET", 200, 12.5)
            recorder.fold()
        finally:
            sys.setprofile(None)
        return counted

    record_request("/api/products/", "GET", 200, 12.5)
    recorder.fold()
    first = calls()
    for number in range(1000):
        record_request("/api/products/", "GET", 200, number * 1.7)
    recorder.fold()
    assert 0 < first <= 200
    assert calls() <= first


@pytest.mark.django_db(transaction=True)
def test_8_every_process_sees_the_same(tmp_path, redis_server) -> None:
    """Jobs, cooldowns and results are rows, whichever process made them."""
    site = Site(tmp_path, redis_server.url, processes=1)
    site.manage("pulse_apply", "-", stdin=json.dumps({"version": 1, "probe_targets": TARGETS[:1]}))
    first = site.manage("pulse_probe", "products", "--worker-within", "0.1", check=False)
    second = site.manage("pulse_probe", "products", "--worker-within", "0.1", check=False)
    assert (first.returncode, second.returncode) == (2, 2)
    assert "No worker took the probes" in first.stderr
    assert "Probe cooldown active" in second.stderr
    told = site.python("from pulse.probes import jobs; print(jobs.find(1).status)")
    assert told.strip() == "cancelled"


@pytest.mark.usefixtures("in_force")
def test_9_a_job_ends_in_time_and_goes_in_time() -> None:
    """What it has is kept, what is left is ``timeout``, never ``queued`` (S0-17, S0-18)."""
    job = jobs.start(Order(targets=("products", "search")), HAND)
    done = ProbeItem.objects.filter(job=job, target="search")
    done.update(state=ItemState.OK, finished_at=timezone.now())
    age(601)
    with engine.locked() as held:
        jobs.end_overdue(held)
    job.refresh_from_db()
    assert job.status == JobStatus.TIMEOUT
    states = dict(job.items.values_list("target", "state"))
    assert states == {"products": "timeout", "search": "ok"}
    retention.prune(timezone.now() + timedelta(days=31))
    assert [item.target for item in ProbeItem.objects.all()] == ["search"]


@pytest.mark.usefixtures("in_force")
@pytest.mark.parametrize("status", ["completed", "timeout", "failed", "cancelled"])
def test_10_a_page_stops_asking_at_every_end(operator: Client, status: str) -> None:
    """And while one target cools down, another can be probed."""
    job = jobs.start(Order(targets=("products",)), HAND)
    url = f"/pulse/jobs/{job.pk}/"
    assert 'data-poll="0"' not in polled(operator, url)
    ProbeJob.objects.filter(pk=job.pk).update(status=status, finished_at=timezone.now())
    assert 'data-poll="0"' in polled(operator, url)
    assert jobs.start(Order(targets=("search",)), HAND).total == 1


def polled(client: Client, url: str) -> str:
    return client.get(url, headers={"accept": BROWSER}).content.decode()


@pytest.mark.usefixtures("in_force")
def test_11_pages_and_secrets_are_for_those_who_may(client: Client, operator: Client) -> None:
    """Nobody else reads or starts anything; a secret is encrypted and never shown."""
    for url in ("/pulse/probes/", "/pulse/jobs/", "/pulse/endpoints/"):
        assert client.get(url).status_code in {302, 401, 403}
    assert post(client, {}).status_code in {302, 401, 403}
    target = ProbeTarget.objects.get(name="products")
    target.secret_headers = {"Authorization": "Bearer very-secret"}
    target.save()
    assert "very-secret" not in ProbeSecret.objects.get().value
    publisher.publish_pending()
    assert "very-secret" not in json.dumps(publisher.newest_document())
    page = operator.get("/pulse/probes/products/", headers={"accept": BROWSER})
    assert page.status_code == 200
    assert "very-secret" not in page.content.decode()


def test_12_an_exception_is_told_to_who_listens() -> None:
    """Django's own signal is sent, and the host's own page is answered."""
    told: list[str] = []

    def hear(request: Any, **_: Any) -> None:
        told.append(request.path)

    got_request_exception.connect(hear)
    try:
        answer = Client(raise_request_exception=False).get(
            "/api/flaky/?fail=1", headers={"accept": BROWSER}
        )
    finally:
        got_request_exception.disconnect(hear)
    assert (answer.status_code, told) == (500, ["/api/flaky/"])
    assert answer["Content-Type"].startswith("text/html")


def test_13_no_origin_is_allowed_unless_a_rule_says_so(client: Client) -> None:
    answer = client.get("/api/products/", headers={"origin": "https://app.example.com"})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer


def test_14_every_answer_has_a_request_id(client: Client) -> None:
    """Made where none came, the same where a trusted proxy brought one."""
    assert client.get("/api/products/")["X-Request-ID"]
    document.apply({"version": 1, "trusted_proxies": [{"network": "127.0.0.0/8"}]}, KIM)
    current.forget()
    given = "7d1a5c0e-5a3c-4f0e-9f5e-2f7b8a1c9d10"
    answer = client.get("/api/products/", headers={"x-request-id": given})
    assert answer["X-Request-ID"] == given


@pytest.mark.usefixtures("in_force")
def test_15_a_payload_that_grows_is_weighed_again(settings) -> None:
    """S0-09: the replaced one is counted out, the new one in, on every write."""
    settings.PULSE = {**settings.PULSE, "PROBE_PAYLOAD_TOTAL_BYTES": 1000}
    for name, size in (("products", 400), ("search", 400)):
        payload = ProbePayload(target=name, body="x" * size)
        payload.full_clean()
        payload.save()
    payload.body = "x" * 600
    payload.full_clean()
    payload.body = "x" * 601
    with pytest.raises(ValidationError, match=r"Storage limit exceeded\. Current: 1001 bytes"):
        payload.full_clean()


@pytest.mark.usefixtures("in_force")
def test_16_the_command_line_has_the_last_word() -> None:
    """Its limits reach the job, and its help names what there is."""
    words = ["--timeout", "3", "--deadline", "60", "--worker-within", "0.1"]
    assert run("pulse_probe", "products", *words)[0] == 2
    job = ProbeJob.objects.get()
    assert job.timeout_s == 3.0
    assert (job.deadline_at - job.created_at).total_seconds() == 60


@pytest.mark.usefixtures("in_force")
@pytest.mark.parametrize("url", ["probes/", "probes/products/", "jobs/", "endpoints/", "status/"])
def test_17_pages_ask_no_other_site(operator: Client, url: str) -> None:
    """Scripts, styles and images are the site's own."""
    page = operator.get(f"/pulse/{url}", headers={"accept": BROWSER})
    assert page.status_code == 200
    loaded = re.findall(
        r'<(?:script|link|img|iframe)[^>]+(?:src|href)="([^"]+)"', page.content.decode()
    )
    assert loaded
    assert [address for address in loaded if re.match(r"(?:[a-z]+:)?//", address)] == []


@pytest.mark.usefixtures("in_force")
def test_18_each_endpoint_has_thresholds_of_its_own() -> None:
    """A target's go before its schedule's; limits are of more than starts of probes."""
    document.apply(
        {
            "version": 1,
            "probe_targets": [{**TARGETS[0], "expect": {"max_latency_ms": 50}}],
            "probe_schedules": [
                {
                    "name": "core",
                    "every": "60s",
                    "targets": ["products", "search"],
                    "expect": {"max_latency_ms": 500},
                }
            ],
        },
        KIM,
    )
    from pulse.probes.plan import current_plan

    plan = current_plan(timezone.now().timestamp())
    limits = {
        name: plan.expectations(plan.target(name), "core").max_latency_ms
        for name in ("products", "search")
    }
    assert limits == {"products": 50, "search": 500}


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/pulse/metrics"])
def test_18_health_and_prometheus_have_addresses(client: Client, address: str) -> None:
    """Each with a test of its own of what it says."""
    assert client.get(address).status_code == 200
