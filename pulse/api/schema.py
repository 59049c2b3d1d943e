"""The OpenAPI schema of these views, and of no others; whatever the host says of its own.

drf-spectacular walks the addresses and keeps the components. What an operation is, its view says
(``operations``); nothing is read from the host's settings of the generator.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from django.urls import get_script_prefix, reverse
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent

from pulse.api import idempotency
from pulse.api.operations import Operation, Schema, Shape
from pulse.api.parameters import LONGEST, Parameter
from pulse.envelope import PROBLEM

if TYPE_CHECKING:
    from pulse.api.views import ApiView

OPENAPI: Final = "3.1.0"
JSON: Final = "application/json"
CORS: Final = "Access-Control-Allow-Origin"
TITLE: Final = "pulse"
DESCRIPTION: Final = (
    "Traffic policy and health of a site, for scripts. Whatever is edited here is in force on the "
    "next request, in the history, and can be taken back.\n\n"
    "Errors are `application/problem+json` (RFC 9457) with a `code` to go by. A write takes "
    "`?dry_run=1` to only tell, `?reason=` for the history, and a guard; it is refused with 409 "
    "where it would lock out its author."
)
#: Problems by status: when they come, and further members that they have.
PROBLEMS: Final[Mapping[int, str]] = {
    400: "What was sent cannot be: `invalid` names each field in `errors`; or `parse_error`.",
    401: "No key and no session, or none that counts: `not_authenticated`.",
    403: "Who asks may not, or sent no CSRF token with a session: `permission_denied`.",
    404: "There is no such thing: `not_found`.",
    405: "The address has no such method: `method_not_allowed`.",
    406: "The client takes none of the forms of the answer: `not_acceptable`.",
    409: (
        "`in_use` (others name it), `lock_out` (it would refuse its author; `?force=1` passes), "
        "`too_many_jobs`, `job_finished`, `idempotency_running`."
    ),
    412: "It was changed since it was read: `version_mismatch`, with `current_version`.",
    413: "The body is larger than the site takes: `body_too_large`.",
    415: "The body is in none of the forms that are read: `unsupported_media_type`.",
    422: "The Idempotency-Key came with another request: `idempotency_mismatch`.",
    429: "Too many requests, or wrong keys: `rate_limited`; or a probe too soon: `cooldown`.",
    503: "The database or the counters cannot be reached just now: `unavailable`.",
}
ERROR: Final = Shape(
    "Problem",
    {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri", "examples": ["urn:pulse:invalid"]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "What to go by; the texts may change."},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "errors": {
                "type": "object",
                "description": "By the dotted name of the field, on `invalid` alone.",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
            "current_version": {"type": "integer"},
            "retry_after": {"type": "integer", "minimum": 1},
        },
    },
)
#: What the middleware refuses, which knows no problems unless they are asked for.
REFUSAL: Final = Shape(
    "Refusal",
    {
        "type": "object",
        "required": ["detail", "request_id"],
        "properties": {
            "detail": {"type": "string"},
            "retry_after": {"type": "integer", "minimum": 1},
            "request_id": {"type": "string"},
            "decision": {"type": "string", "description": "For explain/."},
        },
    },
)
TEXT_HEADER: Final[Schema] = {"type": "string"}
HEADERS: Final[Mapping[str, tuple[str, Schema]]] = {
    "X-Request-ID": ("Names the request in logs and history.", TEXT_HEADER),
    "X-RateLimit-Limit": ("The capacity of the tightest limit.", {"type": "integer"}),
    "X-RateLimit-Remaining": ("What is left of it.", {"type": "integer"}),
    "X-RateLimit-Reset": ("When it is whole again, in epoch seconds.", {"type": "integer"}),
    # In small letters: a set of rules for schemas takes two names for a contradiction.
    "ratelimit": ("The same, as the IETF's draft has it.", TEXT_HEADER),
    "ratelimit-policy": ("The limits that hold, likewise.", TEXT_HEADER),
    CORS: ("The origin of the page that asks, where a CORS rule allows it.", TEXT_HEADER),
    "Retry-After": ("When to try again, in seconds.", {"type": "integer", "minimum": 1}),
    "ETag": ("The version, for If-Match and If-None-Match.", TEXT_HEADER),
    "Location": ("The address of what was made.", {"type": "string", "format": "uri"}),
    "X-Pulse-Revision": ("The revision in force afterwards.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("Bearer.", TEXT_HEADER),
    "Allow": ("The methods that there are.", TEXT_HEADER),
    "Idempotency-Replayed": ("The answer was given before.", TEXT_HEADER),
}
LIMITS: Final = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "ratelimit",
    "ratelimit-policy",
)
EVERYWHERE: Final = ("X-Request-ID", CORS, *LIMITS)
MOST_TEXT: Final = 1_000_000
MOST_WHOLE: Final = 2**53 - 1
MOST_ITEMS: Final = 100_000
IDENT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": 64}
SECURITY: Final[Mapping[str, Schema]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "pulse_<prefix>_<secret>",
        "description": (
            "A key of the API, made by `pulse_key`, the admin or `api-keys/`. Its scopes are "
            "`view`, `operate` and `administer`; each includes the ones before."
        ),
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "A session of the staff, with the CSRF token where something is written.",
    },
}


class ViewSchema(AutoSchema):
    """Writes an operation from what its view says; also where a host's own schema has it."""

    def get_operation(
        self,
        path: str,
        path_regex: str,  # noqa: ARG002 - drf-spectacular's signature
        path_prefix: str,  # noqa: ARG002 - as above
        method: str,
        registry: ComponentRegistry,
    ) -> dict[str, Any] | None:
        """Return the operation, its components registered."""
        view: Any = self.view
        return _Writer(view, path, method, registry).operation()


