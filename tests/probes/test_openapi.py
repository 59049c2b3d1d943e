"""The host's OpenAPI document: where it comes from, and which operation is which route."""

from typing import Any

import pytest

from pulse.core.targets import parse_endpoint_id
from pulse.probes import openapi
from pulse.probes.openapi import OpenApi, shape_of

SPECTACULAR = "drf_spectacular.openapi.AutoSchema"


@pytest.fixture(autouse=True)
def _fresh_document() -> None:
    openapi.forget()


def given() -> dict[str, Any]:
    """A host's own document."""
    return {"openapi": "3.1.0", "paths": {"/api/products/{id}/": {"get": {"summary": "own"}}}}


def broken() -> dict[str, Any]:
    raise RuntimeError("no request")


def test_a_host_without_a_document_has_none() -> None:
    assert openapi.current() is None


def test_drf_spectacular_is_asked_where_the_host_has_it(settings, capfd) -> None:
    """Its warnings are the host's to see when it makes its own schema, not at each look."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "drf_spectacular"]
    assert openapi.current() is None
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_SCHEMA_CLASS": SPECTACULAR}
    document = openapi.current()
    assert document is not None
    found = document.find(parse_endpoint_id("GET /api/products/<int:pk>/"))
    assert found is not None
    assert found.path == "/api/products/{id}/"
    assert found.response(200) is not None
    assert document.find(parse_endpoint_id("PATCH /api/products/<int:pk>/")) is None
    assert capfd.readouterr().err == ""


def test_the_setting_goes_before(settings) -> None:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "drf_spectacular"]
    settings.PULSE = {"PROBE_OPENAPI": f"{__name__}.given"}
    document = openapi.current()
    assert document is not None
    found = document.find(parse_endpoint_id("GET /api/products/<int:pk>/"))
    assert found is not None
    assert found.operation == {"summary": "own"}


@pytest.mark.parametrize("name", ["broken", "missing", "SPECTACULAR"])
def test_a_document_that_cannot_be_made_is_none_and_is_told(settings, caplog, name: str) -> None:
    """Discovery goes on with what the URLconf tells."""
    settings.PULSE = {"PROBE_OPENAPI": f"{__name__}.{name}"}
    assert openapi.current() is None
    assert "The host's OpenAPI document cannot be made" in caplog.text


def test_routes_and_paths_are_the_same_without_names() -> None:
    assert (
        shape_of("/api/items/(?P<pk>[^/.]+)/$") == shape_of("/api/items/{id}/") == "/api/items/{}/"
    )
    assert shape_of("/a/<int:one>/b/<two>") == "/a/{}/b/{}"


def test_paths_stand_under_the_first_server() -> None:
    """As relative to the site, or whole."""
    for url in ("/v1", "https://shop.example/v1/"):
        document = OpenApi({"servers": [{"url": url}], "paths": {"/a/": {"get": {}}}})
        assert document.find(parse_endpoint_id("GET /v1/a/")) is not None
        assert document.find(parse_endpoint_id("GET /a/")) is None


def test_responses_are_found_by_status_class_and_default() -> None:
    """References are followed; YAML's whole numbers are statuses too."""
    document = OpenApi(
        {
            "components": {"responses": {"gone": {"description": "gone"}}},
            "paths": {
                "/a/": {
                    "get": {
                        "responses": {
                            200: {"description": "fine"},
                            "4XX": {"description": "yours"},
                            "410": {"$ref": "#/components/responses/gone"},
                            "500": {"$ref": "#/nowhere"},
                        }
                    }
                }
            },
        }
    )
    found = document.find(parse_endpoint_id("GET /a/"))
    assert found is not None
    told = {status: found.response(status) for status in (200, 404, 410, 500, 302)}
    assert told == {
        200: {"description": "fine"},
        404: {"description": "yours"},
        410: {"description": "gone"},
        500: None,
        302: None,
    }
