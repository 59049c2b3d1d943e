"""The compiled policy as values."""

from pulse.core.announcement import Announcement
from pulse.core.snapshot import Assignments, Snapshot
from tests.factories import assignment, endpoint, tier


def test_the_empty_policy_is_revision_nought_and_asks_for_nothing() -> None:
    """What holds in a process that has no database to ask."""
    empty = Snapshot()
    assert (empty.revision, empty.stamp, empty.default_tier) == (0, None, None)
    assert not (
        empty.wants_user or empty.wants_groups or empty.assignments or empty.trusted_proxies
    )


def test_the_stamp_is_what_the_store_compares() -> None:
    """Written once, when the snapshot is made."""
    held = Snapshot(announcement=Announcement("a-lineage", 42, 3))
    assert (held.stamp, held.revision) == ("a-lineage:42:3", 42)


def test_rules_are_named_by_kind_and_name() -> None:
    """A tier and an endpoint limit of one name count apart."""
    assert tier("login").prefix == "rate_tiers:login:"
    assert endpoint("login").prefix == "endpoint_limits:login:"


def test_only_a_rule_that_counts_users_asks_who_it_is() -> None:
    """``client`` alone does not: looking costs a session."""
    assert endpoint(key=("ip", "user")).by_user
    assert not endpoint(key=("client",)).by_user
    assert Assignments(users={"kim": (assignment(tier()),)})
    assert not Assignments()
