"""What is measured of a request: by its route, or apart; and nothing that fails a request."""

import asyncio
import time

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, AsyncRequestFactory, Client

from pulse.conf import conf
from pulse.core.marks import HEADER, sign
from pulse.core.measures import Measures, Window
from pulse.metrics import flush, queries, totals, window
from pulse.metrics.recorder import recorder
from pulse.middleware.stack import PulseMiddleware
from pulse.testing import override_policies
from tests.factories import default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db


def reading() -> Window:
    flush.flush()
    return window.read()


def one() -> tuple[str, Measures]:
    (found,) = reading().endpoints.items()
    return found


@pytest.fixture(params=[Client, AsyncClient])
def ask(request):
    def call(method: str, path: str, **more: object):
        client = request.param(raise_request_exception=False)
        if isinstance(client, Client):
            return client.generic(method, path, **more)

        async def generic() -> object:
            return await client.generic(method, path, **more)

        return async_to_sync(generic)()

    return call


def test_an_answer_is_counted_by_method_and_route(ask) -> None:
    response = ask("GET", "/api/products/4711/")
    name, found = one()
    assert name == "GET /api/products/<int:pk>/"
    assert found.statuses == {response.status_code: 1}
    assert found.latencies.count == 1
    assert found.bytes_out == len(response.content)
    assert recorder.in_flight() == 0


def test_paths_that_lead_nowhere_are_one_endpoint(ask) -> None:
    for path in ("/a", "/b/c.php", "/%00", "/" + "x" * 3000):
        ask("GET", path)
    ask("DELETE", "/a")
    assert one()[0] == "* (unresolved)"
    assert one()[1].statuses == {404: 5}


def test_an_invented_method_is_one_with_all_invented_methods(ask) -> None:
    for method in ("BREW", "PROPFIND", "X" * 300):
        ask(method, "/api/echo/")
    assert one()[0] == "OTHER /api/echo/"


def test_an_error_is_counted(ask, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise RuntimeError("a view's")

    monkeypatch.setattr("project.shop.views.Products.get", fail)
    assert ask("GET", "/api/products/").status_code == 500
    assert one()[1].errors == 1


def test_a_refusal_is_counted_by_its_rule_and_not_timed(ask) -> None:
    with override_policies(doc(rate_tiers=[default_tier("1/h")])):
        ask("GET", "/api/echo/")
        assert ask("GET", "/api/echo/").status_code == 429
    name, found = one()
    assert name == "GET /api/echo/"
    assert found.refused_by == {"rate_tiers:default": 1}
    assert (found.requests, found.latencies.count) == (2, 1)
    assert totals.read().refused == {("rate", "rate_tiers:default"): 1}
    assert totals.read().decisions == {("allowed", "local"): 1, ("refused", "local"): 1}
    assert totals.read().decision_bits.total() == 2


def test_what_a_shadow_would_have_refused_is_counted(ask) -> None:
    with override_policies(doc(rate_tiers=[default_tier("1/h", mode="shadow")])):
        for _ in range(3):
            ask("GET", "/api/echo/")
    found = one()[1]
    assert (found.would_refuse, found.refused) == (2, 0)
    assert totals.read().would_refuse == {"rate_tiers:default": 2}


def test_a_preflight_is_counted_by_the_route_it_asks_for(ask) -> None:
    origin = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    rule = {"origin": "https://app.example.com"}
    with override_policies(doc(cors_origins=[rule])):
        ask("OPTIONS", "/api/products/", headers=origin)
    assert one()[0] == "OPTIONS /api/products/"


def test_probes_and_pages_of_pulse_and_streams_are_apart(ask, settings) -> None:
    ask("GET", "/api/echo/", headers={HEADER: sign("7", conf.probe_secret)})
    ask("GET", "/pulse/status/")
    ask("GET", "/api/export/")
    found = reading()
    assert found.apart["probes"] == 1
    assert found.apart["pulse"] == 1
    assert found.total.requests + found.apart["streams"] == 1
    assert recorder.in_flight() == 0


def test_a_mark_that_is_forged_is_no_probe(ask) -> None:
    ask("GET", "/api/echo/", headers={HEADER: "7.forged"})
    assert one()[1].requests == 1


def test_a_slow_answer_is_counted(ask, settings) -> None:
    settings.PULSE = {"SLOW_REQUEST_MS": 1}
    ask("GET", "/api/slow/?seconds=0.01")
    assert one()[1].slow == 1


def test_nothing_is_measured_where_it_is_switched_off(ask, settings) -> None:
    settings.PULSE = {"METRICS": False}
    ask("GET", "/api/echo/")
    assert not recorder.queue
    assert reading().total.requests == 0
    assert reading().gaps


def test_queries_are_counted_where_it_is_asked_for(ask, settings, caplog) -> None:
    """S1-71: their number, their time, and the slow ones by their text without parameters."""
    settings.PULSE = {"COUNT_QUERIES": True, "SLOW_QUERY_MS": 0}
    queries.watch(connection)
    try:
        ask("GET", "/api/products/")
        found = one()[1]
        assert found.queries >= 1
        assert found.query_us > 0
    finally:
        connection.execute_wrappers.remove(queries._counted)


@pytest.mark.parametrize(("slow_ms", "is_told"), [(1, True), (60_000, False)])
def test_a_slow_statement_is_told_without_its_parameters(
    settings, caplog, slow_ms: int, is_told: bool
) -> None:
    settings.PULSE = {"COUNT_QUERIES": True, "SLOW_QUERY_MS": slow_ms}
    queries.watch(connection)
    asked = queries.begin()
    try:
        connection.connection.create_function("nap", 1, lambda _: time.sleep(0.003))
        with connection.cursor() as cursor:
            cursor.execute("SELECT nap(%s), 'x'", ["hidden"])
        list(User.objects.all())
    finally:
        queries.end()
        connection.execute_wrappers.remove(queries._counted)
    assert asked.count == 2
    assert asked.us >= 3000
    lines = [r.getMessage() for r in caplog.records if r.name == "pulse.metrics.queries"]
    # Any statement may be slow on a busy machine.
    assert [line.startswith("Slow query: ") for line in lines if "nap(" in line] == [True] * is_told
    assert is_told or not lines
    assert not any("hidden" in line for line in lines)


def test_a_client_that_goes_away_is_in_flight_no_longer(monkeypatch) -> None:
    """Cancelled, a request ends without an answer, and is counted as none."""

    async def never(_: object) -> object:
        await asyncio.sleep(30)

    async def go_away() -> None:
        stack = PulseMiddleware(never)
        assert stack.is_async
        answering = asyncio.ensure_future(stack(AsyncRequestFactory().get("/api/echo/")))
        await asyncio.sleep(0.2)
        assert recorder.in_flight() == 1
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering

    async_to_sync(go_away)()
    assert recorder.in_flight() == 0
    assert reading().total.requests == 0


def test_nobody_believes_how_long_a_body_is_that_was_refused(client: Client) -> None:
    for _ in range(12):
        told = client.generic("POST", "/api/search/", CONTENT_LENGTH="999999999999999999")
        assert told.status_code == 413
    _name, found = one()
    assert (found.statuses, found.bytes_in) == ({413: 12}, 0)
