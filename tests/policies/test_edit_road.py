"""The edit road where it is narrow: locks, renames, drafts, and what starts later."""

import contextvars
import os
import threading
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, connections
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.exceptions import InvalidDocument
from pulse.policies import current, publisher, switches
from pulse.policies.consistency import still_used
from pulse.policies.document import apply
from pulse.policies.models import (
    Exemption,
    OwnLimit,
    PolicyRevision,
    PolicyState,
    RateTier,
    TierAssignment,
    TierLimit,
)
from tests.factories import KIM, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db(transaction=True)

SEARCH = {"name": "search", "url_name": "search", "limits": ["5/m"]}


@pytest.mark.parametrize(
    "write",
    [
        lambda row: row.save(),
        lambda row: row.delete(),
        lambda row: Exemption.objects.filter(pk=row.pk).update(description="new"),
        lambda row: Exemption.objects.filter(pk=row.pk).delete(),
        lambda row: Exemption.objects.bulk_create([Exemption(path="/more")]),
    ],
    ids=["save", "delete", "update", "queryset-delete", "bulk-create"],
)
def test_state_is_locked_before_the_row(write) -> None:
    """An edit goes that way about; the other way about is a deadlock on PostgreSQL."""
    row = Exemption.objects.create(path="/one")
    with CaptureQueriesContext(connection) as queries:
        write(row)
    writes = [
        query["sql"]
        for query in queries
        if query["sql"].startswith(("INSERT", "UPDATE", "DELETE")) and "pulse_" in query["sql"]
    ]
    assert "pulse_policystate" in writes[0]
    assert any("pulse_exemption" in write for write in writes[1:])


def test_what_starts_later_must_compile_now() -> None:
    """Else it would be found out at its time, by requests."""
    later = timezone.now() + timedelta(hours=1)
    apply(doc(endpoint_limits=[SEARCH | {"starts_at": later}]), KIM)
    before = PolicyState.objects.get().revision
    with pytest.raises(InvalidDocument), publisher.edit(KIM, source="admin"):
        OwnLimit.objects.update(rate="banana")
    assert PolicyState.objects.get().revision == before
    assert OwnLimit.objects.get().rate == "5/m"


def test_what_cannot_be_compiled_in_its_time_leaves_the_old_policy(caplog) -> None:
    """A revision written past everything: the limits in force stay, and it is told once."""
    later = timezone.now() + timedelta(seconds=30)
    apply(doc(endpoint_limits=[SEARCH | {"starts_at": later}]), KIM)
    held = current.current_snapshot()
    current._held.document["endpoint_limits"][0]["limits"][0]["rate"] = "banana"
    with time_machine.travel(later + timedelta(seconds=1)):
        assert not current.is_loaded()
        kept = current.current_snapshot()
        assert kept.default_tier is held.default_tier
        assert current.is_loaded()
        current.current_snapshot()
    assert caplog.text.count("cannot be compiled") == 1


@pytest.mark.parametrize("kind", ["user", "group"])
def test_tier_goes_with_whom_it_was_given_to(kind) -> None:
    """Whoever takes the old name of a user or group has not its tier."""
    model, column = (get_user_model(), "username") if kind == "user" else (Group, "name")
    owner = model.objects.create(**{column: "kim"})
    apply(
        doc(
            rate_tiers=[default_tier(), {"name": "paid", "limits": ["9/s"]}],
            tier_assignments=[{kind: "kim", "tier": "paid"}],
        ),
        KIM,
    )
    if kind == "user":
        with CaptureQueriesContext(connection) as queries:
            owner.save(update_fields=["last_login"])
        assert not any("pulse_" in query["sql"] for query in queries)
    setattr(owner, column, "kim2")
    owner.save()
    assigned = current.current_snapshot().assignments
    assert list(assigned.users if kind == "user" else assigned.groups) == ["kim2"]


def test_fork_does_not_inherit_a_held_lock() -> None:
    """A child of a process that was loading can load."""
    held = threading.Event()
    over = threading.Event()

    def hold() -> None:
        with current._held.lock:
            held.set()
            over.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        os._exit(0 if current._held.lock.acquire(timeout=2) else 1)
    _, status = os.waitpid(child, 0)
    over.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_heartbeat_leaves_no_connection() -> None:
    """One held for good would keep a test database from being dropped."""
    found = []

    def look() -> None:
        current.leaving_no_connection(current.look_at_database)()
        found.append(connections["default"].connection)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [None]


def test_everything_to_shadow_acts_at_once_beside_a_draft(settings) -> None:
    """With manual publishing the emergency is in force, and the draft is still one."""
    denied = [{"network": "203.0.113.0/24"}, {"network": "203.0.113.7", "action": "allow"}]
    apply(doc(rate_tiers=[default_tier(mode="enforce")], access_rules=denied), KIM)
    settings.PULSE = {"PUBLISH": "manual"}
    applied = apply({"endpoint_limits": [SEARCH]}, KIM)
    assert applied.draft
    changed, edit = switches.everything_to_shadow(KIM, source="admin")
    assert changed == 4
    assert edit.revision is not None
    snapshot = current.current_snapshot()
    assert snapshot.default_tier is not None
    assert snapshot.default_tier.mode == "shadow"
    assert {rule.enforced for rule in snapshot.access.rules.values()} == {False}
    assert len(snapshot.rules) == 1
    assert PolicyState.objects.get().dirty
    publisher.publish(KIM, source="admin")
    assert PolicyRevision.objects.first().source == "admin"
    assert len(current.current_snapshot().rules) == 2


