"""Policies are in one database, and one that edits can share."""

import pytest
from django.apps import apps

from pulse.checks import databases
from tests.checks.messages import ids


class Router:
    """Sends some models elsewhere."""

    def __init__(self, *, write=(), read=()) -> None:
        self.write, self.read = write, read

    def db_for_write(self, model, **hints) -> str | None:
        return "other" if model.__name__ in self.write else None

    def db_for_read(self, model, **hints) -> str | None:
        return "other" if model.__name__ in self.read else None


def names_of_pulse() -> list[str]:
    return [model.__name__ for model in apps.get_app_config("pulse").get_models()]


@pytest.mark.parametrize(
    ("router", "expected"),
    [
        (Router, []),
        (lambda: Router(write=["PolicyRevision"], read=["PolicyRevision"]), ["E030"]),
        (lambda: Router(write=["TierLimit"]), ["E030"]),
        (lambda: Router(write=["User"]), ["E031"]),
        (lambda: Router(write=["User", "Group"]), ["E031", "E031"]),
        (lambda: Router(write=names_of_pulse(), read=names_of_pulse()), ["E031", "E031"]),
        (lambda: Router(write=[*names_of_pulse(), "User", "Group"], read=names_of_pulse()), []),
        (lambda: Router(read=names_of_pulse()), ["W030"]),
    ],
)
def test_routing(settings, router, expected) -> None:
    """Policies and accounts are in one database, and are read where they are written."""
    settings.DATABASE_ROUTERS = [router()]
    assert ids(databases.check_routing()) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ENGINE": "django.db.backends.postgresql"}, []),
        ({"NAME": ":memory:"}, []),
        ({"NAME": "file:x?mode=memory&cache=shared"}, []),
        ({"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20}}, []),
        ({"OPTIONS": {"transaction_mode": "exclusive", "timeout": 10}}, []),
        ({"OPTIONS": {"transaction_mode": "DEFERRED", "timeout": 20}}, ["W031"]),
        ({"OPTIONS": {"timeout": 20}}, ["W031"]),
        ({"OPTIONS": {"transaction_mode": "IMMEDIATE"}}, ["W032"]),
        ({"OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 1}}, ["W032"]),
        ({}, ["W031", "W032"]),
    ],
)
def test_sqlite(monkeypatch, entry, expected) -> None:
    """Edits at one time wait for each other."""
    entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/srv/db.sqlite3"} | entry
    monkeypatch.setattr(databases.settings, "DATABASES", {"default": entry})
    assert ids(databases.check_sqlite()) == expected
