"""Who used a CORS rule, whom its end would break, and what browsers still hold of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from pulse.policies import document, publisher, uses
from pulse.policies.models import PolicyRevision
from pulse.policies.uses import Breakage, Use
from pulse.store import buckets
from tests.core.test_cors import item

WIDE = "https://*.example.org"
A, B = "https://a.example.org", "https://b.example.org"
NAME = f"cors_origins:{WIDE} /"


def use(**by_origin: int) -> Use:
    found = Use(used=sum(by_origin.values()))
    for name, amount in by_origin.items():
        found.origins[f"https://{name}.example.org"] = amount
    return found


# Counts


def test_what_was_used_and_what_would_be_are_apart() -> None:
    """By origin as in sum: a rule that was in shadow this morning is read right."""
    buckets.add(buckets.CORS_USED, NAME, 3)
    buckets.add(buckets.CORS_USED, f"{NAME} {A}", 3)
    buckets.add(buckets.CORS_WOULD_USE, NAME, 5)
    buckets.add(buckets.CORS_WOULD_USE, f"{NAME} {B}", 5)
    buckets.add(buckets.CORS_REFUSED, "cors_origins:https://evil.example /api/", 7)
    day = uses.last_day()
    found = day.of(item(WIDE))
    assert (found.used, found.would_use) == (3, 5)
    assert (found.origins, found.would_origins) == ({A: 3}, {B: 5})
    assert found.last is not None
    assert timedelta() <= datetime.now(UTC) - found.last < timedelta(hours=2)
    assert day.refused == {"/api/": {"https://evil.example": 7}}
    assert day.of(item("https://other.example")) == Use()


# What the end of a rule would break


def test_a_rule_that_nobody_used_breaks_nobody() -> None:
    assert uses.would_break(item(WIDE), Use(), [item(WIDE)]) == Breakage()


def test_whom_no_other_rule_allows_is_named() -> None:
    rules = [item(WIDE), item(A), item(B, mode="shadow")]
    used = use(a=3, b=2, c=1)
    c = "https://c.example.org"
    assert uses.would_break(item(WIDE), used, rules).refused == [B, c]
    assert uses.would_break(item(WIDE), used, rules, shadow_too=True).refused == [c]


def test_of_an_exact_rule_the_one_user_is_known() -> None:
    """Its uses are not counted by origin."""
    assert uses.would_break(item(A), Use(used=7), [item(A)]) == Breakage([A])
    assert uses.would_break(item(A), Use(used=7), [item(A), item(WIDE)]) == Breakage([])


@pytest.mark.parametrize(
    ("mine", "others", "lost"),
    [
        ({"credentials": True}, {}, ["cookies"]),
        ({"csrf_trusted": True, "private_network": True}, {}, ["forms", "private networks"]),
        ({"methods": ["GET", "PUT"]}, {"methods": ["GET"]}, ["PUT"]),
        ({"methods": ["GET", "POST"]}, {"methods": ["GET"]}, None),
        (
            {"methods": ["GET", "POST"]},
            {"methods": ["GET"], "strict_preflight": True},
            ["POST"],
        ),
        ({"allowed_headers": ["X-One", "x-two"]}, {"allowed_headers": ["X-Two"]}, ["X-One"]),
        ({"exposed_headers": ["X-Own"]}, {"exposed_headers": []}, ["X-Own"]),
        ({}, {"credentials": True}, None),
    ],
)
def test_what_another_rule_allows_less_is_named(mine, others, lost) -> None:
    """To be found by some rule is not to be allowed the same."""
    rule = item(A, **mine)
    found = uses.would_break(rule, Use(used=1), [rule, item(WIDE, **others)])
    assert list(found.refused) == []
    assert {origin: list(map(str, said)) for origin, said in found.lessened.items()} == (
        {} if lost is None else {A: lost}
    )


def test_users_that_are_not_known_are_no_users_that_are_safe() -> None:
    """Only so many origins are kept by name: of the others nothing can be said."""
    used = use(a=3)
    used.used = 1000
    found = uses.would_break(item(WIDE), used, [item(WIDE), item(A)])
    assert found == Breakage([], {}, 997)


# What browsers hold


NOW = timezone.now()


def publish(minutes_ago: int, *rules: dict[str, Any]) -> None:
    document.apply({"version": 1, "cors_origins": list(rules)}, publisher.SYSTEM, prune=True)
    newest = PolicyRevision.objects.order_by("-number").values("pk")[:1]
    PolicyRevision.objects.filter(pk=newest[0]["pk"]).update(
        created_at=NOW - timedelta(minutes=minutes_ago)
    )


def held(origin: str = A, **fields: Any) -> float | None:
    """For how many minutes from now on browsers may hold an old answer."""
    found = uses.held(item(origin, **fields), publisher.newest_document(), NOW)
    return None if found is None else (found.until - NOW) / timedelta(minutes=1)


@pytest.mark.django_db
def test_each_change_is_undone_before_the_one_before_is_looked_at() -> None:
    """Off first, then max_age to 0: what browsers hold is of the rule as it answered."""
    publish(100, {"origin": A, "max_age": 7200})
    publish(60, {"origin": A, "max_age": 7200, "mode": "off"})
    publish(30, {"origin": A, "max_age": 0, "mode": "off"})
    assert held() == 60
    publish(20, {"origin": A, "max_age": 86_400, "mode": "enforce"})
    assert held() == 60
    publish(10, {"origin": A, "max_age": 86_400, "methods": ["GET"]})
    assert held() == 24 * 60 - 10


@pytest.mark.django_db
def test_a_change_that_no_preflight_tells_of_leaves_no_old_answer() -> None:
    publish(100, {"origin": A, "max_age": 86_400})
    publish(50, {"origin": A, "max_age": 86_400, "description": "x", "exposed_headers": []})
    assert held() is None


@pytest.mark.django_db
def test_a_rule_that_came_to_its_end_is_held_from_then_on() -> None:
    """No revision says so; whatever was edited since then answered nobody."""
    ends_at = (NOW - timedelta(minutes=30)).isoformat()
    publish(100, {"origin": A, "max_age": 7200, "ends_at": ends_at})
    assert held() == pytest.approx(90)
    publish(10, {"origin": A, "max_age": 7200, "ends_at": ends_at, "methods": ["GET"]})
    assert held() == pytest.approx(90)


@pytest.mark.django_db
def test_a_rule_that_never_began_is_held_by_nobody() -> None:
    starts_at = (NOW + timedelta(hours=1)).isoformat()
    publish(100, {"origin": A, "max_age": 7200, "starts_at": starts_at})
    publish(10, {"origin": A, "max_age": 600, "starts_at": starts_at})
    assert held() is None


@pytest.mark.django_db
def test_a_rule_that_was_deleted_and_made_anew_is_held_from_its_first_life() -> None:
    publish(100, {"origin": A, "max_age": 7200})
    publish(40, {"origin": B})
    publish(20, {"origin": A, "max_age": 60}, {"origin": B})
    assert held() == 80
    assert held(B) is None


@pytest.mark.django_db
def test_a_draft_was_never_answered_by(settings) -> None:
    """The row says one thing, the policy in force another."""
    publish(100, {"origin": A, "max_age": 7200})
    publish(60, {"origin": A, "max_age": 3600})
    assert held(mode="off", max_age=0) == 60
