"""What hosts test with: exactly the document, counters of its own, and nothing left behind."""

import re
import subprocess
import sys
import threading
import unittest
from pathlib import Path

import pytest
from django.test import Client, SimpleTestCase

from pulse.core.snapshot import Snapshot
from pulse.exceptions import InvalidDocument
from pulse.policies import current, document, publisher
from pulse.policies.completion import complete
from pulse.policies.models import RateTier
from pulse.store import heartbeat
from pulse.testing import advance, override_policies, probe, stub_network
from pulse.testing_plugin import pulse_policies
from tests.probes.client.servers import answering, ok, serving

__all__ = ["pulse_policies"]

DOCS = Path(__file__).parents[1] / "docs" / "testing.md"


def limit(rate: str, **fields: object) -> dict[str, object]:
    return {
        "endpoint_limits": [
            {"name": "echo", "path": "/api/echo/", "key": "ip", "limits": [rate], **fields}
        ]
    }


def codes(times: int, client: Client | None = None) -> list[int]:
    client = client or Client()
    return [client.get("/api/echo/").status_code for _ in range(times)]


def test_context_manager_needs_no_database() -> None:
    """The document is in force within the block, and nothing is asked of any database."""
    with override_policies(limit("2/m")) as snapshot:
        assert isinstance(snapshot, Snapshot)
        assert codes(3) == [200, 200, 429]


@override_policies(limit("1/m"))
def test_decorated_function() -> None:
    """The document is in force within the function."""
    assert codes(2) == [200, 429]


def test_decorated_coroutine() -> None:
    """It is in force while the coroutine runs, not while it is made."""

    @override_policies(limit("1/m"))
    async def inner() -> int:
        return len(current.current_snapshot().rules)

    import asyncio

    coroutine = inner()
    assert not current.is_loaded()
    assert asyncio.run(coroutine) == 1
    assert not current.is_loaded()


def test_decorated_class() -> None:
    """Each test of the class has it, with counters of its own, setUp included."""

    @override_policies(limit("2/m"))
    class Case(SimpleTestCase):
        def setUp(self) -> None:
            assert codes(1) == [200]

        def test_one(self) -> None:
            assert codes(2) == [200, 429]

        test_two = test_one

    result = unittest.TestResult()
    for name in ("test_one", "test_two"):
        Case(name).run(result)
    assert result.testsRun == 2
    assert result.wasSuccessful(), result.errors + result.failures
    assert not current.is_loaded()


def test_class_that_is_no_test_case_is_refused() -> None:
    """A plain class has no place to enter it."""
    with pytest.raises(TypeError, match=r"unittest\.TestCase"):
        override_policies({})(type("Plain", (), {}))
    assert override_policies({})(type("Case", (unittest.TestCase,), {})).__name__ == "Case"


def test_a_decorated_function_that_calls_itself() -> None:
    """Each call has counters of its own, and the outer ones are there again afterwards."""

    @override_policies(limit("1/m"))
    def test(depth: int) -> None:
        assert codes(1) == [200]
        if depth:
            test(depth - 1)
        assert codes(1) == [429]

    test(2)


def test_nested() -> None:
    """The inner document stands alone; the outer one goes on with what it had counted."""
    with override_policies(limit("2/m")):
        assert codes(1) == [200]
        with override_policies({}):
            assert codes(5) == [200] * 5
        with override_policies(limit("1/m")):
            assert codes(2) == [200, 429]
            advance(60)
            assert codes(1) == [200]
        assert codes(2) == [200, 429]
        advance(30)
        assert codes(2) == [200, 429]


def test_everything_is_put_back_after_an_error() -> None:
    """A failing test leaves nothing behind."""
    with pytest.raises(RuntimeError, match="inside"), override_policies(limit("1/m")):
        raise RuntimeError("inside")
    assert not current.is_loaded()
    with pytest.raises(RuntimeError, match="override_policies"):
        advance(1)


def test_seen_in_other_threads() -> None:
    """A live server answers from threads of its own."""
    seen: list[int] = []
    with override_policies(limit("1/m")):
        for _ in range(2):
            thread = threading.Thread(target=lambda: seen.extend(codes(1)))
            thread.start()
            thread.join()
    assert seen == [200, 429]


def test_live_server(live_server, pulse_policies) -> None:
    """The same through a real socket, with the fixture."""
    import urllib.error
    import urllib.request

    pulse_policies(limit("1/m"))
    url = f"{live_server.url}/api/echo/"
    with urllib.request.urlopen(url) as response:
        assert response.status == 200
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    assert caught.value.code == 429


