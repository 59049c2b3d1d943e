"""A draft tried on recorded requests: what enforcement does is what the simulation says."""

import random
import time
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from pulse.core.recording import SLOT_S, limit_of
from pulse.exceptions import InvalidDocument
from pulse.policies import current, publisher
from pulse.policies import document as documents
from pulse.policies.publisher import SYSTEM
from pulse.policies.simulate import simulations
from pulse.policies.simulate.simulations import compare, simulate
from pulse.store import limits, sample
from pulse.store.memory import MemoryStore, memory
from tests.store.conftest import LOCMEM

pytestmark = pytest.mark.django_db
ECHO = "/api/echo/"


def limit(name: str = "echo", rate: str = "3/m", **fields: Any) -> dict[str, Any]:
    return {"name": name, "path": ECHO, "limits": [{"rate": rate}], **fields}


def tier(rate: str = "1000/m", **fields: Any) -> dict[str, Any]:
    return {"name": "default", "default": True, "limits": [{"rate": rate}], **fields}


@pytest.fixture
def site(settings):
    """Traffic under a policy that refuses nobody, at times that the test sets."""
    settings.CACHES = LOCMEM
    return Site()


class Site:
    def __init__(self) -> None:
        self.start = time.time() - 120
        self.apply(trusted_proxies=[{"network": "127.0.0.0/8"}], rate_tiers=[tier()])

    def apply(self, **kinds: Any) -> None:
        documents.apply(kinds, SYSTEM)
        current.forget()  # Nothing is announced before the test's transaction ends.

    def send(self, requests: list[tuple[float, str]], client: Client | None = None, **headers):
        """Send requests at seconds from the start, each from an address; return the statuses."""
        now = [0.0]
        store = MemoryStore(lambda: int((self.start + now[0]) * 1e6))
        statuses = []
        client = client or Client(raise_request_exception=False)
        with limits.using_memory(store):
            for now[0], address in requests:
                answer = client.get(ECHO, headers={"X-Forwarded-For": address, **headers})
                statuses.append(answer.status_code)
        sample.flush()
        memory.clear()
        return statuses


def simulated(**kinds: Any) -> dict[str, Any]:
    return simulate(kinds, SYSTEM, window_s=300)


def traffic(count: int = 300, clients: int = 12, seed: int = 1) -> list[tuple[float, str]]:
    rng = random.Random(seed)
    weights = [1 / (n + 1) for n in range(clients)]
    times = sorted(rng.uniform(0, 100) for _ in range(count))
    return [(at, f"10.9.0.{rng.choices(range(clients), weights)[0]}") for at in times]


def test_draft_is_simulated_exactly_where_all_is_recorded(site) -> None:
    """Every refusal, of the same clients, as enforcement then makes them."""
    requests = traffic()
    assert set(site.send(requests)) == {200}
    draft = {"endpoint_limits": [limit(rate="5/m")], "rate_tiers": [tier("20/m")]}
    told = simulated(**draft)
    sample.forget()
    site.apply(**draft)
    statuses = site.send(requests)
    refused = statuses.count(429)
    by_client: dict[str, int] = {}
    for status, (_at, address) in zip(statuses, requests, strict=True):
        by_client[address] = by_client.get(address, 0) + (status == 429)
    assert refused > 50
    assert told["requests"] == told["sampled"] == 300
    assert told["share"] == 1
    assert told["draft"] == {
        "refused": refused,
        "share": round(refused / 300, 6),
        "low": refused,
        "high": refused,
        "clients": sum(map(bool, by_client.values())),
        "would_refuse": 0,
    }
    assert told["now"]["refused"] == 0
    top = sorted(by_client.values(), reverse=True)[:5]
    assert [client["refused"] for client in told["top_clients"]] == top
    assert not told["cut"]
    assert told["not_simulated"] == []


def test_policy_in_force_is_simulated_too(site) -> None:
    """What it refuses is charged nothing, so its figure is what it did refuse."""
    site.apply(endpoint_limits=[limit(rate="5/m")])
    refused = site.send(traffic()).count(429)
    told = simulated(endpoint_limits=[limit(rate="500/m")])
    assert told["now"]["refused"] == refused > 0
    assert told["draft"]["refused"] == 0
    (rule,) = [rule for rule in told["rules"] if rule["key"] == {"name": "echo"}]
    assert (rule["draft"], rule["now"]) == (0, refused)


def test_shadow_refuses_nobody_and_is_told(site) -> None:
    site.send(traffic())
    shadow = simulated(endpoint_limits=[limit(rate="5/m", mode="shadow")])
    enforced = simulated(endpoint_limits=[limit(rate="5/m")])
    assert shadow["draft"]["refused"] == 0
    assert shadow["draft"]["would_refuse"] == enforced["draft"]["refused"] > 0
    assert shadow["rules"][0]["draft_would"] == shadow["draft"]["would_refuse"]


