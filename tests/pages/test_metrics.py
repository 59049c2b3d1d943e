"""The door of Prometheus: who may ask, and what its own parser reads."""

import threading
import time

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from pulse.access import keys
from pulse.alerts.incidents import Finding, open_incident
from pulse.alerts.state import AlertTally
from pulse.metrics import flush, totals, window
from pulse.metrics.recorder import recorder
from pulse.pages import metrics
from tests import factories

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(autouse=True)
def written_anew():
    metrics.forget()
    yield
    metrics.forget()


@pytest.fixture
def measured(apply, redis_cache, client: Client):
    """Two answers, one refused by a limit, and one path that leads nowhere."""
    limit = {"name": "search", "url_name": "search", "key": "ip", "limits": ["1/h"]}
    apply(endpoint_limits=[limit], exemptions=[])
    for path in ("/api/search/?q=a", "/api/search/?q=a", "/no/such/place/"):
        client.get(path, REMOTE_ADDR="198.51.100.7")
    flush.flush()
    window.forget()
    totals.forget()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_official_parser_reads_what_was_measured(measured: None, client: Client) -> None:
    answer = client.get("/pulse/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["Cache-Control"] == "no-store"
    found = samples(answer.content.decode())
    search = (("method", "GET"), ("route", "/api/search/"))
    assert found["pulse_requests_total", (*search, ("status", "200"))] == 1
    assert found["pulse_requests_total", (*search, ("status", "429"))] == 1
    nowhere = (("method", "*"), ("route", "* (unresolved)"), ("status", "404"))
    assert found["pulse_requests_total", nowhere] == 1
    refused = (("policy", "endpoint_limits:search"), ("reason", "rate"))
    assert found["pulse_refusals_total", refused] == 1
    assert found["pulse_request_duration_seconds_count", search] == 1
    assert found["pulse_request_duration_seconds_sum", search] > 0
    assert found["pulse_decisions_total", (("result", "refused"), ("store", "redis"))] == 1
    assert found["pulse_store_up", ()] == 1
    assert found["pulse_policy_revision", ()] >= 1


def test_buckets_add_up_to_the_count(measured: None, client: Client) -> None:
    found = samples(client.get("/pulse/metrics").content.decode())
    bounds = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in found.items()
        if name == "pulse_request_duration_seconds_bucket" and ("route", "/api/search/") in labels
    )
    values = [value for _, value in bounds]
    assert values == sorted(values)
    assert bounds[-1] == (float("inf"), 1)


def test_every_family_says_what_it_is_and_openmetrics_is_spoken(
    measured: None, client: Client
) -> None:
    answer = client.get("/pulse/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    families = list(openmetrics_families(answer.content.decode()))
    assert {family.name for family in families} >= {"pulse_requests", "pulse_probe_jobs"}
    assert all(family.documentation and family.type != "unknown" for family in families)


def test_it_is_written_once_a_second_at_most(measured: None, client: Client) -> None:
    first = client.get("/pulse/metrics").content
    client.get("/no/such/place/")
    flush.flush()
    assert client.get("/pulse/metrics").content == first
    metrics.forget()
    assert client.get("/pulse/metrics").content != first


def test_strangers_are_asked_for_a_key(apply, client: Client) -> None:
    apply()
    answer = client.get("/pulse/metrics", REMOTE_ADDR="198.51.100.7")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    made = keys.make("prometheus", actor=factories.KIM)
    token = {"Authorization": f"Bearer {made.text}"}
    assert (
        client.get("/pulse/metrics", REMOTE_ADDR="198.51.100.7", headers=token).status_code == 200
    )


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_a_proxy_that_nobody_named_brings_nobody_in(apply, client: Client, header: str) -> None:
    """All the world has its address, which is this machine's."""
    apply()
    answer = client.get("/pulse/metrics", headers={header: "198.51.100.7"})
    assert answer.status_code == 401


def test_networks_are_a_setting(apply, client: Client, settings) -> None:
    apply()
    settings.PULSE = {"METRICS_NETWORKS": ["198.51.100.0/24"]}
    assert client.get("/pulse/metrics", REMOTE_ADDR="198.51.100.7").status_code == 200
    assert client.get("/pulse/metrics").status_code == 401
    assert client.post("/pulse/metrics", REMOTE_ADDR="198.51.100.7").status_code in {401, 405}


def test_a_frozen_redis_holds_no_scraper(measured: None, client: Client, settings, mortal_redis):
    settings.CACHES = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": mortal_redis.url}
    }
    client.get("/pulse/metrics")
    metrics.forget()
    mortal_redis.freeze()
    try:
        began = time.monotonic()
        answer = client.get("/pulse/metrics")
        assert time.monotonic() - began < 5
        assert samples(answer.content.decode())["pulse_store_up", ()] == 0
    finally:
        mortal_redis.thaw()


