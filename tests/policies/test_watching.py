"""A guard counts what its revision refused, in all processes, and ends once."""

import logging
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from pulse import tasks
from pulse.audit.models import AuditEntry
from pulse.policies import current, document, publisher, undoing, watching
from pulse.policies.guarded import Guard
from pulse.policies.models import EndpointLimit, PolicyRevision
from pulse.policies.signals import guard_rolled_back
from pulse.policies.state import PolicyGuard, PolicyGuardCount
from pulse.store import refusals

SEARCH = {"name": "search", "url_name": "search", "key": "ip", "limits": [{"rate": "60/m"}]}
BASE: dict[str, Any] = {
    "version": 1,
    "rate_tiers": [
        {"name": "default", "default": True, "limits": [{"rate": "10/s", "burst": 20}]},
        {"name": "paid", "limits": [{"rate": "500/s"}]},
    ],
    "endpoint_limits": [SEARCH, {"name": "export", "url_name": "products", "tier": "paid"}],
    "exemptions": [{"path": "/healthz"}],
}
RULE = "endpoint_limits:search"


def apply(guard: Guard | None = None, *, prune: bool = False, **kinds: Any) -> int:
    applied = document.apply(
        {"version": 1, **kinds}, publisher.Actor("user", "kim"), guard=guard, prune=prune
    )
    current.look_at_database()  # As after the commit, which these tests never come to.
    return applied.revision


def bad(rate: str = "1/h", **fields: Any) -> dict[str, Any]:
    return {"endpoint_limits": [{**SEARCH, "limits": [{"rate": rate}], **fields}]}


def refuse(count: int, rule: str = RULE, stamp: str | None = None) -> None:
    """As the middleware counts what it refuses by the policy in force, or by another."""
    for _ in range(count):
        refusals.add(stamp or current.current_snapshot().stamp, rule)


def as_another_process() -> None:
    """What this process has counted is another's from now on."""
    watching.forget()


def guard() -> PolicyGuard:
    return PolicyGuard.objects.select_related("revision", "undone_by").get()


def rates() -> dict[str, list[str]]:
    found = publisher.newest_document()["endpoint_limits"]
    return {item["name"]: [limit["rate"] for limit in item["limits"]] for item in found}


def end_time(seconds_ago: float = 10) -> None:
    PolicyGuard.objects.update(until_at=timezone.now() - timedelta(seconds=seconds_ago))


def has_seen_for_a_while() -> None:
    """It has looked without a failure for longer than a guard's grace."""
    watching.look()
    watching._here.well_since -= watching.GRACE_S


@pytest.fixture(autouse=True)
def base(db: None) -> Iterator[None]:
    apply(prune=True, **{kind: value for kind, value in BASE.items() if kind != "version"})
    yield


