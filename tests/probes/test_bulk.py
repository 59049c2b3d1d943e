"""Many rows in one statement say what the ORM says, row by row."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from pulse.probes import bulk
from pulse.probes.state import ProbeHour, ProbeItem, ProbeTargetState
from tests import factories

pytestmark = pytest.mark.django_db

HOUR = datetime(2026, 3, 29, 1, tzinfo=UTC)
SHADOW = {"status": "up", "since_s": 1.5, "odd": ["ü", None, True]}


@pytest.fixture(params=[None, "Europe/Berlin"])
def zone(request, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone that the database's moments are written in: ``DATABASES["TIME_ZONE"]``."""
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", request.param)
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)
    yield
    for name in ("timezone", "timezone_name"):
        connection.__dict__.pop(name, None)


def test_what_is_read_is_what_the_orm_reads(zone: None) -> None:
    """Moments, JSON, texts and nulls."""
    for number in range(3):
        ProbeTargetState.objects.create(
            name=f"ü{number}",
            since=HOUR + timedelta(microseconds=number),
            last_at=timezone.now() if number else None,
            shadow=SHADOW if number else None,
            grace_s=0.1,
        )
    columns = ("name", "since", "last_at", "last_item_id", "shadow", "grace_s", "failures")
    wanted = ["ü0", "ü2", "nobody"]
    found = bulk.read(ProbeTargetState, "default", columns, "name", wanted)
    rows = ProbeTargetState.objects.filter(name__in=wanted).values_list(*columns)
    assert sorted(map(tuple, found), key=str) == sorted(rows, key=str)
    assert len(rows) == 2


def test_what_is_written_is_what_the_orm_reads(zone: None) -> None:
    """Moments to the microsecond, of any zone, and JSON."""
    noon = datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=ZoneInfo("Asia/Kolkata"))
    counts = ("failures", "successes", "degraded", "well")
    bulk.insert(
        ProbeTargetState,
        "default",
        ("name", "since", "last_at", "shadow"),
        [("t0", HOUR, None, SHADOW), ("t1", noon, noon, None)],
        {"grace_s": 1.0, "status": "up", "last_state": "", **dict.fromkeys(counts, 0)},
    )
    first, second = ProbeTargetState.objects.order_by("name")
    assert (first.since, first.last_at, first.shadow) == (HOUR, None, SHADOW)
    assert (second.since, second.last_at, second.shadow) == (noon, noon, None)
    bulk.update(ProbeTargetState, "default", ("id", "last_at"), [(first.pk, noon)])
    first.refresh_from_db()
    assert first.last_at == noon


def test_rows_are_read_in_batches_and_by_what_else_they_have(
    django_assert_num_queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query for each batch; none for nothing."""
    monkeypatch.setattr(bulk, "BATCH", 2)
    job = factories.job(*["ok"] * 3, *["queued"] * 2)
    items = list(ProbeItem.objects.filter(job=job).order_by("pk").values_list("pk", flat=True))
    with django_assert_num_queries(3):
        found = list(bulk.read(ProbeItem, "default", ("id",), "id", items, state="ok"))
    assert sorted(found) == [[item] for item in items[:3]]
    with django_assert_num_queries(0):
        assert list(bulk.read(ProbeItem, "default", ("id",), "id", [])) == []
    ProbeHour.objects.create(target="t", at=HOUR, histogram={"3": 1})
    ProbeHour.objects.create(target="t", at=HOUR + timedelta(hours=1))
    hours = bulk.read(ProbeHour, "default", ("histogram",), "target", ["t"], at=HOUR)
    assert list(hours) == [[{"3": 1}]]
