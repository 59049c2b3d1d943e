"""Paths and routes, and finding the rules of a request at a flat cost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Generic, NamedTuple, TypeVar

from pulse.exceptions import InvalidPath

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
#: Stands for methods that no standard names: clients may invent them.
OTHER_METHOD: Final = "OTHER"
#: Combinations of rules whose answer is remembered; a site has fewer.
MAX_REMEMBERED: Final = 10_000
#: What is found for a path is remembered for so many, none longer: clients write them, and could
#: fill memory.
MAX_REMEMBERED_PATHS: Final = 4096
MAX_REMEMBERED_PATH: Final = 64

K = TypeVar("K")
T = TypeVar("T")


class Remembered(dict[K, T]):
    """What was found for paths, within bounds: clients write them, and could fill memory."""

    __slots__ = ()

    def keep(self, key: K, value: T, path: str) -> None:
        """Remember what was found for a path, under a key that it is a part of."""
        if len(path) <= MAX_REMEMBERED_PATH:
            if len(self) >= MAX_REMEMBERED_PATHS:
                self.clear()
            self[key] = value


def known_method(method: str | None) -> str:
    """Return a method as it is counted and recorded: one of the standard's, or ``OTHER_METHOD``."""
    return method if method in METHODS else OTHER_METHOD


class Match(NamedTuple):
    """What Django resolved a request to.

    Attributes:
        route: The URL pattern, such as ``api/products/<int:pk>/``.
        url_name: The name with its namespaces, such as ``shop:product``; empty if it has none.
        view: The dotted path of the view function or class.
    """

    route: str
    url_name: str
    view: str


@dataclass(frozen=True, slots=True)
class Matcher:
    """Which requests a rule is for: exactly one of the first four, and methods.

    Attributes:
        methods: None for all. ``GET`` includes ``HEAD``.
    """

    route: str | None = None
    url_name: str | None = None
    view: str | None = None
    path: str | None = None
    methods: frozenset[str] | None = None

    def accepts(self, method: str) -> bool:
        """Whether the rule is for a method."""
        return (
            self.methods is None
            or method in self.methods
            or (method == "HEAD" and "GET" in self.methods)
        )


class EndpointIndex(Generic[T]):
    """Values by what they match; a look-up costs the same with ten rules and ten thousand."""

    __slots__ = (
        "_longest",
        "_paths",
        "_remembered",
        "_routes",
        "_url_names",
        "_views",
    )

    def __init__(self, items: Iterable[tuple[Matcher, T]] = ()) -> None:
        self._routes: dict[str, list[tuple[Matcher, T]]] = {}
        self._url_names: dict[str, list[tuple[Matcher, T]]] = {}
        self._views: dict[str, list[tuple[Matcher, T]]] = {}
        self._paths: dict[str, list[tuple[Matcher, T]]] = {}
        self._remembered: Remembered[tuple[Match, str, str], tuple[T, ...]] = Remembered()
        for matcher, value in items:
            table, key = self._place(matcher)
            table.setdefault(key, []).append((matcher, value))
        self._longest = max(map(len, self._paths), default=0)

    def find(self, match: Match, path: str, method: str) -> tuple[T, ...]:
        """Return every value for a request: by route, URL name, view, then longest prefix."""
        key = (match, method, path if self._paths else "")
        found = self._remembered.get(key)
        if found is None:
            found = self._find(match, path, method)
            # Methods are the client's to invent; those that no standard names are not kept.
            if method in METHODS:
                self._remembered.keep(key, found, key[2])
        return found

    def prefix_of(self, path: str) -> str | None:
        """Return the longest prefix of a path that some value is for, whatever its methods."""
        if not self._paths:
            return None
        return next((at for at in prefixes(path, self._longest) if at in self._paths), None)

    def _find(self, match: Match, path: str, method: str) -> tuple[T, ...]:
        candidates = (
            *self._routes.get(match.route, ()),
            *(self._url_names.get(match.url_name, ()) if match.url_name else ()),
            *self._views.get(match.view, ()),
            *(row for at in prefixes(path, self._longest) for row in self._paths.get(at, ())),
        )
        return tuple(value for matcher, value in candidates if matcher.accepts(method))

    def _place(self, matcher: Matcher) -> tuple[dict[str, list[tuple[Matcher, T]]], str]:
        if matcher.route is not None:
            return self._routes, matcher.route
        if matcher.url_name is not None:
            return self._url_names, matcher.url_name
        if matcher.view is not None:
            return self._views, matcher.view
        return self._paths, matcher.path or "/"


class PathSet:
    """Path prefixes; a look-up costs the depth of the path."""

    __slots__ = ("_longest", "_prefixes")

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._prefixes = frozenset(paths)
        self._longest = max(map(len, self._prefixes), default=0)

    def find(self, path: str) -> str | None:
        """Return the longest prefix of a path that is in the set, None if there is none."""
        if not self._prefixes:
            return None
        for prefix in prefixes(path, self._longest):
            if prefix in self._prefixes:
                return prefix
        return None


class PathIndex(Generic[T]):
    """Values by path prefix; a look-up costs the depth of the path."""

    __slots__ = ("_longest", "_rows")

    def __init__(self, items: Iterable[tuple[str, T]] = ()) -> None:
        self._rows: dict[str, list[T]] = {}
        for path, value in items:
            self._rows.setdefault(path, []).append(value)
        self._longest = max(map(len, self._rows), default=0)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def find(self, path: str) -> list[T]:
        """Return the values of every prefix that a path lies under, longest first."""
        rows = self._rows
        return [
            value
            for prefix in prefixes(path, self._longest)
            if prefix in rows
            for value in rows[prefix]
        ]


def prefixes(path: str, longest: int) -> Iterable[str]:
    """Return what a path lies under, longest first: itself, then at each segment boundary.

    ``/a/b`` lies under ``/a/b``, ``/a/``, ``/a`` and ``/``, and never under ``/a/bc``.

    Args:
        path: A request's path, of any length: a client wrote it.
        longest: Nothing longer is returned, so that a path of slashes costs no more than others.
    """
    if len(path) > MAX_REMEMBERED_PATH:
        return _prefixes(path, longest)
    return _remembered_prefixes(path, longest)


def parse_path(text: str) -> str:
    """Check a path as an operator writes it: decoded, from the site's root.

    Raises:
        InvalidPath: The text cannot be a path that Django resolves.
    """
    text = text.strip()
    if not text.startswith("/"):
        raise InvalidPath(text, "is not a path. Start it with a slash, such as /api/.")
    if "//" in text or "/./" in f"{text}/" or "/../" in f"{text}/":
        raise InvalidPath(text, "has empty or dotted segments, which no route has.")
    if any(mark in text for mark in "?#*") or not text.isprintable() or " " in text:
        raise InvalidPath(
            text, "has characters that a path prefix cannot have. It matches on whole segments."
        )
    if "%" in text:
        raise InvalidPath(text, "is percent-encoded. Write the path decoded.")
    return text


def _prefixes(path: str, longest: int) -> Iterator[str]:
    if len(path) <= longest:
        yield path
    end = min(len(path), longest + 1)
    while (end := path.rfind("/", 0, end)) >= 0:
        if end + 1 != len(path) and end < longest:
            yield path[: end + 1]
        if end and path[end - 1] != "/":
            yield path[:end]


@lru_cache(maxsize=MAX_REMEMBERED_PATHS)
def _remembered_prefixes(path: str, longest: int) -> tuple[str, ...]:
    return tuple(_prefixes(path, longest))
