"""Origins that a host named elsewhere: its settings, the environment, and the default of neither.

What is imported is only added: the admin stays the authority.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from corsheaders.conf import conf as host
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.utils.translation import gettext as _

from pulse.core.cors import EXPOSED_HEADERS, KIND, CorsIndex, cors_index
from pulse.core.document import VERSION, Document, Item
from pulse.core.endpoints import METHODS
from pulse.core.origins import ANY, parse_origin
from pulse.exceptions import InvalidDocument, InvalidOrigin
from pulse.policies import kinds
from pulse.policies.edge import LONGEST_MAX_AGE_S, CorsOrigin

#: The environment variable that is looked at where none is named.
VARIABLE: Final = "PULSE_ALLOWED_ORIGINS"
SETTING: Final = "CORS_ALLOWED_ORIGINS"
#: Who may read while a site is developed of which nobody said who may.
DEFAULT: Final = "http://localhost:3000"
#: The settings of django-cors-headers that name origins, with their old names.
HOST_SETTINGS: Final = (
    "CORS_ALLOW_ALL_ORIGINS",
    "CORS_ORIGIN_ALLOW_ALL",
    SETTING,
    "CORS_ORIGIN_WHITELIST",
    "CORS_ALLOWED_ORIGIN_REGEXES",
    "CORS_ORIGIN_REGEX_WHITELIST",
)
#: What ``CORS_URLS_REGEX`` is where the host does not set it.
EVERYWHERE: Final = "^.*$"


@dataclass(frozen=True, slots=True)
class Source:
    """Origins as a host lists them.

    Attributes:
        name: Where: a setting or an environment variable.
        origins: As they are written there, surrounding blanks left out.
        fields: What else is said there of all of them, as fields of the document.
        within: The regex of the only paths that they are said of; empty where of all.
    """

    name: str
    origins: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    within: str = ""


def has_host_settings() -> bool:
    """Whether the host says anywhere who may read, be it that nobody may."""
    return any(hasattr(settings, name) for name in HOST_SETTINGS)


def has_base() -> bool:
    """Whether the host's settings, or its receivers, may let somebody in where no rule does."""
    return bool(
        host.CORS_ALLOW_ALL_ORIGINS
        or host.CORS_ALLOWED_ORIGINS
        or host.CORS_ALLOWED_ORIGIN_REGEXES
        or check_request_enabled.receivers
    )


def default_index() -> CorsIndex:
    """Return the rules for a site of which nobody said who may read."""
    kind = kinds.find_kind(KIND)
    return CorsIndex() if kind is None else cors_index([kind.to_item(CorsOrigin(origin=DEFAULT))])


def from_environment(name: str = VARIABLE) -> Source:
    """Read an environment variable, its origins parted by commas."""
    parts = (part.strip() for part in os.environ.get(name, "").split(","))
    return Source(name, tuple(dict.fromkeys(part for part in parts if part)))


def from_settings() -> Source:
    """Read ``CORS_ALLOWED_ORIGINS``, and what the other settings say of all its origins.

    A rule goes before the settings, so one that said less would take something away.
    """
    origins = tuple(dict.fromkeys(str(origin).strip() for origin in host.CORS_ALLOWED_ORIGINS))
    exposed = [str(name) for name in host.CORS_EXPOSE_HEADERS]
    known = {name.lower() for name in exposed}
    paths: Any = host.CORS_URLS_REGEX
    within = paths.pattern if isinstance(paths, re.Pattern) else str(paths)
    return Source(
        SETTING,
        origins,
        {
            "methods": [name for name in METHODS if name in set(host.CORS_ALLOW_METHODS)],
            "allowed_headers": [str(name) for name in host.CORS_ALLOW_HEADERS],
            "exposed_headers": [
                *exposed,
                *(name for name in EXPOSED_HEADERS if name.lower() not in known),
            ],
            "credentials": bool(host.CORS_ALLOW_CREDENTIALS),
            "max_age": min(int(host.CORS_PREFLIGHT_MAX_AGE), LONGEST_MAX_AGE_S),
            "private_network": bool(host.CORS_ALLOW_PRIVATE_NETWORK),
        },
        within="" if within == EVERYWHERE else within,
    )


def to_add(
    sources: Iterable[Source],
    existing: Iterable[Item],
    *,
    path: str | None = None,
    allow_any: bool = False,
) -> Document:
    """Write what sources name and the policy does not have as a document to apply.

    Args:
        sources: The first that names an origin says what it may.
        existing: The rules that there are, of any mode; they stay as they are.
        path: The path prefix of the new rules; None for ``/``, unless a source names origins
            for some paths alone.
        allow_any: ``*`` may be among them.

    Raises:
        InvalidDocument: Some origin cannot be; each is named, by its source. Or it is for the
            caller to say which path a source means.
    """
    errors: dict[str, list[str]] = {}
    have = {(item["origin"], item["path"]) for item in existing}
    items: list[dict[str, Any]] = []
    prefix = path or "/"
    for source in sources:
        if path is None and source.within and source.origins:
            text = _(
                "They hold where CORS_URLS_REGEX matches, %s, and a rule has a path prefix: name "
                "the path of the new rules."
            )
            errors[source.name] = [text % source.within]
            continue
        for origin in source.origins:
            problem = _problem(origin, allow_any=allow_any)
            if problem:
                errors.setdefault(source.name, []).append(problem)
            elif (origin, prefix) not in have:
                have.add((origin, prefix))
                fields = dict(source.fields)
                if origin == ANY:
                    fields.pop("credentials", None)
                fields["description"] = _("Imported from %s") % source.name
                items.append({"origin": origin, "path": prefix, **fields})
    if errors:
        raise InvalidDocument(errors)
    return {"version": VERSION, KIND: items}


def existing_rules() -> Sequence[Item]:
    """Read every rule that there is. One query."""
    kind = kinds.find_kind(KIND)
    return [] if kind is None else [kind.to_item(row) for row in kind.rows()]


def _problem(origin: str, *, allow_any: bool) -> str:
    if origin == ANY and not allow_any:
        return _('"*" is every origin: any page could read. Name the origins.')
    try:
        parse_origin(origin)
    except InvalidOrigin as error:
        return str(error)
    return ""
