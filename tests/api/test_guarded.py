"""Guards, lock-outs and overtaken edits by the API; the admin is told the same."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model

from pulse.policies import current
from pulse.policies.models import EndpointLimit, PolicyRevision, RateTier
from pulse.policies.state import PolicyGuard
from tests.admin.conftest import Operator, errors, form_data
from tests.api.conftest import Script, problem

LIMIT = {"name": "search", "url_name": "search", "key": "ip", "limits": [{"rate": "60/m"}]}


@pytest.fixture
def search(administrator: Script) -> str:
    """The address of a rule."""
    made = administrator.post("endpoint-limits/", LIMIT)
    assert made.status_code == 201, made.content
    return f"endpoint-limits/{made.json()['id']}/"


@pytest.fixture
def kim(db: None) -> Operator:
    return Operator(get_user_model().objects.create_superuser("kim", "", "secret"))


def newest() -> PolicyRevision:
    return PolicyRevision.objects.order_by("-number")[0]


def rate() -> list[str]:
    (row,) = EndpointLimit.objects.all()
    return [limit.rate for limit in row.limits.all()]


def test_a_write_begins_a_guard(administrator: Script, search: str) -> None:
    limits = {"limits": [{"rate": "1/h"}]}
    answer = administrator.patch(f"{search}?guard_refusals=100&guard_minutes=5", limits)
    guard = PolicyGuard.objects.get()
    assert answer.headers["X-Pulse-Revision"] == str(guard.revision.number)
    assert (guard.refusals, guard.minutes) == (100, 5)
    again = administrator.patch(f"{search}?dry_run=1&guard_refusals=7", {"limits": ["2/h"]})
    assert (again.status_code, PolicyGuard.objects.count()) == (200, 1)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("guard_refusals=0", "guard_refusals"),
        ("guard_refusals=x", "guard_refusals"),
        ("guard_refusals=1&guard_minutes=1441", "guard_minutes"),
        ("guard_minutes=5", "guard_refusals"),
    ],
)
def test_a_wrong_guard_is_told_by_its_name(
    administrator: Script, search: str, query: str, wrong: str
) -> None:
    told = problem(administrator.patch(f"{search}?{query}", {"limits": ["1/h"]}), 400, "invalid")
    assert wrong in told["errors"]
    assert rate() == ["60/m"]


def test_a_draft_is_not_guarded_but_its_publication_is(
    administrator: Script, search: str, settings: Any
) -> None:
    settings.PULSE = {"PUBLISH": "manual"}
    tight = {"limits": [{"rate": "1/h"}]}
    refused = administrator.patch(f"{search}?guard_refusals=5", tight)
    assert "guard_refusals" in problem(refused, 400, "invalid")["errors"]
    assert rate() == ["60/m"]
    assert administrator.patch(search, tight).status_code == 200
    answer = administrator.post("policy/publish/?guard_refusals=5&reason=agreed", {})
    assert answer.status_code == 200
    assert PolicyGuard.objects.get().revision == newest()
    assert newest().reason == "agreed"


def test_a_tier_that_its_keys_holder_could_not_work_with_is_a_lock_out(
    administrator: Script, search: str
) -> None:
    """The author is who holds the key, as on any request."""
    current.look_at_database()
    prefix = str(administrator.key).split("_")[1]
    document = {
        "version": 1,
        "rate_tiers": [{"name": "tiny", "limits": [{"rate": "1/h"}]}],
        "tier_assignments": [{"api_key": prefix, "tier": "tiny"}],
    }
    told = problem(administrator.put("policy/", document), 409, "lock_out")
    assert "The tier tiny holds for" in told["detail"]
    assert not RateTier.objects.filter(name="tiny").exists()
    assert administrator.put("policy/?force=1", document).status_code == 200


def test_of_two_by_the_api_the_second_is_told_and_nothing_is_lost(
    administrator: Script, search: str
) -> None:
    """With the version that is there by now; read anew and sent again, it is written."""
    seen = administrator.get(search).headers["ETag"]
    first = administrator.patch(search, {"description": "theirs"}, If_Match=seen)
    assert first.status_code == 200
    second = administrator.patch(search, {"description": "mine"}, If_Match=seen)
    told = problem(second, 412, "version_mismatch")
    assert f'"{told["current_version"]}"' == first.headers["ETag"]
    now = administrator.get(search)
    assert now.json()["description"] == "theirs"
    again = administrator.patch(search, {"description": "mine"}, If_Match=now.headers["ETag"])
    assert again.status_code == 200


def test_who_edits_in_the_admin_is_told_what_the_api_changed(
    kim: Operator, administrator: Script, search: str
) -> None:
    """Field by field, with what was typed kept; who saves again has read it."""
    row = EndpointLimit.objects.get()
    data = kim.form("endpointlimit_change", row.pk)
    answer = administrator.patch(search, {"limits": [{"rate": "30/m"}], "cost": 2})
    response = kim.post("endpointlimit_change", row.pk, **{**data, "description": "mine"})
    (text,) = errors(response)["__all__"]
    assert text.startswith("ci changed this at ")
    assert f"Revision {answer.headers['X-Pulse-Revision']}" in text
    page = " ".join(response.content.decode().split())
    for told in ("60/m", "30/m", "What was changed meanwhile"):
        assert told in page, told
    again = form_data(response)
    assert again["description"] == "mine"
    assert rate() == ["30/m"]
    assert EndpointLimit.objects.get().description == ""
    saved = kim.client.post(f"/admin/pulse/endpointlimit/{row.pk}/change/", again)
    assert saved.status_code == 302
    assert EndpointLimit.objects.get().description == "mine"


def test_who_writes_by_the_api_is_told_that_the_admin_was_first(
    kim: Operator, administrator: Script, search: str
) -> None:
    row = EndpointLimit.objects.get()
    read = administrator.get(search)
    kim.save("endpointlimit_change", row.pk, description="theirs")
    whole = {**LIMIT, "description": "mine", "version": read.json()["version"]}
    problem(administrator.put(search, whole), 412, "version_mismatch")
    problem(administrator.delete(search, If_Match=read.headers["ETag"]), 412, "version_mismatch")
    assert EndpointLimit.objects.get().description == "theirs"


def test_of_two_in_the_admin_both_edits_of_limits_are_seen(
    kim: Operator, administrator: Script, search: str
) -> None:
    """The inline limits of a rule are part of what overtakes, and of what is told."""
    lee = Operator(get_user_model().objects.create_superuser("lee", "", "secret"))
    row = EndpointLimit.objects.get()
    data = kim.form("endpointlimit_change", row.pk)
    assert lee.save("endpointlimit_change", row.pk, **{"limits-0-rate": "30/m"}).status_code == 302
    response = kim.post("endpointlimit_change", row.pk, **{**data, "limits-0-rate": "90/m"})
    (text,) = errors(response)["__all__"]
    assert text.startswith("lee changed this at ")
    assert form_data(response)["limits-0-rate"] == "90/m"
    assert "30/m" in response.content.decode()
    assert rate() == ["30/m"]
