"""What a host's OpenAPI document says of its operations, where it has one.

It is asked of ``PULSE["PROBE_OPENAPI"]``, or made by drf-spectacular where the host has that
configured. Neither is needed: what no document describes is judged by less.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.contrib.admindocs.views import simplify_regex
from django.core.signals import setting_changed
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from pulse.conf import conf
from pulse.core.targets import PARAMETER, EndpointId, is_regex

logger = logging.getLogger(__name__)

#: References to references are followed so far.
MAX_REFERENCES: Final = 8
JSON_TYPE: Final = re.compile(r"application/(?:[\w.+-]+\+)?json", re.ASCII | re.IGNORECASE)

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """One operation as the document has it.

    Attributes:
        document: The whole, for what refers into it.
        path: With its parameters in braces.
    """

    document: Schema
    path: str
    item: Schema
    operation: Schema

    def parameters(self, place: str) -> Iterator[Schema]:
        """Yield the parameters that stand in ``path``, ``query``, ``header`` or ``cookie``."""
        named: dict[tuple[Any, Any], Schema] = {}
        for listed in (self.item.get("parameters"), self.operation.get("parameters")):
            for one in listed if isinstance(listed, Sequence) else ():
                if found := resolved(one, self.document):
                    named[found.get("in"), found.get("name")] = found
        return (one for (where, _name), one in named.items() if where == place)

    def path_schemas(self) -> list[Schema | None]:
        """Return the schema of each path parameter, in their order."""
        by_name = {one.get("name"): parameter_schema(one) for one in self.parameters("path")}
        return [by_name.get(found["braced"]) for found in PARAMETER.finditer(self.path)]

    @property
    def body(self) -> Schema | None:
        """What is said of the request's body; None where it takes none."""
        return resolved(self.operation.get("requestBody"), self.document)

    def response(self, status: int) -> Schema | None:
        """Return what is said of answers with a status; None where nothing is."""
        responses = self.operation.get("responses")
        if not isinstance(responses, Mapping):
            return None
        for name in (str(status), f"{status // 100}XX", "default"):
            # YAML has whole numbers as keys where nobody wrote quotation marks.
            found = responses.get(name, responses.get(status) if name == str(status) else None)
            if found is not None:
                return resolved(found, self.document)
        return None


@dataclass(slots=True)
class OpenApi:
    """A document, by the operations of it.

    Attributes:
        document: As the host gives it.
    """

    document: Schema
    _paths: dict[str, tuple[str, Schema]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        base = _base_of(self.document)
        paths = self.document.get("paths")
        for path, item in paths.items() if isinstance(paths, Mapping) else ():
            if isinstance(item, Mapping):
                self._paths.setdefault(shape_of(f"{base}{path}"), (path, item))

    def find(self, endpoint: EndpointId) -> Described | None:
        """Return the operation of a route; None where the document has none."""
        path, item = self._paths.get(shape_of(f"/{endpoint.route}"), ("", {}))
        operation = item.get(endpoint.method.lower())
        if not isinstance(operation, Mapping):
            return None
        return Described(self.document, path, item, operation)


def shape_of(path: str) -> str:
    """Write a route, or a path of OpenAPI, without the names and types of its parameters."""
    if is_regex(path):
        path = simplify_regex(path)
    return PARAMETER.sub("{}", path)


def json_content(content: object) -> Schema | None:
    """Return the media type object of JSON; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    for name, media in content.items():
        if JSON_TYPE.match(str(name)) and isinstance(media, Mapping):
            return media
    return None


def parameter_schema(parameter: Schema) -> Schema:
    """Return a parameter's schema, its own examples among it."""
    schema = parameter.get("schema")
    told = {name: parameter[name] for name in ("example", "examples") if name in parameter}
    return {**(schema if isinstance(schema, Mapping) else {}), **told}


def resolved(value: object, document: Schema) -> Schema | None:
    """Follow a reference within the document; None for what leads nowhere."""
    for _step in range(MAX_REFERENCES):
        if not isinstance(value, Mapping):
            return None
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return value
        value = _pointed(reference, document)
    return None


def current(*, anew: bool = False) -> OpenApi | None:
    """Return the host's document; None where it has none, or it cannot be made.

    Made once in a process: for a large API it takes seconds.

    Args:
        anew: Make it again.
    """
    if anew or not _held:
        _held[:] = [_load()]
    return _held[0]


def is_made() -> bool:
    """Whether this process has asked for the document, so that asking costs nothing more."""
    return bool(_held)


def forget(**_kwargs: object) -> None:
    """Ask for the document again when it is next needed."""
    _held.clear()


#: The document, or None, once it was asked for.
_held: list[OpenApi | None] = []


def _load() -> OpenApi | None:
    try:
        document = _asked()
    except Exception as error:  # noqa: BLE001 - the host's code, for which no probe shall stop
        logger.warning("The host's OpenAPI document cannot be made: %s", error)
        return None
    if isinstance(document, Mapping):
        return OpenApi(document)
    if document is not None:
        logger.warning("The host's OpenAPI document is no mapping: %s", type(document).__name__)
    return None


def _asked() -> object:
    if conf.PROBE_OPENAPI:
        return import_string(conf.PROBE_OPENAPI)()
    return _spectacular() if apps.is_installed("drf_spectacular") else None


def _spectacular() -> object:
    """Have drf-spectacular describe the site; None where the views are not made for it."""
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.openapi import AutoSchema

    schema_class: Any = api_settings.DEFAULT_SCHEMA_CLASS
    if not issubclass(schema_class, AutoSchema):
        return None
    generator: Any = SchemaGenerator
    with GENERATOR_STATS.silence():
        return generator().get_schema(request=None, public=True)


def _base_of(document: Schema) -> str:
    """Return the path that all paths stand under, without a slash at its end."""
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list | tuple) and servers else None
    url = first.get("url") if isinstance(first, Mapping) else None
    return urlsplit(url).path.rstrip("/") if isinstance(url, str) else ""


def _pointed(reference: str, document: Schema) -> object:
    if not reference.startswith("#/"):
        return None
    found: object = document
    for step in reference[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


setting_changed.connect(forget, dispatch_uid="pulse.probes.openapi")
