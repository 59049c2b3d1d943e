"""The admin, as an operator meets it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from pulse.policies import document, publisher
from pulse.policies.models import EndpointLimit, PolicyRevision, RateTier
from pulse.store import heartbeat

SETUP = {
    "version": 1,
    "rate_tiers": [
        {
            "name": "default",
            "default": True,
            "mode": "enforce",
            "limits": [{"rate": "100/s", "burst": 200}],
        },
        {"name": "paid", "limits": [{"rate": "500/s"}]},
    ],
    "endpoint_limits": [
        {"name": "search", "url_name": "search", "key": "ip", "limits": [{"rate": "60/m"}]}
    ],
}


@pytest.fixture(autouse=True)
def without_heartbeat() -> Iterator[None]:
    """Its thread has a connection of its own, to which what a test has not committed never was."""
    with heartbeat.suspended():
        yield


def url(name: str, *arguments: Any) -> str:
    return reverse(f"admin:pulse_{name}", args=arguments)


class Operator:
    """Someone at the screens."""

    def __init__(self, user: Any) -> None:
        self.user = user
        self.client = Client()
        self.client.force_login(user)

    def get(self, name: str, /, *arguments: Any, **query: Any) -> Any:
        return self.client.get(url(name, *arguments), query)

    def post(self, name: str, /, *arguments: Any, **data: Any) -> Any:
        return self.client.post(url(name, *arguments), data)

    def form(self, name: str, *arguments: Any) -> dict[str, Any]:
        """What a browser would send back unchanged."""
        response = self.get(name, *arguments)
        assert response.status_code == 200
        return form_data(response)

    def save(self, name: str, /, *arguments: Any, **changed: Any) -> Any:
        data = self.form(name, *arguments)
        return self.client.post(url(name, *arguments), {**data, **changed})

    def act(self, name: str, action: str, /, *rows: Any, **data: Any) -> Any:
        chosen = {
            "action": action,
            "_selected_action": [row.pk for row in rows],
            "index": "0",
            **data,
        }
        return self.client.post(url(f"{name}_changelist"), chosen, follow=True)


def form_data(response: Any) -> dict[str, Any]:
    """Read the fields of an admin form as a browser would send them."""
    data: dict[str, Any] = {}
    adminform = response.context["adminform"]
    forms = [adminform.form]
    for inline in response.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for field in form:
            value = field.value()
            if hasattr(field.field.widget, "decompress"):
                parts = value if isinstance(value, list) else field.field.widget.decompress(value)
                for place, part in enumerate(parts):
                    data[f"{field.html_name}_{place}"] = "" if part is None else str(part)
            elif isinstance(value, bool):
                if value:
                    data[field.html_name] = "on"
            elif isinstance(value, list):
                data[field.html_name] = value
            else:
                data[field.html_name] = "" if value is None else str(value)
    return data


def errors(response: Any) -> dict[str, list[str]]:
    """Every error of the form that came back, by its field."""
    assert response.status_code == 200
    found = {name: list(texts) for name, texts in response.context["adminform"].form.errors.items()}
    for inline in response.context["inline_admin_formsets"]:
        if inline.formset.non_form_errors():
            found["limits"] = list(inline.formset.non_form_errors())
        for place, form in enumerate(inline.formset.forms):
            for name, texts in form.errors.items():
                found[f"limits.{place}.{name}"] = list(texts)
    return found


def told(response: Any) -> str:
    """Every message of the page, as text."""
    return " ".join(
        re.sub(r"<[^>]+>", "", str(message)) for message in response.context["messages"]
    )


@pytest.fixture
def policy(db: Any) -> None:
    """A policy that leaves room to work."""
    document.apply(SETUP, publisher.SYSTEM)


@pytest.fixture
def kim(policy: None) -> Operator:
    """Who may do everything."""
    return Operator(get_user_model().objects.create_superuser("kim", "kim@example.org", "secret"))


@pytest.fixture
def clerk(policy: None) -> Operator:
    """Staff who may only look."""
    user = get_user_model().objects.create_user("clerk", password="secret", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="pulse", codename__startswith="view_")
    )
    return Operator(user)


@pytest.fixture
def default() -> RateTier:
    return RateTier.objects.get(name="default")


@pytest.fixture
def search() -> EndpointLimit:
    return EndpointLimit.objects.get(name="search")


def revision() -> int:
    return PolicyRevision.objects.values_list("number", flat=True).first() or 0
