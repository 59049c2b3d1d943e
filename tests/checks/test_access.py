"""The access rules in force do what they seem to."""

import pytest

from pulse.checks import policies
from pulse.policies import document, publisher
from tests.checks.messages import ids

pytestmark = pytest.mark.django_db

INSIDE = [
    {"network": network, "action": "allow"}
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
]


def check(*rules: object) -> list[str]:
    document.apply({"access_rules": list(rules)}, publisher.SYSTEM, prune=True)
    return [each for each in ids(policies.check_policy(frozenset({"default"}))) if each > "W099"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], []),
        (["203.0.113.0/24", "2001:db8::/32"], []),
        (["0.0.0.0/0"], ["W100"]),
        (["0.0.0.0/0", "::/0"], ["W100", "W100"]),
        ([{"network": "0.0.0.0/0", "percent": 0}], []),
        ([{"network": "0.0.0.0/0", "mode": "shadow"}], []),
        ([{"network": "0.0.0.0/0", "ends_at": "2020-01-01T00:00:00Z"}], []),
        ([{"network": "0.0.0.0/0", "starts_at": "2999-01-01T00:00:00Z"}], []),
        (["0.0.0.0/0", *INSIDE], []),
        (["0.0.0.0/0", INSIDE[0]], ["W101"]),
        ([{"network": "10.0.0.0/8", "path": "/readyz"}], ["W101"]),
        ([{"network": "10.0.0.0/8", "path": "/admin/"}], []),
        (["203.0.113.9", {"network": "203.0.113.9/32", "action": "allow"}], ["W102"]),
        (["203.0.113.9", {"network": "203.0.113.9/32", "path": "/api/"}], []),
    ],
)
def test_access_rules(rules, expected) -> None:
    """Who closes the site to everybody, or to its probes, is told so; and what is said twice."""
    assert check(*rules) == expected
