"""The published policy does what it seems to."""

import pytest
from django.db import DatabaseError, connection
from django.db.models import QuerySet

from pulse.checks import policies, registry
from pulse.policies import document, publisher
from pulse.policies.models import RateTier, TrustedProxy
from tests.checks.messages import ids


def check_policy(**kinds: object) -> list[str]:
    document.apply(kinds, publisher.SYSTEM, prune=True)
    return ids(policies.check_policy(frozenset({"default"})))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (["10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "100.64.0.0/10"], []),
        (["203.0.113.7", "104.16.0.0/13", "2400:cb00::/32"], []),
        (["0.0.0.0/0"], ["E040"]),
        (["::/0"], ["E040"]),
        (["0.0.0.0/1", "128.0.0.0/1"], ["E040"]),
        (["0.0.0.0/0", "::/0"], ["E040"]),
        (["0.0.0.0/1"], ["W040"]),
        (["8.0.0.0/8", "10.0.0.0/7", "2000::/3"], ["W040", "W040", "W040"]),
        ([{"network": "0.0.0.0/0", "mode": "shadow"}], []),
        ([{"network": "0.0.0.0/0", "mode": "off"}], []),
    ],
)
def test_trusted_proxies(networks, expected) -> None:
    """Who trusts everyone is told so, and who trusts half of the Internet."""
    # As rows, since forms and documents refuse some of it: a fixture may bring it all the same.
    with publisher.edit(publisher.SYSTEM, source="save"):
        for network in networks:
            TrustedProxy.objects.create(
                **(network if isinstance(network, dict) else {"network": network})
            )
    found = policies.check_policy(frozenset({"default"}))
    assert [each for each in ids(found) if each != "W041"] == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("tiers", "expected"),
    [
        ([], []),
        ([{"name": "default", "default": True, "limits": ["1/s"]}], []),
        ([{"name": "default", "default": True, "mode": "off", "limits": ["1/s"]}], []),
        ([{"name": "trial", "mode": "shadow", "limits": ["1/s"]}], []),
        ([{"name": "default", "default": True, "mode": "shadow", "limits": ["1/s"]}], ["W041"]),
    ],
)
def test_default_tier(tiers, expected) -> None:
    """A reminder that nothing is refused yet."""
    assert check_policy(rate_tiers=tiers) == expected


@pytest.mark.django_db
def test_what_migrate_seeds_is_reminded_of() -> None:
    """The published policy is looked at, and rows alone are no policy."""
    assert ids(policies.check_policy(frozenset({"default"}))) == ["W041"]
    QuerySet(RateTier).update(mode="enforce")
    assert ids(policies.check_policy(frozenset({"default"}))) == ["W041"]


def test_database_that_may_not_be_asked() -> None:
    """Without --database nothing is queried (this test has no database)."""
    assert registry.check_policies(app_configs=None, databases=None) == []
    assert registry.check_policies(app_configs=None, databases=["other"]) == []


@pytest.mark.django_db
def test_before_the_first_migrate(monkeypatch) -> None:
    """migrate checks before it makes the tables; an open transaction stays whole."""
    monkeypatch.setattr(connection.introspection, "table_names", lambda *_: [])
    assert registry.check_policies(databases=["default"]) == []
    assert RateTier.objects.exists()


def test_database_that_is_down(monkeypatch) -> None:
    """Django says that by itself."""

    def down(*_: object) -> list[str]:
        raise DatabaseError("down")

    monkeypatch.setattr(connection.introspection, "table_names", down)
    assert registry.check_policies(databases=["default"]) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("header", "redirects", "proxies", "expected"),
    [
        (None, True, [], []),
        (("HTTP_X_FORWARDED_PROTO", "https"), True, ["10.0.0.0/8"], []),
        (("HTTP_X_FORWARDED_PROTO", "https"), True, [], ["W042"]),
        (
            ("HTTP_X_FORWARDED_PROTO", "https"),
            False,
            [{"network": "10.0.0.0/8", "mode": "off"}],
            ["W042"],
        ),
        (None, False, ["10.0.0.0/8"], []),
        (None, True, ["unix"], ["W043"]),
    ],
)
def test_proxies_that_end_tls(settings, header, redirects, proxies, expected) -> None:
    """Django and pulse know of the same proxies (S1-07, S1-51)."""
    settings.SECURE_PROXY_SSL_HEADER, settings.SECURE_SSL_REDIRECT = header, redirects
    document.apply({"trusted_proxies": proxies}, publisher.SYSTEM, prune=True)
    found = ids(policies.check_deployed_policy(frozenset({"default"})))
    assert [each for each in found if each in {"W042", "W043"}] == expected
