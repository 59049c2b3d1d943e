"""The pages, as each kind of person meets them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from pulse.pages import status
from pulse.policies import current, document, publisher
from pulse.store import copies, heartbeat

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
TARGETS = [
    {"name": "products", "path": "/api/products/", "description": "What customers see first"},
    {"name": "search", "url_name": "search", "query": {"q": "a"}, "public_group": "Shop"},
    {"name": "paused", "path": "/api/slow/", "mode": "off"},
]
SCHEDULES = [
    {"name": "core", "every": "60s", "targets": ["products", "search"]},
    {"name": "routes", "every": "5m", "targets": ["GET /api/products/<int:pk>/"]},
]


@pytest.fixture(autouse=True)
def fresh_copies() -> Any:
    """No status is left of the test before; the heartbeat has a connection of its own."""
    status.forget()
    copies.forget()
    with heartbeat.suspended():
        yield
    status.forget()
    copies.forget()


@pytest.fixture
def apply(settings: Any, db: None) -> Callable[..., None]:
    """Put a document in force."""
    settings.PULSE = {"PROBE_BASE_URL": "http://127.0.0.1:8000"}

    def put_in_force(**kinds: Any) -> None:
        prune = kinds.pop("prune", False)
        actor = publisher.Actor("user", "ana")
        document.apply({"version": 1, **kinds}, actor, reason="Begin", prune=prune)
        # Nothing is announced before a test commits: this process looks anew.
        current.forget()

    return put_in_force


@pytest.fixture
def policy(apply: Callable[..., None]) -> None:
    """Two targets that are on, one that is off, and an endpoint that a schedule names."""
    apply(probe_targets=TARGETS, probe_schedules=SCHEDULES)


def person(name: str, *permissions: str, **fields: Any) -> Client:
    """Log somebody in."""
    user = get_user_model().objects.create_user(name, password="secret", **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(headers={"accept": BROWSER})
    client.force_login(user)
    return client


@pytest.fixture
def nobody() -> Client:
    return Client(headers={"accept": BROWSER})


@pytest.fixture
def customer(db: None) -> Client:
    return person("ada", "administer")


@pytest.fixture
def clerk(db: None) -> Client:
    """Staff without any scope."""
    return person("clerk", is_staff=True)


@pytest.fixture
def viewer(db: None) -> Client:
    return person("vi", "view", is_staff=True)


@pytest.fixture
def operator(db: None) -> Client:
    return person("op", "operate", is_staff=True)


@pytest.fixture
def administrator(db: None) -> Client:
    return person("adm", "administer", is_staff=True)


def text_of(response: Any) -> str:
    """What a page says, without its marks, each run of blanks as one."""
    content = response.content.decode()
    main = content[content.index("<main") : content.index("</main>")]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).strip()
