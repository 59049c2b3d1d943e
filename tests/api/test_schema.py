"""The schema says what the API does, of these views alone; the page of it needs nothing else."""

import json
import re

import pytest
import yaml
from django.test import Client
from drf_spectacular.validation import validate_schema

from pulse.api.urls import urlpatterns
from pulse.api.views import Nowhere
from tests.api.conftest import API

pytestmark = pytest.mark.django_db


@pytest.fixture
def schema(nobody) -> dict:
    return nobody.get("schema/").json()


def operations(schema: dict) -> list[tuple[str, str, dict]]:
    return [
        (path, method, one)
        for path, methods in schema["paths"].items()
        for method, one in methods.items()
    ]


def test_the_schema_is_one(schema) -> None:
    validate_schema(schema)
    assert schema["openapi"].startswith("3.1")
    assert schema["servers"][0]["url"] == API


def test_it_has_every_address_of_these_and_no_other(schema) -> None:
    mounted = {
        re.sub(r"<\w+:(\w+)>", r"{\1}", f"/{pattern.pattern}"): set(pattern.callback.cls.scopes)
        for pattern in urlpatterns
        if pattern.callback.cls is not Nowhere
    }
    told = {path: {name.upper() for name in methods} for path, methods in schema["paths"].items()}
    assert told == mounted


def test_every_operation_says_how_it_ends(schema) -> None:
    names = [one["operationId"] for _path, _method, one in operations(schema)]
    assert len(set(names)) == len(names)
    for path, method, one in operations(schema):
        answers = set(one["responses"])
        assert {"400", "401", "406", "429", "503"} <= answers, path
        assert one["summary"] and one["description"] and one["tags"], path
        assert ("404" in answers) >= ("{" in path)
        if method != "get":
            assert {"403", "413", "415"} <= answers
        if method == "post":
            assert {"409", "422"} <= answers
            assert "Idempotency-Key" in [parameter["name"] for parameter in one["parameters"]]
        if method in {"put", "patch", "delete"}:
            assert "412" in answers
        good = one["responses"][min(answers)]
        assert {"X-RateLimit-Limit", "X-Request-ID"} <= set(good["headers"]), path


def test_only_what_is_open_needs_no_key(schema) -> None:
    for pattern in urlpatterns:
        path = re.sub(r"<\w+:(\w+)>", r"{\1}", f"/{pattern.pattern}")
        for method, scope in pattern.callback.cls.scopes.items():
            told = schema["paths"][path][method.lower()]
            assert (told["security"] == []) == (scope is None), (path, method)


def test_every_value_has_its_bounds(schema) -> None:
    """As the OWASP rules for schemas ask for it."""

    def walk(found, where="") -> None:
        if isinstance(found, list):
            for number, inner in enumerate(found):
                walk(inner, f"{where}.{number}")
            return
        if not isinstance(found, dict):
            return
        kinds = found.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if isinstance(kinds, list):
            wanted = {
                "string": {"maxLength", "enum"},
                "integer": {"maximum"},
                "array": {"maxItems"},
            }
            for kind in kinds:
                bounds = wanted.get(kind, set()) if isinstance(kind, str) else set()
                assert not bounds or bounds & found.keys(), (where, found)
        for name, inner in found.items():
            if name not in {"example", "examples"}:
                walk(inner, f"{where}.{name}")

    walk(schema["paths"])
    walk(schema["components"]["schemas"])


def test_it_is_told_in_three_forms(nobody) -> None:
    plain = nobody.get("schema/")
    assert yaml.safe_load(nobody.get("schema/?format=yaml").content) == plain.json()
    named = nobody.get("schema/", Accept="application/vnd.oai.openapi+json")
    assert named.headers["Content-Type"] == "application/vnd.oai.openapi+json"
    assert json.loads(named.content) == plain.json()
    known = nobody.get("schema/", If_None_Match=plain.headers["ETag"])
    assert (known.status_code, known.content) == (304, b"")


def test_the_page_needs_nothing_from_elsewhere(nobody, schema) -> None:
    page = nobody.get("docs/", Accept="text/html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    text = page.content.decode()
    for _path, _method, one in operations(schema):
        assert f'id="{one["operationId"]}"' in text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert re.findall(r"<script[^>]*>", text) == [
        '<script src="/static/pulse/theme.js">',
        '<script type="module" src="/static/pulse/live.js">',
    ]
    assert Client().get(f"{API}/docs/", headers={"Accept": "*/*"}).status_code == 200
