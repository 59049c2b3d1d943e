"""``explain/`` tells what enforcement does; ``quota/`` tells a client how it stands, for free."""

import time
from typing import Any

import pytest
from django.test import Client

from pulse.access import keys
from pulse.access.scopes import Scope
from pulse.api import quota
from pulse.policies import current
from pulse.policies.completion import complete
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import Question
from pulse.store import limits
from pulse.testing import override_policies
from tests.api.conftest import API, Script, problem, script
from tests.factories import KIM, default_tier
from tests.factories import document as doc
from tests.servers import free_port
from tests.store.conftest import cache_of

ECHO = "/api/echo/"
QUOTA = f"{API}/quota/"
EVE = "203.0.113.9"


def test_a_request_is_explained(viewer: Script) -> None:
    """As the page and the command explain it."""
    body = {"method": "GET", "path": ECHO, "address": EVE, "user": None, "api_key": None,
            "headers": {}, "count": 25, "counters": "live"}  # fmt: skip
    with override_policies(doc(rate_tiers=[default_tier("20/m")])):
        answer = viewer.post("explain/", body)
        told = explain(Question(ECHO, address=EVE, count=25)).answer
    assert answer.status_code == 200
    assert answer.json() == told
    assert (told["verdict"], told["allowed"], told["refused"]) == ("refused", 20, 5)


def test_nothing_is_charged(viewer: Script) -> None:
    with override_policies(
        doc(endpoint_limits=[{"name": "e", "url_name": "echo", "limits": ["1/h"]}])
    ):
        for _ in range(3):
            answer = viewer.post("explain/", {"path": ECHO, "address": "127.0.0.1"}).json()
            assert answer["verdict"] == "allowed"
        assert Client().get(ECHO).status_code == 200