def test_clock_stands_still_and_is_moved() -> None:
    """A retry at Retry-After passes, one second before it does not."""
    client = Client()
    with override_policies(limit("2/m")):
        client.get("/api/echo/")
        client.get("/api/echo/")
        wait = int(client.get("/api/echo/")["Retry-After"])
        assert wait == 30
        advance(wait - 1)
        assert codes(1, client) == [429]
        advance(0.5)
        advance(0.5)
        assert codes(2, client) == [200, 429]


def test_clock_never_goes_back() -> None:
    """As no clock of the counters does."""
    with override_policies({}), pytest.raises(ValueError, match="never goes back"):
        advance(-1)


def test_real_time_runs_and_can_be_moved() -> None:
    """What a browser waits for comes."""
    import time

    with override_policies(limit("1/s"), real_time=True):
        assert codes(2) == [200, 429]
        time.sleep(1.01)
        assert codes(1) == [200]
        advance(1)
        assert codes(1) == [200]


def test_redis_is_left_alone(redis_cache) -> None:
    """Where the cache is Redis, a test counts in memory all the same."""
    with redis_cache.client() as redis:
        before = redis.info("stats")["total_commands_processed"]
        with override_policies(limit("1/m")):
            assert codes(2) == [200, 429]
        after = redis.info("stats")["total_commands_processed"]
        assert not redis.keys("*")
    assert after - before <= 2


def test_no_background_thread() -> None:
    """The heartbeat would ask a database that the test has not."""

    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "pulse"]

    heartbeat.ensure()
    assert threads() == ["pulse"]
    with override_policies(limit("1/m")):
        codes(1)
        assert threads() == []
    heartbeat.ensure()
    assert threads() == ["pulse"]


@pytest.mark.django_db
def test_rows_are_left_alone(client) -> None:
    """Policies in the database neither show nor change."""
    before = publisher.document_of_rows()
    with override_policies({}):
        assert codes(30, client) == [200] * 30
        assert publisher.document_of_rows() == before
        assert RateTier.objects.filter(name="default").exists()


def test_fixture_holds_for_the_rest_of_the_test(pulse_policies) -> None:
    """A second call takes the place of the first."""
    with override_policies({}):
        assert codes(1) == [200]
    pulse_policies(limit("2/m"))
    assert codes(3) == [200, 200, 429]
    pulse_policies(limit("1/m"))
    assert codes(2) == [200, 429]


WHOLE = {
    "rate_tiers": [
        {"name": "paid", "limits": [{"rate": "100/s", "burst": 200}, "1000/h"]},
        {"name": "default", "default": True, "mode": "shadow", "limits": ["10/s"]},
    ],
    "tier_assignments": [
        {"network": "198.51.100.0/24", "tier": "paid", "priority": 3},
        {"header": " X-Plan: gold ", "tier": "default"},
        {"user": "ann", "tier": "paid"},
        {"group": "paying", "tier": "paid", "starts_at": "2027-01-01T00:00:00+01:00"},
    ],
    "endpoint_limits": [
        {
            "name": "login",
            "url_name": "login",
            "methods": ["POST"],
            "key": ["ip", "user"],
            "limits": [{"rate": "5/m", "algorithm": "fixed_window"}],
            "on_store_error": "closed",
        },
        {"name": "export", "path": "/api/export/", "tier": "paid", "replaces_tier": True},
    ],
    "exemptions": ["/healthz", {"network": "10.0.0.0/8"}],
    "trusted_proxies": ["127.0.0.0/8"],
}


@pytest.mark.django_db
def test_complete_is_what_apply_publishes(django_user_model) -> None:
    """The document written out without rows is the one that rows would make."""
    from django.contrib.auth.models import Group

    django_user_model.objects.create_user("ann")
    Group.objects.create(name="paying")
    document.apply(WHOLE, publisher.SYSTEM, prune=True)
    assert complete(WHOLE) == publisher.document_of_rows()


def test_complete_takes_what_it_has_written() -> None:
    """A whole document is its own completion."""
    assert complete(complete(WHOLE)) == complete(WHOLE)


