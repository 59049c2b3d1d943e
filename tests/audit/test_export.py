"""Entries written out: in batches, as tables that no spreadsheet runs, as JSON."""

import csv
import io
import json
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory

from pulse.audit import export
from pulse.audit.export import COLUMNS, answer, written
from pulse.audit.models import AuditEntry
from pulse.audit.record import record
from pulse.policies.publisher import Actor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 2)


def logins(*names: str) -> Any:
    for name in names:
        record("auth.login", Actor("user", name, "203.0.113.9"))
    return AuditEntry.objects.filter(action="auth.login")


def table(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_batches_come_one_after_the_other_and_are_told() -> None:
    told: list[int] = []
    pieces = list(written(logins("a", "b", "c"), "csv", told.append))
    assert len(pieces) == 3
    assert told == [2, 3]
    assert [row["actor_name"] for row in table("".join(pieces))] == ["c", "b", "a"]


def test_what_is_written_meanwhile_is_not_among_them() -> None:
    pieces = written(logins("a", "b", "c"), "csv")
    text = next(pieces) + next(pieces)
    logins("late")
    assert [row["actor_name"] for row in table(text + "".join(pieces))] == ["c", "b", "a"]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_no_cell_begins_a_formula(begin: str) -> None:
    """Who sends a request chooses a name, an id, an address."""
    name = f"{begin}HYPERLINK(1)"
    (row,) = table("".join(written(logins(name), "csv")))
    assert row["actor_name"] == f"'{name}"


def test_a_row_has_every_column_and_what_has_parts_as_json() -> None:
    record(
        "policy.update",
        Actor("user", 'k"i,m'),
        key={"name": "ä"},
        revision=7,
        fields={"cost": {"before": 1, "after": 2}},
    )
    (row,) = table("".join(written(AuditEntry.objects.filter(action="policy.update"), "csv")))
    assert tuple(row) == COLUMNS
    assert (row["actor_name"], row["revision"]) == ('k"i,m', "7")
    assert json.loads(row["key"]) == {"name": "ä"}
    assert json.loads(row["fields"]) == {"cost": {"before": 1, "after": 2}}
    assert row["created_at"].endswith("Z")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_json_is_one_list_however_many_batches(count: int) -> None:
    rows = logins(*(f"n{number}" for number in range(count)))
    told = json.loads("".join(written(rows, "json")))
    assert [entry["actor"]["name"] for entry in told] == [
        f"n{number}" for number in reversed(range(count))
    ]


def test_an_answer_is_streamed() -> None:
    response = answer(RequestFactory().get("/"), logins("a"), "json")
    assert response.streaming and not response.is_async
    assert response.headers["Content-Disposition"].endswith('.json"')
    assert json.loads(response.getvalue())[0]["actor"]["name"] == "a"


@pytest.mark.django_db(transaction=True)
def test_under_asgi_it_is_streamed_too() -> None:
    """A plain iterator would be gathered whole before the first byte is sent."""
    from asgiref.sync import async_to_sync

    rows = logins("a", "b", "c")
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    response = answer(ASGIRequest(scope, io.BytesIO()), rows, "csv")
    assert response.is_async

    async def read() -> list[bytes]:
        return [piece async for piece in response]

    pieces = async_to_sync(read)()
    assert len(pieces) == 3
    assert len(table(b"".join(pieces).decode())) == 3
