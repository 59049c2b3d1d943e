"""The edit road: one transaction is one revision, or none."""

import logging
import threading

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from pulse.exceptions import InvalidDocument
from pulse.policies import current, history, publisher
from pulse.policies.document import apply
from pulse.policies.models import (
    EndpointLimit,
    Exemption,
    OwnLimit,
    PolicyRevision,
    PolicyState,
    RateTier,
    TierAssignment,
    TierLimit,
    TrustedProxy,
)
from pulse.policies.signals import revision_made
from tests.factories import KIM
from tests.factories import document as doc

#: The road ends after commit, so these tests commit.
pytestmark = pytest.mark.django_db(transaction=True)


class Rollback(Exception):
    """Leaves a transaction, which is then undone."""


def newest() -> PolicyRevision:
    return PolicyRevision.objects.latest("number")


def numbers() -> list[int]:
    return list(PolicyRevision.objects.order_by("number").values_list("number", flat=True))


def exempt() -> set[str]:
    """The exempt paths of the newest revision."""
    return {item["path"] for item in newest().document["exemptions"] if "path" in item}


def make(path: str) -> Exemption:
    return Exemption.objects.create(path=path)


@pytest.fixture
def policy() -> int:
    """What ``migrate`` seeds; gives the number of its revision."""
    publisher.finish_leftovers()
    return newest().number


def in_force(path: str) -> bool:
    return current.current_snapshot().exempt_paths.find(path) == path


# Edits


def test_several_saves_in_one_edit_are_one_revision(policy) -> None:
    """With who, why and by which request (S1-30)."""
    with publisher.edit(KIM, source="admin", reason="Launch", request_id="r-1") as edit:
        make("/a")
        make("/b").delete()
        RateTier.objects.create(name="new")
        TierLimit.objects.create(tier=RateTier.objects.get(name="new"), rate="1/s")
    assert numbers() == [*range(1, policy + 2)]
    made = newest()
    assert edit.revision == made
    assert (made.actor_type, made.actor_name, made.source) == ("user", "kim", "admin")
    assert (made.reason, made.request_id) == ("Launch", "r-1")
    assert [(c["kind"], c["action"]) for c in made.changes] == [
        ("rate_tiers", "create"), ("exemptions", "create"),
    ]  # fmt: skip
    assert in_force("/a")


def test_an_edit_that_changes_nothing_is_no_revision(policy) -> None:
    """Also where rows were written and written back."""
    with publisher.edit(KIM, source="admin") as edit:
        make("/a").delete()
    assert edit.revision is None
    assert numbers()[-1] == policy
    assert not PolicyState.objects.get().dirty


def test_an_edit_within_an_edit_is_part_of_it(policy) -> None:
    """One revision, by the outer actor."""
    with publisher.edit(KIM, source="admin"):
        make("/a")
        with publisher.edit(publisher.SYSTEM, source="api"):
            make("/b")
    assert numbers()[-1] == policy + 1
    assert {"/a", "/b"} <= exempt()
    assert newest().actor_name == "kim"


def test_what_fails_in_an_inner_edit_is_undone_alone(policy) -> None:
    """Who catches the error goes on with the rest."""
    with publisher.edit(KIM, source="admin"):
        make("/a")
        with pytest.raises(IntegrityError), publisher.edit(KIM, source="api"):
            make("/b")
            make("/a")
        make("/c")
    assert {"/a", "/c"} <= exempt()
    assert "/b" not in exempt()


def test_an_exception_rolls_everything_back(policy) -> None:
    """Rows, revision and mark; the policy in force stays."""
    current.current_snapshot()
    with pytest.raises(Rollback), publisher.edit(KIM, source="admin"):
        make("/a")
        raise Rollback
    assert not Exemption.objects.filter(path="/a").exists()
    assert numbers()[-1] == policy
    assert not in_force("/a")
    assert not PolicyState.objects.get().dirty


