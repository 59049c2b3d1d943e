"""A process that is behind, and one whose store says strange things, through whole requests."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from pulse.policies import current, publisher
from pulse.policies.document import apply
from pulse.policies.models import PolicyState, TierLimit
from pulse.store import announcement as store
from pulse.store.connection import current_backend
from tests.factories import KIM, another_process, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = "/api/echo/"


@pytest.fixture
def redis(redis_cache):
    """Every client may do three an hour; the policy is announced."""
    apply(doc(rate_tiers=[default_tier("3/h")]), KIM)
    store.announce(current.current_snapshot().announcement)
    return redis_cache


def test_steady_state_is_one_command_and_no_query(redis) -> None:
    """The budget of a request (DESIGN 5), as MONITOR sees it."""
    Client().get(ECHO)
    with redis.client() as client, redis.client().monitor() as monitor:
        with CaptureQueriesContext(connection) as queries:
            assert Client().get(ECHO).status_code == 200
        client.echo("the end")
        seen = []
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            if command["client_type"] != "lua":
                seen.append(command["command"].split()[0])
    assert [name for name in seen if name not in {"CLIENT", "HELLO", "SELECT"}] == ["EVALSHA"]
    assert len(queries) == 0


def test_the_first_request_after_an_edit_elsewhere_is_decided_by_it(redis) -> None:
    """Told by the script, loaded, decided anew; charged once."""
    Client().get(ECHO)
    with another_process(), publisher.edit(KIM, source="admin"):
        TierLimit.objects.update(rate="5/h")
    response = Client().get(ECHO)
    assert (response["X-RateLimit-Limit"], response["X-RateLimit-Remaining"]) == ("5", "3")


@pytest.mark.parametrize(
    "announced", [None, "", "garbage", "another-lineage:999:0", "::", "\xff\x00", "future"]
)
def test_whatever_is_announced_requests_go_on_and_are_counted(redis, announced) -> None:
    """Nothing, nonsense, another database, a revision that nobody has: limits are exact."""
    state = PolicyState.objects.get()
    if announced == "future":
        announced = f"{state.lineage}:{state.revision + 50}:0"
    with redis.client() as client:
        key = current_backend().keys.announcement
        client.delete(key) if announced is None else client.set(key, announced)
    got = [Client().get(ECHO).status_code for _ in range(5)]
    assert got == [200, 200, 200, 429, 429]


def test_a_revision_that_nobody_has_costs_no_query_for_each_request(redis) -> None:
    """A database restored from an earlier day: one look a second, not one a request."""
    state = PolicyState.objects.get()
    with redis.client() as client:
        client.set(current_backend().keys.announcement, f"{state.lineage}:999:0")
    Client().get(ECHO)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(5):
            Client().get(ECHO)
    assert len(queries) == 0
