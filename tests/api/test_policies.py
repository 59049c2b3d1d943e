"""Policies by the API: whole rows, parts of them, dry runs, versions and refusals."""

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from pulse.alerts.state import AlertStanding, AlertState
from pulse.api.policies import name_of
from pulse.api.views import ApiView
from pulse.policies import kinds
from pulse.policies.models import PolicyRevision, RateTier
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


def newest() -> int:
    return PolicyRevision.objects.order_by("-number").values_list("number", flat=True)[0]


def errors(answer) -> dict[str, list[str]]:
    return problem(answer, 400, "invalid")["errors"]


#: An item of every kind, in the order of the document; together they make a policy.
ITEMS = {
    "rate-tiers": {"name": "paid", "limits": [{"rate": "100/s", "burst": 200}]},
    "tier-assignments": {"network": "198.51.100.0/24", "tier": "paid", "priority": 3},
    "endpoint-limits": {
        "name": "login",
        "path": "/accounts/login/",
        "methods": ["POST"],
        "key": ["ip", "user"],
        "limits": [{"rate": "50/m"}],
        "on_store_error": "closed",
    },
    "exemptions": {"path": "/ping"},
    "trusted-proxies": {"network": "10.0.0.0/8"},
    "cors-origins": {"origin": "https://app.example.com", "path": "/api/", "methods": ["GET"]},
    "header-policies": {"name": "api", "path": "/api/", "preset": "api", "headers": {"X-A": None}},
    "access-rules": {"network": "203.0.113.0/24", "reason": "abuse"},
    "circuit-breakers": {"name": "payments", "failure_threshold": 5},
    "probe-budgets": {"name": "default", "max_jobs": 2},
    "probe-targets": {"name": "home", "path": "/", "expect": {"status": [200]}},
    "payloads": {"target": "home", "query": {"a": "1"}},
    "probe-schedules": {"name": "core", "every": "60s", "targets": ["home"]},
    "alert-channels": {"name": "mail", "type": "email", "to": ["ops@example.com"]},
    "alert-rules": {"name": "down", "metric": "probe_down"},
    "maintenance-windows": {
        "name": "night",
        "cron": "0 3 * * SUN",
        "duration_s": 600,
        "targets": ["home"],
    },
}


def test_every_kind_is_written_and_read_back(administrator) -> None:
    known = [name_of(kind) for kind in kinds.all_kinds()]
    places = []
    for name in known:
        made = administrator.post(f"{name}/", ITEMS[name])
        assert made.status_code == 201, (name, made.content)
        row = made.json()
        place = f"{name}/{row['id']}/"
        assert ITEMS[name].items() <= {**row, "limits": ITEMS[name].get("limits")}.items()
        # What was read can be sent back, and changes nothing.
        before = newest()
        again = administrator.put(place, row)
        assert (again.status_code, again.json()) == (200, row)
        part = administrator.patch(place, {"description": row["description"]})
        assert (part.json(), part.headers["X-Pulse-Revision"]) == (row, str(before))
        assert newest() == before
        assert administrator.get(f"{name}/?search=nothing-like-this").status_code in {200, 400}
        places.append(place)
    document = administrator.get("policy/").json()
    for place in reversed(places):
        gone = administrator.delete(place)
        assert gone.status_code == 204, (place, gone.content)
    put = administrator.put("policy/?prune=1", document)
    assert put.status_code == 200, put.content
    assert administrator.get("policy/").json() == document


