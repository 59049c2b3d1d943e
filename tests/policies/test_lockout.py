"""What an edit would do to its author: now, later, and by chance; like compared with like."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import set_script_prefix
from django.utils import timezone

from pulse.core.access import access_index
from pulse.policies import authors
from pulse.policies.completion import complete
from pulse.policies.lockout import HEALTH, Author, hidden_health, new_threats
from tests.factories import document as doc

ADDRESS = "198.51.100.7"
AUTHOR = Author(ADDRESS, "", lambda _name: None)
ALL = "0.0.0.0/0"


def at(**distance: int) -> str:
    return (timezone.now() + timedelta(**distance)).isoformat()


def deny(network: str, **fields: Any) -> dict[str, Any]:
    return {"network": network, **fields}


def allow(network: str, **fields: Any) -> dict[str, Any]:
    return {"network": network, "action": "allow", **fields}


def policy(*rules: Any) -> Any:
    return complete(doc(access_rules=list(rules)))


def warned(before: Any, after: Any) -> list[str]:
    visits = authors.visits("admin")
    assert visits
    found = [threat.name for threat in new_threats(before, after, AUTHOR, visits)]
    assert len(found) == len(set(found))
    return found


#: The probes of the site's health are let in, so that the tests are about the author.
PROBES = [
    allow(network, path=path)
    for path in HEALTH
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        pytest.param(
            [deny(ALL), allow(ADDRESS, ends_at=at(days=1))],
            [deny(ALL)],
            f"{ALL} /",
            id="a passing allowance is deleted",
        ),
        pytest.param(
            [deny("198.51.100.0/24", percent=1)],
            [deny("198.51.100.0/24")],
            "198.51.100.0/24 /",
            id="a share becomes everybody",
        ),
        pytest.param(
            [deny("198.51.100.0/24", starts_at=at(days=300))],
            [deny("198.51.100.0/24")],
            "198.51.100.0/24 /",
            id="what was to start later starts now",
        ),
    ],
)
def test_what_was_only_possible_does_not_excuse_what_is_made_certain(before, after, named) -> None:
    """And what is certain already is not told again."""
    assert warned(policy(*PROBES, *before), policy(*PROBES, *after)) == [named]
    assert warned(policy(*PROBES, *after), policy(*PROBES, *after, deny("8.8.8.8"))) == []
    assert warned(policy(*PROBES, *before), policy(*PROBES, *before, deny("8.8.8.8"))) == []


@pytest.mark.parametrize(
    "rules",
    [
        [deny("198.51.100.0/24", starts_at=at(days=300))],
        [deny("198.51.100.0/24", percent=1)],
        [deny(ALL), allow(ADDRESS, ends_at=at(days=1))],
        [deny(ALL, ends_at=at(days=2)), allow(ADDRESS, ends_at=at(days=1))],
    ],
)
def test_what_may_become_so_is_warned_of_once(rules) -> None:
    assert len(warned(policy(*PROBES), policy(*PROBES, *rules))) == 1


@pytest.mark.parametrize(
    "rules",
    [
        # A denial for good elsewhere outlives the allowance, and has nothing to do with it.
        [
            deny("203.0.113.9"),
            deny("198.51.100.0/24", ends_at=at(hours=1)),
            allow(ADDRESS, ends_at=at(days=1)),
        ],
        # One for good of everybody, at another path.
        [
            deny(ALL, path="/x/"),
            deny("198.51.100.0/24", ends_at=at(hours=1)),
            allow(ADDRESS, ends_at=at(days=1)),
        ],
        # In shadow nothing outlives anything.
        [
            deny(ALL, mode="shadow"),
            deny("198.51.100.0/24", ends_at=at(hours=1)),
            allow(ADDRESS, ends_at=at(days=1)),
        ],
        [
            deny("2001:db8::/32"),
            deny("198.51.100.0/24", ends_at=at(hours=1)),
            allow(ADDRESS, ends_at=at(days=1)),
        ],
    ],
)
def test_an_allowance_is_compared_with_the_denials_that_it_answers(rules) -> None:
    assert warned(policy(*PROBES), policy(*PROBES, *rules)) == []


def test_an_allowance_around_a_narrower_denial_counts_as_ended_too() -> None:
    """The author has another address in that network tomorrow; then who denies is seen."""
    rules = [
        deny(ALL, ends_at=at(days=3)),
        deny("198.51.100.128/25"),
        allow("198.51.100.0/25", ends_at=at(days=1)),
    ]
    assert warned(policy(*PROBES), policy(*PROBES, *rules)) == [f"{ALL} /"]


@pytest.mark.parametrize(
    ("network", "path", "probe"),
    [
        ("10.5.0.0/16", "/", "10.5.0.0"),
        ("10.5.3.0/24", "/healthz", "10.5.3.0"),
        ("172.20.0.0/16", "/", "172.20.0.0"),
        ("fd12:3456::/32", "/readyz", "fd12:3456::"),
        ("fc00::/6", "/", "fd00::1"),
    ],
)
def test_a_private_network_anywhere_may_ask_for_the_health(network, path, probe) -> None:
    """Not only those that begin where the private ones do."""
    found = list(hidden_health(access_index(policy(deny(network, path=path))["access_rules"])))
    assert [threat.name for threat in found] == [f"{network} {path}"]
    assert probe in found[0].problem


@pytest.mark.parametrize(
    "rules",
    [
        [deny("203.0.113.0/24")],
        [deny("10.5.0.0/16", path="/admin/")],
        [deny("10.5.0.0/16", mode="shadow")],
        [deny("10.5.0.0/16"), allow("10.5.0.0/16", path="/healthz"),
         allow("10.5.0.0/16", path="/readyz")],
    ],
)  # fmt: skip
def test_a_denial_that_no_probe_meets_hides_nothing(rules) -> None:
    assert list(hidden_health(access_index(policy(*rules)["access_rules"]))) == []


def test_an_admin_that_takes_each_request_once_is_closed_to_every_browser() -> None:
    rule = {"name": "admin", "path": "/admin/", "require_nonce": True}
    before, after = doc(), doc(endpoint_limits=[rule])
    assert warned(complete(before), complete(after)) == ["admin"]
    shadow = doc(endpoint_limits=[{**rule, "mode": "shadow"}])
    assert warned(complete(before), complete(shadow)) == []


def test_under_a_prefix_the_pages_of_the_admin_are_found_all_the_same() -> None:
    """Rules hold for what Django resolves, which the prefix of a site is no part of."""
    plain = authors.visits("admin")
    set_script_prefix("/app/")
    try:
        assert authors.visits("admin") == plain
        assert warned(policy(*PROBES), policy(*PROBES, deny(ADDRESS, path="/admin/")))
    finally:
        set_script_prefix("/")
    assert any(visit.path == "/admin/" for visit in plain)
