"""Answers held against the host's OpenAPI document."""

import json
from typing import Any

import pytest

from pulse.core.attempts import Answer
from pulse.core.expectations import Expectations
from pulse.core.judging import State, judge
from pulse.probes import contracts, openapi
from tests.probes.test_openapi import SPECTACULAR

PRODUCT = "GET /api/products/<int:pk>/"
THING = {
    "type": "object",
    "required": ["id", "password"],
    "properties": {
        "id": {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        "note": {"type": "string", "nullable": True},
        "password": {"type": "string", "writeOnly": True},
        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
    },
}


def document() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
    return {
        "openapi": "3.0.3",
        "components": {"schemas": {"Thing": THING}},
        "paths": {
            "/api/products/{id}/": {
                "get": {"responses": {"200": {"content": content}, "204": {"description": "none"}}}
            }
        },
    }


@pytest.fixture
def described(settings) -> None:
    openapi.forget()
    settings.PULSE = {"PROBE_OPENAPI": f"{__name__}.document"}
    contracts.warm([{}, {"schema": True}])
    assert openapi.is_made()


def drift(body: object, status: int = 200, kind: str = "application/json") -> str:
    check = contracts.check_of(PRODUCT)
    assert check is not None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": kind} if kind else {}
    return check(Answer(0.0, 1.0, status_code=status, headers=headers, body=raw))


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    "body", [{"id": 2}, {"id": 2, "note": None}, {"id": 2, "parts": [{"id": 3, "note": "x"}]}]
)
def test_an_answer_as_described_is_well(body: object) -> None:
    """Null where it is allowed, within references too; what is only written is not missed."""
    assert drift(body) == ""


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("told", "answer"),
    [
        ("body lacks id", {"body": {}}),
        ("id is not as minimum 1 says", {"body": {"id": 1}}),
        ('id is not as type "integer" says', {"body": {"id": "secret"}}),
        ('parts.0.id is not as type "integer" says', {"body": {"id": 2, "parts": [{"id": None}]}}),
        ("the body is no JSON", {"body": b"<html>"}),
        ("status 500 is not in it", {"body": {"id": 2}, "status": 500}),
        ("content type text/html is not in it", {"body": {"id": 2}, "kind": "text/html"}),
        ("a body, where none is described", {"body": {"id": 2}, "status": 204}),
    ],
)
def test_drift_is_told_without_values(told: str, answer: dict[str, Any]) -> None:
    """Where it is, and by which word of the schema."""
    assert drift(**answer) == told


@pytest.mark.usefixtures("described")
def test_an_expected_schema_that_is_missed_fails_the_probe() -> None:
    """The check is what ``judge`` takes."""
    answer = Answer(
        0.0, 1.0, status_code=200, headers={"content-type": "application/json"}, body=b"{}"
    )
    judged = judge(Expectations(schema=True), answer, contracts.check_of(PRODUCT))
    assert (judged.state, judged.detail) == (State.FAILED, "schema: body lacks id")


@pytest.mark.usefixtures("described")
def test_nothing_is_known_of_other_endpoints() -> None:
    """So ``judge`` has no check, and says so."""
    for name in ("GET /api/search/", "", "nonsense", f"DELETE {PRODUCT.partition(' ')[2]}"):
        assert contracts.check_of(name) is None


def test_the_document_is_made_by_the_first_answer_if_by_nobody_before(settings) -> None:
    """Not where a check is asked for: the engine's lock may be held there."""
    openapi.forget()
    settings.PULSE = {"PROBE_OPENAPI": f"{__name__}.document"}
    contracts.warm([{}, {"schema": False}])
    check = contracts.check_of(PRODUCT)
    assert (openapi.is_made(), check is None) == (False, False)
    assert drift({}) == "body lacks id"
    assert openapi.is_made()


def test_without_a_document_nothing_is_known(settings) -> None:
    """Said in the same words, whenever it turns out."""
    openapi.forget()
    answer = Answer(0.0, 1.0, status_code=200)
    late = judge(Expectations(schema=True), answer, contracts.check_of(PRODUCT))
    assert contracts.check_of(PRODUCT) is None
    known = judge(Expectations(schema=True), answer, contracts.check_of(PRODUCT))
    assert late.detail == known.detail == "schema: none is known of this endpoint"


@pytest.mark.django_db
def test_the_demonstration_answers_as_drf_spectacular_describes(settings, client) -> None:
    """A real answer of a real view."""
    openapi.forget()
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "drf_spectacular"]
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": SPECTACULAR}
    answer = client.get("/api/products/")
    check = contracts.check_of("GET /api/products/")
    assert check is not None
    headers = {"content-type": answer["Content-Type"]}
    assert check(Answer(0.0, 1.0, status_code=200, headers=headers, body=answer.content)) == ""
    assert "results" in check(Answer(0.0, 1.0, status_code=200, headers=headers, body=b"{}"))
