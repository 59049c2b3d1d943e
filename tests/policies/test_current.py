"""The policy that a process holds, and how it comes by the next."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import InterfaceError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from pulse.core.announcement import Announcement
from pulse.core.snapshot import Snapshot
from pulse.exceptions import StoreUnavailable
from pulse.policies import current, publisher
from pulse.policies.document import apply
from pulse.policies.models import Exemption, PolicyRevision, PolicyState
from pulse.store import announcement as store
from tests.factories import KIM, another_process, default_tier
from tests.factories import document as doc

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def policy() -> Announcement:
    """The seeded policy, held; gives its announcement."""
    publisher.finish_leftovers()
    return current.current_snapshot().announcement


@pytest.fixture
def announced(monkeypatch) -> list[Announcement]:
    """What this process announces."""
    found: list[Announcement] = []
    monkeypatch.setattr(store, "announce", lambda one: found.append(one) or one)
    return found


def edited_elsewhere(path: str) -> Announcement:
    """An edit in another process: this one hears of nothing."""
    with another_process(), publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path=path)
    return current.announcement_of(PolicyState.objects.get())


def test_the_first_request_loads_and_the_next_asks_nothing(policy) -> None:
    """Steady state costs no query (S1-30)."""
    current.forget()
    assert not current.is_loaded()
    with CaptureQueriesContext(
        connection,
    ) as loading:
        current.current_snapshot()
    assert len(loading) == 3
    assert current.is_loaded()
    with CaptureQueriesContext(connection) as steady:
        for _ in range(100):
            current.current_snapshot()
    assert len(steady) == 0


def test_many_threads_at_the_start_load_once(policy, monkeypatch) -> None:
    """Single-flight: others wait for the one that loads."""
    current.forget()
    loads, load = [], current._load

    def slow() -> None:
        loads.append(1)
        time.sleep(0.05)
        load()

    monkeypatch.setattr(current, "_load", slow)
    barrier, found = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait(10)
        found.append(current.current_snapshot())
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(loads) == 1
    assert {id(snapshot) for snapshot in found} == {id(current.current_snapshot())}


def test_a_request_waits_a_quarter_of_a_second_for_who_loads(policy) -> None:
    """Then it goes on with what is held, or with the empty policy."""
    held = current.current_snapshot()
    with current._held.lock:
        began = time.monotonic()
        assert current.catch_up("x:1:0") is held
        assert 0.2 < time.monotonic() - began < 1
        current._held.snapshot = None
        assert current.current_snapshot() is current.NOTHING
    current._held.snapshot = held


def test_what_is_announced_is_loaded(policy, announced) -> None:
    """Newer than what is held: taken up, and nothing announced back."""
    newer = edited_elsewhere("/new")
    found = current.catch_up(str(newer))
    assert found.announcement == newer
    assert found.exempt_paths.find("/new")
    announced.clear()
    with CaptureQueriesContext(connection) as queries:
        current.catch_up(str(newer))
    assert (len(queries), announced) == (0, [])


@pytest.mark.parametrize("text", [None, "", "garbage", "a:b:c", "::::", "x" * 10_000])
def test_what_says_nothing_is_announced_anew(policy, announced, text) -> None:
    """A flushed Redis: the database decides and is announced."""
    assert current.catch_up(text).announcement == policy
    assert announced == [policy]


def test_another_lineage_is_written_over(policy, announced) -> None:
    """Of a database that this one took the place of."""
    current.catch_up("another-lineage:999:0")
    assert announced == [policy]
    assert current.current_snapshot().announcement == policy


def test_an_older_announcement_is_mended(policy, announced) -> None:
    """A Redis restored from an earlier day, or one that missed an announcement."""
    newer = edited_elsewhere("/new")
    announced.clear()
    current.catch_up(str(policy))
    assert current.current_snapshot().announcement in {policy, newer}
    current.catch_up(None)
    assert current.current_snapshot().announcement == newer
    announced.clear()
    current.catch_up(str(policy))
    assert announced == [newer]


def test_a_revision_that_no_database_has_is_not_asked_for_by_each_request(
    policy, announced
) -> None:
    """A database restored from an earlier day: requests go on, at one look a second."""
    future = f"{policy.lineage}:{policy.revision + 50}:0"
    assert current.catch_up(future).announcement == policy
    assert announced == []
    with CaptureQueriesContext(connection) as queries:
        for _ in range(50):
            assert current.catch_up(future).announcement == policy
    assert len(queries) == 0
    newer = edited_elsewhere("/new")
    assert current.catch_up(str(newer)).announcement == newer


def test_a_restored_database_begins_a_lineage_of_its_own(policy, announced, monkeypatch) -> None:
    """It would count up again through numbers that other processes hold already."""
    monkeypatch.setattr(current, "RETRY_S", 0.0)
    future = f"{policy.lineage}:{policy.revision + 50}:0"
    assert current.catch_up(future).announcement == policy
    found = current.catch_up(future).announcement
    assert found.lineage != policy.lineage
    assert found.revision == policy.revision
    assert announced == [found]
    assert str(PolicyState.objects.get().lineage) == found.lineage
    # An announcement that is merely on its way begins none.
    newer = edited_elsewhere("/new")
    assert current.catch_up(str(newer)).announcement == newer


def test_only_a_newer_policy_is_adopted(policy) -> None:
    """Of two commits, the earlier may come to memory later."""
    newer = edited_elsewhere("/new")
    current.catch_up(str(newer))
    current.adopt({"version": 1}, Snapshot(policy))
    assert current.current_snapshot().announcement == newer
    current.adopt({"version": 1}, Snapshot(Announcement("other", 1)))
    assert current.current_snapshot().announcement.lineage == "other"


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_that_is_gone_leaves_the_policy_in_force(policy, error, monkeypatch) -> None:
    """Also where the driver says that the connection is closed; tried again after a second."""
    newer = edited_elsewhere("/new")
    held = current.current_snapshot()
    asked = []

    def fail(execute, sql, params, many, context):
        asked.append(sql)
        raise error

    with connection.execute_wrapper(fail):
        for _ in range(20):
            assert current.catch_up(str(newer)) is held
        current.look_at_database()
        publisher.finish_leftovers()
        assert len(asked) == 3
    current._held.retry_at = 0.0
    assert current.catch_up(str(newer)).announcement == newer


def test_a_process_without_a_database_has_the_empty_policy(policy) -> None:
    """Nothing is refused, and nothing raised; the next second asks again."""
    current.forget()

    def fail(execute, sql, params, many, context):
        raise OperationalError("gone")

    with connection.execute_wrapper(fail):
        assert current.current_snapshot() is current.NOTHING
        assert current.current_snapshot() is current.NOTHING
    assert current.current_snapshot() is current.NOTHING
    current._held.retry_at = 0.0
    assert current.current_snapshot().announcement == policy


def test_a_revision_that_is_missing_does_not_empty_the_policy(policy, caplog) -> None:
    """Deleted by hand: the policy held stays, and a person is told."""
    newer = edited_elsewhere("/new")
    held = current.current_snapshot()
    PolicyRevision.objects.filter(number=newer.revision).delete()
    assert current.catch_up(str(newer)) is held
    assert f"Revision {newer.revision} is missing" in caplog.text


@pytest.mark.parametrize(
    "document", [{"rate_tiers": [{}]}, {"rate_tiers": [{"mode": "loud"}]}, [], 7]
)
def test_a_document_that_cannot_be_compiled_does_not_empty_the_policy(
    policy, caplog, document
) -> None:
    """Written by a newer release that is being rolled out, say."""
    newer = edited_elsewhere("/new")
    held = current.current_snapshot()
    PolicyRevision.objects.filter(number=newer.revision).update(document=document)
    assert current.catch_up(str(newer)) is held
    assert "stays in force" in caplog.text


# Time


def at(seconds: float) -> str:
    moment = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.isoformat().replace("+00:00", "Z")


def test_a_policy_starts_and_ends_at_its_second(policy) -> None:
    """Without an edit, and without a query."""
    item = {"path": "/sale", "starts_at": at(10), "ends_at": at(20)}
    with time_machine.travel(datetime(2027, 1, 1, tzinfo=UTC), tick=False) as clock:
        apply(doc(exemptions=[item]), KIM)

        def holds() -> bool:
            return current.current_snapshot().exempt_paths.find("/sale") is not None

        seen = {}
        with CaptureQueriesContext(connection) as queries:
            for second in (0, 9.999, 10, 15, 19.999, 20, 30):
                clock.move_to(datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=second))
                seen[second] = holds()
        assert seen == {
            0: False, 9.999: False, 10: True, 15: True, 19.999: True, 20: False, 30: False,
        }  # fmt: skip
        assert len(queries) == 0
        assert current.current_snapshot().valid_until is None


def test_a_tier_that_ends_leaves_its_clients_to_the_default(policy) -> None:
    """Assignments to what is not in force are none."""
    trial = {"name": "trial", "limits": ["1/s"], "ends_at": at(5)}
    given = {"network": "203.0.113.0/24", "tier": "trial"}
    with time_machine.travel(datetime(2027, 1, 1, tzinfo=UTC), tick=False) as clock:
        apply(doc(rate_tiers=[default_tier(), trial], tier_assignments=[given]), KIM)
        assert current.current_snapshot().assignments
        assert (
            current.current_snapshot().valid_until
            == datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC).timestamp()
        )
        clock.shift(5)
        assert not current.current_snapshot().assignments


# The heartbeat's look


def test_without_redis_the_database_is_looked_at(policy) -> None:
    """An edit of another process is in force after the look, at most every two seconds."""
    newer = edited_elsewhere("/new")
    current.look()
    assert current.current_snapshot().announcement == newer
    newest = edited_elsewhere("/newer")
    current.look()
    assert current.current_snapshot().announcement == newer
    current._held.looked_at -= current.LOOK_DATABASE_S
    current.look()
    assert current.current_snapshot().announcement == newest


def test_with_redis_the_announcement_is_looked_at(policy, redis_cache) -> None:
    """One value a second; the database only for what nobody announced."""
    store.announce(policy)
    current.look()
    current._held.looked_at = time.monotonic()
    with CaptureQueriesContext(connection) as queries:
        current.look()
    assert len(queries) == 0
    newer = edited_elsewhere("/new")
    current.look()
    assert current.current_snapshot().announcement == newer


def test_a_flushed_redis_is_told_again(policy, redis_cache) -> None:
    """By the first process that looks."""
    store.announce(policy)
    with redis_cache.client() as client:
        client.flushdb()
    current.look()
    assert store.read() == policy


def test_an_edit_is_announced_after_commit(policy, redis_cache) -> None:
    """Not before, and with the next revision."""
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/a")
        assert store.read() != Announcement(policy.lineage, policy.revision + 1)
    assert store.read() == Announcement(policy.lineage, policy.revision + 1)


def test_a_redis_that_is_away_does_not_fail_an_edit(policy, monkeypatch) -> None:
    """It is in force here, and others find it in the database."""

    def fail(one: Announcement) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "announce", fail)
    with publisher.edit(KIM, source="admin") as edit:
        Exemption.objects.create(path="/a")
    assert current.current_snapshot().revision == edit.revision.number


def test_an_override_is_alone_in_force_and_then_gone(policy) -> None:
    """For tests of hosts."""
    from pulse.policies.completion import complete

    with current.overridden(complete(doc(exemptions=["/x"]))) as snapshot:
        assert current.current_snapshot() is snapshot
        edited_elsewhere("/y")
        assert current.current_snapshot() is snapshot
    assert current.current_snapshot() is not snapshot


def test_a_new_process_goes_back_to_the_newest_revision_that_makes_a_policy(caplog) -> None:
    """What was written into a published document by hand ends no limit in processes to come."""
    publisher.finish_leftovers()
    for path in ("/one", "/two"):
        with publisher.edit(KIM, source="admin"):
            Exemption.objects.create(path=path)
    newest = PolicyRevision.objects.first()
    spoilt = {**newest.document, "rate_tiers": [{"name": "default"}]}
    PolicyRevision.objects.filter(pk=newest.pk).update(document=spoilt)
    current.forget()
    found = current.current_snapshot()
    assert found.default_tier is not None
    assert found.exempt_paths.find("/one")
    assert found.exempt_paths.find("/two") is None
    assert found.revision == newest.number
    assert f"Revision {newest.number} makes no policy, so {newest.number - 1} is in force" in (
        caplog.text
    )
    with publisher.edit(KIM, source="admin"):
        Exemption.objects.create(path="/three")
    assert current.current_snapshot().exempt_paths.find("/three")
