"""A POST that is sent again does nothing again."""

import threading
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError, connection, connections
from django.utils import timezone

from pulse.access import answers
from pulse.access.models import StoredAnswer
from pulse.access.scopes import Scope
from pulse.api.policies import PolicyList
from pulse.exceptions import RequestRunning
from pulse.policies.models import RateTier
from pulse.probes import retention
from tests.api.conftest import problem, script

pytestmark = pytest.mark.django_db

GOLD = {"name": "gold", "limits": ["100/s"]}


def test_the_same_request_is_told_the_same(administrator) -> None:
    first = administrator.post("rate-tiers/?reason=a", GOLD, Idempotency_Key="k1")
    again = administrator.post("rate-tiers/?reason=a", GOLD, Idempotency_Key="k1")
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.json()) == (201, first.json())
    for name in ("Location", "ETag", "X-Pulse-Revision", "Content-Type", "Allow", "Cache-Control"):
        assert again.headers[name] == first.headers[name]


def test_a_refusal_that_stays_one_is_repeated(administrator) -> None:
    first = administrator.post("rate-tiers/", {}, Idempotency_Key="k1")
    again = administrator.post("rate-tiers/", {}, Idempotency_Key="k1")
    problem(again, 400, "invalid")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


def test_other_refusals_leave_the_key_free(administrator) -> None:
    body = {"network": "127.0.0.0/8", "path": "/admin/"}
    problem(administrator.post("access-rules/", body, Idempotency_Key="k1"), 409, "lock_out")
    assert not StoredAnswer.objects.exists()
    problem(administrator.post("access-rules/", body, Idempotency_Key="k1"), 409, "lock_out")


def test_a_key_with_something_else_is_a_mistake(administrator) -> None:
    administrator.post("rate-tiers/?dry_run=1", GOLD, Idempotency_Key="k1")
    other = administrator.post(
        "rate-tiers/?dry_run=1", {**GOLD, "percent": 5}, Idempotency_Key="k1"
    )
    problem(other, 422, "idempotency_mismatch")
    real = administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    problem(real, 422, "idempotency_mismatch")
    sent = {"Idempotency_Key": "k1", "If_Match": '"7"'}
    problem(administrator.post("rate-tiers/?dry_run=1", GOLD, **sent), 422, "idempotency_mismatch")
    sent = {"Idempotency_Key": "k1", "If_None_Match": "*"}
    problem(administrator.post("rate-tiers/?dry_run=1", GOLD, **sent), 422, "idempotency_mismatch")


def test_keys_of_others_and_elsewhere_are_others(administrator) -> None:
    administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    elsewhere = administrator.post("exemptions/", {"path": "/a"}, Idempotency_Key="k1")
    other = script(Scope.ADMINISTER).post("rate-tiers/", GOLD, Idempotency_Key="k1")
    assert elsewhere.status_code == 201
    problem(other, 400, "invalid")


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\x7f"])
def test_what_is_no_key(administrator, key) -> None:
    told = problem(administrator.post("rate-tiers/", GOLD, Idempotency_Key=key), 400, "invalid")
    assert list(told["errors"]) == ["Idempotency-Key"]
    assert not RateTier.objects.filter(name="gold").exists()


def test_only_a_post_is_kept(administrator) -> None:
    administrator.get("rate-tiers/", Idempotency_Key="k1")
    administrator.put("policy/?dry_run=1", {}, Idempotency_Key="k1")
    assert not StoredAnswer.objects.exists()


def test_an_answer_is_kept_for_a_day(administrator) -> None:
    first = administrator.post("rate-tiers/?dry_run=1", GOLD, Idempotency_Key="k1")
    now = timezone.now()
    with time_machine.travel(now + timedelta(hours=23)):
        again = administrator.post("rate-tiers/?dry_run=1", GOLD, Idempotency_Key="k1")
        assert again.headers["Idempotency-Replayed"] == "true"
        assert retention.prune(timezone.now()).rows["answers"] == 0
    with time_machine.travel(now + timedelta(hours=25)):
        anew = administrator.post(
            "rate-tiers/?dry_run=1", {**GOLD, "percent": 1}, Idempotency_Key="k1"
        )
        assert "Idempotency-Replayed" not in anew.headers
    assert first.status_code == anew.status_code == 200
    with time_machine.travel(now + timedelta(hours=50)):
        assert retention.prune(timezone.now()).rows["answers"] == 1
    assert not StoredAnswer.objects.exists()