def test_a_dry_run_tells_and_changes_nothing(administrator) -> None:
    before, rows = newest(), RateTier.objects.count()
    told = administrator.post("rate-tiers/?dry_run=1", GOLD)
    assert told.status_code == 200
    body = told.json()
    assert (body["revision"], body["changed"], body["dry_run"]) == (before, True, True)
    change = body["changes"][0]
    assert (change["kind"], change["key"]) == ("rate_tiers", {"name": "gold"})
    assert change["action"] == "create"
    assert (newest(), RateTier.objects.count()) == (before, rows)
    row = administrator.post("rate-tiers/", GOLD).json()
    place = f"rate-tiers/{row['id']}/"
    for method, body in (("PATCH", {"percent": 5}), ("DELETE", None), ("PUT", GOLD)):
        told = administrator(method, f"{place}?dry_run=1", body).json()
        assert told["dry_run"], method
        assert told["changed"] == (method != "PUT")
    assert administrator.get(place).json() == row


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["name", "limits"]),
        ({"name": "gold", "limits": [{"rate": "many"}]}, ["limits.0.rate"]),
        ({"name": "gold", "limits": ["1/s", {"rate": "2/s", "burts": 1}]}, ["limits.1.burts"]),
        ({"name": "gold", "limits": []}, ["limits"]),
        ({"name": "gold", "limits": "10/s"}, ["limits"]),
        ({"name": "Gold!", "limits": ["1/s"]}, ["name"]),
        ({"name": "default", "limits": ["1/s"]}, ["name"]),
        ({"name": "gold", "limits": ["1/s"], "default": True}, ["default"]),
        ({"name": "gold", "limits": ["1/s"], "percent": 101}, ["percent"]),
        ({"name": "gold", "limits": ["1/s"], "percent": "5"}, ["percent"]),
        ({"name": "gold", "limits": ["1/s"], "color": "red"}, ["color"]),
        ({"name": "gold", "limits": ["1/s"], "starts_at": "soon"}, ["starts_at"]),
        ({"name": ["gold"], "limits": ["1/s"]}, ["name"]),
        ({"name": {"a": 1}, "limits": {"a": 1}}, ["name", "limits"]),
    ],
)
def test_what_cannot_be_is_told_by_field(administrator, body, names) -> None:
    assert list(errors(administrator.post("rate-tiers/", body))) == names
    assert RateTier.objects.count() == 1


def test_a_row_that_names_nothing_there_is(administrator) -> None:
    told = errors(administrator.post("endpoint-limits/", {**LOGIN, "tier": "none", "limits": []}))
    assert list(told) == ["tier"]
    told = errors(administrator.post("probe-schedules/", {**ITEMS["probe-schedules"]}))
    assert told == {"targets": ["Unknown target: home"]}


LOGIN = {"name": "login", "path": "/login/", "limits": ["5/m"]}


def test_what_costs_more_than_its_tier_holds(administrator) -> None:
    tier = administrator.post("rate-tiers/", {"name": "small", "limits": ["10/s"]}).json()
    told = administrator.post(
        "endpoint-limits/", {"name": "a", "path": "/a/", "tier": "small", "cost": 11}
    )
    assert list(errors(told)) == ["cost"]
    made = {"name": "a", "path": "/a/", "tier": "small", "cost": 10}
    assert administrator.post("endpoint-limits/", made).status_code == 201
    told = administrator.patch(f"rate-tiers/{tier['id']}/", {"limits": ["9/s"]})
    assert list(errors(told)) == ["limits"]


def test_what_others_name_stays(administrator) -> None:
    tier = administrator.post("rate-tiers/", GOLD).json()
    administrator.post("endpoint-limits/", {"name": "a", "path": "/a/", "tier": "gold"})
    told = problem(administrator.delete(f"rate-tiers/{tier['id']}/"), 409, "in_use")
    assert told["detail"] == "It is still used by: a."
    target = administrator.post("probe-targets/", ITEMS["probe-targets"]).json()
    administrator.post("probe-schedules/", ITEMS["probe-schedules"])
    told = problem(administrator.delete(f"probe-targets/{target['id']}/"), 409, "in_use")
    assert told["detail"] == "probe_schedules.core.targets: Unknown target: home"
    assert administrator.get(f"probe-targets/{target['id']}/").status_code == 200