def test_percent_takes_the_clients_that_enforcement_takes(site) -> None:
    requests = traffic(clients=40)
    site.send(requests)
    draft = {"endpoint_limits": [limit(rate="2/m", percent=50)]}
    told = simulated(**draft)
    site.apply(**draft)
    assert told["draft"]["refused"] == site.send(requests).count(429) > 0


def test_nothing_is_saved(site) -> None:
    site.send(traffic(10))
    before = publisher.newest_document()
    simulated(endpoint_limits=[limit()])
    assert publisher.newest_document() == before == publisher.document_of_rows()


def test_prune_leaves_out_what_is_not_named(site) -> None:
    site.apply(endpoint_limits=[limit(rate="5/m")])
    refused = site.send(traffic()).count(429)
    proxies = [{"network": "127.0.0.0/8"}]
    told = simulate(
        {"rate_tiers": [tier()], "trusted_proxies": proxies}, SYSTEM, prune=True, window_s=300
    )
    assert (told["now"]["refused"], told["draft"]["refused"]) == (refused, 0)


def test_nothing_recorded_is_nothing_known(site) -> None:
    """Not a nought."""
    told = simulated(endpoint_limits=[limit()])
    assert told["requests"] == told["sampled"] == 0
    assert set(told["draft"].values()) == set(told["now"].values()) == {None}
    assert told["top_clients"] == []


def test_document_that_cannot_be_is_refused(site) -> None:
    with pytest.raises(InvalidDocument):
        simulated(endpoint_limits=[limit(rate="many")])


def test_exemptions_and_other_tiers_stand(site) -> None:
    """By path and network as the policy of the time named them; by header and group."""
    site.apply(
        exemptions=[{"network": "10.9.0.0/30"}],
        tier_assignments=[{"header": "X-Plan: gold", "tier": "gold"}],
        rate_tiers=[tier(), {"name": "gold", "limits": [{"rate": "900/m"}]}],
    )
    site.send([(n / 10, "10.9.0.1") for n in range(20)])
    site.send([(3 + n / 10, "10.9.0.9") for n in range(20)])
    site.send([(6 + n / 10, "10.9.0.10") for n in range(20)], **{"X-Plan": "gold"})
    told = simulated(rate_tiers=[tier("5/m"), {"name": "gold", "limits": [{"rate": "8/m"}]}])
    assert told["draft"]["refused"] == 15 + 12
    assert told["not_simulated"] == []


def test_tier_of_a_group(site) -> None:
    """Users are looked at because a policy asked for them when it was recorded."""
    user = User.objects.create_user("kim")
    user.groups.add(Group.objects.create(name="paying"))
    client = Client()
    client.force_login(user)
    gold = {"name": "gold", "limits": [{"rate": "900/m"}]}
    site.apply(rate_tiers=[tier(), gold], tier_assignments=[{"group": "paying", "tier": "gold"}])
    site.send([(n / 10, f"10.9.0.{n}") for n in range(20)], client)
    told = simulated(rate_tiers=[tier("1/m"), {**gold, "limits": [{"rate": "12/m"}]}])
    # One user from many addresses.
    assert told["draft"]["refused"] == 8
    assert told["draft"]["clients"] == 1
    assert told["not_simulated"] == []


def test_what_cannot_be_told_is_said(site) -> None:
    """Each with how many requests it is not known of; nothing is guessed."""
    Group.objects.create(name="paying")
    client = Client()
    client.force_login(User.objects.create_user("kim"))
    site.send([(n / 10, "10.9.0.1") for n in range(4)], client)
    told = simulated(
        endpoint_limits=[
            limit("by-user", "1/m", key="user"),
            limit("by-header", "1/m", key=["header:X-Tenant"]),
            limit("later", starts_at="2099-01-01T00:00:00Z"),
            limit("large", "900/m", max_body_bytes=5),
        ],
        tier_assignments=[
            {"group": "paying", "tier": "default"},
            {"network": "10.9.0.0/16", "tier": "default"},
        ],
        exemptions=[{"network": "10.8.0.0/16"}],
        access_rules=[{"network": "10.7.0.0/16", "action": "deny"}],
    )
    found = {
        (row["kind"], "".join(map(str, row["key"].values()))): row["requests"]
        for row in told["not_simulated"]
    }
    assert told["draft"]["refused"] == 0
    assert found == {
        ("rate_tiers", "default"): 4,
        ("endpoint_limits", "by-user"): 4,
        ("endpoint_limits", "by-header"): 4,
        ("endpoint_limits", "later"): None,
        ("endpoint_limits", "large"): None,
        ("tier_assignments", "payingdefault"): 4,
        ("tier_assignments", "10.9.0.0/16default"): 4,
        ("exemptions", "10.8.0.0/16"): 4,
        ("access_rules", "10.7.0.0/16/"): None,
    }


