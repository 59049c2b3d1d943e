"""Entries go by age, with the rest of the history."""

from datetime import UTC, datetime, timedelta

import pytest

from pulse.audit.models import AuditEntry
from pulse.probes import retention

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def entries(*days: float) -> None:
    AuditEntry.objects.bulk_create(
        AuditEntry(action="auth.login", created_at=NOW - timedelta(days=age)) for age in days
    )


@pytest.fixture(autouse=True)
def only_ours() -> None:
    rows = AuditEntry.objects.all()
    rows._raw_delete(rows.db)


def test_what_is_older_than_it_is_kept_goes_in_batches(settings, monkeypatch) -> None:
    settings.PULSE = {"AUDIT_DAYS": 30}
    monkeypatch.setattr(retention, "BATCH", 2)
    entries(0, 29.9, 30.1, 31, 32, 400)
    told: list[tuple[str, int, int]] = []
    dry = retention.prune(NOW, dry_run=True)
    pruned = retention.prune(NOW, progress=lambda *step: told.append(step))
    assert dry.rows["audit"] == pruned.rows["audit"] == 4
    assert [step for step in told if step[0] == "audit"] == [("audit", 2, 4), ("audit", 4, 4)]
    assert AuditEntry.objects.count() == 2


def test_a_year_is_kept_where_nobody_says_otherwise() -> None:
    entries(364, 366)
    assert retention.prune(NOW).rows["audit"] == 1
