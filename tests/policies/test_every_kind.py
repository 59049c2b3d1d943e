"""The document's promises for every kind that there is, and every field of it."""

import itertools
import json
import math
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import JSONField

from pulse.exceptions import InvalidDocument
from pulse.policies import document, kinds, publisher
from pulse.policies.kinds import Kind
from pulse.policies.models import PolicyRevision
from tests.factories import KIM

pytestmark = pytest.mark.django_db

SHARED = {
    "mode": "shadow",
    "percent": 40,
    "description": "for the next person",
    "starts_at": "2027-01-01T00:00:00Z",
    "ends_at": "2027-02-01T00:00:00Z",
}
TIER = {"name": "paid", "limits": [{"rate": "7/m", "burst": 9}]}
TARGET = {"name": "home", "path": "/"}
#: Items that have each field of their kind as no default has it, together.
ITEMS = {
    "rate_tiers": [
        TIER,
        {
            "name": "all",
            "default": True,
            "address_ceiling": 9,
            "limits": [{"rate": "7/m", "burst": 9}, {"rate": "9/h", "algorithm": "fixed_window"}],
            **SHARED,
        },
    ],
    "tier_assignments": [
        {"user": "ana", "tier": "paid", "priority": 3, **SHARED},
        {"group": "paying", "tier": "paid"},
        {"api_key": "k3v9x2ab", "tier": "paid"},
        {"network": "198.51.100.0/24", "tier": "paid"},
        {"header": "X-Plan: gold", "tier": "paid"},
    ],
    "endpoint_limits": [
        {
            "name": "login",
            "path": "/accounts/login/",
            "methods": ["POST"],
            "key": ["ip", "user"],
            "limits": ["9/m"],
            "cost": 2,
            "on_store_error": "closed",
            "max_body_bytes": 1000,
            "timeout_s": 2.5,
            "slow_ms": 30,
            "require_nonce": True,
            "replaces_tier": True,
            **SHARED,
        },
        {"name": "search", "route": "api/search/", "tier": "paid"},
        {"name": "echo", "url_name": "echo", "limits": ["9/m"]},
        {"name": "view", "view": "project.shop.views.Search", "limits": ["9/m"]},
    ],
    "exemptions": [{"path": "/ping", **SHARED}, {"network": "198.51.100.7"}],
    "trusted_proxies": [{"network": "10.0.0.0/8", **SHARED}],
    "cors_origins": [
        {
            "origin": "https://*.example.com",
            "path": "/api/",
            "methods": ["GET"],
            "allowed_headers": ["x-a"],
            "exposed_headers": ["x-b"],
            "credentials": True,
            "max_age": 5,
            "private_network": True,
            "strict_preflight": True,
            "csrf_trusted": True,
            **{name: value for name, value in SHARED.items() if name != "percent"},
        }
    ],
    "header_policies": [
        {
            "name": "pages",
            "path": "/shop/",
            "preset": "html",
            "headers": {"X-A": "b", "Referrer-Policy": None},
            "force": True,
            "csp_report_only": True,
            "hsts_stage": "1d",
            **SHARED,
        }
    ],
    "access_rules": [
        {
            "network": "203.0.113.0/24",
            "path": "/api/",
            "action": "allow",
            "reason": "partner",
            **SHARED,
        }
    ],
    "probe_budgets": [
        {
            "name": "default",
            "max_jobs": 4,
            "max_concurrency": 9,
            "max_per_host": 3,
            "job_timeout_s": 60.5,
            **SHARED,
        }
    ],
    "probe_targets": [
        TARGET,
        {
            "name": "order",
            "url": "https://status.example.com/",
            "method": "POST",
            "query": {"a": "1"},
            "headers": {"X-A": "b"},
            "secret_headers": {"Authorization": "env:PULSE_PROBE_TOKEN"},
            "allow_unsafe": True,
            "allow_networks": ["10.0.0.5/32:8000"],
            "follow_redirects": 2,
            "verify_tls": False,
            "timeout_s": 2.5,
            "on_crash": "mark_lost",
            "expect": {"status": [200], "max_latency_ms": 500},
            "public_name": "Orders",
            "public_group": "Shop",
            **SHARED,
        },
        {"name": "product", "url_name": "product", "path_params": {"pk": 1}},
        {"name": "inside", "path": "/", "transport": "in_process"},
    ],
    "probe_payloads": [
        {
            "target": "order",
            "path_params": {"pk": 1},
            "query": {"a": "1"},
            "headers": {"X-A": "b"},
            "body": {"text": "ü", "list": [1, 2.5, None, True]},
            **SHARED,
        }
    ],
    "probe_schedules": [
        {
            "name": "core",
            "targets": ["home"],
            "every": "60s",
            "expect": {"status": [200]},
            "timeout_s": 1.5,
            "deadline_s": 30.5,
            "retries": 2,
            "retry_backoff_s": 0.5,
            "cooldown_s": 5.5,
            "max_concurrency": 7,
            "failure_threshold": 2,
            "success_threshold": 3,
            **SHARED,
        },
        {"name": "nightly", "targets": ["home"], "cron": "0 3 * * *", "time_zone": "Europe/Berlin"},
    ],
    "alert_channels": [
        {
            "name": "operators",
            "type": "webhook",
            "url": "https://93.184.216.34/hooks?a=1",
            "secret": "***",
            "allow_networks": ["10.0.0.5/32:8000"],
            "mode": "shadow",
            "percent": 40,
            "description": "for the next person",
            "starts_at": "2027-01-01T00:00:00Z",
            "ends_at": "2027-02-01T00:00:00Z",
        },
        {"name": "mail", "type": "email", "to": ["ops@example.com", "kim@example.com"]},
    ],
    "alert_rules": [
        {
            "name": "slow",
            "metric": "latency_ms.p95",
            "endpoint": "GET /api/echo/",
            "op": ">=",
            "threshold": 2.5,
            "window_s": 600,
            "baseline_s": 3600,
            "for_s": 60,
            "resolve_for_s": 120,
            "severity": "critical",
            "channels": ["operators", "mail"],
            "mode": "shadow",
            "percent": 40,
            "description": "for the next person",
            "starts_at": "2027-01-01T00:00:00Z",
            "ends_at": "2027-02-01T00:00:00Z",
        },
        {"name": "down", "metric": "probe_down"},
    ],
    "maintenance_windows": [
        {
            "name": "night",
            "cron": "0 3 * * SUN",
            "time_zone": "Europe/Berlin",
            "duration_s": 600,
            "targets": ["home"],
            "groups": ["Shop"],
            "rules": ["slow"],
            "mode": "shadow",
            "percent": 40,
            "description": "for the next person",
        },
        {
            "name": "release",
            "starts_at": "2027-01-01T00:00:00Z",
            "ends_at": "2027-01-02T00:00:00Z",
        },
    ],
}
#: A rule of CORS is for all clients or for none; there is one budget, by this name.
FIXED = {("cors_origins", "percent"), ("probe_budgets", "name")}
#: What a mistake, or somebody hostile, may write in any field.
ODD = [
    *(None, True, -1, 0, 1.5, 10**30, math.nan),
    *("", "x", "é" * 400, "a\nb", "env:", "***"),
    *([], {}, {"a": {"b": []}}),
]
#: The field that names an item, and how a number is part of it, where that is no name.
APART = {
    "tier_assignments": ("network", "198.51.{}.0/24"),
    "exemptions": ("path", "/ping/{}"),
    "trusted_proxies": ("network", "10.{}.0.0/16"),
    "cors_origins": ("origin", "https://n{}.example.com"),
    "access_rules": ("network", "198.18.{}.0/24"),
    "probe_payloads": ("target", "target-{}"),
}
#: Of each kind one that nothing reads.
BROKEN = {
    "rate_tiers": {"name": "bad", "limits": [{"rate": "many"}]},
    "tier_assignments": {"tier": "paid"},
    "endpoint_limits": {"name": "bad", "path": "no slash", "limits": ["9/m"]},
    "exemptions": {"path": "/"},
    "trusted_proxies": {"network": "0.0.0.0/0"},
    "cors_origins": {"origin": "*", "credentials": True},
    "header_policies": {"name": "bad", "headers": {"X-A": "a\nb"}},
    "access_rules": {"network": "300.1.2.3"},
    "probe_budgets": {"name": "another"},
    "probe_targets": {"name": "bad", "url": "file:///etc/passwd"},
    "probe_payloads": {"target": "nothing"},
    "probe_schedules": {"name": "bad", "targets": ["home"]},
    "maintenance_windows": {"name": "bad", "cron": "every sunday"},
    "alert_channels": {"name": "bad", "type": "email", "to": ["nobody"]},
    "alert_rules": {"name": "bad", "metric": "happiness", "threshold": 1},
}


