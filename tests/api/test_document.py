"""The whole policy by the API: read, applied, told in YAML, and never by halves."""

import json

import pytest
import yaml

from pulse.policies.models import PolicyRevision, RateTier
from tests.api.conftest import API, problem

pytestmark = pytest.mark.django_db

PART = {"rate_tiers": [{"name": "gold", "limits": [{"rate": "100/s"}]}]}


def test_a_document_is_applied_and_read_back_the_same(administrator) -> None:
    whole = administrator.get("policy/").json()
    put = administrator.put("policy/?reason=gold", PART)
    told = put.json()
    assert (put.status_code, told["changed"], told["dry_run"]) == (200, True, False)
    assert put.headers["X-Pulse-Revision"] == str(told["revision"])
    assert put.headers["ETag"] == f'"{told["revision"]}"'
    assert [change["key"] for change in told["changes"]] == [{"name": "gold"}]
    found = administrator.get("policy/").json()
    assert len(found["rate_tiers"]) == 2
    again = administrator.put("policy/", found).json()
    assert (again["changed"], again["changes"]) == (False, [])
    back = administrator.put("policy/?prune=1", whole).json()
    assert [change["action"] for change in back["changes"]] == ["delete"]
    assert administrator.get("policy/").json() == whole


def test_a_dry_run_compares(administrator) -> None:
    told = administrator.put("policy/?dry_run=1", PART).json()
    assert told["dry_run"] and told["changed"]
    assert told["revision"] == PolicyRevision.objects.first().number
    assert not RateTier.objects.filter(name="gold").exists()


def test_a_broken_document_changes_nothing_at_all(administrator) -> None:
    broken = {
        **PART,
        "endpoint_limits": [
            {"name": "a", "path": "/a/", "limits": ["5/m"]},
            {"name": "b", "path": "/b/", "limits": [{"rate": "many"}]},
        ],
        "unheard": [],
    }
    told = problem(administrator.put("policy/", broken), 400, "invalid")
    assert list(told["errors"]) == ["unheard"]
    del broken["unheard"]
    told = problem(administrator.put("policy/", broken), 400, "invalid")
    assert list(told["errors"]) == ["endpoint_limits.1.limits.0.rate"]
    assert not RateTier.objects.filter(name="gold").exists()


def test_a_revision_that_was_changed_is_not_overwritten(administrator) -> None:
    read = administrator.get("policy/")
    administrator.post("rate-tiers/", PART["rate_tiers"][0])
    number = PolicyRevision.objects.first().number
    told = administrator.put("policy/", PART, If_Match=read.headers["ETag"])
    assert problem(told, 412, "version_mismatch")["current_version"] == number
    assert administrator.put("policy/", PART, If_Match=f'"{number}"').status_code == 200
    assert administrator.get("policy/", If_None_Match=f'"{number}"').status_code == 304


def test_a_draft_that_nobody_read_is_not_overwritten(administrator, settings) -> None:
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    read = administrator.get("policy/").headers["ETag"]
    first = administrator.put("policy/", PART, If_Match=read)
    assert first.status_code == 200
    other = {"rate_tiers": [{**PART["rate_tiers"][0], "percent": 7}]}
    problem(administrator.put("policy/", other, If_Match=read), 412, "version_mismatch")
    draft = administrator.get("policy/?draft=1")
    assert draft.headers["ETag"] == first.headers["ETag"]
    assert draft.json()["rate_tiers"][0].get("percent", 100) == 100
    told = administrator.put("policy/", other, If_Match=draft.headers["ETag"])
    assert told.status_code == 200
    assert administrator.post("policy/publish/", {}).status_code == 200
    read = administrator.get("policy/").headers["ETag"]
    assert administrator.put("policy/", PART, If_Match=read).status_code == 200


def test_earlier_documents_can_be_read(administrator) -> None:
    first = administrator.get("policy/")
    number = first.headers["ETag"].strip('"')
    at = PolicyRevision.objects.first().created_at.isoformat().replace("+00:00", "Z")
    administrator.put("policy/", PART)
    assert administrator.get(f"policy/?revision={number}").json() == first.json()
    assert administrator.get(f"policy/?at={at}").json() == first.json()
    problem(administrator.get("policy/?revision=999"), 404, "not_found")
    problem(administrator.get("policy/?at=2001-01-01T00:00:00Z"), 404, "not_found")
    told = problem(administrator.get(f"policy/?at={at}&revision=1"), 400, "invalid")
    assert list(told["errors"]) == ["at"]


@pytest.mark.parametrize("how", [{"Accept": "application/yaml"}, {}])
def test_yaml_goes_both_ways(administrator, how) -> None:
    told = administrator.get("policy/" if how else "policy/?format=yaml", **how)
    assert told.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(told.content) == administrator.get("policy/").json()
    put = administrator.client.put(
        f"{API}/policy/",
        data=b"rate_tiers:\n- {name: gold, mode: off, limits: [{rate: 1/s}]}\n",
        content_type="application/yaml; charset=utf-8",
        headers={"Authorization": f"Bearer {administrator.key}"},
    )
    assert put.status_code == 200, put.content
    assert RateTier.objects.get(name="gold").mode == "off"


@pytest.mark.parametrize(
    "body",
    [
        b"a: [", b"a: &x [*x]", b"\xff", b"a: !!python/object:os.system x", b"- 1\n", b"text",
        b"<<: {a: 1}", b"a: 1\na: 2",
        b"rate_tiers: [{name: a, limits: [{rate: 1/s}], starts_at: 2026-01-01}]",
        b"rate_tiers: [{name: a, limits: [{rate: 1/s}], percent: .nan}]",
        b"probe_payloads: [{target: GET /api/search/, body: {at: 2026-01-01}}]",
        b"probe_payloads: [{target: GET /api/search/, body: .inf}]",
        b"probe_payloads: [{target: GET /api/search/, body: {1: 2}}]",
        b"rate_tiers: {}", b"version: 2",
    ],
)  # fmt: skip
def test_yaml_that_makes_no_document_is_refused(administrator, body) -> None:
    put = administrator.client.put(
        f"{API}/policy/",
        data=body,
        content_type="application/yaml",
        headers={"Authorization": f"Bearer {administrator.key}"},
    )
    assert put.status_code == 400, put.content
    assert json.loads(put.content)["code"] in {"invalid", "parse_error"}


def test_seeing_is_enough_to_compare_and_not_to_apply(viewer) -> None:
    assert viewer.get("policy/").status_code == 200
    assert viewer.put("policy/?dry_run=1", PART).status_code == 200
    problem(viewer.put("policy/", PART), 403, "permission_denied")
    problem(viewer.post("policy/publish/", {}), 403, "permission_denied")
