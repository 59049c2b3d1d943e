"""The page of who is blocked now: read, searched, and let go."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from pulse.exceptions import StoreUnavailable
from pulse.policies import current, document, publisher
from pulse.policies.edge import AccessRule
from pulse.store import blocked, heartbeat
from tests.admin.conftest import Operator, told
from tests.servers import free_port
from tests.store.conftest import cache_of

ECHO = "/api/echo/"
EVE = "203.0.113.9"


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None) -> Iterator[None]:
    """It would look at what is committed, and the requests of these tests are not."""
    with heartbeat.suspended():
        yield


@pytest.fixture(params=["memory", "redis"])
def cache(request) -> str:
    """With Redis, and without."""
    if request.param == "redis":
        request.getfixturevalue("redis_cache")
    return request.param


@pytest.fixture
def tight(cache, kim) -> None:
    """Two an hour, behind a trusted proxy; and a denied network."""
    document.apply(
        {
            "version": 1,
            "trusted_proxies": ["127.0.0.0/8"],
            "endpoint_limits": [
                {"name": "echo", "url_name": "echo", "key": "ip", "limits": ["2/h"]}
            ],
            "access_rules": [{"network": "198.51.100.0/24", "reason": "scrapes us"}],
        },
        publisher.SYSTEM,
    )


def ask(count: int = 1, address: str = EVE) -> list[int]:
    headers = {"X-Forwarded-For": address}
    return [Client().get(ECHO, headers=headers).status_code for _ in range(count)]


def shown(operator: Operator, **query: str) -> Any:
    response = operator.get("blocked", **query)
    assert response.status_code == 200
    return response


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def clients(response: Any) -> list[str]:
    return [row.client for row in response.context["rows"]]


def test_an_empty_list_says_so(cache, kim) -> None:
    assert "Nobody is blocked." in text(shown(kim))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (95, "2 min"),
        (3_500, "58 min"),
        (5_300, "1.5 h"),
        (260_000, "3 days"),
    ],
)
def test_times_are_said_as_a_person_would(cache, kim, seconds: int, said: str) -> None:
    """Not to a hundredth of a minute, which has passed by the time that it is read."""
    limits = [{"name": "default", "default": True, "mode": "enforce", "limits": ["1/d"]}]
    document.apply({"version": 1, "rate_tiers": limits}, publisher.SYSTEM)
    blocked.note(
        "rate_tiers:default",
        f"ip:{EVE}",
        EVE,
        until=time.time() + seconds,
        method="GET",
        route="api/echo/",
    )
    [row] = shown(kim).context["rows"]
    assert row.until.endswith(f"in {said}")


def test_who_is_refused_is_shown_with_rule_count_and_end(tight, cache, kim) -> None:
    """By limits and by access rules on one page (S3-13)."""
    assert ask(5) == [200, 200, 429, 429, 429]
    assert ask(2, "198.51.100.7") == [403, 403]
    response = shown(kim)
    assert sorted(clients(response)) == ["198.51.100.7", EVE]
    [limit] = [row for row in response.context["rows"] if row.client == EVE]
    assert (limit.rule, limit.entry.refused) == ("the endpoint limit echo", 3)
    assert limit.until.endswith("in 30 min")
    page = text(response)
    for part in ("GET /api/echo/", "the access rule 198.51.100.0/24", "the rule has no end"):
        assert part in page
    told_of = "any process" if cache == "redis" else "this process alone: there is no Redis"
    assert f"2 clients, refused by {told_of}" in page


def test_unblocking_gives_back_what_was_used_and_is_logged(tight, kim) -> None:
    """The very next request passes; nobody else is let go."""
    ask(3)
    ask(3, "203.0.113.8")
    name = f"endpoint_limits:echo:ip:{EVE}"
    response = kim.post("blocked", name=name, q="203")
    assert response.url.endswith("?q=203")
    page = kim.client.get(response.url)
    assert f"{EVE} may go on: what was used of the endpoint limit echo is forgotten." in told(page)
    assert clients(page) == ["203.0.113.8"]
    assert ask(3) == [200, 200, 429]
    assert ask(1, "203.0.113.8") == [429]
    entry = LogEntry.objects.latest("action_time")
    assert (entry.user, entry.object_repr) == (kim.user, "echo")
    assert entry.get_change_message() == f"Unblocked: {EVE}."


def test_preflights_are_unblocked_by_themselves(tight, kim) -> None:
    """They are counted apart from requests, so they are listed and let go apart."""
    headers = {
        "X-Forwarded-For": EVE,
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
    }

    def preflights(count: int) -> list[int]:
        return [Client().options(ECHO, headers=headers).status_code for _ in range(count)]

    assert (preflights(3), ask(3)) == ([200, 200, 429], [200, 200, 429])
    assert sorted(clients(shown(kim))) == [EVE, f"preflights of {EVE}"]
    kim.post("blocked", name=f"endpoint_limits:echo:preflight:ip:{EVE}")
    assert clients(shown(kim)) == [EVE]
    assert (preflights(1), ask(1)) == ([200], [429])


def test_unblocking_who_is_gone_is_no_error(tight, kim) -> None:
    page = kim.client.post("/admin/pulse/accessrule/blocked/", {"name": "x:y:z"}, follow=True)
    assert "That client is not blocked any more." in told(page)


def test_an_access_rule_is_answered_by_another_and_not_unblocked(tight, kim) -> None:
    """A denial has no counter: the page leads to a rule that lets the address in."""
    ask(1, "198.51.100.7")
    response = shown(kim)
    [row] = response.context["rows"]
    assert not row.may_unblock
    form = kim.client.get(row.allow)
    initial = form.context["adminform"].form.initial
    assert (initial["network"], initial["action"]) == ("198.51.100.7", "allow")
    assert row.rule_address.endswith(f"/accessrule/{AccessRule.objects.get().pk}/change/")
    assert kim.post("blocked", name=row.entry.name).status_code == 403


def test_who_is_limited_can_be_denied_in_two_clicks(tight, kim) -> None:
    """IPv6 by its /64, which is one client."""
    ask(3, "2001:db8::5")
    [row] = shown(kim).context["rows"]
    assert row.client == "2001:db8::/64"
    initial = kim.client.get(row.deny).context["adminform"].form.initial
    assert (initial["network"], initial["ends_in"]) == ("2001:db8::/64", "1h")
    assert initial["why"] == "Refused by the endpoint limit echo"


def test_each_is_explained_in_one_click(tight, kim) -> None:
    """What was asked for last, from there; a path that varies is left to be filled in."""
    ask(3)
    [row] = shown(kim).context["rows"]
    text = kim.client.get(row.explain, headers={"accept": "text/html"}).content.decode()
    assert "Refused with 429" in text
    blocked.note(
        "endpoint_limits:echo",
        "ip:203.0.113.7",
        "203.0.113.7",
        until=None,
        method="GET",
        route="a/<int:pk>/",
    )
    varying = next(r for r in shown(kim).context["rows"] if r.client == "203.0.113.7")
    assert varying.explain == "/pulse/explain/?address=203.0.113.7&method=GET"


def test_who_may_not_see_the_pages_is_not_led_there(tight, clerk) -> None:
    ask(3)
    [row] = shown(clerk).context["rows"]
    assert row.explain == ""


def test_a_search_finds_addresses_networks_rules_and_routes(tight, kim) -> None:
    ask(3)
    ask(1, "198.51.100.7")
    for query, expected in (
        (EVE, [EVE]),
        ("203.0.113.0/24", [EVE]),
        ("198.51.100.7", ["198.51.100.7"]),
        ("api/echo", [EVE]),
        ("access_rules", ["198.51.100.7"]),
        ("192.0.2.0/24", []),
        ("<script>", []),
    ):
        assert clients(shown(kim, q=query)) == expected
    assert "<script>" not in text(shown(kim, q="<script>"))
    assert "Nobody of that kind is blocked." in text(shown(kim, q="nobody"))


def test_clients_are_named_as_people_know_them(tight, kim) -> None:
    """Users by name; headers by their digest, which is all that is known."""
    for client in (
        f"user:{kim.user.pk}",
        "user:999",
        "ceiling:203.0.113.1",
        "global",
        "header:authorization:0123456789ab",
        "header:user:0123456789ab",
        "user:0123456789ab",
        "ip:unknown",
        "ip:203.0.113.1|header:x-tenant:ab12cd34ef",
        f"preflight:user:{kim.user.pk}",
        "preflight:ceiling:203.0.113.1",
    ):
        blocked.note("rate_tiers:default", client, "203.0.113.1", until=None, method="GET")
    found = set(clients(shown(kim)))
    assert found == {
        "user kim",
        "user 999",
        "unverified clients of 203.0.113.1",
        "all clients together",
        "authorization, value 01234567",
        "user, value 01234567",
        "user 0123456789ab",
        "no address",
        "203.0.113.1 with x-tenant, value ab12cd34",
        "preflights of user kim",
        "preflights of unverified clients of 203.0.113.1",
    }


def test_a_rule_that_is_enforced_no_more_blocks_nobody(tight, kim) -> None:
    """The great switch empties the list at once."""
    ask(3)
    ask(1, "198.51.100.7")
    assert len(clients(shown(kim))) == 2
    kim.post("everything_to_shadow")
    current.forget()  # As after commit, which this test never comes to.
    assert clients(shown(kim)) == []


def test_a_long_list_is_paged(cache, kim) -> None:
    for number in range(120):
        blocked.note(
            "rate_tiers:default", f"ip:203.0.113.{number}", "203.0.113.1", until=None, method="GET"
        )
    first, last = shown(kim), shown(kim, p="3", q="203.0.113")
    assert (len(clients(first)), len(clients(last))) == (50, 20)
    assert "Page 1 of 3" in text(first)
    assert "?q=203.0.113&amp;p=2" in text(last)
    assert len(clients(shown(kim, p="nonsense"))) == 50


def test_reading_takes_a_fixed_number_of_queries(tight, kim, django_assert_max_num_queries) -> None:
    for number in range(40):
        blocked.note(
            "endpoint_limits:echo", f"user:{number}", "203.0.113.1", until=None, method="GET"
        )
        blocked.note(
            "rate_tiers:default", f"user:{number}", "203.0.113.1", until=None, method="GET"
        )
    with django_assert_max_num_queries(13):
        shown(kim)


def test_the_lists_of_rules_lead_here(kim) -> None:
    for name in ("ratetier", "endpointlimit", "accessrule"):
        assert "/accessrule/blocked/" in kim.get(f"{name}_changelist").content.decode()
    assert "/accessrule/blocked/" not in kim.get("exemption_changelist").content.decode()


def test_who_may_only_look_lets_nobody_go(tight, clerk) -> None:
    ask(3)
    [row] = shown(clerk).context["rows"]
    assert (row.may_unblock, row.deny) == (False, "")
    assert clerk.post("blocked", name=row.entry.name).status_code == 403
    assert ask(1) == [429]


def test_who_may_change_limits_lets_go_of_limits(tight, policy) -> None:
    """The permission is that of the rule whose counters are deleted."""
    user = get_user_model().objects.create_user("lee", password="secret", is_staff=True)
    wanted = ("view_accessrule", "change_endpointlimit")
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    lee = Operator(user)
    ask(3)
    assert lee.post("blocked", name=f"endpoint_limits:echo:ip:{EVE}").status_code == 302
    blocked.note("rate_tiers:default", f"ip:{EVE}", EVE, until=None, method="GET")
    assert lee.post("blocked", name=f"rate_tiers:default:ip:{EVE}").status_code == 403


def test_a_stranger_sees_nothing(client, policy) -> None:
    assert client.get("/admin/pulse/accessrule/blocked/").status_code == 302
    user = get_user_model().objects.create_user("sam", password="secret", is_staff=True)
    assert Operator(user).get("blocked").status_code == 403


def test_unblocking_needs_the_token_of_the_form(tight, kim) -> None:
    ask(3)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(kim.user)
    name = f"endpoint_limits:echo:ip:{EVE}"
    assert strict.post("/admin/pulse/accessrule/blocked/", {"name": name}).status_code == 403
    assert ask(1) == [429]


def test_without_redis_the_page_says_that_it_knows_one_process(kim, settings) -> None:
    """A Redis that is away is told, and nobody is let go by halves."""
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    blocked.note("rate_tiers:default", f"ip:{EVE}", EVE, until=time.time() + 60, method="GET")
    assert "Redis cannot be asked now." in text(shown(kim))
    page = kim.client.post(
        "/admin/pulse/accessrule/blocked/", {"name": f"rate_tiers:default:ip:{EVE}"}, follow=True
    )
    assert "Redis cannot be reached: nothing was changed." in told(page)
    assert clients(shown(kim)) == [EVE]


def test_what_was_given_back_is_told_though_the_list_cannot_be(tight, kim, monkeypatch) -> None:
    """The counters are gone: that is logged and said, whatever becomes of the entry (S3-13)."""
    ask(3)

    def fail(_name: str) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(blocked, "forget", fail)
    name = f"endpoint_limits:echo:ip:{EVE}"
    page = kim.client.post("/admin/pulse/accessrule/blocked/", {"name": name}, follow=True)
    assert f"{EVE} may go on" in told(page)
    assert "the list may show it for a while" in told(page)
    assert "nothing was changed" not in told(page)
    assert LogEntry.objects.filter(change_message=f"Unblocked: {EVE}.").count() == 1
    assert ask(1) == [200]


def test_the_end_of_an_access_rule_is_told_as_that(kim) -> None:
    """Nobody passes by waiting for a retry there."""
    end = time.time() + 7200
    rule = {"network": "198.51.100.0/24", "ends_at": datetime.fromtimestamp(end, UTC).isoformat()}
    document.apply({"version": 1, "access_rules": [rule]}, publisher.SYSTEM)
    client, address = "ip:198.51.100.7", "198.51.100.7"
    name = "access_rules:198.51.100.0/24 /"
    blocked.note(name, client, address, until=end, method="GET")
    [row] = shown(kim).context["rows"]
    assert row.until.startswith("the rule ends ")