def test_a_decision_is_explained(viewer: Script) -> None:
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        client = Client(REMOTE_ADDR=EVE)
        client.get(ECHO)
        decision = client.get(ECHO).json()["decision"]
        answer = viewer.post("explain/", {"decision": decision})
    told = answer.json()
    assert (told["verdict"], told["client"]["address"]) == ("refused", EVE)
    assert told["decision"]["rate"] == "1/h"
    assert set(told) >= {"verdict", "status", "allowed", "refused", "revision", "route", "url_name",
                         "exempt_by", "client", "rules", "headers", "body"}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"decision": "made-up"}, "decision"), ({"decision": 7}, "decision"),
        ({"decision": "x", "path": "/"}, "decision"), ({}, "path"), ({"path": "api"}, "path"),
        ({"path": "/", "colour": "red"}, "colour"), ({"path": "/", "user": "ghost"}, "user"),
        ({"path": "/", "api_key": "aaaaaaaa"}, "api_key"), ({"path": "/", "count": 0}, "count"),
        ({"path": "/", "headers": {"A": 1}}, "headers"), ([], "non_field_errors"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained_is_a_field_s_error(viewer: Script, body: Any, field: str) -> None:
    told = problem(viewer.post("explain/", body), 400, "invalid")
    assert list(told["errors"]) == [field]


def test_it_takes_the_scope_view(nobody: Script) -> None:
    problem(nobody.post("explain/", {"path": "/"}), 401, "not_authenticated")


@pytest.mark.django_db
def test_a_key_is_named_by_its_prefix_and_counts_as_if_it_were_sent() -> None:
    """Also where the header itself is described; another Bearer value is the host's."""
    made = keys.make("ci", actor=KIM, scopes=[Scope.VIEW])
    current.forget()
    current.current_snapshot()
    with current.overridden(complete(doc(rate_tiers=[default_tier()]))):
        named = explain(Question(ECHO, api_key=made.row.prefix)).answer
        sent = explain(Question(ECHO, headers={"Authorization": f"Bearer {made.text}"})).answer
        other = explain(Question(ECHO, headers={"Authorization": "Bearer x"})).answer
    assert named["client"]["kind"] == sent["client"]["kind"] == "api_key"
    assert other["client"]["kind"] == "header"


# Quota


def stands(client: Client, **query: str) -> dict[str, Any]:
    response = client.get(QUOTA, query)
    assert response.status_code == 200, response.content
    told: dict[str, Any] = response.json()
    return told


def test_a_client_is_told_what_it_has_left() -> None:
    """To the letter of API.md; without a session, a key or a database."""
    client = Client(REMOTE_ADDR=EVE)
    with override_policies(doc(rate_tiers=[default_tier("20/m")])):
        client.get(ECHO)
        told = stands(client)
        limit = told["limits"][0]
    assert told["client"] == {"kind": "ip", "tier": "default"}
    assert limit == {
        "kind": "rate_tiers",
        "key": {"name": "default"},
        "counted_by": "ip",
        "rate": "20/m",
        "algorithm": "token_bucket",
        "limit": 20,
        "remaining": 19,
        "reset": limit["reset"],
    }
    assert 0 <= limit["reset"] - time.time() <= 4


def test_asking_costs_nothing_and_is_never_refused_by_a_limit() -> None:
    """Not even once everything is spent, and not by a limit on its own path."""
    policy = doc(
        rate_tiers=[default_tier("1/h")],
        endpoint_limits=[{"name": "all", "path": "/pulse/", "limits": ["1/h"]}],
    )
    client = Client(REMOTE_ADDR=EVE)
    with override_policies(policy):
        assert stands(client)["limits"][0]["remaining"] == 1
        assert stands(client)["limits"][0]["remaining"] == 1
        client.get(ECHO)
        assert client.get(ECHO).status_code == 429
        response = client.get(QUOTA)
    assert response.json()["limits"][0]["remaining"] == 0
    assert not response.has_header("X-RateLimit-Limit")


def test_a_denied_network_is_denied_here_too() -> None:
    with override_policies(doc(access_rules=[EVE])):
        assert Client(REMOTE_ADDR=EVE).get(QUOTA).status_code == 403


def test_of_a_path_the_limits_of_its_endpoint_are_told() -> None:
    """By method; shadow and what is off are the operator's affair."""
    rules = [
        {"name": "echo", "url_name": "echo", "methods": ["GET"], "limits": ["5/h", "100/d"]},
        {"name": "shadow", "url_name": "echo", "limits": ["1/h"], "mode": "shadow"},
        {"name": "off", "url_name": "echo", "limits": ["1/h"], "mode": "off"},
        {"name": "alone", "url_name": "search", "replaces_tier": True, "limits": ["7/h"]},
    ]
    client = Client(REMOTE_ADDR=EVE)
    with override_policies(doc(rate_tiers=[default_tier()], endpoint_limits=rules)):
        told = [
            [(each["key"]["name"], each["rate"]) for each in stands(client, **query)["limits"]]
            for query in (
                {"path": f"{ECHO}?x=1"},
                {"path": "/%61pi/echo/", "method": "POST"},
                {"path": "/api/search/"},
                {"path": "/nope/"},
            )
        ]
    tier = ("default", "10/s")
    assert told == [
        [tier, ("echo", "5/h"), ("echo", "100/d")],
        [tier],
        [("alone", "7/h")],
        [tier],
    ]


def test_an_exempt_client_has_no_limits() -> None:
    with override_policies(doc(rate_tiers=[default_tier()], exemptions=[EVE])):
        assert stands(Client(REMOTE_ADDR=EVE))["limits"] == []


def test_switched_off_nobody_has_limits(settings: Any) -> None:
    settings.PULSE = {"ENABLED": False}
    with override_policies(doc(rate_tiers=[default_tier()])):
        assert stands(Client())["limits"] == []


def test_an_invented_identity_is_told_of_its_address_s_ceiling() -> None:
    with override_policies(doc(rate_tiers=[{**default_tier("2/h"), "address_ceiling": 3}])):
        told = Client().get(QUOTA, headers={"X-Track-ID": "a"}).json()
    assert told["client"]["kind"] == "header"
    assert [(each["counted_by"], each["limit"]) for each in told["limits"]] == [
        ("header", 2),
        ("ip", 6),
    ]


@pytest.mark.django_db
def test_a_session_is_told_of_its_user_s_tier(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("kim", password="x")
    client = Client()
    client.force_login(user)
    policy = doc(
        rate_tiers=[default_tier(), {"name": "paid", "limits": ["100/s"]}],
        tier_assignments=[{"user": "kim", "tier": "paid"}],
    )
    with override_policies(policy):
        assert stands(client)["client"] == {"kind": "user", "tier": "paid"}


@pytest.mark.django_db
def test_a_key_is_told_of_its_own() -> None:
    told = script(Scope.VIEW)
    current.forget()
    current.current_snapshot()
    with current.overridden(complete(doc(rate_tiers=[default_tier()]))):
        assert told.get("quota/").json()["client"]["kind"] == "api_key"


@pytest.mark.parametrize(
    "query", ["?path=", "?method=BREW", "?colour=red", "?path=a&path=b", f"?path={'a' * 501}"]
)
def test_what_is_not_asked_so_is_told(query: str) -> None:
    problem(Client().get(QUOTA + query), 400, "invalid")


@pytest.mark.parametrize("path", ["/%00", "/%ff", "relative", "//", "/" + "é" * 100])
def test_no_path_breaks_it(path: str) -> None:
    with override_policies(doc(rate_tiers=[default_tier()])):
        assert stands(Client(), path=path)["limits"]


@pytest.mark.parametrize(("manner", "told"), [("local", [1]), ("open", []), ("closed", [])])
def test_without_its_store_it_tells_what_is_counted_here(
    settings: Any, manner: str, told: list[int]
) -> None:
    """The default is counted in the process; other rules count nothing."""
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    rule = {"name": "x", "url_name": "echo", "limits": ["1/h"], "on_store_error": manner}
    with current.overridden(complete(doc(endpoint_limits=[rule]))):
        found = stands(Client(), path=ECHO)["limits"]
    assert [each["remaining"] for each in found] == told


def test_it_makes_one_call_and_no_query(
    redis_cache: Any, django_assert_num_queries: Any, db: None
) -> None:
    with current.overridden(complete(doc(rate_tiers=[default_tier()]))):
        stands(Client(), path=ECHO)
        with redis_cache.client() as watcher:
            before = watcher.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
            with django_assert_num_queries(0):
                stands(Client(), path=ECHO)
            after = watcher.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert after - before == 1


def test_it_is_no_door_for_floods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks without end is told to wait before the store is asked; others are not."""
    monkeypatch.setattr(quota, "_asked", type(quota._asked)(lambda: 1_800_000_000_000_000))
    with override_policies(doc(rate_tiers=[default_tier()])):
        client = Client(REMOTE_ADDR=EVE)
        capacity = quota.ALLOWANCE.quotas[0].capacity
        for number in range(capacity):
            claim = quota.Claim(f"quota:{EVE}", quota.ALLOWANCE)
            assert quota._asked.decide([claim], max_keys=9).allowed, number
        monkeypatch.setattr(limits, "read", None)
        told = problem(client.get(QUOTA), 429, "rate_limited")
        monkeypatch.undo()
        assert told["retry_after"] == 1
        assert stands(Client(REMOTE_ADDR="203.0.113.10"))["limits"]
