"""Every refusal is counted under the policy that decided so, whichever step refuses."""

from typing import Any

import pytest
from django.test import Client

from pulse.policies import current, document, publisher
from pulse.store import buckets, heartbeat, refusals

pytestmark = pytest.mark.django_db

ECHO = {"name": "echo", "path": "/api/echo/"}


@pytest.mark.parametrize(
    ("policy", "request_", "status", "rule"),
    [
        (
            {"endpoint_limits": [{**ECHO, "limits": ["1/h"]}]},
            {"method": "GET"},
            429,
            "endpoint_limits:echo",
        ),
        (
            {"access_rules": [{"network": "127.0.0.0/8", "path": "/api/", "action": "deny"}]},
            {"method": "GET"},
            403,
            "access_rules:127.0.0.0/8 /api/",
        ),
        (
            {"endpoint_limits": [{**ECHO, "max_body_bytes": 2}]},
            {"method": "POST", "data": b"too large", "content_type": "text/plain"},
            413,
            "endpoint_limits:echo",
        ),
    ],
)
def test_a_refusal_is_counted_by_policy_and_rule(
    policy: dict[str, Any], request_: dict[str, Any], status: int, rule: str
) -> None:
    with heartbeat.suspended():
        document.apply({"version": 1, **policy}, publisher.SYSTEM)
        current.look_at_database()
        client = Client()
        answers = [client.generic(path="/api/echo/", **request_) for _ in range(3)]
    refused = [answer for answer in answers if answer.status_code == status]
    assert len(refused) >= 2
    assert refusals.take() == {(current.current_snapshot().stamp, rule): len(refused)}
    assert buckets.last_day()[buckets.REFUSED] == {rule: len(refused)}
