"""How close limits came to refusing, as operators are told."""

import pytest

from pulse.policies.headroom import UNUSED, Headroom, headroom_of_rules
from pulse.testing import override_policies
from tests.middleware.conftest import no_heartbeat

__all__ = ["no_heartbeat"]
pytestmark = pytest.mark.django_db


def test_peak_and_refusals_of_each_rule(client, redis_cache) -> None:
    """A rule in shadow is told of likewise; a rule that nobody met is not."""
    document = {
        "rate_tiers": [{"name": "default", "default": True, "limits": [{"rate": "8/h"}]}],
        "endpoint_limits": [
            {"name": "tight", "path": "/", "limits": [{"rate": "1/h"}], "mode": "shadow"},
            {"name": "unmet", "path": "/nowhere/", "limits": [{"rate": "1/h"}]},
        ],
    }
    with override_policies(document):
        for _ in range(2):
            client.get("/admin/login/")
    found = headroom_of_rules()
    assert found["rate_tiers:default"] == Headroom(0.25)
    assert found["endpoint_limits:tight"] == Headroom(1.0, 0, 1)
    assert found.get("endpoint_limits:unmet", UNUSED) == UNUSED


def test_refusals_are_counted(client, redis_cache) -> None:
    document = {"rate_tiers": [{"name": "default", "default": True, "limits": [{"rate": "1/h"}]}]}
    with override_policies(document):
        for _ in range(3):
            client.get("/nowhere/")
    assert headroom_of_rules()["rate_tiers:default"] == Headroom(1.0, 2)