class Generator(SchemaGenerator):
    """The schema of some addresses, whatever the settings of the host."""

    root: str

    @classmethod
    def of(cls, patterns: Sequence[Any], root: str) -> "Generator":
        """Make the generator of addresses that are mounted under a root."""
        generator: Any = cls
        made: Generator = generator(patterns=patterns)
        made.root = root
        return made

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002, ARG002 - drf-spectacular's signature
        """Write the whole schema; queries nothing."""
        paths: dict[str, Any] = {}
        enumerator: Any = EndpointEnumerator(self.patterns)
        found = enumerator._get_api_endpoints(self.patterns, "")
        for path, _regex, method, callback in sorted(found, key=lambda one: (one[0], one[2])):
            view = callback.cls(**callback.initkwargs)
            operation = _Writer(view, path, method, self.registry).operation()
            paths.setdefault(path, {})[method.lower()] = operation
        components = self.registry.build({})
        components["securitySchemes"] = dict(SECURITY)
        components["headers"] = {
            name: {"description": text, "schema": dict(schema)}
            for name, (text, schema) in HEADERS.items()
        }
        tags = sorted(
            {tag for path in paths.values() for op in path.values() for tag in op["tags"]}
        )
        whole = {
            "openapi": OPENAPI,
            "info": {
                "title": TITLE,
                "version": f"v1 ({_release()})",
                "description": DESCRIPTION,
                "license": {"name": "MIT", "identifier": "MIT"},
                "contact": {"name": "Whoever runs this site"},
            },
            "servers": [
                {"url": self.root, "description": "This site in production.", "x-internal": True}
            ],
            "tags": [{"name": tag} for tag in tags],
            "paths": paths,
            "components": components,
        }
        return _bounded(whole)  # type: ignore[no-any-return]  # a mapping stays one


