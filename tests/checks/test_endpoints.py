"""Endpoint limits of which another takes the place."""

import pytest

from pulse.checks import endpoints, policies
from pulse.core.bounds import bounds_of
from pulse.core.endpoints import Match
from pulse.policies import document, publisher
from pulse.policies.completion import complete
from tests.checks.messages import ids


def limit(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "url_name": "upload", "max_body_bytes": 100, **fields}


def complete_limits(*items: dict[str, object]):
    return complete({"endpoint_limits": list(items)})


@pytest.mark.parametrize(
    ("one", "other", "hides"),
    [
        ({}, {}, True),
        ({}, {"max_body_bytes": 0}, True),
        ({"timeout_s": 1}, {"max_body_bytes": None, "timeout_s": 2}, True),
        ({}, {"max_body_bytes": None, "timeout_s": 2}, False),
        ({}, {"max_body_bytes": None, "limits": ["1/s"]}, False),
        (
            {"max_body_bytes": None, "slow_ms": 0},
            {"max_body_bytes": None, "slow_ms": 9},
            True,
        ),
        ({}, {"url_name": "echo"}, False),
        ({}, {"url_name": None, "route": "api/upload/"}, False),
        ({"methods": ["POST"]}, {}, False),
        ({"methods": ["POST"]}, {"methods": ["POST", "PUT"]}, True),
        ({"methods": ["POST"]}, {"methods": ["PUT"]}, False),
        ({"methods": ["GET"]}, {"methods": ["HEAD"]}, True),
        ({"methods": ["HEAD"]}, {"methods": ["GET"]}, True),
        ({}, {"mode": "shadow"}, False),
        ({"mode": "shadow"}, {}, False),
        ({"percent": 50}, {}, False),
        ({}, {"percent": 50}, True),
        ({"ends_at": "2020-01-01T00:00:00Z"}, {}, False),
    ],
)
def test_of_two_for_the_same_requests_the_first_holds(one, other, hides: bool) -> None:
    """W092 names both where a bound that is enforced is never asked."""
    items = complete_limits(limit("a", **one), limit("b", **other))
    found = list(endpoints.check_endpoints(items))
    assert ids(found) == (["W092"] if hides else [])
    if hides:
        assert "The endpoint limits a, b are for the same requests" in found[0].msg
        assert found[0].msg.endswith('that of "a" alone holds.')


def test_what_is_told_is_what_holds() -> None:
    """The finding goes by the order in which the middleware finds them."""
    items = complete_limits(limit("a", timeout_s=5), limit("b", max_body_bytes=7, timeout_s=6))
    messages = [message.msg for message in endpoints.check_endpoints(items)]
    assert messages == [
        "The endpoint limits a, b are for the same requests, the URL name upload, and each sets a "
        f'{words}: that of "a" alone holds.'
        for words in ("largest body", "time limit")
    ]
    bounds = bounds_of(items["endpoint_limits"])
    held = bounds.find(Match("x", "upload", "v"), "/x", "POST", "", b"")
    assert held.body is not None
    assert held.timeout is not None
    assert (held.body.name, held.timeout.name) == ("a", "a")


def test_each_that_is_hidden_is_named_once() -> None:
    """With the first that hides it."""
    items = complete_limits(
        limit("a", methods=["GET"]),
        limit("b", methods=["POST", "GET"]),
        limit("c", methods=["POST"]),
        limit("d", methods=["GET", "PUT"]),
        limit("e", methods=["PUT"]),
    )
    messages = [message.msg for message in endpoints.check_endpoints(items)]
    assert [message.split(" are for")[0] for message in messages] == [
        "The endpoint limits a, b, d",
        "The endpoint limits b, c",
        "The endpoint limits d, e",
    ]


@pytest.mark.django_db
def test_the_published_policy_is_looked_at() -> None:
    """By ``check --database``."""
    policy = {"version": 1, "rate_tiers": [], "endpoint_limits": [limit("a"), limit("b")]}
    document.apply(policy, publisher.SYSTEM, prune=True)
    assert ids(policies.check_policy(frozenset({"default"}))) == ["W092"]