def test_a_version_that_is_behind_overwrites_nothing(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    place = f"rate-tiers/{row['id']}/"
    first = administrator.patch(place, {"percent": 50}, If_Match='"1"')
    assert first.headers["ETag"] == '"2"'
    attempts = [
        administrator.patch(place, {"percent": 10}, If_Match='"1"'),
        administrator.put(place, GOLD, If_Match='"0", "7"'),
        administrator.patch(place, {"percent": 10}, If_Match="nonsense"),
        administrator.patch(place, {"percent": 10, "version": 1}),
        administrator.patch(place, {"percent": 10, "version": "2"}),
        administrator.patch(place, {"percent": 10, "version": True}),
        administrator.delete(place, If_Match='"1"'),
        administrator.delete(f"{place}?dry_run=1", If_Match='"1"'),
    ]
    for told in attempts:
        assert problem(told, 412, "version_mismatch")["current_version"] == 2
    assert administrator.get(place).json()["percent"] == 50
    for good in ('"2"', "*", 'W/"2"', '"1", "2"'):
        told = administrator.patch(place, {"percent": 50}, If_Match=good)
        assert (told.status_code, told.headers["ETag"]) == (200, '"2"'), good
    assert administrator.delete(place, If_Match='"2"').status_code == 204


def test_who_has_read_it_is_told_so(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    place = f"rate-tiers/{row['id']}/"
    for known in ('"1"', 'W/"1"', '"7", "1"', "*"):
        told = administrator.get(place, If_None_Match=known)
        assert (told.status_code, told.content) == (304, b""), known
        assert told.headers["ETag"] == '"1"'
    assert administrator.get(place, If_None_Match='"2"').status_code == 200


def test_what_changes_beside_the_row_is_no_old_news(administrator) -> None:
    tier = administrator.post("rate-tiers/", GOLD).json()
    row = administrator.post("endpoint-limits/", {"name": "a", "path": "/a/", "tier": "gold"})
    place = f"endpoint-limits/{row.json()['id']}/"
    assert row.headers["ETag"] == '"1"'
    assert administrator.get(place, If_None_Match='"1"').status_code == 304
    administrator.patch(f"rate-tiers/{tier['id']}/", {"name": "silver"})
    told = administrator.get(place, If_None_Match='"1"')
    assert (told.status_code, told.json()["tier"]) == (200, "silver")
    seen = told.headers["ETag"]
    assert administrator.get(place, If_None_Match=seen).status_code == 304
    for known in (seen, '"1"'):
        assert administrator.patch(place, {}, If_Match=known).status_code == 200
    problem(
        administrator.patch(place, {}, If_Match='"2.0123456789abcdef"'), 412, "version_mismatch"
    )


def test_what_is_measured_is_no_old_news(administrator) -> None:
    row = administrator.post("alert-rules/", ITEMS["alert-rules"])
    place = f"alert-rules/{row.json()['id']}/"
    assert administrator.get(place, If_None_Match=row.headers["ETag"]).status_code == 304
    now = timezone.now()
    AlertState.objects.create(
        rule=row.json()["name"], state=AlertStanding.FIRING, since=now, looked_at=now
    )
    told = administrator.get(place, If_None_Match=row.headers["ETag"])
    assert (told.status_code, told.json()["state"]) == (200, "firing")


def test_a_write_may_ask_that_there_be_nothing_yet(administrator) -> None:
    """RFC 9110, section 13.1.2."""
    row = administrator.post("rate-tiers/", GOLD).json()
    place = f"rate-tiers/{row['id']}/"
    for known in ("*", '"1"'):
        told = administrator.put(place, GOLD, If_None_Match=known)
        problem(told, 412, "version_mismatch")
    assert administrator.put(place, GOLD, If_None_Match='"7"').status_code == 200


def test_a_condition_is_no_novel(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    long = '"1", ' * 500
    told = administrator.patch(f"rate-tiers/{row['id']}/", {}, If_Match=long)
    assert list(errors(told)) == ["If-Match"]
    told = administrator.get(f"rate-tiers/{row['id']}/", If_None_Match=long)
    assert list(errors(told)) == ["If-None-Match"]


def test_a_write_that_locks_its_author_out_is_refused(administrator) -> None:
    body = {"network": "127.0.0.0/8", "path": "/admin/"}
    problem(administrator.post("access-rules/", body), 409, "lock_out")
    problem(administrator.post("access-rules/?dry_run=1", body), 409, "lock_out")
    own = {"network": "127.0.0.0/8", "path": "/pulse/api/"}
    problem(administrator.post("access-rules/", own), 409, "lock_out")
    assert administrator.post("access-rules/?force=1", body).status_code == 201


def test_a_write_can_be_guarded(administrator) -> None:
    made = administrator.post("rate-tiers/?guard_refusals=100&guard_minutes=5", GOLD)
    guard = PolicyRevision.objects.get(number=made.headers["X-Pulse-Revision"]).guard
    assert (guard.refusals, guard.minutes) == (100, 5)
    told = administrator.post("rate-tiers/?guard_minutes=5", {**GOLD, "name": "other"})
    assert list(errors(told)) == ["guard_refusals"]


def test_a_draft_names_no_revision(administrator, settings) -> None:
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    before = newest()
    made = administrator.post("rate-tiers/", GOLD)
    assert made.status_code == 201
    assert "X-Pulse-Revision" not in made.headers
    dry = administrator.post("rate-tiers/?dry_run=1", {**GOLD, "name": "other"}).json()
    assert [change["key"] for change in dry["changes"]] == [{"name": "other"}]
    draft = administrator.get("policy/?draft=1").json()
    assert "gold" in [item["name"] for item in draft["rate_tiers"]]
    assert "gold" not in [
        item["name"] for item in administrator.get("policy/").json()["rate_tiers"]
    ]
    told = administrator.post("policy/publish/?dry_run=1", {})
    assert told.json()["changed"]
    assert newest() == before
    told = administrator.post("policy/publish/?reason=now", {})
    assert told.status_code == 200
    assert told.json()["revision"] == newest() == before + 1
    assert PolicyRevision.objects.get(number=before + 1).reason == "now"
    again = administrator.post("policy/publish/", {}).json()
    assert (again["changed"], again["revision"]) == (False, before + 1)


def test_only_the_draft_that_was_read_is_published(administrator, settings) -> None:
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    administrator.post("rate-tiers/", GOLD)
    read = administrator.get("policy/?draft=1").headers["ETag"]
    administrator.post("rate-tiers/", {**GOLD, "name": "other"})
    before = newest()
    refused = administrator.post("policy/publish/", {}, If_Match=read)
    assert refused.status_code == 412
    assert newest() == before
    read = administrator.get("policy/?draft=1").headers["ETag"]
    assert administrator.post("policy/publish/", {}, If_Match=read).status_code == 200
    assert newest() == before + 1


@pytest.mark.django_db(transaction=True)
def test_a_body_that_comes_slowly_holds_nobody_up(administrator, monkeypatch) -> None:
    """It is read before anything is locked."""
    read = []
    fields = ApiView.fields

    def noting(view: Any, request: Any, *known: str, **options: Any) -> Any:
        read.append(connection.in_atomic_block)
        return fields(view, request, *known, **options)

    monkeypatch.setattr(ApiView, "fields", noting)
    document = administrator.get("policy/").json()
    assert administrator.put("policy/?dry_run=1", document).status_code == 200
    assert read == [False]


def test_a_lock_out_in_the_draft_of_one_stops_no_edit_of_another(administrator, settings) -> None:
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    threat = {"network": "127.0.0.0/8", "path": "/admin/"}
    assert administrator.post("access-rules/?force=1", threat).status_code == 201
    assert administrator.post("rate-tiers/", GOLD).status_code == 201
    problem(administrator.post("access-rules/", {**threat, "path": "/"}), 409, "lock_out")
    problem(administrator.post("policy/publish/", {}), 409, "lock_out")


def test_a_guard_that_is_none_is_told_as_what_it_is(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    told = administrator.delete(f"rate-tiers/{row['id']}/?guard_minutes=5")
    assert list(errors(told)) == ["guard_refusals"]
    assert RateTier.objects.filter(name="gold").exists()


def test_limits_alone_change_when_a_row_was_changed(administrator) -> None:
    row = administrator.post("rate-tiers/", GOLD).json()
    tier = RateTier.objects.get(name="gold")
    limit = tier.limits.get()
    limit.burst = 300
    limit.save()
    told = administrator.get(f"rate-tiers/{row['id']}/").json()
    assert told["version"] == 2
    assert told["updated_at"] > row["updated_at"]


def test_a_draft_is_read_before_it_is_published(administrator, settings) -> None:
    """The revision in force names what was read of that, and no draft."""
    settings.PULSE = {**settings.PULSE, "PUBLISH": "manual"}
    administrator.post("rate-tiers/", GOLD)
    told = administrator.post("policy/publish/", {}, If_Match=f'"{newest()}"')
    assert "policy/?draft=1" in problem(told, 412, "version_mismatch")["detail"]


def test_a_window_silences_rules_that_there_are(administrator) -> None:
    window = {**ITEMS["maintenance-windows"], "targets": [], "rules": ["nonesuch"]}
    told = errors(administrator.post("maintenance-windows/", window))
    assert told == {"rules": ["Unknown alert rule: nonesuch"]}
