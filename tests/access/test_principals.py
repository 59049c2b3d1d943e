"""Who asks: a session of the staff, a key, or nobody."""

from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.principals import principal_of
from pulse.access.scopes import Scope
from pulse.access.signals import key_failed
from pulse.exceptions import KeyRefused, TooManyFailures
from pulse.policies.publisher import Actor
from tests.factories import KIM

pytestmark = pytest.mark.django_db(transaction=True)

WRONG = "pulse_nobody00_" + "s" * 43


@pytest.fixture(autouse=True)
def _no_delay(settings):
    settings.PULSE = {**settings.PULSE, "AUTH_DELAY_MS": 0}


def ask(token: str | None = None, *, user=None, address: str = "203.0.113.9"):
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = RequestFactory().get("/pulse/", headers=headers, REMOTE_ADDR=address)
    request.user = user or AnonymousUser()
    return principal_of(request)


def staff(*permissions: str):
    made = get_user_model().objects.create_user("ana", is_staff=True)
    made.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return made


def test_nobody_asks_where_nothing_came():
    assert ask() is None
    request = RequestFactory().get("/pulse/")
    assert principal_of(request) is None


def test_a_session_asks_with_its_permissions():
    ana = staff("operate")
    found = ask(user=ana)
    assert found.actor == Actor("user", "ana", "203.0.113.9")
    assert found.scopes == {Scope.VIEW, Scope.OPERATE}
    assert (found.user, found.key_prefix) == (ana, None)


def test_a_user_without_permission_is_somebody_who_may_nothing():
    found = ask(user=get_user_model().objects.create_user("customer"))
    assert not found.scopes
    assert not found.holds(Scope.VIEW)


@pytest.mark.parametrize(
    ("scopes", "held"),
    [
        (["view"], {Scope.VIEW}),
        (["operate"], {Scope.VIEW, Scope.OPERATE}),
        (["administer"], set(Scope)),
        (["administer", "view"], set(Scope)),
    ],
)
def test_a_key_asks_with_its_scopes_and_those_they_include(scopes, held):
    new = keys.make("ci", actor=KIM, scopes=scopes)
    found = ask(new.text)
    assert found.actor == Actor("api_key", "ci", "203.0.113.9")
    assert (found.scopes, found.key_prefix, found.user) == (held, new.row.prefix, None)


def test_a_key_goes_before_a_session():
    """What is sent on purpose counts: a script with a cookie jar gets what its key may."""
    new = keys.make("ci", actor=KIM)
    assert ask(new.text, user=staff("administer")).scopes == {Scope.VIEW}
    with pytest.raises(KeyRefused):
        ask(WRONG, user=staff_of_name("eva"))


def staff_of_name(name: str):
    return get_user_model().objects.create_superuser(name)


def test_a_token_of_another_s_counts_beside_a_session_for_nothing_and_alone_as_a_wrong_key():
    """A proxy that logs people in adds its token to each of their requests."""
    assert ask("eyJhbGciOiJIUzI1NiJ9.e30.c2ln", user=staff("view")).actor.name == "ana"
    with pytest.raises(KeyRefused):
        ask("eyJhbGciOiJIUzI1NiJ9.e30.c2ln")


def test_other_schemes_are_nobody():
    request = RequestFactory().get("/", headers={"Authorization": "Basic a2ltOnNlY3JldA=="})
    assert principal_of(request) is None


def test_failures_of_an_address_are_limited_for_its_right_keys_too(settings):
    """API.md 1: then 429; who guesses is not told that a guess was right."""
    settings.PULSE = {**settings.PULSE, "AUTH_FAILURES": "3/m"}
    new = keys.make("ci", actor=KIM)
    for _ in range(3):
        with pytest.raises(KeyRefused):
            ask(WRONG)
    for token in (WRONG, new.text):
        with pytest.raises(TooManyFailures) as refused:
            ask(token)
        assert 0 < refused.value.retry_after_s <= 20
    assert ask(new.text, address="203.0.113.10").key_prefix == new.row.prefix
    assert ask(user=staff("view")).actor.name == "ana"


def test_right_keys_use_up_nothing(settings):
    settings.PULSE = {**settings.PULSE, "AUTH_FAILURES": "1/m"}
    new = keys.make("ci", actor=KIM)
    for _ in range(3):
        assert ask(new.text)
    with pytest.raises(KeyRefused):
        ask(WRONG)


def test_failures_are_counted_in_redis_for_all_processes(settings, redis_cache):
    settings.PULSE = {**settings.PULSE, "AUTH_FAILURES": "1/m"}
    with pytest.raises(KeyRefused):
        ask(WRONG)
    with redis_cache.client() as client:
        assert any(b"access:failures:203.0.113.9" in key for key in client.keys("*"))
    with pytest.raises(TooManyFailures):
        ask(WRONG)


def test_a_failure_is_told_without_the_key(caplog):
    new = keys.make("ci", actor=KIM)
    wrong = new.text[:-4] + "AAAA"
    told = []

    def receive(**arguments):
        told.append(arguments)
        raise RuntimeError("no audit")

    key_failed.connect(receive)
    try:
        with pytest.raises(KeyRefused):
            ask(wrong)
    finally:
        key_failed.disconnect(receive)
    assert (told[0]["prefix"], told[0]["reason"]) == (new.row.prefix, "wrong")
    assert told[0]["actor"] == Actor("api_key", new.row.prefix, "203.0.113.9")
    assert wrong not in caplog.text
    assert "A key from 203.0.113.9 does not count: wrong" in caplog.text


def test_the_use_of_a_key_is_noted_once_a_minute():
    """No write a request."""
    new = keys.make("ci", actor=KIM)
    with time_machine.travel("2026-05-04T10:20:30Z", tick=False) as clock:
        ApiKey.objects.update(expires_at=None)
        ask(new.text)
        with CaptureQueriesContext(connection) as captured:
            ask(new.text)
        assert not [query for query in captured if query["sql"].startswith("UPDATE")]
        row = ApiKey.objects.get()
        assert row.last_used_at.isoformat() == "2026-05-04T10:20:00+00:00"
        clock.shift(timedelta(seconds=30))
        ask(new.text)
    row = ApiKey.objects.get()
    assert row.last_used_at.isoformat() == "2026-05-04T10:21:00+00:00"
    assert row.version == 1


def test_another_process_that_noted_a_later_minute_is_not_written_over():
    new = keys.make("ci", actor=KIM)
    later = timezone.now().replace(second=0, microsecond=0) + timedelta(minutes=5)
    ApiKey.objects.update(last_used_at=later)
    ask(new.text)
    assert ApiKey.objects.get().last_used_at == later


def test_a_request_that_is_one_transaction_notes_the_use_after_it():
    """Else it would lock the key before an edit's state, and deadlock with a revocation."""
    new = keys.make("ci", actor=KIM)
    with transaction.atomic():
        ask(new.text)
        assert ApiKey.objects.get().last_used_at is None
    assert ApiKey.objects.get().last_used_at is not None


def test_a_use_that_cannot_be_noted_fails_nothing(monkeypatch):
    new = keys.make("ci", actor=KIM)

    def fail(*_, **__):
        raise OperationalError("database is locked")

    monkeypatch.setattr(QuerySet, "update", fail)
    assert ask(new.text).key_prefix == new.row.prefix
