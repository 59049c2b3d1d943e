"""The audit by the API: filtered, leafed through, written out; for administrators alone."""

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pulse.audit.models import AuditEntry
from pulse.audit.record import record
from pulse.policies.publisher import Actor
from tests.api.conftest import problem
from tests.factories import KIM

pytestmark = pytest.mark.django_db


def test_entries_are_told_newest_first(administrator) -> None:
    actor = Actor("user", "kim", "203.0.113.9")
    fields = {"cost": {"before": 1, "after": 2}}
    record(
        *("policy.update", actor),
        kind="endpoint_limits",
        key={"name": "login"},
        revision=7,
        request_id="r1",
        fields=fields,
    )
    (entry,) = administrator.get("audit/?page_size=1").json()["results"]
    assert entry.pop("created_at").endswith("Z")
    assert entry.pop("id").isdigit()
    assert entry == {
        "actor": {"type": "user", "name": "kim"},
        "address": "203.0.113.9",
        "action": "policy.update",
        "outcome": "success",
        "kind": "endpoint_limits",
        "key": {"name": "login"},
        "revision": 7,
        "request_id": "r1",
        "fields": fields,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=auth.login", 2),
        ("actor_name=kim&action=auth.login", 1),
        ("actor_type=api_key&action=auth.login", 1),
        ("address=203.0.113.7", 1),
        ("search=203.0.113.7", 1),
        ("outcome=failure", 0),
        ("revision=70000", 0),
        ("action=auth.login&created_at_after=2001-01-01T00:00:00Z", 2),
        ("created_at_before=2001-01-01T00:00:00Z", 0),
    ],
)
def test_entries_are_narrowed(administrator, query: str, expected: int) -> None:
    record("auth.login", KIM)
    record("auth.login", Actor("api_key", "ann", "203.0.113.7"))
    assert len(administrator.get(f"audit/?{query}").json()["results"]) == expected


def test_a_page_costs_the_same_of_thousands(administrator) -> None:
    """By cursor, and nothing is counted."""
    for _ in range(3):
        record("auth.login", KIM)
    administrator.get("audit/")
    with CaptureQueriesContext(connection) as few:
        administrator.get("audit/?page_size=2")
    row = AuditEntry.objects.latest("pk")
    AuditEntry.objects.bulk_create(
        [AuditEntry(created_at=row.created_at, action="auth.login") for _ in range(3000)]
    )
    with CaptureQueriesContext(connection) as many:
        told = administrator.get("audit/?page_size=500").json()
    assert len(told["results"]) == 500
    assert len(many) == len(few)
    assert not any("COUNT(" in query["sql"].upper() for query in many)


@pytest.mark.parametrize("query", ["ordering=action", "page=1", "colour=red", "outcome=maybe"])
def test_what_it_does_not_know_is_refused(administrator, query: str) -> None:
    problem(administrator.get(f"audit/?{query}"), 400, "invalid")


def test_it_is_for_administrators(viewer, nobody) -> None:
    problem(viewer.get("audit/"), 403, "permission_denied")
    problem(viewer.get("audit/?format=csv"), 403, "permission_denied")
    problem(nobody.get("audit/"), 401, "not_authenticated")
    problem(viewer.post("audit/", {}), 405, "method_not_allowed")


def test_a_file_has_all_that_the_filters_leave_and_is_in_the_audit_itself(administrator) -> None:
    for number in range(3):
        record("auth.login", Actor("user", f"=cmd|{number}"))
    answer = administrator.get("audit/?action=auth.login&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="pulse-audit-')
    assert answer.headers["Cache-Control"] == "no-store"
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["actor_name"] for row in rows] == ["'=cmd|2", "'=cmd|1", "'=cmd|0"]
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.actor_name) == ("audit.export", "ci")
    assert entry.fields == {
        "format": {"before": None, "after": "csv"},
        "action": {"before": None, "after": "auth.login"},
    }
    asked = administrator.get("audit/?action=auth.login", Accept="text/csv")
    assert asked.headers["Content-Type"] == "text/csv; charset=utf-8"
    problem(administrator.get("audit/?format=csv&colour=red"), 400, "invalid")