def test_rows_that_make_no_policy_are_rolled_back(policy) -> None:
    """An edit that cannot be compiled is refused to who makes it."""
    with pytest.raises(InvalidDocument, match="many"), publisher.edit(KIM, source="admin"):
        make("/a")
        TierLimit.objects.update(rate="many")
    assert not Exemption.objects.filter(path="/a").exists()
    assert numbers()[-1] == policy


def test_an_edit_in_a_transaction_that_is_rolled_back_leaves_nothing(policy) -> None:
    """Nothing is announced nor in force before the outermost commit."""
    current.current_snapshot()
    with pytest.raises(Rollback), transaction.atomic():
        with publisher.edit(KIM, source="admin"):
            make("/a")
        assert not in_force("/a")
        raise Rollback
    assert numbers()[-1] == policy
    assert not in_force("/a")


# What is saved without an edit


@pytest.mark.parametrize(
    "write",
    [
        lambda: make("/new"),
        lambda: Exemption(path="/new").save(force_insert=True),
        lambda: Exemption.objects.filter(path="/old").update(path="/new"),
        lambda: Exemption.objects.bulk_create([Exemption(path="/new")]),
        lambda: Exemption.objects.get_or_create(path="/new"),
        lambda: Exemption.objects.update_or_create(path="/old", defaults={"path": "/new"}),
        lambda: Exemption.objects.bulk_update(
            [Exemption(pk=Exemption.objects.get(path="/old").pk, path="/new")], ["path"]
        ),
        lambda: Exemption.objects.bulk_create(
            [Exemption(path="/new")], ignore_conflicts=True
        ),
    ],
    ids=["create", "save", "update", "bulk_create", "get_or_create", "update_or_create",
         "bulk_update", "bulk_create_ignoring"],
)  # fmt: skip
def test_each_way_to_write_a_row_is_published(policy, write) -> None:
    """In autocommit: one revision, and in force here at once."""
    make("/old")
    before = newest().number
    write()
    assert newest().number == before + 1
    assert (newest().source, newest().actor_type) == ("save", "system")
    assert "/new" in exempt()
    assert in_force("/new")


@pytest.mark.parametrize(
    "remove",
    [
        lambda: Exemption.objects.get(path="/old").delete(),
        lambda: Exemption.objects.filter(path="/old").delete(),
        lambda: Exemption.objects.filter(path="/old")._raw_delete("default"),
    ],
    ids=["delete", "queryset_delete", "raw_delete"],
)
def test_each_way_to_remove_a_row_is_published(policy, remove) -> None:
    """Also what sends no ``post_delete``."""
    make("/old")
    before = newest().number
    remove()
    assert newest().number == before + 1
    assert "/old" not in exempt()


def test_what_goes_with_another_row_is_published(policy, django_user_model) -> None:
    """A user who is deleted takes the assignment along; a tier its limits."""
    user = django_user_model.objects.create(username="kim")
    tier = RateTier.objects.get()
    TierAssignment.objects.create(user=user, tier=tier)
    assert len(newest().document["tier_assignments"]) == 1
    user.delete()
    assert newest().document["tier_assignments"] == []
    tier.delete()
    assert newest().document["rate_tiers"] == []


def test_an_update_raises_the_version(policy) -> None:
    """As a save does: lost updates are seen whatever wrote."""
    row = make("/a")
    Exemption.objects.filter(path="/a").update(description="x")
    row.refresh_from_db()
    assert row.version == 2
    row.save(update_fields=["mode"])
    row.refresh_from_db()
    assert row.version == 3
    assert Exemption.objects.filter(path="/none").update(description="x") == 0


def test_saves_in_one_transaction_are_one_revision(policy) -> None:
    """However many there are."""
    with transaction.atomic():
        for number in range(20):
            make(f"/p{number}")
        assert numbers()[-1] == policy
    assert numbers()[-1] == policy + 1