def test_path_in_a_parameter_cannot_be_told(site) -> None:
    """A path that a route says is another than the draft's can."""
    client = Client(raise_request_exception=False)
    for path in ("/api/products/77/", ECHO, "/api/products/"):
        client.get(path)
    sample.flush()
    told = simulated(
        endpoint_limits=[
            {"name": "one", "path": "/api/products/77", "limits": [{"rate": "1/m"}]},
            {"name": "all", "path": "/api/products", "limits": [{"rate": "1/m"}]},
        ]
    )
    rows = {row["key"]["name"]: row["requests"] for row in told["not_simulated"]}
    assert rows == {"one": 1}
    assert told["draft"]["refused"] == 1


def test_share_of_the_clients_has_bounds(site, settings) -> None:
    """What enforcement refuses of all lies within them."""
    requests = traffic(count=700, clients=80)
    sample.gathered.set_level(2)
    assert set(site.send(requests)) == {200}
    told = simulated(endpoint_limits=[limit(rate="4/m")])
    sample.forget()
    site.apply(endpoint_limits=[limit(rate="4/m")])
    refused = site.send(requests).count(429)
    assert told["share"] == 0.25
    assert told["requests"] == 700 > told["sampled"] > 50
    assert told["draft"]["low"] < told["draft"]["refused"] < told["draft"]["high"]
    assert told["draft"]["low"] <= refused <= told["draft"]["high"]


def test_what_all_clients_share_is_not_told_by_some(site) -> None:
    sample.gathered.set_level(1)
    site.send(traffic(clients=40))
    told = simulated(endpoint_limits=[limit("shared", key="global", rate="1/m")])
    assert [row["key"]["name"] for row in told["not_simulated"]] == ["shared"]
    assert told["draft"]["refused"] == 0
    assert simulated(endpoint_limits=[limit("shared", key="ip")])["not_simulated"] == []


def test_user_at_several_addresses_is_told_of(site) -> None:
    """Some of the addresses of one who is counted over all of them are missing."""
    sample.gathered.set_level(1)
    addresses = [f"10.9.0.{n}" for n in range(12)]
    site.send([(n / 10, a) for n, a in enumerate(addresses)], **{"X-Tenant": "one"})
    site.apply(endpoint_limits=[limit("tenant", rate="900/m", key="header:X-Tenant")])
    site.send([(20 + n / 10, a) for n, a in enumerate(addresses)], **{"X-Tenant": "one"})
    (row,) = [
        row
        for row in simulated(endpoint_limits=[limit("tenant", key="header:X-Tenant")])[
            "not_simulated"
        ]
        if "several addresses" in row["why"]
    ]
    assert row["key"] == {"name": "tenant"}
    assert row["requests"] >= 2


def test_what_came_before_the_window_fills_the_counters(site) -> None:
    """A client that used its hour's allowance before is refused in it."""
    site.start = time.time() - SLOT_S
    site.send([(n / 10, "10.9.0.1") for n in range(10)])
    site.start = time.time() - 30
    site.send([(n / 10, "10.9.0.1") for n in range(3)])
    told = simulate({"endpoint_limits": [limit(rate="10/12h")]}, SYSTEM, window_s=120)
    assert told["requests"] == 3
    assert told["draft"]["refused"] == 3


def test_too_much_is_cut_and_said(site, monkeypatch) -> None:
    """To fewer clients where there are many, else to a shorter time."""
    site.send(traffic(300))
    monkeypatch.setattr(simulations, "MAX_EVENTS", 100)
    told = simulated(endpoint_limits=[limit(rate="1/m")])
    assert told["cut"]
    assert 0 < told["sampled"] <= 100
    monkeypatch.setattr(simulations, "MIN_CLIENTS", 2)
    told = simulated(endpoint_limits=[limit(rate="1/m")])
    assert not told["cut"]
    assert told["share"] < 1
    monkeypatch.setattr(simulations, "MAX_S", 0.0)
    told = simulated(endpoint_limits=[limit(rate="1/m")])
    assert told["cut"]
    assert told["sampled"] == 0


def test_thousands_of_rules_are_no_trouble(site) -> None:
    site.send(traffic(50))
    before = publisher.newest_document()
    rules = [
        {**item, "name": f"r{n}", "path": f"/api/{n}/"}
        for n in range(3000)
        for item in before["endpoint_limits"][:1] or [_whole()]
    ]
    began = time.perf_counter()
    told = compare(before, {**before, "endpoint_limits": rules}, 300)
    assert told["requests"] == 50
    assert len(told["not_simulated"]) <= 50
    assert time.perf_counter() - began < 10


def _whole() -> dict[str, Any]:
    from pulse.policies.completion import complete

    return dict(complete({"endpoint_limits": [limit()]})["endpoint_limits"][0])


def test_marks_are_below_their_limit(site) -> None:
    sample.gathered.set_level(1)
    site.send(traffic(clients=40))
    for slot in sample.read([int(site.start) // SLOT_S, int(time.time()) // SLOT_S]).slots.values():
        assert all(name < limit_of(1) for name in slot.times)
