"""Logins are written, and never fail by it."""

import logging
from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.signals import user_login_failed
from django.db import connection, transaction
from django.test import Client, RequestFactory

from pulse.audit import failures
from pulse.audit.models import AuditEntry
from pulse.policies.publisher import Actor

LOGIN = "/admin/login/"


@pytest.fixture
def staff(db: None) -> Any:
    return get_user_model().objects.create_user("kim", password="right", is_staff=True)


@pytest.fixture
def minute(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the clock of what is counted by the minute."""

    def set_to(number: int) -> None:
        monkeypatch.setattr(failures.time, "time", lambda: number * 60.0)

    set_to(1)
    return set_to


def told(*fields: str) -> list[tuple[Any, ...]]:
    rows = AuditEntry.objects.filter(action__regex="^(auth|key)").order_by("pk")
    return list(rows.values_list("action", *fields))


def fail(name: str = "kim", address: str = "203.0.113.9") -> None:
    request = RequestFactory().post(LOGIN, REMOTE_ADDR=address)
    authenticate(request, username=name, password="wrong")


def test_staff_logs_in_and_out_by_name_and_address(staff: Any) -> None:
    client = Client(REMOTE_ADDR="203.0.113.9")
    assert client.post(LOGIN, {"username": "kim", "password": "right"}).status_code == 302
    client.post("/admin/logout/")
    assert told("actor_name", "address", "outcome") == [
        ("auth.login", "kim", "203.0.113.9", "success"),
        ("auth.logout", "kim", "203.0.113.9", "success"),
    ]
    assert all(AuditEntry.objects.filter(action="auth.login").values_list("request_id"))


def test_others_of_the_site_are_left_out(db: None) -> None:
    get_user_model().objects.create_user("ann", password="right")
    client = Client()
    assert client.login(username="ann", password="right")
    client.logout()
    fail("ann")
    assert told() == []


def test_a_failed_login_names_the_staff_but_no_name_that_nobody_has(staff: Any) -> None:
    fail("kim", "203.0.113.1")
    fail("my password", "203.0.113.2")
    # Django's backend would have asked the database for this one.
    request = RequestFactory().post(LOGIN, REMOTE_ADDR="203.0.113.3")
    user_login_failed.send(sender=__name__, credentials={"username": "a\0b"}, request=request)
    assert told("actor_name", "address", "outcome") == [
        ("auth.failed", "kim", "203.0.113.1", "failure"),
        ("auth.failed", "", "203.0.113.2", "failure"),
        ("auth.failed", "", "203.0.113.3", "failure"),
    ]


def test_of_an_address_one_a_minute_is_written_and_the_others_counted(
    staff: Any, minute: Any
) -> None:
    for _ in range(5):
        fail()
    assert told("fields__attempts__after") == [("auth.failed", 1)]
    failures.flush()
    assert len(told()) == 1  # The minute is not over.
    minute(2)
    failures.flush()
    failures.flush()
    assert told("fields__attempts__after") == [("auth.failed", 1), ("auth.failed", 4)]


def test_of_a_flood_of_addresses_few_are_written_and_none_is_lost(
    staff: Any, minute: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MAX_ADDRESSES", 20)
    actor = Actor("user", "kim")
    with transaction.atomic():
        for number in range(100):
            actor = Actor("user", "kim", f"203.0.113.{number}")
            failures.note("auth.failed", actor)
            failures.note("auth.failed", actor)
    minute(2)
    fail()
    rows = told("address", "fields__attempts__after")
    assert len(rows) <= 2 * failures.MAX_WRITTEN + 2
    assert sum(number for _action, _address, number in rows) == 201


@pytest.mark.parametrize("atomic", [False, True])
def test_a_login_goes_on_where_the_audit_cannot_be_written(
    settings: Any, transactional_db: None, caplog: pytest.LogCaptureFixture, atomic: bool
) -> None:
    """The audit's table is gone, as on a database that was not migrated."""
    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = atomic
    connection.settings_dict["ATOMIC_REQUESTS"] = atomic
    get_user_model().objects.create_user("kim", password="right", is_staff=True)
    with connection.schema_editor() as editor:
        editor.alter_db_table(AuditEntry, "pulse_auditentry", "pulse_auditentry_gone")
    client = Client()
    try:
        answer = client.post(LOGIN, {"username": "kim", "password": "right"})
        fail()
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
        with connection.schema_editor() as editor:
            editor.alter_db_table(AuditEntry, "pulse_auditentry_gone", "pulse_auditentry")
    assert answer.status_code == 302
    assert client.session["_auth_user_id"]
    assert [
        record.levelno for record in caplog.records if record.name == "pulse.audit.authentication"
    ] == [logging.ERROR, logging.ERROR]
    client.logout()
    assert told() == [("auth.logout",)]