@pytest.mark.parametrize(
    ("mistake", "places"),
    [
        ({"version": 2}, ["version"]),
        ({"rate_tier": []}, ["rate_tier"]),
        ({"rate_tiers": {}}, ["rate_tiers"]),
        ({"rate_tiers": [{"name": "a", "limits": ["5/x"]}]}, ["rate_tiers.0.limits.0.rate"]),
        ({"rate_tiers": [{"name": "a", "limits": []}]}, ["rate_tiers.0.limits"]),
        (limit("5/m", colour="red"), ["endpoint_limits.0.colour"]),
        (limit("5/m", path="api"), ["endpoint_limits.0.path"]),
        (
            {"endpoint_limits": [{"name": "a", "path": "/", "tier": "gone"}]},
            ["endpoint_limits.0.tier"],
        ),
        (
            {
                "rate_tiers": [{"name": "few", "limits": ["3/m"]}],
                "endpoint_limits": [{"name": "a", "path": "/", "tier": "few", "cost": 4}],
            },
            ["endpoint_limits.0.cost"],
        ),
        ({"trusted_proxies": ["10.0.0.1/8"]}, ["trusted_proxies.0.network"]),
        ({"exemptions": ["/a", "/a"]}, ["exemptions.1"]),
        (
            {
                "rate_tiers": [
                    {"name": name, "default": True, "limits": ["1/s"]} for name in ("a", "b")
                ]
            },
            ["rate_tiers.0.default"],
        ),
    ],
)
def test_mistakes_are_told_by_place(mistake, places) -> None:
    """As pulse_apply tells them; nothing is in force then."""
    with pytest.raises(InvalidDocument) as caught, override_policies(mistake):
        pytest.fail("It was entered.")
    assert list(caught.value.errors) == places
    assert not current.is_loaded()


def test_plugin_imports_no_django() -> None:
    """pytest loads it before the host's settings are known."""
    code = "import pulse.testing_plugin, sys; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=DOCS.parents[1])


def test_probe_returns_the_result_as_the_api_shows_it() -> None:
    """Through the real client, with neither row nor worker."""
    routes = {}
    with serving(answering(ok(b"hello"))) as server:
        routes["93.184.216.34:80"] = server.place
        with stub_network({"a.test": ["93.184.216.34"]}, routes) as network:
            result = probe("http://a.test/", headers={"X-A": "1"}, timeout_s=20)
    assert result.pop("latency_ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", result.pop("started_at"))
    assert list(result.pop("phases_ms")) == ["dns", "connect", "tls", "first_byte", "body"]
    assert result == {
        "state": "ok",
        "error": None,
        "detail": "",
        "attempts": 1,
        "status_code": 200,
        "bytes": 5,
        "address": "93.184.216.34",
        "certificate_days": None,
    }
    assert network.dialled == ["93.184.216.34:80"]
    assert network.looked_up == ["a.test"]


def test_probe_tells_what_went_wrong() -> None:
    """A status that was not wanted, a deadline, a refusal of the guard."""
    with serving(answering(ok(status="500 Oh"))) as server:
        result = probe(server.url, allow_networks=["127.0.0.0/8"], timeout_s=20)
    assert (result["state"], result["error"]) == ("failed", "expectation")
    assert result["detail"] == "status 500, expected 200 to 399"
    with serving(answering(lingers=True)) as server:
        result = probe(server.url, trusts_origin=True, timeout_s=0.2)
    assert (result["state"], result["error"]) == ("timeout", "timeout")
    result = probe("http://10.0.0.1/")
    assert (result["state"], result["error"]) == ("failed", "address_forbidden")
    assert result["detail"] == "Address not allowed: 10.0.0.1 (private)"


def test_probe_in_an_event_loop() -> None:
    """It has a thread of its own, so a coroutine may call it."""

    async def inner() -> str:
        return str(probe("http://10.0.0.1/")["error"])

    import asyncio

    assert asyncio.run(inner()) == "address_forbidden"


def test_a_stub_network_ends_with_its_block() -> None:
    """The inner one is in force, then the outer one, then the real one."""
    from pulse.probes.client.network import INTERNET, current_network

    with stub_network({}) as outer:
        with stub_network({}) as inner:
            assert current_network() is inner
        assert current_network() is outer
    assert current_network() is INTERNET


def test_examples_of_the_documentation(tmp_path: Path) -> None:
    """Every example of docs/testing.md runs as it stands there."""
    examples = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "test_examples.py").write_text("\n\n".join(examples))
    (tmp_path / "conftest.py").write_text(
        "import asyncio, inspect, pytest\n"
        "from pulse.testing_plugin import pulse_policies\n\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_pyfunc_call(pyfuncitem):\n"
        "    if inspect.iscoroutinefunction(pyfuncitem.obj):\n"
        "        names = pyfuncitem._fixtureinfo.argnames\n"
        "        asyncio.run(pyfuncitem.obj(**{n: pyfuncitem.funcargs[n] for n in names}))\n"
        "        return True\n"
        "\n@pytest.fixture(autouse=True)\n"
        "def database(db): pass\n"
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--rootdir", str(tmp_path), "--ds", "project.settings.test", str(tmp_path)),
        ],
        cwd=DOCS.parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "7 passed" in run.stdout
