"""The audit in the admin: read, narrowed, taken along; never changed."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pulse.admin.records import MOST
from pulse.audit.models import AuditEntry
from pulse.audit.record import record
from pulse.policies import publisher
from pulse.policies.models import Exemption, PolicyRevision
from pulse.policies.publisher import Actor
from tests.factories import KIM

pytestmark = pytest.mark.django_db
LIST = "/admin/pulse/auditentry/"


@pytest.fixture
def boss(admin_client: Client) -> Client:
    return admin_client


def member(django_user_model, *permissions: str) -> Client:
    user = django_user_model.objects.create_user("ann", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def text(response) -> str:
    assert response.status_code == 200
    return response.content.decode()


def rows(response) -> int:
    assert response.status_code == 200
    return len(response.context["cl"].result_list)


def test_an_entry_is_shown_with_what_it_changed(boss: Client) -> None:
    with publisher.edit(Actor("user", "kim", "203.0.113.9"), source="admin"):
        Exemption.objects.create(path="/shown/")
    entry = AuditEntry.objects.filter(action="policy.create").latest("pk")
    number = PolicyRevision.objects.latest("number").number
    listed = text(boss.get(LIST))
    assert "Policy added" in listed and "policy.create" in listed
    assert f"Exemption /shown/, revision {number}" in listed
    assert "203.0.113.9" in listed
    page = text(boss.get(f"{LIST}{entry.pk}/change/"))
    assert "/shown/" in page
    assert f"Revision {number}" in page
    assert 'name="_save"' not in page


def test_nothing_is_added_changed_or_deleted(boss: Client) -> None:
    entry = record("auth.login", KIM)
    assert boss.get(f"{LIST}add/").status_code == 403
    assert boss.post(f"{LIST}{entry.pk}/change/", {}).status_code == 403
    assert boss.post(f"{LIST}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert AuditEntry.objects.filter(pk=entry.pk).exists()


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        ((), 403),
        (("view",), 403),
        (("operate",), 403),
        (("administer",), 200),
        (("view_auditentry",), 200),
    ],
)
def test_it_is_for_who_administers(django_user_model, permissions, status: int) -> None:
    client = member(django_user_model, *permissions)
    entry = record("auth.login", KIM)
    assert client.get(LIST).status_code == status
    assert client.get(f"{LIST}{entry.pk}/change/").status_code == status
    assert client.get(f"{LIST}export/").status_code == status


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action=key.failed", 1),
        ("kind=jobs", 1),
        ("actor_type=command", 1),
        ("outcome__exact=failure", 1),
        ("q=ann", 1),
        ("q=203.0.113.7", 1),
        ("q=70000", 1),
        ("q=nobody-of-that-name", 0),
        ("q=99999999999999999999999", 0),
        ("q=%EF%BC%97", 0),
        ("when=hour&q=ann", 1),
        ("when=2001-01", 0),
        ("when=nonsense&q=ann", 1),
        ("when=2026-13&q=ann", 1),
        ("when=9999-12&q=ann", 1),
        ("actor_type=%00&q=ann", 1),
        ("kind=nonsense&q=ann", 1),
    ],
)
def test_entries_are_narrowed(boss: Client, query: str, expected: int) -> None:
    record("auth.login", Actor("user", "ann", "203.0.113.7"))
    record("key.failed", KIM, outcome="failure")
    record("job.start", Actor("command"), kind="jobs", key={"id": "1"}, revision=70000)
    assert rows(boss.get(f"{LIST}?{query}")) == expected


def test_what_cannot_be_looked_for_is_not_exported(boss: Client) -> None:
    """As on the list, which is shown whole then."""
    for query in ("id__lt=abc", "created_at__gte=x", "revision=abc"):
        answer = boss.get(f"{LIST}export/?form=csv&{query}")
        assert (answer.status_code, answer.url) == (302, "../?e=1")
    assert not AuditEntry.objects.filter(action="audit.export").exists()


def test_a_month_is_a_range_of_days(boss: Client) -> None:
    ago = timezone.now() - timedelta(days=70)
    AuditEntry.objects.create(action="auth.login", created_at=ago, actor_type="user")
    assert rows(boss.get(f"{LIST}?when={timezone.localtime(ago):%Y-%m}")) == 1


def test_pages_cost_the_same_of_thousands_and_lead_past_them(boss: Client) -> None:
    """Nothing is counted, and no value is looked for among all rows."""
    record("auth.login", KIM)
    boss.get(LIST)
    with CaptureQueriesContext(connection) as few:
        boss.get(LIST)
    now = timezone.now()
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(created_at=now, action="auth.login", outcome="success", actor_type="user")
            for _ in range(MOST + 60)
        ]
    )
    with CaptureQueriesContext(connection) as many:
        response = boss.get(LIST)
    assert len(many) <= len(few) + 1
    assert not any("COUNT(" in query["sql"] or "DISTINCT" in query["sql"] for query in many)
    older = response.context["older"]
    assert older in text(response).replace("&amp;", "&")
    behind = boss.get(f"{LIST}{older}")
    assert rows(behind) >= 50
    assert behind.context["older"] == ""
    newest = behind.context["cl"].result_list[0].pk
    assert newest == AuditEntry.objects.order_by("-pk")[MOST].pk


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_the_filters_leave_is_taken_along_and_that_is_an_entry(
    boss: Client, form: str
) -> None:
    record("auth.login", Actor("user", "ann"))
    record("auth.logout", Actor("user", "ann"))
    page = text(boss.get(f"{LIST}?action=auth.logout")).replace("&amp;", "&")
    address = f"{LIST}export/?action=auth.logout&form={form}"
    assert f'href="{address}"' in page
    answer = boss.get(address)
    written = answer.getvalue().decode("utf-8-sig")
    if form == "csv":
        actions = [row["action"] for row in csv.DictReader(io.StringIO(written))]
    else:
        actions = [row["action"] for row in json.loads(written)]
    assert actions == ["auth.logout"]
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.actor_name) == ("audit.export", "admin")
    assert entry.fields["action"]["after"] == "auth.logout"
    assert boss.get(f"{LIST}export/?form=xml").status_code == 403


def test_an_empty_audit_says_what_it_will_have(boss: Client) -> None:
    everything = AuditEntry.objects.all()
    everything._raw_delete(everything.db)
    assert "Nothing was done yet." in text(boss.get(LIST))