def test_what_is_running_is_told_so_and_free_again_when_its_process_was_killed(
    administrator,
) -> None:
    administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    # As a process leaves it that is killed between its claim and its answer.
    StoredAnswer.objects.update(status=None, body="", headers={})
    RateTier.objects.filter(name="gold").delete()
    told = administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    assert problem(told, 409, "idempotency_running")["retry_after"] == 1
    StoredAnswer.objects.update(created_at=timezone.now() - answers.RUNNING - timedelta(seconds=1))
    assert administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1").status_code == 201


def test_a_slow_answer_does_not_overwrite_that_of_who_took_over(db) -> None:
    slow = answers.claim("d", "b")
    assert isinstance(slow, answers.Claim)
    late = timezone.now() + answers.RUNNING + timedelta(seconds=1)
    with time_machine.travel(late):
        fast = answers.claim("d", "b")
        assert isinstance(fast, answers.Claim)
        answers.keep(fast, 201, {}, "fast")
        answers.keep(slow, 201, {}, "slow")
        answers.release(slow)
        found = answers.claim("d", "b")
    assert isinstance(found, StoredAnswer)
    assert found.body == "fast"


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_does_it(administrator, monkeypatch) -> None:
    """The others are told that it runs, or what came of it; nothing is done twice."""
    administrator.get("rate-tiers/")
    did = []
    post = PolicyList.post

    def counted(self, request, **kwargs):
        did.append(1)
        return post(self, request, **kwargs)

    monkeypatch.setattr(PolicyList, "post", counted)
    barrier = threading.Barrier(8)
    told = []

    def one() -> None:
        barrier.wait()
        try:
            told.append(administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted({answer.status_code for answer in told} - {409}) == [201]
    assert len(did) == RateTier.objects.filter(name="gold").count() == 1


def test_whoever_always_loses_is_told_that_it_runs(monkeypatch, db) -> None:
    monkeypatch.setattr(answers, "RUNNING", timedelta(0))
    answers.claim("d", "b")
    monkeypatch.setattr("django.db.models.query.QuerySet.update", lambda *_a, **_k: 0)
    with pytest.raises(RequestRunning):
        answers.claim("d", "b")
    assert connection.queries_log is not None


def test_a_large_body_is_compared_as_well(administrator, settings) -> None:
    """What the host lets a form have says nothing of a document."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    large = {**GOLD, "description": "x" * 200}
    first = administrator.post("rate-tiers/", large, Idempotency_Key="k1")
    again = administrator.post("rate-tiers/", large, Idempotency_Key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    large["description"] += "y"
    other = administrator.post("rate-tiers/", large, Idempotency_Key="k1")
    problem(other, 422, "idempotency_mismatch")


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_told_was_not_done(administrator, monkeypatch) -> None:
    """Else it would be sent, and done, again."""
    write = PolicyList.write

    def failing(_view: PolicyList, _found: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(PolicyList, "write", failing)
    told = administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    assert told.status_code == 503
    assert not RateTier.objects.filter(name="gold").exists()
    monkeypatch.setattr(PolicyList, "write", write)
    assert administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1").status_code == 201


def test_a_deed_that_nobody_foresaw_the_end_of_is_not_done_again(
    administrator, monkeypatch
) -> None:
    def failing(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(PolicyList, "post", failing)
    with pytest.raises(ZeroDivisionError):
        administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    told = administrator.post("rate-tiers/", GOLD, Idempotency_Key="k1")
    problem(told, 409, "idempotency_running")