def test_more_refusals_than_the_budget_undo_the_revision(
    caplog: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """With a reason that says the numbers, an entry of the audit, a warning and a signal."""
    bad_one = apply(Guard(5, 7), **bad())
    heard: list[Mapping[str, Any]] = []

    def hear(**told: Any) -> None:
        heard.append(told)

    guard_rolled_back.connect(hear)
    refuse(5)
    watching.look()
    assert (guard().state, guard().seen, rates()["search"]) == ("watching", 5, ["1/h"])
    refuse(1)
    with caplog.at_level(logging.WARNING), django_capture_on_commit_callbacks(execute=True):
        watching.look()
    assert (guard().state, guard().seen, guard().by_rule) == ("rolled_back", 6, {RULE: 6})
    assert rates()["search"] == ["60/m"]
    back = PolicyRevision.objects.first()
    assert back is not None
    assert guard().undone_by == back
    assert (back.number, back.source, back.actor_type) == (bad_one + 1, "guard", "system")
    assert back.reason == (
        f"The guard of revision {bad_one} saw 6 refusals (endpoint_limits:search 6); "
        "5 within 7 minutes were its budget."
    )
    entry = AuditEntry.objects.get(action="guard.rolled_back")
    assert (entry.revision, entry.actor_type) == (back.number, "system")
    assert back.reason in caplog.text
    assert [(told["revision"], told["undone_by"]) for told in heard] == [(bad_one, back.number)]
    assert not guard().counts.exists()


def test_each_process_counts_its_own_and_any_of_them_adds_up() -> None:
    apply(Guard(9), **bad())
    for _ in range(3):
        as_another_process()
        refuse(3)
        watching.look()
        watching.look()
    assert (guard().seen, watching.counts_of(guard())) == (9, {RULE: 9})
    as_another_process()
    refuse(1)
    watching.look()
    assert (guard().state, guard().seen) == ("rolled_back", 10)


def test_only_what_the_revision_changed_is_counted() -> None:
    """Not other rules, not what was refused by the policy before, nor by another history."""
    before = current.current_snapshot().stamp
    apply(Guard(1), **bad())
    assert current.current_snapshot().stamp != before
    refuse(9, "rate_tiers:default")
    refuse(9, "body")
    refuse(9, stamp=before)
    refuse(9, stamp="9b2c8b7e-0000-4000-8000-000000000000:99:0")
    watching.look()
    assert (guard().state, guard().seen) == ("watching", 0)


@pytest.mark.parametrize(
    ("change", "rule", "counts"),
    [
        ({"rate_tiers": [{"name": "paid", "limits": ["1/h"]}]}, "endpoint_limits:export", True),
        ({"rate_tiers": [{"name": "paid", "limits": ["1/h"]}]}, RULE, False),
        (
            {"tier_assignments": [{"network": "10.0.0.0/8", "tier": "paid"}]},
            "rate_tiers:paid",
            True,
        ),
        ({"exemptions": [{"path": "/readyz"}]}, "rate_tiers:default", True),
        ({"exemptions": [{"path": "/readyz"}]}, "access_rules:203.0.113.0/24 /", False),
        (
            {"access_rules": [{"network": "203.0.113.0/24", "action": "deny"}]},
            "access_rules:203.0.113.0/24 /",
            True,
        ),
        ({"trusted_proxies": [{"network": "10.0.0.0/8"}]}, RULE, True),
        ({"header_policies": [{"name": "api", "preset": "api"}]}, RULE, False),
    ],
)
def test_what_only_steers_clients_is_watched_by_the_rules_it_steers_to(
    change: dict[str, Any], rule: str, counts: bool
) -> None:
    apply(Guard(1), **change)
    refuse(2, rule)
    watching.look()
    assert (guard().state == "rolled_back") is counts


def test_a_later_edit_of_something_else_stays() -> None:
    """Only what the guarded revision did is undone; and it says so."""
    apply(Guard(1), **bad())
    apply(rate_tiers=[{"name": "paid", "limits": [{"rate": "900/s"}]}])
    refuse(2)
    watching.look()
    assert guard().state == "rolled_back"
    assert rates()["search"] == ["60/m"]
    newest = publisher.newest_document()
    (paid,) = [item for item in newest["rate_tiers"] if item["name"] == "paid"]
    assert paid["limits"][0]["rate"] == "900/s"
    undone_by = guard().undone_by
    assert undone_by is not None
    assert undone_by.reason.endswith("What was changed since then stays.")


def test_what_was_mended_by_hand_is_no_longer_the_guards() -> None:
    """What the mended limit refuses is not the revision's doing; in the end the guard passes."""
    apply(Guard(1), **bad())
    apply(**bad("30/m"))
    refuse(9)
    watching.look()
    assert (guard().state, guard().seen, rates()["search"]) == ("watching", 0, ["30/m"])
    end_time()
    has_seen_for_a_while()
    watching.look()
    assert guard().state == "passed"


def test_what_was_refused_before_it_was_mended_undoes_nothing_any_more() -> None:
    apply(Guard(1), **bad())
    refuse(9)
    apply(**bad("30/m"))
    watching.look()
    assert (guard().state, guard().seen, rates()["search"]) == ("passed", 9, ["30/m"])
    assert guard().undone_by is None


def test_a_word_about_the_limit_does_not_disarm_its_guard() -> None:
    """A later edit of its description leaves the limit that is watched."""
    apply(Guard(1), **bad())
    apply(**bad(description="On trial"))
    refuse(2)
    watching.look()
    (search,) = [
        item for item in publisher.newest_document()["endpoint_limits"] if item["name"] == "search"
    ]
    assert (search["limits"][0]["rate"], search["description"]) == ("60/m", "On trial")


def test_what_others_build_on_goes_with_them() -> None:
    """A tier that the revision added cannot go alone, as a limit names it by now."""
    apply(Guard(1), rate_tiers=[{"name": "tight", "limits": ["1/h"]}])
    apply(endpoint_limits=[{**SEARCH, "limits": [], "tier": "tight"}])
    refuse(2)
    watching.look()
    assert guard().state == "rolled_back"
    assert rates()["search"] == ["60/m"]
    assert "tight" not in {item["name"] for item in publisher.newest_document()["rate_tiers"]}
    undone_by = guard().undone_by
    assert undone_by is not None
    assert "builds on it and goes too" in undone_by.reason


def test_a_draft_stays_a_draft_and_does_not_bring_the_limit_back(settings: Any) -> None:
    """With manual publishing the policy in force is mended at once, and so are the rows."""
    settings.PULSE = {"PUBLISH": "manual"}
    apply(**bad())
    publisher.publish(publisher.SYSTEM, guard=Guard(1))
    apply(rate_tiers=[{"name": "paid", "limits": [{"rate": "900/s"}]}])
    refuse(2)
    watching.look()
    assert (guard().state, rates()["search"]) == ("rolled_back", ["60/m"])
    assert [limit.rate for limit in EndpointLimit.objects.get(name="search").limits.all()] == [
        "60/m"
    ]
    (change,) = publisher.draft_changes()
    assert (change["kind"], change["key"]) == ("rate_tiers", {"name": "paid"})


def test_a_draft_outlives_what_goes_with_a_guarded_revision(settings: Any) -> None:
    """What others drafted meanwhile is theirs, also where more than the revision is undone."""
    settings.PULSE = {"PUBLISH": "manual"}
    apply(rate_tiers=[{"name": "tight", "limits": ["1/h"]}])
    publisher.publish(publisher.SYSTEM, guard=Guard(1))
    apply(endpoint_limits=[{**SEARCH, "limits": [], "tier": "tight"}])
    publisher.publish(publisher.SYSTEM)
    apply(access_rules=[{"network": "198.51.100.0/24", "action": "deny"}])
    refuse(2)
    watching.look()
    assert guard().state == "rolled_back"
    assert rates()["search"] == ["60/m"]
    (change,) = publisher.draft_changes()
    assert (change["kind"], change["action"]) == ("access_rules", "create")


def test_what_the_revision_cleared_comes_back() -> None:
    apply(endpoint_limits=[{**SEARCH, "max_body_bytes": 1000, "timeout_s": 5}])
    apply(Guard(1), **bad())
    refuse(2)
    watching.look()
    row = EndpointLimit.objects.get(name="search")
    assert (row.max_body_bytes, row.timeout_s) == (1000, 5)
    assert rates()["search"] == ["60/m"]


def test_a_guard_passes_when_its_time_is_over() -> None:
    apply(Guard(5), **bad())
    refuse(5)
    has_seen_for_a_while()
    assert guard().state == "watching"
    end_time()
    watching.look()
    assert (guard().state, guard().seen, guard().by_rule) == ("passed", 5, {RULE: 5})
    refuse(9)
    watching.look()
    assert (guard().state, rates()["search"]) == ("passed", ["1/h"])


def test_a_process_that_was_cut_off_lets_no_guard_pass_before_others_are_back() -> None:
    """What they have counted meanwhile may be over the budget."""
    apply(Guard(5), **bad())
    has_seen_for_a_while()
    end_time()
    refuse(3)
    with without_database(), pytest.raises(OperationalError):
        watching.look()
    watching.look()
    assert (guard().state, guard().seen) == ("watching", 3)
    has_seen_for_a_while()
    watching.look()
    assert guard().state == "passed"


def test_what_was_counted_while_the_database_was_away_is_counted_once() -> None:
    apply(Guard(100), **bad())
    for broken_at in range(4):
        refuse(2)
        with without_database(after=broken_at), pytest.raises(OperationalError):
            watching.look()
    watching.look()
    watching.look()
    assert (guard().seen, watching.counts_of(guard())) == (8, {RULE: 8})


def test_a_stepped_clock_neither_ends_a_guard_nor_prolongs_it() -> None:
    """A process whose clock is wrong goes by the database's."""
    with time_machine.travel(timezone.now() + timedelta(days=400)):
        apply(Guard(5, 10), **bad())
    assert abs(guard().until_at - timezone.now() - timedelta(minutes=10)) < timedelta(minutes=1)
    with time_machine.travel(timezone.now() + timedelta(days=2), tick=True):
        has_seen_for_a_while()
        watching.look()
    assert guard().state == "watching"
    end_time()
    with time_machine.travel(timezone.now() - timedelta(days=2), tick=True):
        watching.look()
    assert guard().state == "passed"


def test_the_task_of_beat_ends_guards_where_no_serving_process_does(caplog: Any) -> None:
    """A worker has counted nothing itself; without its database it waits for the next time."""
    apply(Guard(1), **bad())
    PolicyGuardCount.objects.create(guard=guard(), process=uuid4(), rule=RULE, refusals=2)
    with without_database():
        tasks.guards()
    assert "Guards wait for the database" in caplog.text
    tasks.guards()
    assert guard().state == "rolled_back"


def test_looking_costs_nothing_while_nothing_changes(django_assert_num_queries: Any) -> None:
    watching.look()
    refuse(3)
    with django_assert_num_queries(0):
        watching.look()


def test_many_guards_take_no_more_queries_than_one(django_assert_num_queries: Any) -> None:
    """And what the newest changed is the newest's alone."""
    for rate in range(1, 6):
        apply(Guard(100), **bad(f"{rate}/h"))
    refuse(2)
    watching.look()
    assert set(PolicyGuard.objects.values_list("refusals", "seen")) == {(100, 2), (100, 0)}
    with django_assert_num_queries(2):
        watching.look()


@pytest.mark.django_db(transaction=True)
def test_of_many_that_find_it_over_one_undoes_it() -> None:
    apply(Guard(1), **bad())
    found = guard()
    barrier = threading.Barrier(4)
    made: list[Any] = []

    def undo() -> None:
        try:
            barrier.wait()
            made.append(undoing.undo(found, {RULE: 2}, "default"))
        except OperationalError:
            made.append(None)  # SQLite's lock was not to be had: the next look tries again.
        finally:
            connection.close()

    threads = [threading.Thread(target=undo) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert sum(each is not None for each in made) == 1
    assert PolicyRevision.objects.filter(source="guard").count() == 1
    assert AuditEntry.objects.filter(action="guard.rolled_back").count() == 1


def test_an_undoing_that_is_cut_off_leaves_all_as_it_was() -> None:
    """As where the process is killed: the guard watches on, and the next look undoes it."""
    apply(Guard(1), **bad())
    refuse(2)
    number = publisher.lock("default").revision
    for statement in ("pulse_policyrevision", "pulse_auditentry"):
        with without_database(at=f'INSERT INTO "{statement}"'), pytest.raises(OperationalError):
            watching.look()
        assert (guard().state, publisher.lock("default").revision) == ("watching", number)
        assert rates()["search"] == ["1/h"]
    watching.look()
    assert (guard().state, rates()["search"]) == ("rolled_back", ["60/m"])


class without_database:
    """Every statement fails, from the one after so many, or from one of a kind on."""

    def __init__(self, *, after: int = 0, at: str = "") -> None:
        self.left, self.at = after, at
        self.wrapper = connection.execute_wrapper(self.fail)

    def __enter__(self) -> None:
        self.wrapper.__enter__()

    def __exit__(self, *error: object) -> None:
        self.wrapper.__exit__(*error)

    def fail(self, execute: Any, sql: str, *rest: Any) -> Any:
        if "SAVEPOINT" in sql:
            return execute(sql, *rest)
        if (self.at and self.at not in sql) or (not self.at and self.left > 0):
            self.left -= 1
            return execute(sql, *rest)
        raise OperationalError("the database is away")