@pytest.fixture
def whole(db) -> dict:
    get_user_model().objects.create_user("ana")
    Group.objects.create(name="paying")
    document.apply({"version": 1, **ITEMS}, KIM, prune=True)
    return dict(publisher.newest_document())


def state() -> tuple:
    """Every row with its version, and the number of the newest revision."""
    rows = [(kind.name, row.pk, row.version) for kind in kinds.all_kinds() for row in kind.rows()]
    return rows, PolicyRevision.objects.order_by("-number").first().number


def defaults_of(kind: Kind) -> dict:
    return {
        name: kind.column(name).get_default()
        for name in (*kind.fields, *kinds.SHARED)
        if name not in kind.names
    }


def test_these_items_have_every_field_of_every_kind(whole) -> None:
    """Else what follows would promise less than it says."""
    assert set(ITEMS) == set(BROKEN) == {kind.name for kind in kinds.all_kinds()}
    for kind in kinds.all_kinds():
        defaults = defaults_of(kind)
        for name in kind.all_fields:
            if (kind.name, name) in FIXED:
                continue
            written = [item[name] for item in whole[kind.name] if name in item]
            assert [value for value in written if value != defaults.get(name)], (kind.name, name)


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_every_kind_is_read_back_as_it_was_written(whole, form) -> None:
    text = document.to_yaml(whole) if form == "yaml" else json.dumps(whole)
    before = state()
    again = document.apply(document.parse(text), KIM, prune=True)
    assert (again.changed, again.changes) == (False, [])
    assert state() == before
    document.apply({"version": 1}, KIM, prune=True)
    assert not any(kind.rows() for kind in kinds.all_kinds())
    document.apply(document.parse(text), KIM, prune=True)
    assert publisher.newest_document() == whole


