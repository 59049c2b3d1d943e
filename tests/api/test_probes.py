"""Targets, schedules and payloads by the API tell how they stand, beside what was decided."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pulse.policies import document
from pulse.policies.models import PolicyRevision
from pulse.probes.models import ProbeSchedule, ProbeTarget
from pulse.probes.state import ProbeDay, ProbeScheduleState
from tests import factories
from tests.api.conftest import Script, problem

pytestmark = pytest.mark.django_db

NOTHING = dict.fromkeys(("24h", "7d", "30d", "90d"))


def apply(**kinds: Any) -> None:
    document.apply({"version": 1, **kinds}, factories.KIM, prune=True)


def rows(script: Script, place: str) -> dict[str, Any]:
    found = script.get(place).json()["results"]
    return {row["name"]: row for row in found}


def test_targets_tell_how_they_stand(viewer: Script) -> None:
    """By confirmed status; of what is off, or was never watched, nothing is claimed."""
    names = ("fine", "ill", "kept", "off", "new")
    apply(
        probe_targets=[
            {"name": name, "path": "/api/products/"} | ({"mode": "off"} if name == "off" else {})
            for name in names
        ],
        maintenance_windows=[
            {
                "name": "now",
                "starts_at": (timezone.now() - timedelta(hours=1)).isoformat(),
                "ends_at": (timezone.now() + timedelta(hours=1)).isoformat(),
                "targets": ["kept"],
            }
        ],
    )
    factories.target_state("fine", "up")
    factories.target_state("ill", "down")
    factories.target_state("kept", "down")
    factories.target_state("off", "up")
    this = timezone.now().replace(minute=0, second=0, microsecond=0)
    factories.hour("ill", this, up_s=900, down_s=100)
    ProbeDay.objects.create(
        target="ill", at=(timezone.now() - timedelta(days=20)).date(), up_s=1000, down_s=3000
    )
    found = rows(viewer, "probe-targets/")
    assert {name: found[name]["status"] for name in names} == {
        "fine": "up",
        "ill": "down",
        "kept": "maintenance",
        "off": "not_watched",
        "new": "not_watched",
    }
    assert found["ill"]["uptime"] == {
        "24h": 0.9,
        "7d": 0.9,
        "30d": pytest.approx(1 - 3100 / 5000),
        "90d": pytest.approx(1 - 3100 / 5000),
    }
    assert found["new"]["uptime"] == NOTHING
    assert (found["new"]["last_result_at"], found["fine"]["last_result_at"] is None) == (
        None,
        False,
    )
    pk = ProbeTarget.objects.get(name="ill").pk
    assert viewer.get(f"probe-targets/{pk}/").json() == found["ill"]


def test_schedules_tell_when_they_run(viewer: Script) -> None:
    """One that no worker has seen is idle; ids are texts."""
    apply(
        probe_targets=[{"name": "home", "path": "/"}],
        probe_schedules=[
            {"name": name, "every": "60s", "targets": ["home"]} for name in ("core", "new")
        ],
    )
    job = factories.job("ok", schedule="core")
    next_at = timezone.now().replace(microsecond=0) + timedelta(seconds=40)
    ProbeScheduleState.objects.create(
        name="core", state="claimed", next_at=next_at, last_job=job, missed=3
    )
    found = rows(viewer, "probe-schedules/")
    told = ("state", "next_run_at", "last_job", "missed")
    assert [found["core"][name] for name in told] == [
        "claimed",
        next_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        str(job.pk),
        3,
    ]
    assert [found["new"][name] for name in told] == ["idle", None, None, 0]


def test_payloads_tell_their_size(administrator: Script) -> None:
    """That of the body, as compact JSON."""
    apply(probe_targets=[{"name": "home", "path": "/"}])
    given = {"target": "home", "body": {"a": "ü"}, "source": "generated", "size": 0}
    made = administrator.post("payloads/", given)
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["source"], told["size"]) == ("custom", 10)
    assert administrator.get(f"payloads/{told['id']}/").json() == told


def test_a_row_that_was_read_can_be_sent_back(administrator: Script) -> None:
    """What is never written is left aside, and nothing changes."""
    apply(
        probe_targets=[{"name": "home", "path": "/"}],
        probe_schedules=[{"name": "core", "every": "60s", "targets": ["home"]}],
        probe_payloads=[{"target": "home", "query": {"a": "1"}}],
    )
    before = PolicyRevision.objects.count()
    for place in ("probe-targets", "probe-schedules", "payloads"):
        (row,) = administrator.get(f"{place}/").json()["results"]
        again = administrator.put(f"{place}/{row['id']}/", row)
        assert (again.status_code, again.json()) == (200, row)
    assert PolicyRevision.objects.count() == before


def test_fifty_cost_as_many_queries_as_one(
    viewer: Script, django_assert_max_num_queries: Any
) -> None:
    many = [{"name": f"t{number}", "path": "/"} for number in range(50)]
    apply(
        probe_targets=many,
        probe_schedules=[
            {"name": each["name"], "every": "60s", "targets": [each["name"]]} for each in many
        ],
    )
    viewer.get("probe-targets/?page_size=1")
    with django_assert_max_num_queries(10):
        assert len(rows(viewer, "probe-targets/")) == 50
    with django_assert_max_num_queries(10):
        assert len(rows(viewer, "probe-schedules/")) == 50


def test_secrets_are_written_and_never_read(administrator: Script) -> None:
    """A kept value stays where it is meant for: at one origin."""
    given = {
        "name": "api",
        "url": "https://93.184.216.34/a",
        "secret_headers": {"Authorization": "Bearer hunter2"},
    }
    made = administrator.post("probe-targets/", given)
    assert made.json()["secret_headers"] == {"Authorization": "***"}
    place = f"probe-targets/{made.json()['id']}/"
    moved = administrator.patch(place, {"url": "https://93.184.216.34/b"})
    assert moved.status_code == 200
    refused = administrator.patch(place, {"url": "https://93.184.216.35/b"})
    assert "secret_headers" in problem(refused, 400, "invalid")["errors"]
    again = administrator.patch(
        place,
        {"url": "https://93.184.216.35/b", "secret_headers": {"Authorization": "Bearer x"}},
    )
    assert again.status_code == 200, again.content
    assert ProbeSchedule.objects.count() == 0
