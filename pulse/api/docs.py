"""The schema, and a page of it for people: plain HTML, nothing from elsewhere, no script."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.media import JsonRenderer, YamlRenderer
from pulse.api.operations import Operation
from pulse.api.schema import Generator, root
from pulse.api.views import ApiView
from pulse.core.document import canonical, chain_hash

METHODS: Final = ("get", "post", "put", "patch", "delete")


class OpenApiJson(JsonRenderer):
    """The schema as JSON, under the name that tools know."""

    media_type = "application/vnd.oai.openapi+json"
    format = "openapi"


class Schema(ApiView):
    """The OpenAPI schema of this API."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": None}
    renderer_classes = (JsonRenderer, YamlRenderer, OpenApiJson)
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "Read this schema", {"type": "object"}, etag=True, text="OpenAPI 3.1, of pulse alone."
        )
    }

    def get(self, request: Request) -> Response:
        """Answer with the schema."""
        schema, etag = written(root())
        return conditional.answer(request, schema, conditional.tag(etag))


class HtmlRenderer(BaseRenderer):
    """A page."""

    media_type = "text/html"
    format = "html"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002 - the framework's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> bytes:
        """Write what was rendered already."""
        return str(data).encode()


class Docs(ApiView):
    """The reference of this API, to read."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": None}
    renderer_classes = (HtmlRenderer,)
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("Read the reference", {"type": "string"}, text="A page for people.")
    }

    def get(self, request: Request) -> HttpResponse:
        """Answer with the page."""
        schema, _etag = written(root())
        return HttpResponse(
            render_to_string("pulse/api/docs.html", _shown(schema), request._request)
        )


@lru_cache(maxsize=4)
def written(mount: str) -> tuple[dict[str, Any], str]:
    """Return the schema and its hash; it is the same for as long as the process lives.

    Args:
        mount: Where the API is.
    """
    from pulse.api.urls import urlpatterns

    schema = Generator.of(urlpatterns, mount).get_schema()
    return schema, chain_hash("", schema)[:32]


def _shown(schema: Mapping[str, Any]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                groups.setdefault(operation["tags"][0], []).append(
                    _operation(method, schema["servers"][0]["url"] + path, operation)
                )
    shapes = [(name, _fields(shape)) for name, shape in schema["components"]["schemas"].items()]
    info = {**schema["info"], "description": _marked(schema["info"]["description"])}
    return {"info": info, "groups": sorted(groups.items()), "shapes": shapes}


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {})
    answers = [
        (status, _name(answer), _content(answer.get("content", {})))
        for status, answer in operation["responses"].items()
    ]
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "text": _marked(operation["description"]),
        "parameters": [
            (one["name"], one["in"], one.get("description", ""), _type(one["schema"]))
            for one in operation["parameters"]
        ],
        "body": _content(body),
        "example": next((canonical(m["example"]) for m in body.values() if "example" in m), ""),
        "answers": answers,
    }


def _marked(text: str) -> SafeString:
    """Write what stands between backticks as code."""
    parts = enumerate(text.split("`"))
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", part) if n % 2 else part,) for n, part in parts)
    )


def _content(content: Mapping[str, Any]) -> str:
    return next((_type(media["schema"]) for media in content.values()), "")


def _name(answer: Mapping[str, Any]) -> str:
    return str(answer.get("$ref", "")).rpartition("/")[2]


def _fields(shape: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Return name, type, whether it is required, and what it is, of each field."""
    required = shape.get("required", ())
    found = [
        (name, _type(field), name in required, field.get("description", ""))
        for name, field in shape.get("properties", {}).items()
    ]
    for part in shape.get("allOf", ()):
        found += _fields(part) if "properties" in part else [("…", _type(part), True, "")]
    return found


def _type(schema: Mapping[str, Any]) -> str:
    """Say in a few words what a value is."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for either in ("anyOf", "oneOf"):
        if either in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[either])))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "anything")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if "array" in names:
        names[names.index("array")] = f"list of {_type(schema.get('items', {}))}"
    if schema.get("format") == "date-time":
        names = ["time" if name == "string" else name for name in names]
    return " or ".join(names)
