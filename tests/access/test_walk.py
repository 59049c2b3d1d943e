"""Every address of pulse's, as everybody: who may, and who may not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from pulse.access import keys
from pulse.access.scopes import ORDER, Scope
from pulse.policies import current, document, publisher
from pulse.store import heartbeat
from tests import factories
from tests.access.addresses import ADMIN, API, CLOSED, HEALTH, OPEN, PAGES, POSTED

pytestmark = pytest.mark.django_db

MOUNT, API_MOUNT, ADMIN_MOUNT = "pulse/", "pulse/api/v1/", "admin/pulse/"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PLACEHOLDER = re.compile(r"<[^>]+>")
SAMPLES = {"<pulse_target:name>": "products", "<str:slug>": "products", "<slug:name>": "api"}
#: One row of each kind that ``migrate`` does not seed.
POLICY = {
    "version": 1,
    "rate_tiers": [{"name": "paid", "limits": [{"rate": "100/s"}]}],
    "tier_assignments": [{"header": "X-Plan: gold", "tier": "paid"}],
    "endpoint_limits": [{"name": "login", "path": "/login/", "limits": [{"rate": "5/m"}]}],
    "trusted_proxies": [{"network": "10.0.0.0/8"}],
    "cors_origins": [{"origin": "https://app.test"}],
    "header_policies": [{"name": "api", "path": "/api/", "preset": "api"}],
    "access_rules": [{"network": "203.0.113.0/24", "path": "/closed/", "action": "deny"}],
    "probe_targets": [{"name": "products", "url": "https://app.test/"}],
    "probe_schedules": [{"name": "core", "every": "60s", "targets": ["products"]}],
    "probe_payloads": [{"target": "products", "query": {"q": "a"}}],
    "alert_channels": [{"name": "mail", "type": "email", "to": ["ops@example.com"]}],
    "alert_rules": [{"name": "down", "metric": "probe_down"}],
    "maintenance_windows": [
        {"name": "night", "starts_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-01T01:00:00Z"}
    ],
}


def walk(patterns: list[Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield every route with its name."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        else:
            assert isinstance(pattern, URLPattern)
            yield route, pattern.name or ""


def routes() -> list[tuple[str, str]]:
    return list(walk(get_resolver().url_patterns))


def screens() -> dict[str, str]:
    """The routes of pulse's in the admin, by name; the nameless ones only lead to others."""
    return {name: route for route, name in routes() if route.startswith(ADMIN_MOUNT) and name}


def asked() -> dict[str, Any]:
    """What the table says of each route beside the admin."""
    return {
        **{MOUNT + route: methods for route, methods in PAGES.items()},
        **{API_MOUNT + route: methods for route, methods in API.items()},
        **HEALTH,
    }


def test_every_address_is_in_the_table():
    """What is added is walked; the table is ``tests/access/addresses.py``."""
    found = {route for route, _ in routes() if route.startswith(MOUNT)} | set(HEALTH)
    assert found == asked().keys()
    assert screens().keys() == ADMIN.keys()


@pytest.fixture
def site(settings: Any) -> Iterator[dict[str, str]]:
    """A row of everything that has an address; gives what stands for each placeholder."""
    settings.PULSE = {"METRICS_NETWORKS": []}
    document.apply(POLICY, publisher.Actor("user", "ana"))
    current.forget()
    keys.make("walked", actor=factories.KIM)
    job = factories.job("failed", status="completed", targets=["products"])
    with heartbeat.suspended():
        yield {**SAMPLES, "<int:pk>": str(job.pk)}


def client_of(who: str) -> Client:
    """Log somebody in, or give a key along."""
    kind, _, scope = who.partition(" ")
    if kind == "key":
        new = keys.make("ci", actor=factories.KIM, scopes=[scope])
        return Client(headers={"Authorization": f"Bearer {new.text}"})
    client = Client()
    if who != "nobody":
        user = get_user_model().objects.create_user("ana", is_staff=kind == "staff")
        user.user_permissions.set(Permission.objects.filter(codename=scope or "administer"))
        client.force_login(user)
    return client


PEOPLE: dict[str, Scope | None] = {
    "nobody": None,
    # Somebody without any right to be here, whatever permission was given by mistake.
    "customer": None,
    **{f"staff {scope}": scope for scope in ORDER},
    **{f"key {scope}": scope for scope in ORDER},
}


def may(held: Scope | None, scope: Any) -> bool:
    if scope is OPEN:
        return True
    return held is not None and scope != CLOSED and ORDER.index(held) >= ORDER.index(scope)


@pytest.mark.parametrize("who", PEOPLE)
def test_every_page_view_and_stream_lets_in_who_holds_its_scope(who, site):
    """API.md 1: 401 for nobody, 403 for who may not, and what there is for who may."""
    client, held, wrong = client_of(who), PEOPLE[who], []
    for route, methods in asked().items():
        address = "/" + PLACEHOLDER.sub(lambda match: site.get(match[0], "0"), route)
        for method in METHODS:
            scope = methods.get(method, next(iter(methods.values())))
            response = client.generic(
                method, address, "{}", "application/json", headers={"accept": "application/json"}
            )
            status = response.status_code
            if method not in methods:
                expected = status in {401, 403, 405}
                if may(held, Scope.ADMINISTER):
                    expected = status == 405
            elif may(held, scope):
                expected = status < 500 and status not in {401, 403, 405}
            else:
                expected = status == (401 if who == "nobody" else 403)
            if not expected:
                wrong.append(f"{method} {address}: {status}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "who",
    ["nobody", "customer", "staff view", "staff operate", "staff administer", "key administer"],
)
def test_every_screen_of_the_admin_lets_in_who_holds_its_scope(who, site):
    """As anywhere in the admin: whoever is not staff is led to the login; no key opens a screen."""
    client, held, wrong = client_of(who), PEOPLE[who], []
    for name, route in screens().items():
        address = "/" + PLACEHOLDER.sub(row_of(name), route)
        posted = POSTED.get(name)
        response = client.get(address) if posted is None else client.post(address, posted)
        if not who.startswith("staff"):
            expected = response.status_code == 302 and "login" in response["Location"]
        elif may(held, ADMIN[name]):
            expected = response.status_code in {200, 302, 405}
        else:
            expected = response.status_code == 403
        if not expected:
            wrong.append(f"{name} {address}: {response.status_code}")
    assert not wrong, "\n".join(wrong)


def row_of(name: str) -> str:
    """The primary key of a row of the model that a screen is of."""
    model = name.split("_")[1]
    if model not in apps.all_models["pulse"]:
        return "1"
    row = apps.get_model("pulse", model).objects.first()
    return "0" if row is None else str(row.pk)