def test_a_savepoint_that_is_rolled_back_takes_its_rows_with_it(policy) -> None:
    """What was saved beside it is published, although the last change is gone."""
    with transaction.atomic():
        make("/kept")
        with pytest.raises(Rollback), transaction.atomic():
            make("/gone")
            raise Rollback
    assert "/kept" in exempt()
    assert "/gone" not in exempt()
    assert numbers()[-1] == policy + 1


def test_a_transaction_whose_only_change_was_undone_is_no_revision(policy) -> None:
    """The mark goes with the savepoint."""
    with transaction.atomic(), pytest.raises(Rollback), transaction.atomic():
        make("/gone")
        raise Rollback
    assert numbers()[-1] == policy
    assert not PolicyState.objects.get().dirty


def test_a_save_in_a_transaction_that_is_rolled_back_leaves_nothing(policy) -> None:
    """Neither row nor mark nor revision."""
    with pytest.raises(Rollback), transaction.atomic():
        make("/gone")
        raise Rollback
    assert numbers()[-1] == policy
    assert not PolicyState.objects.get().dirty


def test_a_fixture_is_published(policy, tmp_path) -> None:
    """``loaddata`` saves raw rows."""
    make("/fixture")
    file = tmp_path / "policy.json"
    call_command("dumpdata", "pulse.exemption", output=str(file))
    Exemption.objects.all().delete()
    assert "/fixture" not in exempt()
    call_command("loaddata", str(file), verbosity=0)
    assert "/fixture" in exempt()


def test_a_view_under_atomic_requests_is_one_revision(policy, settings, monkeypatch) -> None:
    """And none if it fails after saving."""
    from project.shop import views

    is_failing = True

    def saving() -> list[object]:
        make("/one")
        make("/two")
        if is_failing:
            raise Rollback
        return []

    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        monkeypatch.setattr(views.Product.objects, "all", saving)
        client = Client(raise_request_exception=False)
        assert client.get("/").status_code == 500
        assert numbers()[-1] == policy
        is_failing = False
        assert client.get("/").status_code == 200
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert numbers()[-1] == policy + 1
    assert {"/one", "/two"} <= exempt()


def test_a_save_is_in_force_for_the_next_request_of_this_process(policy) -> None:
    """Nothing is waited for."""
    current.current_snapshot()
    RateTier.objects.update(mode="enforce")
    assert current.current_snapshot().default_tier.mode == "enforce"


# Past the validators


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (TierLimit, {"rate": "many"}),
        (TierLimit, {"burst": 0}),
        (TierLimit, {"algorithm": "leaky"}),
        (RateTier, {"mode": "loud"}),
        (EndpointLimit, {"key": 5}),
        (EndpointLimit, {"methods": 5}),
        (EndpointLimit, {"on_store_error": "panic"}),
        (TrustedProxy, {"network": "everyone"}),
        (TrustedProxy, {"network": "10.0.0.1/8"}),
    ],
)
def test_what_was_written_past_the_validators_is_not_published(
    policy, caplog, model, values
) -> None:
    """The host's write stands, the last revision stays in force, and a person is told."""
    apply(
        doc(
            endpoint_limits=[{"name": "x", "path": "/x", "limits": ["1/s"]}],
            trusted_proxies=["192.0.2.1"],
        ),
        KIM,
    )
    before, held = numbers(), current.current_snapshot()
    with caplog.at_level(logging.ERROR):
        assert model.objects.update(**values) >= 1
    assert numbers() == before
    assert current.current_snapshot() is held
    told = [r for r in caplog.records if r.levelno > logging.INFO]
    assert [(r.name, r.levelname) for r in told] == [("pulse.policies.publisher", "ERROR")]
    assert "the last revision stays" in told[0].getMessage()
    assert PolicyState.objects.get().dirty
    with pytest.raises(InvalidDocument), publisher.edit(KIM, source="admin"):
        make("/y")


