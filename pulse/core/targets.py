"""What a probe is aimed at: names, endpoint ids, paths of routes, and the host that is met."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from pulse.core.endpoints import METHODS
from pulse.core.origins import DEFAULT_PORTS, to_ascii
from pulse.exceptions import InvalidEndpointId, InvalidPathParams

#: Methods that ask for nothing but an answer (RFC 9110, 9.2.1).
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
NAME: Final = re.compile(r"[a-z0-9_-]+", re.ASCII)
#: The longest endpoint id worth reading.
MAX_ENDPOINT_ID: Final = 512

#: Characters that only a route of ``re_path`` has.
REGEX_MARKS: Final = frozenset("^$()[]\\|*")
#: A parameter as ``path`` has it, or as OpenAPI writes it.
PARAMETER: Final = re.compile(
    r"<(?:(?P<converter>[^<>:]+):)?(?P<name>[^<>:]+)>|\{(?P<braced>[^{}/]+)\}"
)
#: What Django's ``reverse`` leaves as it is in a path (RFC 3986, 3.3), but for the slash.
UNQUOTED: Final = "!$&'()*+,;=~:@"


class EndpointId(NamedTuple):
    """An operation of the site; as text, ``METHOD /route``.

    Attributes:
        route: As Django has it: without the slash in front, such as ``api/products/<int:pk>/``.
    """

    method: str
    route: str

    def __str__(self) -> str:
        return f"{self.method} /{self.route}"

    @property
    def is_safe(self) -> bool:
        """Whether it may be probed without an operator's leave."""
        return self.method in SAFE_METHODS


def parse_target(text: str) -> str | EndpointId:
    """Read what names a target: its own name, or an endpoint id.

    Raises:
        InvalidEndpointId: It is neither.
    """
    return text if NAME.fullmatch(text) else parse_endpoint_id(text)


def parse_endpoint_id(text: str) -> EndpointId:
    """Read an endpoint id, such as ``GET /api/products/<int:pk>/`` (S0-07).

    Raises:
        InvalidEndpointId: It is none, or has segments that lead elsewhere.
    """
    method, _, path = text.partition(" ")
    if len(text) > MAX_ENDPOINT_ID:
        raise InvalidEndpointId(f"{text[:MAX_ENDPOINT_ID]}…")
    if method not in METHODS or not path.startswith("/") or not _is_route(path[1:]):
        raise InvalidEndpointId(text)
    return EndpointId(method, path[1:])


def is_regex(route: str) -> bool:
    """Whether a route is of ``re_path``, at least in part, so that no path follows from it."""
    return not REGEX_MARKS.isdisjoint(PARAMETER.sub("", route))


def parameters_of(route: str) -> tuple[str, ...]:
    """Name the parameters of a route of ``path``, in order."""
    return tuple(found["name"] or found["braced"] for found in PARAMETER.finditer(route))


def fill_route(route: str, path_params: Mapping[str, object]) -> str:
    """Make a path of a route, from the site's root, percent-encoded.

    A slash within a value is encoded, so that it stays within its segment, except in a
    ``<path:…>``, which is for several.

    Args:
        route: As Django has it, without the slash in front.
        path_params: A text or a number for each parameter, and nothing else.

    Raises:
        InvalidPathParams: A value is missing, is no text or number, or leads elsewhere; a name is
            unknown; the route is of ``re_path``.
    """
    if is_regex(route):
        raise InvalidPathParams(route, "is a regular expression. Give a sample path.")
    names = parameters_of(route)
    for name in path_params:
        if name not in names:
            raise InvalidPathParams(name, f"is no parameter of /{route}.")
    missing = [name for name in names if name not in path_params]
    if missing:
        raise InvalidPathParams(f"/{route}", f"needs a value for {', '.join(missing)}.")
    path = f"/{''.join(_filled(route, path_params))}"
    # Of two slashes in front, what follows would be read as a host.
    if path.startswith("//") or _has_dots(path):
        raise InvalidPathParams(path, "leads elsewhere than its route.")
    return path


def host_key(url: str) -> str:
    """Name the server that a URL leads to, host and port, as the caps count it.

    Raises:
        ValueError: The URL has no host, or no port that there can be.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("The URL has no host.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else to_ascii(parts.hostname).rstrip(".")
    return f"{host}:{parts.port or DEFAULT_PORTS.get(parts.scheme, '0')}"


def _is_route(route: str) -> bool:
    if not route.isprintable() or " " in route or _has_dots(route):
        return False
    # A query and a fragment are no part of a route; in a regular expression they are none either.
    return ".." not in route.split("\\") and (is_regex(route) or not set(route) & {"?", "#"})


def _has_dots(path: str) -> bool:
    return any(segment in {".", ".."} for segment in unquote(path).split("/"))


def _filled(route: str, values: Mapping[str, object]) -> Iterator[str]:
    end = 0
    for found in PARAMETER.finditer(route):
        yield quote(route[end : found.start()], safe=f"{UNQUOTED}/")
        name = found["name"] or found["braced"]
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
            raise InvalidPathParams(name, "needs a text or a number.")
        whole = found["converter"] == "path"
        yield quote(str(value), safe=f"{UNQUOTED}/" if whole else UNQUOTED, errors="replace")
        end = found.end()
    yield quote(route[end:], safe=f"{UNQUOTED}/")