@pytest.mark.parametrize("kind", sorted(BROKEN))
@pytest.mark.parametrize("prune", [False, True])
def test_one_broken_item_of_any_kind_changes_nothing_at_all(whole, kind, prune) -> None:
    before = state()
    changed = {
        name: [{**item, "description": "other"} for item in items] for name, items in ITEMS.items()
    }
    changed[kind] = [*changed[kind], BROKEN[kind]]
    with pytest.raises(InvalidDocument) as refused:
        document.apply({"version": 1, **changed}, KIM, prune=prune)
    place = len(changed[kind]) - 1
    assert any(name.startswith(f"{kind}.{place}") for name in refused.value.errors)
    assert state() == before
    assert publisher.document_of_rows() == publisher.newest_document() == whole


@pytest.mark.parametrize("kind", sorted(ITEMS))
def test_any_value_in_any_field_is_taken_or_told_of_by_its_place(whole, kind) -> None:
    """Whatever it is, it is no fault of pulse's: an error that nobody caught fails this."""
    items = list(_odd_items(kinds.find_kind(kind)))
    if kind == "probe_payloads":
        names = [item["target"] for item in items if item["target"] not in ODD]
        document.apply({"version": 1, "probe_targets": [{**TARGET, "name": n} for n in names]}, KIM)
    before = state()
    while items:  # What the validators of a row let pass goes on to those of the whole.
        told = _places_of_errors({"version": 1, kind: items}, kind)
        if not told:
            break
        items = [item for place, item in enumerate(items) if place not in told]
    assert state() == before


def _odd_items(kind: Kind) -> Iterator[dict]:
    """Yield an item for each odd value of each field, each with a key of its own."""
    numbers = itertools.count()
    apart, form = APART.get(kind.name, ("name", "odd-{}"))
    for name in kind.all_fields:
        item = next((each for each in ITEMS[kind.name] if {name, apart} <= each.keys()), None)
        item = item or next(each for each in ITEMS[kind.name] if apart in each)
        odd = list(ODD)
        if name == "limits" or isinstance(kind.column(name), JSONField):
            odd += [each for value in ODD for each in ([value], {"a": value})]
        for value in odd:
            yield {**item, apart: form.format(next(numbers)), name: value}


def _places_of_errors(written: dict, kind: str) -> set[int]:
    try:
        document.apply(written, KIM, dry_run=True)
    except InvalidDocument as refused:
        places = {name.split(".")[1] for name in refused.errors if name.startswith(f"{kind}.")}
        assert places, refused.errors
        return set(map(int, places))
    return set()