def test_once_it_is_mended_all_of_it_is_published(policy) -> None:
    """What was saved meanwhile too."""
    TierLimit.objects.update(rate="many")
    make("/meanwhile")
    assert numbers()[-1] == policy
    TierLimit.objects.update(rate="5/s")
    assert numbers()[-1] == policy + 1
    assert "/meanwhile" in exempt()


def test_a_database_that_fails_after_commit_does_not_fail_the_host(policy, monkeypatch) -> None:
    """Its row is saved; the mark is left for the heartbeat."""

    def fail(using: str) -> None:
        raise IntegrityError("no")

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "lock", fail)
        make("/a")
    assert Exemption.objects.filter(path="/a").exists()
    assert numbers()[-1] == policy
    publisher.finish_leftovers()
    assert "/a" in exempt()
    publisher.finish_leftovers()
    assert numbers()[-1] == policy + 1


@pytest.mark.django_db(transaction=True)
def test_who_saves_a_policy_as_a_revision_is_told_has_it_published(policy) -> None:
    def save(**_: object) -> None:
        revision_made.disconnect(save)
        make("/by-a-receiver")

    revision_made.connect(save)
    try:
        apply(doc(exemptions=["/applied"]), KIM)
    finally:
        revision_made.disconnect(save)
    assert {"/applied", "/by-a-receiver"} <= exempt()


# Publishing by hand


def test_manual_publishing_keeps_a_draft_until_someone_publishes(policy, settings) -> None:
    """Edits of every kind; then one revision of all of them."""
    settings.PULSE = {"PUBLISH": "manual"}
    make("/saved")
    with publisher.edit(KIM, source="admin") as edit:
        make("/edited")
    applied = apply(doc(exemptions=["/applied"]), KIM)
    assert edit.revision is None
    assert (applied.changed, applied.revision) == (True, policy)
    assert numbers()[-1] == policy
    assert not in_force("/edited")
    assert {c["key"]["path"] for c in publisher.draft_changes()} == {
        "/saved",
        "/edited",
        "/applied",
    }
    publisher.finish_leftovers()
    # Another process may be told to publish at once; nobody has read the draft for that.
    settings.PULSE = {"PUBLISH": "auto"}
    publisher.finish_leftovers()
    settings.PULSE = {"PUBLISH": "manual"}
    assert numbers()[-1] == policy
    made = publisher.publish(KIM, reason="Friday")
    assert (made.number, made.reason, made.actor_name) == (policy + 1, "Friday", "kim")
    assert {"/saved", "/edited", "/applied"} <= exempt()
    assert in_force("/edited")
    assert publisher.draft_changes() == []
    assert publisher.publish(KIM) is None


def test_a_draft_that_was_taken_back_leaves_no_mark(policy, settings) -> None:
    """Nothing is left to publish."""
    settings.PULSE = {"PUBLISH": "manual"}
    with publisher.edit(KIM, source="admin"):
        make("/a")
    assert PolicyState.objects.get().dirty
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.filter(path="/a").delete()
    assert not PolicyState.objects.get().dirty


def test_with_manual_publishing_nothing_is_in_force_before_the_first(settings) -> None:
    """Not even what ``migrate`` seeds."""
    from pulse.policies import seeds

    RateTier.objects.all().delete()
    Exemption.objects.all().delete()
    PolicyRevision.objects.all().delete()
    PolicyState.objects.all().delete()
    current.forget()
    settings.PULSE = {"PUBLISH": "manual"}
    seeds.seed("default")
    assert RateTier.objects.get().name == "default"
    assert current.current_snapshot().default_tier is None
    assert publisher.publish(KIM).number == 1
    assert current.current_snapshot().default_tier.name == "default"


# The chain


def test_the_chain_of_revisions_holds(policy) -> None:
    """Each carries the hash of the one before."""
    for path in ("/a", "/b", "/ä🙂"):
        make(path)
    found = list(PolicyRevision.objects.order_by("number"))
    assert [r.previous_hash for r in found] == ["", *[r.hash for r in found[:-1]]]
    assert history.check_chain().broken is None


