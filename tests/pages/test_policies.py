"""The policies overview, as each kind of person meets it."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from pulse.policies.models import EndpointLimit, PolicyRevision
from pulse.policies.state import PolicyGuard
from tests.pages.conftest import text_of
from tests.servers import free_port
from tests.store.conftest import cache_of

PAGE = "/pulse/policies/"
ECHO = "/api/echo/"


@pytest.fixture
def ruled(apply: Any) -> None:
    soon = (timezone.now() + timedelta(days=2)).isoformat()
    apply(
        rate_tiers=[{"name": "default", "default": True, "limits": ["1000/s"]}],
        endpoint_limits=[
            {"name": "echo", "url_name": "echo", "limits": [{"rate": "1/h"}], "key": "ip"},
            {"name": "trial", "url_name": "search", "limits": ["1/s"], "mode": "shadow"},
            {"name": "sale", "url_name": "export", "limits": ["9/m"], "ends_at": soon},
        ],
    )


@pytest.mark.parametrize("name", ["nobody", "clerk", "customer"])
def test_who_may_not_look_is_kept_out(request: Any, ruled: None, name: str) -> None:
    assert request.getfixturevalue(name).get(PAGE).status_code in {302, 403}


def test_everything_is_told_on_one_page(administrator: Client, ruled: None) -> None:
    """What each rule does, how close it came and what it refused; who runs which revision."""
    client = Client(REMOTE_ADDR="203.0.113.9")
    for _ in range(3):
        client.get(ECHO)
    response = administrator.get(PAGE)
    text = text_of(response)
    number = PolicyRevision.objects.first().number
    assert f"revision {number}" in text
    assert f"policyrevision/?q={number}" in response.content.decode()
    assert f"1 of 1 process on revision {number}" in text
    assert "Every request to echo: each address may do 1 an hour" in text
    assert "100 %" in text
    assert "1 end within 7 days" in text
    shown = response.content.decode()
    assert 'href="/admin/pulse/endpointlimit/?q=echo"' in shown
    assert f'href="{PAGE}' in shown or 'href="?' in shown
    assert response.headers["ETag"].startswith('W/"')


def test_it_is_narrowed_by_its_address(viewer: Client, ruled: None) -> None:
    """What is no state, kind, order or page narrows nothing."""
    text = text_of(viewer.get(PAGE, {"state": "shadow", "kind": "endpoint_limits"}))
    assert "1 of" in text
    assert "trial" in text
    assert "Every request to echo" not in text
    assert "No rule is like that." in text_of(viewer.get(PAGE, {"q": "nowhere"}))
    wild = {"state": "<b>", "kind": "x", "sort": "up", "page": "-1", "q": "\x00'\""}
    assert viewer.get(PAGE, wild).status_code == 200


def test_nothing_is_told_where_nothing_is(viewer: Client, apply: Any) -> None:
    apply(prune=True)
    assert "There is no policy yet" in text_of(viewer.get(PAGE))


def test_a_draft_that_waits_is_told(
    administrator: Client, viewer: Client, ruled: None, settings: Any
) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    assert "A draft waits" not in text_of(viewer.get(PAGE))
    EndpointLimit.objects.filter(name="echo").update(mode="off")
    assert "A draft waits." in text_of(viewer.get(PAGE))
    assert "Review it" not in text_of(viewer.get(PAGE))
    assert "/admin/pulse/policyrevision/publish/" in administrator.get(PAGE).content.decode()


def test_a_guard_that_watches_is_told(viewer: Client, ruled: None) -> None:
    revision = PolicyRevision.objects.first()
    until = timezone.now() + timedelta(minutes=9)
    guard = {"refusals": 100, "minutes": 10, "seen": 7, "until_at": until}
    PolicyGuard.objects.create(revision=revision, **guard)
    text = text_of(viewer.get(PAGE))
    assert f"Revision {revision.number} is watched" in text
    assert "7 of 100 refusals" in text


def test_without_its_counters_it_says_so(viewer: Client, ruled: None, settings: Any) -> None:
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    text = text_of(viewer.get(PAGE))
    assert "Redis cannot be asked now, so what they refused is not known" in text


def test_switched_off_is_the_first_thing_told(viewer: Client, ruled: None, settings: Any) -> None:
    settings.PULSE = {"ENABLED": False}
    assert "Pulse is switched off here" in text_of(viewer.get(PAGE))


def test_machines_get_it_as_json(viewer: Client, ruled: None) -> None:
    told = viewer.get(PAGE, {"q": "trial"}, headers={"accept": "application/json"}).json()
    assert told["count"] == 1
    assert told["results"][0]["state"] == "shadow"


def test_its_queries_do_not_grow_with_the_rules(
    viewer: Client, apply: Any, django_assert_max_num_queries: Any
) -> None:
    apply(
        endpoint_limits=[
            {"name": f"e{n}", "url_name": "echo", "limits": ["1/s"]} for n in range(120)
        ]
    )
    viewer.get(PAGE)
    with django_assert_max_num_queries(12):
        text = text_of(viewer.get(PAGE, {"kind": "endpoint_limits"}))
    assert "Page 1 of 3" in text


def test_the_pages_lead_to_each_other(viewer: Client, ruled: None) -> None:
    shown = viewer.get("/pulse/probes/").content.decode()
    assert 'href="/pulse/policies/"' in shown
    assert 'href="/pulse/explain/"' in shown
