"""Revisions by the API: listed, read, compared, gone back to."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pulse.audit.models import AuditEntry
from pulse.policies.models import PolicyRevision
from tests.api.conftest import problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(administrator) -> list[int]:
    """The numbers of three revisions: a limit made, tightened, deleted."""
    limit = {"name": "login", "path": "/login/", "limits": ["10/m"]}
    made = administrator.post("endpoint-limits/?reason=Monday", limit)
    row = f"endpoint-limits/{made.json()['id']}/"
    changed = administrator.patch(row, {"limits": ["5/m"]})
    gone = administrator.delete(row)
    return [int(answer.headers["X-Pulse-Revision"]) for answer in (made, changed, gone)]


def test_they_are_listed_newest_first_without_what_is_large(viewer, three) -> None:
    with CaptureQueriesContext(connection) as queries:
        told = viewer.get("revisions/?page_size=2").json()
    assert set(told) == {"next", "previous", "results"}
    assert [row["number"] for row in told["results"]] == [three[2], three[1]]
    assert not any('"document"' in query["sql"] for query in queries)
    older = viewer.get(told["next"].removeprefix("http://testserver")).json()
    first = older["results"][0]
    assert first["number"] == three[0]
    assert set(first) == {
        *("number", "created_at", "actor", "source", "reason", "request_id"),
        *("hash", "previous_hash", "guard"),
    }
    assert (first["reason"], first["source"], first["guard"]) == ("Monday", "api", None)
    assert first["actor"] == {"type": "api_key", "name": "ci"}


def test_they_are_narrowed_and_refuse_what_they_do_not_know(viewer, three) -> None:
    assert len(viewer.get(f"revisions/?number={three[0]}").json()["results"]) == 1
    assert len(viewer.get("revisions/?search=monday").json()["results"]) == 1
    assert len(viewer.get("revisions/?source=api").json()["results"]) == 3
    problem(viewer.get("revisions/?ordering=number"), 400, "invalid")


def test_one_is_read_whole_and_known_by_its_tag(viewer, three) -> None:
    answer = viewer.get(f"revisions/{three[1]}/")
    told = answer.json()
    (change,) = told["changes"]
    assert (change["action"], change["effect"]) == ("update", "tightens")
    stored = PolicyRevision.objects.get(number=three[1])
    assert told["document"] == json.loads(json.dumps(stored.document))
    assert (told["hash"], told["previous_hash"]) == (stored.hash, stored.previous_hash)
    again = viewer.get(f"revisions/{three[1]}/", If_None_Match=answer.headers["ETag"])
    assert again.status_code == 304
    for unknown in ("999", "x", "-1", "9" * 30):
        problem(viewer.get(f"revisions/{unknown}/"), 404, "not_found")


def test_any_two_are_compared(viewer, three) -> None:
    first, second, third = three
    told = viewer.get(f"revisions/{first}/diff/").json()
    assert (told["from"], told["to"]) == (first, third)
    assert [change["action"] for change in told["changes"]] == ["delete"]
    told = viewer.get(f"revisions/{second}/diff/?to={first}").json()
    (change,) = told["changes"]
    assert change["effect"] == "loosens"
    assert change["fields"]["limits"]["after"][0]["rate"] == "10/m"
    problem(viewer.get(f"revisions/{first}/diff/?to=999"), 404, "not_found")
    problem(viewer.get(f"revisions/{first}/diff/?to=0"), 400, "invalid")


def test_a_rollback_is_a_new_revision_and_a_second_one_is_none(administrator, three) -> None:
    first, _second, third = three
    answer = administrator.post(f"revisions/{first}/rollback/", {})
    told = answer.json()
    assert (answer.status_code, told["changed"], told["revision"]) == (200, True, third + 1)
    assert answer.headers["X-Pulse-Revision"] == str(third + 1)
    assert [change["action"] for change in told["changes"]] == ["create"]
    made = PolicyRevision.objects.latest("number")
    assert (made.source, made.reason) == ("rollback", f"Roll back to revision {first}")
    assert made.document == PolicyRevision.objects.get(number=first).document
    entries = AuditEntry.objects.filter(revision=made.number).order_by("pk")
    assert list(entries.values_list("action", flat=True)) == ["policy.create", "policy.rollback"]
    again = administrator.post(f"revisions/{first}/rollback/", {}).json()
    assert (again["changed"], again["revision"]) == (False, third + 1)


def test_a_dry_run_is_for_who_may_see_and_a_rollback_is_not(viewer, nobody, three) -> None:
    first, _second, third = three
    told = viewer.post(f"revisions/{first}/rollback/?dry_run=1", {}).json()
    assert (told["dry_run"], told["changed"], told["revision"]) == (True, True, third)
    assert PolicyRevision.objects.latest("number").number == third
    problem(viewer.post(f"revisions/{first}/rollback/", {}), 403, "permission_denied")
    for path in ("revisions/", f"revisions/{first}/", f"revisions/{first}/diff/"):
        problem(nobody.get(path), 401, "not_authenticated")


def test_a_rollback_may_have_a_guard_and_a_reason(administrator, three) -> None:
    first = three[0]
    query = "?guard_refusals=100&guard_minutes=10&reason=Friday"
    number = administrator.post(f"revisions/{first}/rollback/{query}", {}).json()["revision"]
    told = administrator.get(f"revisions/{number}/").json()
    assert told["reason"] == "Friday"
    assert (told["guard"]["refusals"], told["guard"]["state"]) == (100, "watching")
    assert told["guard"]["until_at"].endswith("Z")


def test_a_draft_that_nobody_read_is_not_rolled_back_over(administrator, settings) -> None:
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    number = PolicyRevision.objects.order_by("-number").first().number
    administrator.post("rate-tiers/", {"name": "theirs", "limits": ["1/s"]})
    told = administrator.post(f"revisions/{number}/rollback/", {}, If_Match=f'"{number}"')
    problem(told, 412, "version_mismatch")
    draft = administrator.get("policy/?draft=1")
    assert "theirs" in [tier["name"] for tier in draft.json()["rate_tiers"]]
    back = administrator.post(
        f"revisions/{number}/rollback/?reason=no", {}, If_Match=draft.headers["ETag"]
    )
    assert back.status_code == 200
    assert "X-Pulse-Revision" not in back.headers
    assert back.headers["ETag"] == administrator.get("policy/?draft=1").headers["ETag"]
    entry = AuditEntry.objects.filter(action="policy.rollback").get()
    assert entry.fields["reason"]["after"] == "no"


def test_revisions_and_processes_are_found_by_what_they_are(administrator, viewer) -> None:
    revision = PolicyRevision.objects.order_by("-number").first()
    found = administrator.get(f"revisions/?hash={revision.hash}").json()["results"]
    assert [each["number"] for each in found] == [revision.number]
    assert viewer.get("processes/?kind=worker").json()["results"] == []
    problem(viewer.get("processes/?kind=cat"), 400, "invalid")