@pytest.mark.parametrize(
    "column",
    ["document", "changes", "reason", "actor_name", "request_id", "created_at", "number", "hash"],
)
def test_a_revision_changed_behind_its_back_is_found(policy, column: str) -> None:
    """Whatever of it was written by SQL."""
    for path in ("/a", "/b", "/c"):
        make(path)
    victim = policy + 1
    value = {"document": "{}", "changes": "[]", "number": 99, "created_at": "2020-01-01 00:00:00"}
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE pulse_policyrevision SET {column} = %s WHERE number = %s",
            [value.get(column, "forged"), victim],
        )
    assert history.check_chain().broken in {victim, victim + 1}


def test_a_revision_taken_out_is_found(policy) -> None:
    """The next one does not follow."""
    for path in ("/a", "/b"):
        make(path)
    PolicyRevision.objects.filter(number=policy + 1).delete()
    assert history.check_chain().broken == policy + 2


def test_a_revision_is_never_saved_twice(policy) -> None:
    """Going back makes a new one."""
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError, match="never changed"):
        newest().save()


def test_rolling_back_is_a_new_revision_of_the_old_document(policy) -> None:
    """With a reason of its own; again it changes nothing."""
    old = newest()
    make("/a")
    applied = history.rollback(old.number, KIM)
    assert (applied.changed, applied.revision) == (True, policy + 2)
    assert newest().document == old.document
    assert (newest().source, newest().reason) == ("rollback", f"Roll back to revision {policy}")
    assert not history.rollback(old.number, KIM).changed
    with pytest.raises(PolicyRevision.DoesNotExist):
        history.rollback(999, KIM)


def test_a_lost_state_row_goes_on_counting(policy) -> None:
    """Another lineage, so every process reloads; no number is given twice."""
    make("/a")
    lineage = PolicyState.objects.get().lineage
    PolicyState.objects.all().delete()
    with publisher.edit(KIM, source="admin"):
        make("/b")
    assert newest().number == policy + 2
    assert PolicyState.objects.get().lineage != lineage
    assert history.check_chain().broken is None


# Two at once


def run_together(*functions) -> list[BaseException]:
    """Run each in a thread of its own, from one moment; give back what they raised."""
    barrier, failed = threading.Barrier(len(functions)), []

    def run(function) -> None:
        try:
            barrier.wait(10)
            function()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return failed


def test_edits_at_once_are_ordered_and_none_is_lost(policy) -> None:
    """Each sees what the one before did; the chain holds."""

    def edit(name: str):
        def run() -> None:
            for number in range(5):
                with publisher.edit(KIM, source="admin", reason=name):
                    make(f"/{name}{number}")

        return run

    assert run_together(edit("a"), edit("b")) == []
    assert numbers() == [*range(1, policy + 11)]
    assert exempt() >= {f"/{name}{number}" for name in "ab" for number in range(5)}
    assert history.check_chain().broken is None
    assert current.current_snapshot().revision == policy + 10


def test_saves_at_once_are_all_in_the_last_revision(policy) -> None:
    """Without ``edit()``: some share a revision, none is left out."""

    def save(name: str):
        return lambda: [make(f"/{name}{number}") for number in range(5)]

    assert run_together(save("a"), save("b")) == []
    publisher.finish_leftovers()
    assert exempt() >= {f"/{name}{number}" for name in "ab" for number in range(5)}
    assert history.check_chain().broken is None
    assert in_force("/a4")
    assert in_force("/b4")


def test_own_limits_are_part_of_their_rule(policy) -> None:
    """A change of a limit alone is a change of the rule."""
    apply(doc(endpoint_limits=[{"name": "x", "path": "/x", "limits": ["1/s"]}]), KIM)
    OwnLimit.objects.update(rate="2/s")
    assert newest().changes[0]["key"] == {"name": "x"}
    assert newest().changes[0]["action"] == "update"
