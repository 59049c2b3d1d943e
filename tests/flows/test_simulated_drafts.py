"""What a draft is said to refuse of recorded traffic it refuses, when the same comes again."""

import http.client
import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sites import PROXY, Site, running, wait_until

WIDE = {"name": "default", "default": True, "limits": [{"rate": "10000/s"}]}
ECHO, PRODUCTS, SEARCH = "/api/echo/", "/api/products/", "/api/search/?q=hidden"
SENDERS = 4

#: When, in seconds, and what for.
Schedule = Sequence[tuple[float, str]]


@pytest.fixture(scope="module")
def site(redis_server, tmp_path_factory) -> Iterator[Site]:
    with redis_server.client() as client:
        client.flushdb()
    yield from running(
        Site(
            tmp_path_factory.mktemp("site"),
            redis_server.url,
            processes=2,
            DJANGO_SETTINGS_MODULE="tests.flows.sample_settings",
        )
    )


def send(site: Site, traffic: dict[str, Schedule]) -> dict[str, int]:
    """Send every client's requests in their order; return how many of each were refused."""
    begin = time.monotonic()

    def some(clients: Sequence[str]) -> dict[str, int]:
        refused = dict.fromkeys(clients, 0)
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        requests = sorted((at, client, path) for client in clients for at, path in traffic[client])
        for at, client, path in requests:
            time.sleep(max(0.0, begin + at - time.monotonic()))
            connection.request("GET", path, headers={"X-Forwarded-For": client})
            response = connection.getresponse()
            response.read()
            refused[client] += response.status == 429
        connection.close()
        return refused

    parts = [list(traffic)[place::SENDERS] for place in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        return {client: n for part in pool.map(some, parts) for client, n in part.items()}


class Administrator:
    """Who asks the API."""

    def __init__(self, site: Site) -> None:
        self.site = site
        made = site.manage("pulse_key", "make", "ci", "--scope", "administer")
        self.key = made.stdout.strip()

    def ask(self, method: str, path: str, body: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        answer = self.site.request(
            method, f"/pulse/api/v1/{path}", "203.0.113.1", json.dumps(body).encode(), **headers
        )
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        return found

    def apply(self, document: dict[str, Any]) -> None:
        """Make it all that there is, beside room for every client and the tests' own proxy."""
        base = {"rate_tiers": [WIDE], "trusted_proxies": [PROXY]}
        self.ask("PUT", "policy/?prune=1", {**base, **document})

    def simulate(self, document: dict[str, Any]) -> dict[str, Any]:
        return self.ask("POST", "simulate/", {"document": document, "window_s": 1200})

    def wait_for(self, requests: int) -> None:
        """Wait until so many requests to the site itself are recorded, by all processes."""
        seen = {"name": "seen", "path": "/api/", "key": "ip", "cost": 2, "mode": "shadow"}
        document = {"endpoint_limits": [{**seen, "limits": [{"rate": "2/366d"}]}]}

        def is_recorded() -> bool:
            rows = self.simulate(document)["rules"]
            # The first of each client passes.
            return bool(rows and rows[0]["draft_would"] == requests)

        wait_until(is_recorded)


def test_simulated_refusals_are_those_of_enforcement(site: Site) -> None:
    """Exactly where every client is recorded; within the bounds where some are, for 95 in 100."""
    administrator = Administrator(site)
    administrator.apply({})

    few: dict[str, Schedule] = {
        f"10.1.0.{client}": [
            *[(0.0, ECHO)] * client,
            *[(burst, PRODUCTS) for burst in (0.0, 0.3) for _ in range(4)],
        ]
        for client in range(12)
    }
    draft = {
        "endpoint_limits": [
            {"name": "once", "path": ECHO, "key": "ip", "limits": [{"rate": "5/h"}]},
            {
                "name": "pace",
                "path": PRODUCTS,
                "limits": [{"rate": "1/m", "burst": 3}, {"rate": "100/m"}],
            },
        ]
    }
    sent = sum(map(len, few.values()))
    assert sum(send(site, few).values()) == 0
    administrator.wait_for(sent - len(few))
    told = administrator.simulate(draft)
    assert told["share"] == 1
    assert told["not_simulated"] == []
    assert told["now"]["refused"] == 0
    administrator.apply(draft)
    refused = send(site, few)
    rules = {row["key"]["name"]: row["draft"] for row in told["rules"]}
    assert rules == {"once": sum(range(7)), "pace": 12 * 5}
    # What is earned back takes longer than all of this, so no clock can make a difference.
    assert told["draft"]["refused"] == sum(refused.values()) > 60
    assert told["draft"]["clients"] == sum(map(bool, refused.values())) == 12

    administrator.apply({})
    rng = random.Random(5)
    many: dict[str, Schedule] = {
        f"10.2.{client % 7}.{client}": [(0.0, SEARCH)] * (1 + int(rng.paretovariate(1.4)))
        for client in range(160)
    }
    draft = {"endpoint_limits": [{"name": "s", "url_name": "search", "limits": [{"rate": "3/h"}]}]}
    assert sum(send(site, many).values()) == 0
    time.sleep(2)  # Twice the time in which each process tells of what it saw.
    told = administrator.simulate(draft)
    assert 0 < told["share"] < 1
    administrator.apply(draft)
    refused = send(site, many)
    low, high = told["draft"]["low"], told["draft"]["high"]
    assert low <= sum(refused.values()) <= high
    assert low < high < told["requests"]
    assert sum(refused.values()) > 20


def test_nothing_that_clients_sent_is_in_the_sample(site: Site, redis_server) -> None:
    """No address, no header's value, no query, no parameter: keyed hashes and routes."""
    site.get(
        f"{PRODUCTS}77777/", "198.51.100.77", X_Track_ID="hidden", Authorization="Bearer hidden"
    )
    time.sleep(1.2)
    found = b""
    with redis_server.client() as client:
        for key in client.scan_iter("*sample*"):
            found += b"".join(key + value for key, value in client.hgetall(key).items())
    assert b"api/products/" in found
    for secret in (b"198.51", b"hidden", b"77777", b"10.2.", b"10.1.0"):
        assert secret not in found
