"""The dashboard: a verdict, numbers, what needs somebody, and where to go."""

import csv
import io
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from pulse.alerts.incidents import Finding, open_incident
from pulse.alerts.state import AlertDelivery
from pulse.core.measures import SHARES, Measures
from pulse.metrics import flush, record_request, window
from pulse.metrics.models import MetricHour, MetricMinute
from pulse.metrics.series import Span, floored
from pulse.pages import dashboard
from pulse.policies import publisher
from pulse.policies.models import EndpointLimit, RateTier
from pulse.probes.state import ProbeScheduleState, ScheduleState
from pulse.store import blocked
from tests.pages.conftest import text_of
from tests.servers import free_port
from tests.store.conftest import cache_of

PAGE = "/pulse/"
ECHO = "/api/echo/"
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def own_measures(fresh_process: None, db: None) -> None:
    window.forget()


@pytest.fixture
def ruled(apply: Any) -> None:
    apply(
        rate_tiers=[{"name": "default", "default": True, "limits": ["1000/s"]}],
        endpoint_limits=[
            {"name": "echo", "url_name": "echo", "limits": [{"rate": "1/h"}], "key": "ip"}
        ],
    )


def measured(**statuses: int) -> None:
    """Answers of an endpoint, by name and status such as ``slow_200``."""
    for name, count in statuses.items():
        word, _line, status = name.partition("_")
        for _ in range(count):
            record_request(f"/{word}/", "GET", int(status), 900.0 if word == "slow" else 12.0)
    flush.flush()


@pytest.mark.parametrize("name", ["nobody", "clerk", "customer"])
def test_who_may_not_look_is_kept_out(request: Any, name: str) -> None:
    assert request.getfixturevalue(name).get(PAGE).status_code in {302, 403}


def test_a_site_that_nobody_asked_says_so(viewer: Client, ruled: None) -> None:
    text = text_of(viewer.get(PAGE))
    assert "Nobody asked for anything in the last" in text
    assert "No answer was measured in the last 1h." in text
    assert "Every answer of this site is measured by the middleware" in text
    assert "No rule refused anybody" in text
    assert "Nobody is refused at this moment." in text


def test_one_look_tells_what_passes_and_how_fast(viewer: Client, ruled: None) -> None:
    measured(home_200=20)
    response = viewer.get(PAGE)
    text = text_of(response)
    assert "All is well:" in text
    assert "0.0 % errors" in text
    assert "GET /home/" in text
    assert "Requests a second" in text
    assert response.headers["ETag"].startswith('W/"')
    assert 'class="column-passed" d="M' in response.content.decode()


