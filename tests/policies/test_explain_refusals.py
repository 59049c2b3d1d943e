"""A decision id tells what was refused, what the policy said then, and what it says now."""

import json
from typing import Any

import pytest
from django.test import Client

from pulse.core.claims import OnStoreError
from pulse.exceptions import InvalidQuestion
from pulse.policies import current, decisions
from pulse.policies.completion import complete
from pulse.policies.decisions import SealedDecision, seal, unseal
from pulse.policies.document import apply
from pulse.policies.explain.refusals import explain_refusal
from pulse.store import blocked
from pulse.testing import override_policies
from tests.factories import KIM, default_tier
from tests.factories import document as doc
from tests.servers import free_port
from tests.store.conftest import cache_of

ECHO = "/api/echo/"
LIMIT = {"name": "echo", "url_name": "echo", "limits": [{"rate": "1/h"}], "key": "ip"}


def put_in_force(**kinds: Any) -> int:
    applied = apply(doc(**kinds), KIM, reason="Try it", prune=True)
    current.forget()
    return applied.revision


def refused(client: Client) -> str:
    client.get(ECHO)
    return client.get(ECHO).json()["decision"]


@pytest.mark.django_db
def test_then_and_now_are_told() -> None:
    """The document of the revision that decided, and the one in force with what differs."""
    before = put_in_force(endpoint_limits=[LIMIT])
    decision = refused(Client(REMOTE_ADDR="203.0.113.9"))
    after = put_in_force(endpoint_limits=[{**LIMIT, "limits": [{"rate": "5/h"}]}])
    told = explain_refusal(f"  {decision}\n")
    assert (told["verdict"], told["status"], told["revision"]) == ("refused", 429, before)
    assert told["route"] == "api/echo/"
    assert told["client"] == {"address": "203.0.113.9", "kind": "ip", "tier": None}
    [row] = told["rules"]
    assert (row["kind"], row["key"], row["outcome"]) == (
        *("endpoint_limits", {"name": "echo"}, "refused"),
    )
    assert row["limits"][0]["passed"] is False
    decided = told["decision"]
    assert (decided["rate"], decided["method"], decided["route"]) == ("1/h", "GET", "api/echo/")
    then = told["then"]
    assert (then["revision"], then["reason"]) == (before, "Try it")
    assert then["actor"] == {"type": "user", "name": "kim"}
    assert then["item"]["limits"][0]["rate"] == "1/h"
    assert then["words"]
    now = told["now"]
    assert (now["revision"], now["exists"], now["in_force"]) == (after, True, True)
    assert list(now["changed"]) == ["limits"]
    # It used one of one; of five, four are left, of which the next request takes one.
    assert [(each["rate"], each["remaining"]) for each in now["limits"]] == [("5/h", 3)]


@pytest.mark.django_db
def test_a_rule_that_is_gone_is_told_to_be_gone() -> None:
    put_in_force(endpoint_limits=[LIMIT])
    decision = refused(Client())
    put_in_force()
    now = explain_refusal(decision)["now"]
    assert (now["exists"], now["in_force"], now["item"], now["limits"]) == (False, False, None, [])


@pytest.mark.django_db
def test_a_rule_that_was_switched_off_is_there_and_not_in_force() -> None:
    put_in_force(endpoint_limits=[LIMIT])
    decision = refused(Client())
    put_in_force(endpoint_limits=[{**LIMIT, "mode": "off"}])
    now = explain_refusal(decision)["now"]
    assert (now["exists"], now["in_force"], list(now["changed"])) == (True, False, ["mode"])


@pytest.mark.django_db
def test_a_client_that_is_blocked_no_more_is_a_hash() -> None:
    """Nobody can tell from it who that was."""
    put_in_force(endpoint_limits=[LIMIT])
    decision = refused(Client(REMOTE_ADDR="203.0.113.9"))
    blocked.forget_all()
    told = explain_refusal(decision)
    assert told["client"]["address"] is None
    assert told["now"]["limits"] == []
    assert len(told["decision"]["client"]) == 24


@pytest.mark.django_db
def test_a_revision_that_is_not_kept_any_more_is_none() -> None:
    sealed = SealedDecision(
        9999, "rate_tiers", "gone", "1/h", "ab", "GET", "", 1_800_000_000_000_000
    )
    told = explain_refusal(seal(sealed))
    assert (told["then"], told["route"], told["rules"][0]["limits"]) == (None, None, [])
    assert told["client"]["tier"] == "gone"
    assert told["decision"]["at"] == "2027-01-15T08:00:00Z"


def test_the_address_behind_invented_clients_is_told_by_its_ceiling() -> None:
    """What it would have left is the ceiling's."""
    tier = {**default_tier("1/h"), "address_ceiling": 2}
    with override_policies(doc(rate_tiers=[tier])):
        client = Client(REMOTE_ADDR="203.0.113.9")
        for name in "ab":
            client.get(ECHO, headers={"X-Track-ID": name})
        decision = client.get(ECHO, headers={"X-Track-ID": "c"}).json()["decision"]
        told = explain_refusal(decision)
    assert told["client"] == {"address": "203.0.113.9", "kind": "ceiling", "tier": "default"}
    assert [each["limit"] for each in told["now"]["limits"]] == [2]


def test_limits_of_a_tier_that_a_rule_names_are_told(db: None) -> None:
    slow = {"name": "slow", "limits": [{"rate": "1/h"}]}
    put_in_force(
        rate_tiers=[slow], endpoint_limits=[{"name": "e", "url_name": "echo", "tier": "slow"}]
    )
    [row] = explain_refusal(refused(Client()))["rules"]
    assert [limit["rate"] for limit in row["limits"]] == ["1/h"]


def test_what_had_no_counters_to_ask_is_503(settings) -> None:
    settings.CACHES = cache_of(f"redis://127.0.0.1:{free_port()}/0")
    rule = {**LIMIT, "on_store_error": str(OnStoreError.CLOSED)}
    with current.overridden(complete(doc(endpoint_limits=[rule]))):
        told = explain_refusal(Client().get(ECHO).json()["decision"])
    assert (told["status"], told["then"]) == (503, None)


@pytest.mark.parametrize("text", ["", "made-up", "é", "gAAAAA"])
def test_what_is_no_id_of_ours_is_an_error_of_the_field(text: str) -> None:
    with pytest.raises(InvalidQuestion) as caught:
        explain_refusal(text)
    assert list(caught.value.errors) == ["decision"]


def test_an_id_of_an_earlier_release_is_read() -> None:
    """It says nothing of counters that could not be asked."""
    fields = [1, "rate_tiers", "t", "1/h", "ab", "GET", "", 1]
    sealed = unseal(decisions._box().encrypt(json.dumps(fields).encode()).decode())
    assert sealed is not None
    assert sealed.unavailable is False
