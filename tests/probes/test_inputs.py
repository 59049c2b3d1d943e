"""What an operation needs, and samples of it."""

from typing import Any

import pytest
from django.test import override_settings

from pulse.core.targets import EndpointId, parse_endpoint_id
from pulse.probes.inputs import UUID, Input, input_of
from pulse.probes.openapi import OpenApi
from pulse.probes.operations import find_operations
from pulse.probes.plan import compile_plan

ITEM = "/api/items/(?P<pk>[^/.]+)/$"
BODY = {
    "kind": "book",
    "price": 2,
    "contact": "probe@example.com",
    "lines": [{"product": 10}],
}


@pytest.fixture(autouse=True)
def _site(settings) -> None:
    settings.ROOT_URLCONF = "tests.probes.site"


def needed(name: str, document: dict[str, Any] | None = None) -> Input:
    endpoint = parse_endpoint_id(name)
    operation = next(one for one in find_operations() if one.endpoint == endpoint)
    described = OpenApi(document).find(endpoint) if document else None
    return input_of(operation, described)


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("GET /plain/", {}),
        ("GET /classic/<uuid:key>/", {"path_params": {"key": UUID}}),
        ("GET /files/<int:n>.json", {"path_params": {"n": 1}}),
        ("GET /tree/<path:where>", {"path_params": {"where": "probe"}}),
        (
            "GET /shops/<str:shop>/<slug:slug>/",
            {"path_params": {"shop": "probe", "slug": "probe"}},
        ),
        (
            "GET /^years/(?P<year>[0-9]{4})/$",
            {"path": "/years/2024/", "path_params": {"year": "2024"}},
        ),
        ("GET /api/items/$", {"path": "/api/items/"}),
        (f"GET {ITEM}", {"path": "/api/items/1/", "path_params": {"pk": "1"}}),
    ],
)
def test_a_path_is_made_that_leads_to_its_route(name: str, sample: dict[str, Any]) -> None:
    """By converter, or by the regular expression; nothing has to be given by hand."""
    assert needed(name) == Input(required=False, sample=sample)


def test_a_path_that_nobody_can_guess_is_needed() -> None:
    """Defect 4 of the forerunner: that input is needed was never told."""
    assert needed("GET /^never/(?P<word>x{30}y)/$") == Input(required=True, sample=None)


def test_a_shadowed_route_has_no_sample() -> None:
    """What Django takes elsewhere is no sample of this route."""
    document = {"paths": {"/files/{n}.json": {"get": {}}}}
    assert needed("GET /files/<int:n>.json", document).sample == {"path_params": {"n": 1}}
    assert needed("GET /shops/<str:shop>/secret").sample == {"path_params": {"shop": "probe"}}


def test_a_serializer_gives_the_body() -> None:
    """Required fields, nested ones too, within their bounds; PATCH needs none."""
    made = needed("POST /api/items/$")
    assert made.required
    assert made.sample is not None
    assert (made.sample["body"], made.sample["media_type"]) == (BODY, "application/json")
    touched = needed(f"POST {ITEM.replace('$', 'touch/$')}")
    assert touched.sample is not None
    assert touched.sample["body"] == {"product": 10}
    assert not needed(f"PATCH {ITEM}").required


def test_a_body_that_nobody_describes_has_to_be_given() -> None:
    """A view without a serializer, and a plain one."""
    for name in ("POST /bare/", "POST /later/"):
        assert needed(name) == Input(required=True, sample=None)


def test_the_document_tells_what_is_required() -> None:
    """Query, headers and body with samples by their schemas; its examples go first."""
    document = {
        "openapi": "3.0.3",
        "servers": [{"url": "https://shop.example/v0"}],
        "components": {"schemas": {"Note": {"type": "string", "minLength": 3}}},
        "paths": {
            "/plain/": {
                "parameters": [
                    {"name": "q", "in": "query", "required": True, "schema": {"enum": ["a"]}},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                    {"name": "X-Shop", "in": "header", "required": True, "example": "north"},
                ],
                "get": {},
            },
            "/shops/{name}/{what}/": {
                "get": {
                    "parameters": [
                        {"name": "name", "in": "path", "required": True, "example": "south"},
                        {"name": "what", "in": "path", "required": True, "example": "not a slug"},
                    ]
                }
            },
            "/bare/": {
                "post": {
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Note"}}
                        },
                    }
                }
            },
        },
    }
    document["servers"] = [{"url": "/"}]
    assert needed("GET /plain/", document) == Input(
        required=True, sample={"query": {"q": "a"}, "headers": {"X-Shop": "north"}}
    )
    assert needed("GET /shops/<str:shop>/<slug:slug>/", document).sample == {
        "path_params": {"shop": "south", "slug": "probe"}
    }
    assert needed("POST /bare/", document).sample == {
        "body": "probe",
        "media_type": "application/json",
    }


def test_an_endpoint_is_called_by_its_sample() -> None:
    """A route of a regular expression too, with what is required beside the path."""
    with override_settings(PULSE={"PROBE_BASE_URL": "http://127.0.0.1:8000"}):
        plan = compile_plan({"version": 1}, None, 0.0)
        name = str(EndpointId("GET", ITEM[1:]))
        sample = {**(needed(name).sample or {}), "query": {"q": "a"}, "headers": {"X-Shop": "n"}}
        target = plan.target(name, sample)
    assert target.call.url == "http://127.0.0.1:8000/api/items/1/?q=a"
    assert (target.call.headers, target.problem) == ({"X-Shop": "n"}, "")
