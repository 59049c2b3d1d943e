"""Keys on the request's road: who the client is, and which tier it has."""

from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.access import keys
from pulse.policies import current
from pulse.policies.document import apply
from pulse.policies.models import PolicyState, RateTier
from pulse.store import announcement as store
from pulse.store import heartbeat
from tests.factories import KIM, another_process, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = "/api/echo/"


@pytest.fixture(autouse=True)
def redis(redis_cache):
    """Every client may do three an hour, the paying ones five; counted in a real Redis."""
    with heartbeat.suspended():
        paid = {"name": "paid", "limits": [{"rate": "5/h"}]}
        apply(doc(rate_tiers=[default_tier("3/h"), paid]), KIM)
        yield redis_cache


def new_key(tier: str | None = "paid", **fields) -> keys.NewKey:
    row = None if tier is None else RateTier.objects.get(name=tier)
    return keys.make("ci", actor=KIM, tier=row, **fields)


def limit_of(token: str, **extra: str) -> int:
    response = Client().get(ECHO, headers={"Authorization": f"Bearer {token}", **extra})
    return int(response["X-RateLimit-Limit"])


def test_a_key_names_the_client_and_gives_its_tier():
    key = new_key()
    assert limit_of(key.text) == 5
    assert limit_of(key.text, **{"X-Track-ID": "7"}) == 5
    assert limit_of(new_key(None).text) == 3


def test_clients_with_keys_of_one_address_count_apart_and_without_a_ceiling():
    first, second = new_key(None), new_key(None)
    for token in (first.text, second.text, first.text):
        headers = {"Authorization": f"Bearer {token}"}
        remaining = Client().get(ECHO, headers=headers)["X-RateLimit-Remaining"]
    assert remaining == "1"


def test_a_wrong_key_is_a_header_that_anybody_can_invent(redis):
    wrong = new_key().text[:-4] + "AAAA"
    assert limit_of(wrong) == 3
    with redis.client() as client:
        names = b" ".join(client.keys("*l:rate_tiers*"))
    assert b"header:authorization:" in names
    assert b"ceiling:127.0.0.1" in names


def test_a_revoked_key_is_nobody_s_on_the_next_request_of_every_process():
    key = new_key()
    assert limit_of(key.text) == 5
    with another_process():
        keys.revoke(key.row, actor=KIM)
    assert limit_of(key.text) == 3


def test_a_key_that_another_process_made_counts_at_once():
    assert limit_of("pulse_nobody00_" + "s" * 43) == 3
    with another_process():
        key = new_key()
    assert limit_of(key.text) == 5


def test_a_change_of_keys_compiles_no_policy_anew(monkeypatch):
    """It may have ten thousand rules."""
    new_key()
    monkeypatch.setattr(current, "compile_document", None)
    with another_process():
        key = new_key()
    assert limit_of(key.text) == 5
    assert current.current_snapshot().announcement == current.announcement_of(
        PolicyState.objects.get()
    )


def test_steady_state_asks_no_database():
    key = new_key()
    limit_of(key.text)
    with CaptureQueriesContext(connection) as captured:
        limit_of(key.text)
    assert len(captured) == 0


def test_a_key_ends_on_time_without_an_edit():
    key = new_key(expires_at=timezone.now() + timedelta(minutes=5))
    assert limit_of(key.text) == 5
    with (
        time_machine.travel(timezone.now() + timedelta(minutes=5, seconds=1)),
        CaptureQueriesContext(connection) as captured,
    ):
        assert limit_of(key.text) == 3
    assert len(captured) == 0


def test_an_edit_keeps_the_keys():
    key = new_key()
    apply(doc(rate_tiers=[default_tier("4/h")]), KIM)
    assert limit_of(key.text) == 5


def test_an_assignment_by_key_is_policy():
    key = new_key(None)
    given = [{"api_key": key.row.prefix, "tier": "paid"}]
    apply(doc(tier_assignments=given), KIM)
    assert limit_of(key.text) == 5


def test_a_limit_by_key_counts_each_key_apart():
    first, second = new_key(None), new_key(None)
    rule = {"name": "echo", "path": ECHO, "key": "api_key", "limits": [{"rate": "1/h"}]}
    apply(doc(endpoint_limits=[rule]), KIM)
    statuses = [
        Client().get(ECHO, headers={"Authorization": f"Bearer {key.text}"}).status_code
        for key in (first, first, second)
    ]
    assert statuses == [200, 429, 200]
    assert [Client().get(ECHO).status_code for _ in range(2)] == [200, 429]


def test_keys_that_cannot_be_read_keep_the_policy_that_is_held(monkeypatch):
    """And the one that comes in tries again."""
    key = new_key()
    with another_process():
        keys.change(key.row, actor=KIM, name="deploy")

    def fail(_using):
        raise OperationalError("no such table")

    with monkeypatch.context() as patched:
        patched.setattr(current._Keys, "read", fail)
        assert limit_of(key.text) == 5
    current._held.retry_at = 0.0
    assert limit_of(key.text) == 5
    assert str(store.read()) == current.current_snapshot().stamp