def test_a_site_that_has_just_started_says_how_much_was_measured(
    viewer: Client, ruled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates are of that time alone."""
    measured(home_200=20)
    assert re.search(r"The last \S+ min.* of 1 process \(\S+ m?s of it measured\)", page(viewer))
    whole = replace(window.read(), gaps=[])
    monkeypatch.setattr(window, "read", lambda *_window: whole)
    assert "of it measured" not in page(viewer)


def page(viewer: Client) -> str:
    return text_of(viewer.get(PAGE))


def test_trouble_is_the_verdict_and_leads_to_it(viewer: Client, ruled: None) -> None:
    measured(home_200=5, bad_500=5, slow_200=10)
    response = viewer.get(PAGE)
    text, shown = text_of(response), response.content.decode()
    assert "25.0 % of all answers are errors; promised are at most 5.0 %." in text
    assert "95 % of answers take up to 900 ms; promised are 200 ms." in text
    assert "banner-bad" in shown
    assert "<title>Trouble" in shown
    assert "icon-trouble" in shown
    places = [text.index(f"GET /{name}/") for name in ("bad", "slow", "home")]
    assert places == sorted(places)


def test_refusals_lead_to_their_rule_and_their_client(
    administrator: Client, viewer: Client, ruled: None
) -> None:
    client = Client(REMOTE_ADDR="203.0.113.9")
    for _ in range(3):
        client.get(ECHO)
    flush.flush()
    shown = administrator.get(PAGE).content.decode()
    assert 'href="/admin/pulse/endpointlimit/?q=echo"' in shown
    assert "ip:203.0.113.9" in shown
    assert "/pulse/explain/?address=203.0.113.9&amp;method=GET&amp;path=%2Fapi%2Fecho%2F" in shown
    assert "network=203.0.113.9&amp;action=deny&amp;ends_in=1h" in shown
    assert "Closest limit, 24 h" in shown
    assert "1 limit came close to what it allows in 24 hours: echo, to 100.0 %." in shown
    assert "action=deny" not in viewer.get(PAGE).content.decode()
    blocked.forget_all()


def test_what_needs_somebody_is_listed_the_worst_first(
    viewer: Client, policy: None, apply: Any
) -> None:
    soon = (timezone.now() + timedelta(days=2)).isoformat()
    apply(
        rate_tiers=[{"name": "default", "default": True, "limits": ["9/s"], "mode": "shadow"}],
        endpoint_limits=[
            {"name": "sale", "url_name": "export", "limits": ["9/m"], "ends_at": soon},
            {"name": "gone", "url_name": "echo", "limits": ["9/m"], "ends_at": soon, "mode": "off"},
        ],
    )
    ProbeScheduleState.objects.update_or_create(
        name="core", defaults={"state": ScheduleState.QUARANTINED, "next_at": timezone.now()}
    )
    text = text_of(viewer.get(PAGE))
    assert "1 rule ends within seven days." in text
    assert "The tier default is in shadow: nobody is refused by it yet." in text
    assert "The schedule core is quarantined" in text
    assert text.index("quarantined") < text.index("in shadow")


def test_incidents_come_first(viewer: Client, ruled: None) -> None:
    now = timezone.now()
    open_incident(Finding(title="search is down", severity="critical"), now)
    AlertDelivery.objects.create(
        channel="ops", webhook_id="m", body={}, created_at=now, state="failed", finished_at=now
    )
    response = viewer.get(PAGE)
    text = text_of(response)
    assert text.index("search is down. And 1 more.") < text.index("search is down. Incident")
    assert "Word of alerts does not arrive by the channel ops." in text
    assert "<title>Trouble" in response.content.decode()


def test_a_draft_and_a_switch_are_told(viewer: Client, ruled: None, settings: Any) -> None:
    settings.PULSE = {"PUBLISH": "manual", "ENABLED": False, "METRICS": False}
    EndpointLimit.objects.filter(name="echo").update(mode="off")
    text = text_of(viewer.get(PAGE))
    assert "A draft waits to be published." in text
    assert "Pulse is switched off here: no policy acts." in text
    assert "METRICS is off" in text


def test_a_redis_that_cannot_be_asked_is_told(viewer: Client, ruled: None, settings: Any) -> None:
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    response = viewer.get(PAGE)
    assert response.status_code == 200
    assert "Redis cannot be asked" in text_of(response)


def test_longer_windows_are_read_from_what_a_worker_kept(viewer: Client, ruled: None) -> None:
    now = timezone.now()
    kept = {
        "statuses": {"200": 9, "500": 1},
        "requests": 10,
        "histogram": {"40": 10},
        "sum_us": 4000,
        "min_us": 400,
        "max_us": 400,
        "seconds": 60.0,
    }
    MetricMinute.objects.create(at=floored(now, MINUTE) - 10 * MINUTE, **kept)
    old = floored(now, timedelta(hours=1)) - timedelta(days=3)
    MetricHour.objects.create(at=old, **{**kept, "seconds": 3600.0})
    for name, requests in (("1h", 10), ("24h", 10), ("7d", 20), ("30d", 20)):
        told = viewer.get(PAGE, {"window": name, "format": "json"}).json()
        assert sum(point["requests"] or 0 for point in told["points"]) == requests, name
        assert sum(point["errors"] or 0 for point in told["points"]) == requests / 10
    missing = [point for point in told["points"] if not point["seconds"]]
    assert missing[0]["requests"] is missing[0]["p95_ms"] is None
    assert "not recorded" in text_of(viewer.get(PAGE, {"window": "1h"}))


def test_it_is_there_as_csv_and_as_json(viewer: Client, ruled: None) -> None:
    measured(home_200=3)
    response = viewer.get(PAGE, {"format": "csv"})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert len(rows) == 60
    assert sum(int(row["requests"] or 0) for row in rows) == 3
    assert {f"{name}_ms" for name in SHARES} <= rows[0].keys()
    told = viewer.get(PAGE, headers={"accept": "application/json"}).json()
    assert told["total"]["requests"] == 3
    assert told["endpoints"][0]["endpoint_id"] == "GET /home/"
    assert told["verdict"]["level"] == "calm"
    refused = viewer.get(PAGE, {"window": "1h", "x": "1"}, headers={"accept": "application/json"})
    assert refused.status_code == 400
    wild = {"window": "<b>", "format": "xml", "x": "\x00"}
    assert viewer.get(PAGE, wild).status_code == 200


def test_it_costs_a_bounded_number_of_queries(
    viewer: Client, ruled: None, django_assert_max_num_queries: Any
) -> None:
    RateTier.objects.exists()
    publisher.has_unpublished()
    viewer.get(PAGE)
    with django_assert_max_num_queries(40):
        viewer.get(PAGE)


def test_what_was_refused_by_503_is_drawn_once() -> None:
    """It is an error, too; what passed is no less for that."""
    measures = Measures(statuses=Counter({200: 60, 503: 40}), refused_by=Counter({"store": 40}))
    volume = dashboard._volume(Span(timezone.now(), 60.0, measures))
    assert (volume.passed, volume.refused, volume.failed) == (60, 0, 40)
    measures.statuses = Counter({200: 60, 429: 40})
    volume = dashboard._volume(Span(timezone.now(), 60.0, measures))
    assert (volume.passed, volume.refused, volume.failed) == (60, 40, 0)
