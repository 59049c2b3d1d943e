"""Payloads beside the document: the JSON file of their own shape, and those made of samples.

The file is one object: for each endpoint id ``path_params``, ``query``, ``headers``, ``body`` and
``media_type`` (S0-11). Operations may be named as OpenAPI has them, with parameters in braces.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.conf import settings
from django.utils.translation import gettext as _

from pulse.core.document import VERSION, Document
from pulse.core.targets import EndpointId, parameters_of, parse_target
from pulse.exceptions import InvalidDocument
from pulse.policies import publisher, routes
from pulse.policies.publisher import Actor
from pulse.probes import engine, openapi
from pulse.probes.kinds import PAYLOADS
from pulse.probes.models import ProbePayload
from pulse.probes.state import DiscoveredEndpoint

PARTS: Final = ("path_params", "query", "headers", "body")
MEDIA_TYPE: Final = "media_type"
JSON: Final = "application/json"
CONTENT_TYPE: Final = "content-type"
#: What a payload that was made of a sample says it comes from.
GENERATED: Final = "generated"


def looks_like_payloads(document: Mapping[str, Any]) -> bool:
    """Whether a file is of this shape, and no policy document: by its names, as ``GET /…``."""
    return bool(document) and all(" /" in str(name) for name in document)


def to_document(payloads: Mapping[str, Any]) -> Document:
    """Write a file of payloads as a policy document, which can be applied.

    Raises:
        InvalidDocument: Something in it cannot be; every error by its place.
    """
    errors: dict[str, list[str]] = {}
    items = []
    named: set[str] = set()
    for name, payload in payloads.items():
        try:
            target, renamed = _target_of(str(name))
            item = _item(target, payload, renamed)
        except (ValueError, TypeError) as error:
            errors.setdefault(str(name), []).append(str(error))
            continue
        if target in named:
            errors.setdefault(str(name), []).append(_("%s has one already.") % target)
        named.add(target)
        items.append(item)
    if errors:
        raise InvalidDocument(errors)
    return {"version": VERSION, PAYLOADS: items}


def from_document(document: Document) -> dict[str, dict[str, Any]]:
    """Write the payloads of a policy document as a file of their own; those that are off too."""
    return {item["target"]: _payload(item) for item in document.get(PAYLOADS, ())}


def samples() -> dict[str, dict[str, Any]]:
    """Return the samples that were generated for endpoints, in the same shape; one query."""
    rows = DiscoveredEndpoint.objects.using(engine.database()).filter(
        vanished_at=None, sample__isnull=False
    )
    return {row.endpoint_id: _payload(row.sample or {}) for row in rows}


def generate(endpoint_ids: Iterable[str], actor: Actor, *, source: str = "admin") -> list[str]:
    """Keep the samples of endpoints as payloads that can be edited; one revision.

    Those that have a payload keep it, and those without a sample, or with nothing in it, get none.

    Returns:
        For which endpoints one was made.

    Raises:
        ValidationError: Together they would be too large (S0-08, S0-09).
    """
    made = []
    with publisher.edit(actor, source=source):
        using = publisher.database()
        wanted = set(endpoint_ids)
        taken = set(ProbePayload.objects.using(using).values_list("target", flat=True))
        for name, payload in samples().items():
            if name not in wanted or name in taken or not any(payload.values()):
                continue
            row = ProbePayload(source=GENERATED, **_item(name, payload, {}))
            row.full_clean()
            row.save(using=using)
            made.append(name)
    return made


def _item(target: str, payload: object, renamed: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(payload, Mapping):
        raise TypeError(_("Write a mapping of path_params, query, headers, body, media_type."))
    known = {*PARTS, MEDIA_TYPE}
    if unknown := [str(name) for name in payload if name not in known]:
        raise ValueError(_("Unknown field: %s") % ", ".join(unknown))
    item = {name: payload[name] for name in PARTS if payload.get(name) is not None}
    if isinstance(params := item.get("path_params"), Mapping):
        item["path_params"] = {renamed.get(key, key): value for key, value in params.items()}
    kind = payload.get(MEDIA_TYPE)
    headers = item.get("headers") or {}
    is_told = isinstance(headers, Mapping) and CONTENT_TYPE in {name.lower() for name in headers}
    is_meant = kind == JSON and not isinstance(item.get("body"), str)
    if kind and "body" in item and not is_told and not is_meant:
        item["headers"] = {**headers, "Content-Type": kind}
    return {"target": target, **item}


def _payload(item: Mapping[str, Any]) -> dict[str, Any]:
    """Write an item, or a sample, in the shape of the file, all parts of it."""
    headers = dict(item.get("headers") or {})
    body = item.get("body")
    kind = item.get(MEDIA_TYPE)
    for name in list(headers):
        if name.lower() == CONTENT_TYPE:
            kind = headers.pop(name)
    if kind is None and body is not None and not isinstance(body, str):
        kind = JSON
    return {
        "path_params": dict(item.get("path_params") or {}),
        "query": dict(item.get("query") or {}),
        "headers": headers,
        "body": body,
        MEDIA_TYPE: kind,
    }


def _target_of(name: str) -> tuple[str, dict[str, str]]:
    """Return what a payload is for as pulse names it, and its parameters' names by those given."""
    found = parse_target(name)
    if not isinstance(found, EndpointId):
        return found, {}
    known = routes.known_values(settings.ROOT_URLCONF)["route"]
    if found.route in known:
        return name, {}
    shape = openapi.shape_of(found.route)
    for route in sorted(known):
        if openapi.shape_of(route) == shape:
            given, own = parameters_of(found.route), parameters_of(route)
            return str(EndpointId(found.method, route)), dict(zip(given, own, strict=True))
    raise ValueError(_("Unknown target: %s") % name)