def test_a_frozen_database_holds_one_scraper_and_no_other(
    measured: None, client: Client, monkeypatch
) -> None:
    monkeypatch.setattr(metrics, "WAIT_S", 0.1)
    with metrics._written.lock:  # Whoever writes it waits for the database.
        told: list[object] = []
        other = threading.Thread(target=lambda: told.append(client.get("/pulse/metrics")))
        other.start()
        other.join(10)
    (answer,) = told
    found = samples(answer.content.decode())
    assert found["pulse_store_up", ()] == 1
    assert not [name for name, _ in found if name.startswith("pulse_probe_jobs")]


def test_probes_are_told(apply, client: Client, redis_cache) -> None:
    apply(probe_targets=[{"name": "products", "path": "/api/products/"}])
    found = samples(client.get("/pulse/metrics").content.decode())
    assert found["pulse_probe_jobs", (("status", "running"),)] == 0
    assert not [name for name, _ in found if name == "pulse_probe_up"]  # Nobody watches it yet.


def test_probes_are_told_of_by_what_came_of_them(measured: None, client: Client) -> None:
    recorder.count("probe ok shop", 3)
    recorder.count("probe failed * (others)", 2)
    recorder.count("probe_bits 12", 3)
    recorder.count("probe_us", 9000)
    recorder.count("probe_late_bits 20", 1)
    recorder.count("probe_late_us", 600_000)
    flush.flush()
    found = samples(client.get("/pulse/metrics").content.decode())
    ok = (("state", "ok"), ("target", "shop"))
    assert found["pulse_probe_results_total", ok] == 3
    assert found["pulse_probe_duration_seconds_count", ()] == 3
    assert found["pulse_probe_duration_seconds_sum", ()] == 0.009
    assert found["pulse_probe_duration_seconds_bucket", (("le", "0.004096"),)] == 3
    assert found["pulse_probe_lateness_seconds_sum", ()] == 0.6


def test_alerts_are_told_of(measured: None, client: Client) -> None:
    open_incident(Finding(title="down", severity="critical"), timezone.now())
    AlertTally.objects.create(channel="ops", outcome="delivered", count=7)
    found = samples(client.get("/pulse/metrics").content.decode())
    assert found["pulse_alerts_firing", (("severity", "critical"),)] == 1
    assert found["pulse_alerts_firing", (("severity", "warning"),)] == 0
    told = (("channel", "ops"), ("outcome", "delivered"))
    assert found["pulse_alert_deliveries_total", told] == 7


def test_other_names_are_told_on_request(measured: None, client: Client, settings) -> None:
    assert "api_rate_limit_hits" not in client.get("/pulse/metrics").content.decode()
    settings.PULSE = {"PROMETHEUS_COMPAT": True}
    metrics.forget()
    found = samples(client.get("/pulse/metrics").content.decode())
    assert found["api_rate_limit_hits_total", (("reason", "rate"),)] == 1
    search = (("method", "GET"), ("path", "/api/search/"), ("status", "all"))
    assert found["api_request_duration_seconds_count", search] == 1


@pytest.mark.parametrize("version", ["banana", "1..0", "", "9.9.9"])
def test_a_version_that_is_none_is_answered_all_the_same(
    measured: None, client: Client, version: str
) -> None:
    """And however many forms are asked for, few are kept."""
    accept = f"application/openmetrics-text;version={version}"
    assert client.get("/pulse/metrics", headers={"Accept": accept}).status_code == 200
    for number in range(20):
        accept = f"application/openmetrics-text;version=1.0.{number}"
        client.get("/pulse/metrics", headers={"Accept": accept})
    assert len(metrics._written.texts) <= metrics.MAX_FORMS


def test_addresses_are_told_on_request(apply, redis_cache, client: Client, settings) -> None:
    """Of whom the site refused: pulse's own pages are counted apart."""
    settings.PULSE = {"PROMETHEUS_COMPAT": True, "PROMETHEUS_ADDRESSES": True}
    limit = {"name": "search", "url_name": "search", "key": "ip", "limits": ["1/h"]}
    denied = {"network": "198.51.100.9/32", "path": "/pulse/status/", "action": "deny"}
    apply(endpoint_limits=[limit], exemptions=[], access_rules=[denied])
    assert client.get("/pulse/status/", REMOTE_ADDR="198.51.100.9").status_code == 403
    for address, times in (("198.51.100.7", 3), ("198.51.100.8", 2)):
        for _ in range(times):
            client.get("/api/search/?q=a", REMOTE_ADDR=address)
    flush.flush()
    totals.forget()
    found = samples(client.get("/pulse/metrics").content.decode())
    for address, refused in (("198.51.100.7", 2), ("198.51.100.8", 1)):
        labels = (("ip", address), ("reason", "rate"))
        assert found["api_rate_limit_hits_total", labels] == refused
    assert not any(("ip", "198.51.100.9") in labels for _name, labels in found)
