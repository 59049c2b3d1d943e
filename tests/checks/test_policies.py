"""The published policy does what it seems to."""

import pytest
from django.core.checks import ERROR
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
        ([{"name": "trial", "mode": "shadow", "limits": ["1/s"]}], ["W044"]),
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


ROWS = {
    "version": 1,
    "rate_tiers": [
        {"name": "default", "default": True, "limits": ["1/s"]},
        {"name": "paid", "limits": ["9/s"]},
    ],
    "tier_assignments": [{"network": "192.0.2.0/24", "tier": "paid"}],
    "endpoint_limits": [
        {"name": "search", "url_name": "search", "limits": ["5/m"], "timeout_s": 3},
        {"name": "echo", "url_name": "echo", "tier": "paid"},
    ],
    "access_rules": [{"network": "198.51.100.0/24"}],
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "place", "reason"),
    [
        (
            "UPDATE pulse_ownlimit SET rate = 'garbage'",
            "the row search of endpoint_limits",
            '"garbage" is not a rate',
        ),
        (
            "UPDATE pulse_tierlimit SET rate = '0/s' WHERE rate = '9/s'",
            "the row paid of rate_tiers",
            '"0/s" lets nothing through',
        ),
        (
            "UPDATE pulse_ratetier SET mode = 'maybe' WHERE name = 'paid'",
            "the row paid of rate_tiers",
            "'maybe' is not a valid Mode",
        ),
        (
            "UPDATE pulse_endpointlimit SET timeout_s = 9e999 WHERE name = 'search'",
            "the row search of endpoint_limits",
            "inf is no number of seconds",
        ),
        (
            "UPDATE pulse_endpointlimit SET methods = '5' WHERE name = 'echo'",
            "the row echo of endpoint_limits",
            "TypeError: 'int' object is not iterable",
        ),
        (
            "UPDATE pulse_accessrule SET network = 'everywhere'",
            "the row everywhere / of access_rules",
            '"everywhere" is not a network',
        ),
        (
            "UPDATE pulse_accessrule SET starts_at = '2020-13-01 00:00:00'",
            "of access_rules",
            "ValueError: month must be in 1..12",
        ),
    ],
)
def test_a_row_written_by_sql_that_makes_no_policy(statement: str, place: str, reason: str) -> None:
    """E041 says which and why, once; what was published is looked at all the same."""
    document.apply(ROWS, publisher.SYSTEM, prune=True)
    assert ids(policies.check_policy(frozenset({"default"}))) == []
    with connection.cursor() as cursor:
        cursor.execute(statement)
    (message,) = policies.check_policy(frozenset({"default"}))
    assert (ids([message]), message.level) == (["E041"], ERROR)
    assert place in message.msg
    assert reason in message.msg


@pytest.mark.django_db
def test_several_rows_that_make_no_policy() -> None:
    """Each is told of, up to twenty: nobody reads more."""
    limits = [{"name": f"a{n}", "url_name": "echo", "limits": ["1/s"]} for n in range(25)]
    document.apply({"version": 1, "endpoint_limits": limits}, publisher.SYSTEM, prune=True)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pulse_ownlimit SET rate = 'x' WHERE id % 2 = 0")
    found = policies.check_policy(frozenset({"default"}))
    assert 12 <= ids(found).count("E041") <= 13
    with connection.cursor() as cursor:
        cursor.execute("UPDATE pulse_ownlimit SET rate = 'x'")
    found = policies.check_policy(frozenset({"default"}))
    assert ids(found).count("E041") == 20


@pytest.mark.django_db
def test_before_a_migration_that_adds_a_column() -> None:
    """migrate checks first: a column that is missing is no finding, and breaks no transaction."""
    document.apply(ROWS, publisher.SYSTEM, prune=True)
    connection.check_constraints()  # What is deferred keeps PostgreSQL from altering the table.
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE pulse_endpointlimit DROP COLUMN timeout_s")
    assert registry.check_policies(databases=["default"]) == []
    assert RateTier.objects.count() == 2