def test_command_says_that_it_made_a_draft(settings, tmp_path, capsys) -> None:
    """An operator who reads "revision 2" would think it in force."""
    settings.PULSE = {"PUBLISH": "manual"}
    file = tmp_path / "policy.yaml"
    file.write_text("exemptions: [/new]")
    call_command("pulse_apply", str(file))
    assert "1 change saved as a draft beside revision 1." in capsys.readouterr().out


def test_version_counts_every_change_of_a_rule() -> None:
    """Two stale copies saved are two versions; a limit that changes raises its tier's."""
    tier = RateTier.objects.get(name="default")
    one, other = RateTier.objects.get(pk=tier.pk), RateTier.objects.get(pk=tier.pk)
    one.save()
    other.save()
    assert RateTier.objects.get(pk=tier.pk).version == tier.version + 2
    limit = TierLimit.objects.get(tier=tier)
    limit.rate = "11/s"
    limit.save()
    assert RateTier.objects.get(pk=tier.pk).version == tier.version + 3
    TierLimit.objects.create(tier=tier, rate="1000/h").delete()
    assert RateTier.objects.get(pk=tier.pk).version == tier.version + 5


def test_edit_without_a_state_row_is_published() -> None:
    """A row that somebody deleted by hand is made again."""
    PolicyState.objects.all().delete()
    Exemption.objects.create(path="/new")
    assert current.current_snapshot().exempt_paths.find("/new") == "/new"


def test_context_copied_within_an_edit_does_not_outlive_it() -> None:
    """A task started there saves on its own account."""
    with publisher.edit(KIM, source="admin"):
        copied = contextvars.copy_context()
        Exemption.objects.create(path="/one")
    copied.run(Exemption.objects.create, path="/two")
    assert current.current_snapshot().exempt_paths.find("/two") == "/two"


def test_prune_removes_what_names_before_what_is_named() -> None:
    """A tier and its only assignment go in one document."""
    apply(
        doc(
            rate_tiers=[default_tier(), {"name": "paid", "limits": ["9/s"]}],
            tier_assignments=[{"network": "192.0.2.0/24", "tier": "paid"}],
        ),
        KIM,
    )
    apply(doc(rate_tiers=[default_tier()]), KIM, prune=True)
    assert not RateTier.objects.filter(name="paid").exists()


def test_what_still_names_a_tier_is_told_by_name() -> None:
    """Not as Python prints an error: an assignment made behind the document's back."""
    apply(doc(rate_tiers=[default_tier(), {"name": "paid", "limits": ["9/s"]}]), KIM)
    tier = RateTier.objects.get(name="paid")
    TierAssignment.objects.create(network="192.0.2.0/24", tier=tier)
    with pytest.raises(ProtectedError) as refused:
        tier.delete()
    assert still_used(refused.value) == "It is still used by: network 192.0.2.0/24 → paid."


def test_everything_to_shadow_passes_a_broken_row() -> None:
    """The emergency brake holds where every other edit is refused; the row stays to be mended."""
    apply(doc(rate_tiers=[default_tier(mode="enforce")], endpoint_limits=[SEARCH]), KIM)
    OwnLimit.objects.update(rate="garbage")
    assert publisher.has_unpublished()
    assert publisher.problems_of_rows()
    changed, edit = switches.everything_to_shadow(KIM, source="admin")
    assert changed == 2
    assert edit.revision is not None
    assert {rule.mode for rule in current.current_snapshot().rules} == {"shadow"}
    assert publisher.has_unpublished()
    OwnLimit.objects.update(rate="5/m")
    assert not publisher.has_unpublished()


def test_every_kind_of_rule_goes_to_shadow_where_the_published_policy_alone_is_changed(
    settings,
) -> None:
    """A row of each model that can refuse; what takes permissions away stays as it is."""
    denied = {"network": "203.0.113.9"}
    headers = {"name": "site", "preset": "html"}
    tier = default_tier(mode="enforce")
    policy = {"endpoint_limits": [SEARCH], "access_rules": [denied], "header_policies": [headers]}
    apply(doc(rate_tiers=[tier], **policy), KIM)
    settings.PULSE = {"PUBLISH": "manual"}
    _changed, edit = switches.everything_to_shadow(KIM, source="admin")
    assert edit.revision is not None
    modes = {
        kind: {item["mode"] for item in items}
        for kind, items in publisher.newest_document().items()
        if kind in {"rate_tiers", "endpoint_limits", "access_rules", "header_policies"}
    }
    assert modes == {
        **{kind: {"shadow"} for kind in ("rate_tiers", "endpoint_limits", "access_rules")},
        "header_policies": {"enforce"},
    }


@pytest.mark.parametrize(
    ("kind", "item", "place"),
    [
        ("trusted_proxies", "0.0.0.0/0", "trusted_proxies.0.network"),
        ("trusted_proxies", "::/0", "trusted_proxies.0.network"),
        ("exemptions", "/", "exemptions.0.path"),
        ("exemptions", "0.0.0.0/0", "exemptions.0.network"),
    ],
)
def test_everybody_is_no_exception(kind, item, place) -> None:
    """What would end every limit is refused at its field, and says what to do instead."""
    with pytest.raises(InvalidDocument) as refused:
        apply({kind: [item]}, KIM)
    assert place in refused.value.errors


def test_document_that_is_none_is_told() -> None:
    """Also by what hosts call in their tests."""
    with pytest.raises(InvalidDocument):
        apply([], KIM)  # type: ignore[arg-type]