class _Writer:
    """One operation on its way into the schema."""

    def __init__(
        self, view: "ApiView", path: str, method: str, registry: ComponentRegistry
    ) -> None:
        self._view = view
        self._path = path
        self._method = method
        self._registry = registry
        self._scope = view.scopes.get(method)
        self._says: Operation = view.operation_of(method)

    def operation(self) -> dict[str, Any]:
        """Return the operation."""
        words = [word for word in self._path.strip("/").split("/") if word]
        names = [word.strip("{}").replace("-", "_") for word in words]
        scope = self._scope
        text = self._says.text
        needs = f"Open to all. {text}" if scope is None else f"Scope `{scope}`. {text}"
        found: dict[str, Any] = {
            "operationId": "_".join([self._method.lower(), *names]),
            "summary": self._says.summary,
            "description": needs.strip(),
            "tags": [words[0] if words else "schema"],
            "parameters": self._parameters(words),
            "responses": self._responses(),
            "security": [] if scope is None else [{"key": []}, {"session": []}],
        }
        if self._says.body is not None:
            found["requestBody"] = self._body(self._says.body)
        return found

    def _parameters(self, words: Sequence[str]) -> list[dict[str, Any]]:
        names = [word.strip("{}") for word in words if word.startswith("{")]
        path = [{"name": n, "in": "path", "required": True, "schema": dict(IDENT)} for n in names]
        query = [_query(parameter) for parameter in self._view.all_parameters(self._method)]
        headers = []
        if self._says.etag and self._method == "GET":
            headers.append(_header("If-None-Match", "The ETag of what is known already."))
        if self._says.etag and self._method != "GET":
            headers.append(_header("If-Match", "The ETag of what was read; 412 where it changed."))
        if self._method == "POST":
            text = "Sent again with it within 24 hours, nothing is done again."
            headers.append(
                _header(idempotency.HEADER, text, pattern=r"^[\x21-\x7e]{1,255}$", maxLength=255)
            )
        return [*path, *query, *headers]

    def _body(self, body: Shape | Schema) -> dict[str, Any]:
        media: dict[str, Any] = {"schema": self._resolved(body)}
        if self._says.body_example is not None:
            media["example"] = self._says.body_example
        types = [str(parser.media_type) for parser in self._view.parser_classes]
        # A part of a row may be no part of it; everything else has something to say.
        return {"required": True, "content": {name: dict(media) for name in types}}

    def _responses(self) -> dict[str, Any]:
        says = self._says
        found = {str(says.status): self._answer(says.answer, says.status)}
        for status, answer in says.others.items():
            found[str(status)] = self._answer(answer, status)
        if says.etag and self._method == "GET":
            found["304"] = {
                "description": "It is known already.",
                "headers": _headers((*EVERYWHERE, "ETag")),
            }
        for status in sorted(self._errors()):
            found[str(status)] = self._error(status)
        return found

    def _answer(self, answer: Shape | Schema | None, status: int) -> dict[str, Any]:
        names = list(EVERYWHERE)
        says = self._says
        if says.etag and self._method != "DELETE":
            names.append("ETag")
        if says.location and status == says.status:
            names.append("Location")
        if says.revision:
            names.append("X-Pulse-Revision")
        if self._method == "POST":
            names.append("Idempotency-Replayed")
        found: dict[str, Any] = {"description": "Done.", "headers": _headers(names)}
        if answer is None:
            return found
        media: dict[str, Any] = {"schema": self._resolved(answer)}
        if says.example is not None and status == says.status:
            media["example"] = says.example
        types = [str(renderer.media_type) for renderer in self._view.renderer_classes]
        return found | {"content": {name: dict(media) for name in types}}

    def _errors(self) -> set[int]:
        found = {400, 401, 405, 406, 429, 503, *self._says.errors}
        if self._scope is not None:
            found |= {403}
        if "{" in self._path:
            found.add(404)
        if self._method != "GET":
            found |= {403, 413, 415}
        if self._method == "POST":
            found |= {409, 422}
        if self._says.etag and self._method != "GET":
            found.add(412)
        return found

    def _error(self, status: int) -> dict[str, Any]:
        name = f"Problem{status}"
        content: dict[str, Any] = {PROBLEM: {"schema": self._resolved(ERROR)}}
        if status in {403, 413, 429, 503}:
            content[JSON] = {"schema": self._resolved(REFUSAL)}
        names = [*EVERYWHERE, *{401: ["WWW-Authenticate"], 405: ["Allow"]}.get(status, [])]
        names += ["Retry-After"] if status in {429, 503} else []
        schema = {
            "description": PROBLEMS[status],
            "headers": _headers(names),
            "content": content,
        }
        self._registry.register_on_missing(_component(name, "responses", schema))
        return {"$ref": f"#/components/responses/{name}"}

    def _resolved(self, schema: Any) -> Any:
        """Write a schema with references where it has shapes, which become components."""
        if isinstance(schema, Shape):
            component = _component(schema.name, "schemas", None)
            if component not in self._registry:
                self._registry.register(component)
                component.schema = self._resolved(schema.schema)
            return {"$ref": f"#/components/schemas/{schema.name}"}
        if isinstance(schema, Mapping):
            return {name: self._resolved(inner) for name, inner in schema.items()}
        if isinstance(schema, list | tuple):
            return [self._resolved(inner) for inner in schema]
        return schema


def _bounded(found: Any) -> Any:
    """Write out the bounds of values that nothing narrower bounds: what a whole policy can hold.

    Clients may set aside room by them, and tools that look for missing ones find none.
    """
    if isinstance(found, list):
        return [_bounded(inner) for inner in found]
    if not isinstance(found, Mapping):
        return found
    whole = {name: _bounded(inner) for name, inner in found.items()}
    kinds = whole.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds and "enum" not in whole:
        whole.setdefault("maxLength", MOST_TEXT)
    if "integer" in kinds:
        whole.setdefault("format", "int64")
        whole.setdefault("minimum", -MOST_WHOLE)
        whole.setdefault("maximum", MOST_WHOLE)
    if "array" in kinds:
        whole.setdefault("maxItems", MOST_ITEMS)
    if isinstance(inner := whole.get("properties"), dict) and isinstance(
        inner.get("headers"), dict
    ):
        # A set of rules takes every key of this name for the headers of an answer.
        inner["headers"].setdefault(CORS, True)
    return whole


def _component(name: str, kind: str, schema: Any) -> ResolvedComponent:
    make: Any = ResolvedComponent
    made: ResolvedComponent = make(name=name, type=kind, schema=schema, object=name)
    return made


def _query(parameter: Parameter) -> dict[str, Any]:
    schema = dict(parameter.schema)
    if schema.get("type") == "string":
        schema.setdefault("maxLength", LONGEST)
    return {
        "name": parameter.name,
        "in": "query",
        "required": False,
        "description": parameter.text,
        "schema": schema,
    }


def _header(name: str, text: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": text,
        "schema": {"type": "string", "maxLength": LONGEST, **schema},
    }


def _headers(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def root() -> str:
    """Return where the API is mounted, below the prefix of the site."""
    address: str = reverse("pulse:api-schema")
    return address.removesuffix("/schema/") or get_script_prefix()


def _release() -> str:
    try:
        return version("django-pulse-policy")
    except PackageNotFoundError:  # A checkout that was never installed.
        return "unreleased"
