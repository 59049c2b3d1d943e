"""Policies by the API: whole rows, parts of them, dry runs, versions and refusals."""

import pytest

from pulse.policies.models import PolicyRevision
from tests.api.conftest import problem

pytestmark = pytest.mark.django_db

GOLD = {"name": "gold", "limits": [{"rate": "100/s", "burst": 200}]}


def test_a_row_is_made_read_changed_and_deleted(administrator) -> None:
    made = administrator.post("rate-tiers/?reason=more", GOLD)
    assert made.status_code == 201, made.content
    row = made.json()
    assert row == {
        "id": row["id"],
        "name": "gold",
        "default": False,
        "address_ceiling": 5,
        "limits": [{"rate": "100/s", "burst": 200, "algorithm": "token_bucket"}],
        "mode": "enforce",
        "percent": 100,
        "description": "",
        "starts_at": None,
        "ends_at": None,
        "version": 1,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }
    revision = PolicyRevision.objects.first()
    assert (revision.source, revision.reason) == ("api", "more")
    assert (revision.actor_type, revision.actor_name) == ("api_key", "ci")
    assert made.headers["X-Pulse-Revision"] == str(revision.number)
    assert made.headers["Location"] == f"http://testserver/pulse/api/v1/rate-tiers/{row['id']}/"
    assert made.headers["ETag"] == '"1"'
    place = f"rate-tiers/{row['id']}/"
    assert administrator.get(place).json() == row

    changed = administrator.patch(place, {"limits": [{"rate": "50/s"}]})
    assert changed.json()["limits"] == [{"rate": "50/s", "burst": 50, "algorithm": "token_bucket"}]
    assert (changed.json()["version"], changed.headers["ETag"]) == (2, '"2"')

    whole = administrator.put(place, {"name": "platinum", "limits": ["60/s"]})
    assert (whole.json()["id"], whole.json()["name"]) == (row["id"], "platinum")

    gone = administrator.delete(place)
    assert (gone.status_code, gone.content) == (204, b"")
    problem(administrator.get(place), 404, "not_found")
    assert PolicyRevision.objects.first().number == revision.number + 3
