"""Four serving processes measured as one: to the request what a generator has counted itself."""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import override_settings
from prometheus_client.parser import text_string_to_metric_families

from pulse.metrics import window
from pulse.store import processes
from tests.sites import Site, running, wait_until
from tests.store.conftest import cache_of

#: What is asked for, and the endpoint that it is counted under.
PLACES = {
    "/api/echo/": "GET /api/echo/",
    "/api/products/1/": "GET /api/products/<int:pk>/",
    "/api/products/2/": "GET /api/products/<int:pk>/",
    "/no/such/place/": "* (unresolved)",
    "/wp-login.php": "* (unresolved)",
    "/api/search/?q=a": "GET /api/search/",
}
WIDE = {"name": "default", "default": True, "limits": [{"rate": "10000/s"}]}
SEARCH = {"name": "search", "url_name": "search", "key": "ip", "limits": ["20/h"]}


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_the_totals_are_the_generators_own(tmp_path, redis_cache, redis_server, server) -> None:
    """Also of what processes answered in the moment before they ended in order."""
    site = Site(tmp_path, redis_server.url, server=server)
    site.apply({"rate_tiers": [WIDE], "endpoint_limits": [SEARCH]})
    counted: Counter[tuple[str, int]] = Counter()
    with override_settings(CACHES=shared(redis_server.url)):
        for started in running(site):
            counted += generate(started, 400)
            wait_until(lambda: told() == counted)  # noqa: B023 - called at once
            # Any other process tells the same: one of the site's own code that served nothing.
            assert started.python(ASK).split() == [str(sum(counted.values()))]
            # One may not have come to serve any, and nobody heard of it.
            wait_until(lambda: started.together(8, "/healthz") and window.read().processes == 4)  # noqa: B023 - called at once
            found = window.read()
            assert (found.scope, found.is_stale) == ("all", False)
            assert found.total.refused == counted["GET /api/search/", 429]
            total = found.total
            assert total.latencies.count == total.requests - total.refused
            counted += generate(started, 40)
        assert told() == counted
        assert window.read().lifetime.requests >= sum(counted.values())


ASK = """
from pulse.metrics import window
found = window.read()
healthy = found.endpoints.get("GET /healthz")
print(found.total.requests - (healthy.requests if healthy else 0))
"""


def shared(url: str) -> dict[str, object]:
    """The cache of the site's processes."""
    cache = cache_of(url)["default"]
    return {"default": {k: v for k, v in cache.items() if k != "KEY_PREFIX"}}


def generate(site: Site, count: int) -> Counter[tuple[str, int]]:
    """Ask from eight clients at once; what was answered, by endpoint and status."""
    chosen = random.Random(3)
    places = chosen.choices(list(PLACES), k=count)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(site.get, places)
    pairs = zip(places, answers, strict=True)
    return Counter((PLACES[place], answer.status) for place, answer in pairs)


def told() -> Counter[tuple[str, int]]:
    """The same, as all processes tell it; without how the site was waited for."""
    return Counter(
        {
            (name, status): count
            for name, measures in window.read().endpoints.items()
            for status, count in measures.statuses.items()
            if name != "GET /healthz"
        }
    )


def test_no_counter_goes_back_when_a_process_ends(tmp_path, redis_cache, redis_server) -> None:
    """Whichever process is asked, and however one of them ended."""
    site = Site(tmp_path, redis_server.url, processes=2)
    site.apply({"rate_tiers": [WIDE], "endpoint_limits": [SEARCH]})
    with override_settings(CACHES=shared(redis_server.url)):
        for started in running(site):
            generate(started, 60)
            wait_until(lambda: counters(started)[ECHO] > 0)  # noqa: B023 - called at once
            time.sleep(1.2)  # What they have counted is sent.
            before = counters(started)
            first = next(one for one in processes.running() or [] if one.kind == processes.WEB)
            os.kill(int(first.id.rpartition(":")[2]), signal.SIGKILL)
            generate(started, 60)
            wait_until(lambda: counters(started)[ECHO] > before[ECHO])  # noqa: B023 - as above
            after = counters(started)
            assert {place for place in before if after.get(place, 0) < before[place]} == set()


ECHO = ("pulse_requests_total", ("GET", "/api/echo/", "200"))


def counters(site: Site) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return every counter, as Prometheus's own parser reads it."""
    time.sleep(1.0)  # It is written once a second by a process.
    text = site.get("/pulse/metrics", "127.0.0.1").body.decode()
    found: dict[tuple[str, tuple[str, ...]], float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith(("_total", "_count", "_sum", "_bucket")):
                found[sample.name, tuple(sample.labels.values())] = sample.value
    return found
