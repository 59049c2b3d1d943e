"""A script with a key, and what it gets back."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from pulse.access import keys
from pulse.access.scopes import Scope
from pulse.store import heartbeat
from tests.factories import KIM

API = "/pulse/api/v1"


@pytest.fixture(autouse=True)
def no_heartbeat(fresh_process: None) -> Iterator[None]:
    with heartbeat.suspended():
        yield


class Script:
    """Calls the API with a key; bodies and answers are JSON."""

    def __init__(self, key: str | None) -> None:
        self.key = key
        self.client = Client(raise_request_exception=True)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            named.setdefault("Authorization", f"Bearer {self.key}")
        given: dict[str, Any] = {"headers": named}
        if body is not None:
            given |= {"data": body, "content_type": "application/json"}
        address = path if path.startswith("/pulse/") else f"{API}/{path}"
        return getattr(self.client, method.lower())(address, **given)

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self("DELETE", path, **headers)


def script(*scopes: Scope) -> Script:
    made = keys.make("ci", actor=KIM, scopes=list(scopes))
    return Script(made.text)


@pytest.fixture
def administrator(db: None) -> Script:
    return script(Scope.ADMINISTER)


@pytest.fixture
def viewer(db: None) -> Script:
    return script(Scope.VIEW)


@pytest.fixture
def nobody(db: None) -> Script:
    return Script(None)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The members of a problem that is what it should be."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == f"urn:pulse:{code}"
    assert (told["status"], told["code"]) == (status, code)
    assert told["title"] and told["detail"] and told["request_id"]
    return told
