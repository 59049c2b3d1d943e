"""What a breaker tried at the doors of the API, and what it answers now."""

import asyncio
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.test import Client

from pulse.policies import publisher
from pulse.policies.models import RateTier
from tests.api.conftest import Script

pytestmark = pytest.mark.django_db
POLICY = "/pulse/api/v1/policy/"


@pytest.mark.parametrize(
    ("body", "kind"),
    [("", "application/json"), ("{}", "application/json"), ("", "application/yaml")],
)
def test_an_empty_document_removes_nothing(administrator: Script, body: str, kind: str) -> None:
    headers = {"Authorization": f"Bearer {administrator.key}"}
    response = Client().generic("PUT", f"{POLICY}?prune=1", body, kind, headers=headers)
    assert response.status_code == 400
    assert "would remove everything" in response.content.decode()
    assert RateTier.objects.exists()
    said = administrator.put("policy/?prune=1&dry_run=1", {"version": 1})
    assert said.json()["changed"] is True  # Who means it writes so.


def test_a_rollback_and_a_publication_meet_who_was_faster(administrator: Script) -> None:
    newest = publisher.newest_number()
    for path in (f"revisions/{newest}/rollback/", "policy/publish/"):
        stale = administrator.post(path, {}, If_Match=f'"{newest - 1}"')
        assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
        assert administrator.post(path, {}, If_Match=f'"{newest}"').status_code == 200


def test_a_token_of_the_hosts_is_no_wrong_key_where_none_is_asked_for(settings: Any) -> None:
    settings.PULSE = {"AUTH_FAILURES": "1/m"}
    for _ in range(3):
        response = Client().get(
            "/pulse/api/v1/quota/", headers={"Authorization": "Bearer of-the-host"}
        )
        assert response.status_code == 200
    wrong = Client().get("/pulse/api/v1/quota/", headers={"Authorization": "Bearer pulse_x_y"})
    assert wrong.status_code == 401


def test_the_root_leads_to_every_resource(nobody: Script, administrator: Script) -> None:
    told = nobody.get("").json()
    assert told["rate-tiers"] == "http://testserver/pulse/api/v1/rate-tiers/"
    assert {"policy", "jobs", "metrics/history", "alert-rules"} <= told.keys()
    for address in told.values():
        path = address.removeprefix("http://testserver/pulse/api/v1/")
        assert administrator.get(path).status_code in {200, 405}


@pytest.mark.django_db(transaction=True)
def test_a_body_in_pieces_is_read_under_asgi(administrator: Script) -> None:
    """Without a length the framework takes it for empty."""
    headers = {
        "host": "testserver",
        "authorization": f"Bearer {administrator.key}",
        "content-type": "application/json",
        "transfer-encoding": "chunked",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/pulse/api/v1/rate-tiers/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 4711),
        "server": ("testserver", 80),
    }
    pieces = [b'{"name": "b", ', b'"limits": ["1/s"]}']
    sent: list[Any] = []

    async def receive() -> Any:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(get_asgi_application()(scope, receive, send))
    assert sent[0]["status"] == 201, sent
