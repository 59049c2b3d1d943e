"""The routes of this site, as policies name them."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.urls import (
    Resolver404,
    ResolverMatch,
    URLPattern,
    URLResolver,
    get_resolver,
    resolve,
)
from django.utils.translation import gettext as _

from pulse.core.endpoints import Match


def match_of(resolved: ResolverMatch) -> Match:
    """Translate Django's match."""
    return Match(resolved.route or "", resolved.view_name or "", resolved._func_path)


def match_path(path: str) -> Match | None:
    """Return what a decoded path resolves to, None if to nothing."""
    try:
        return match_of(resolve(path))
    except Resolver404:
        return None


def view_at(path: str) -> Any:
    """Return the view that a decoded path resolves to, None if to nothing."""
    try:
        return resolve(path).func
    except Resolver404:
        return None


def settles_limits(view: Any) -> bool:
    """Whether a view has ``PulseThrottle``, which settles the limits by a user that it finds."""
    throttles = getattr(getattr(view, "cls", None), "throttle_classes", ())
    given = getattr(view, "initkwargs", None)
    if isinstance(given, dict):
        throttles = given.get("throttle_classes", throttles)
    if not isinstance(throttles, list | tuple):  # A property, say: who knows what it will be.
        return False
    return any(getattr(throttle, "settles_limits", False) for throttle in throttles)


def problem(matcher: str, value: str) -> str | None:
    """Say in words why no request could ever match, None if one can.

    A path prefix is always possible: views may answer any path.

    Args:
        matcher: ``route``, ``url_name``, ``view`` or ``path``.
        value: What the operator wrote.
    """
    if matcher == "path":
        return None
    known = known_values(settings.ROOT_URLCONF)[matcher]
    if value in known:
        return None
    close = get_close_matches(value, known, n=1)
    hint = _(" Did you mean %s?") % close[0] if close else ""
    return _("No route of this site has it.") + hint


@lru_cache(maxsize=8)
def known_values(urlconf: str) -> dict[str, frozenset[str]]:
    """Return every route, URL name and view of a URLconf."""
    matches = list(walk(get_resolver(urlconf)))
    return {
        "route": frozenset(match.route for match in matches),
        "url_name": frozenset(match.url_name for match in matches if match.url_name),
        "view": frozenset(match.view for match in matches),
    }


class Place(NamedTuple):
    """A URL pattern where it stands in the URLconf.

    Attributes:
        apps: ``app_name`` of each ``include`` around it that has one.
    """

    match: Match
    pattern: URLPattern
    apps: tuple[str, ...]


def walk(resolver: URLResolver) -> Iterator[Match]:
    """Yield the match of every URL pattern, as ``request.resolver_match`` would tell it."""
    return (place.match for place in places(resolver))


def places(
    resolver: URLResolver,
    route: str = "",
    namespaces: tuple[str, ...] = (),
    apps: tuple[str, ...] = (),
) -> Iterator[Place]:
    """Yield every URL pattern with its place, in the order in which Django tries them."""
    for entry in resolver.url_patterns:
        here = _join(route, str(entry.pattern))
        if isinstance(entry, URLResolver):
            inner = (*namespaces, entry.namespace) if entry.namespace else namespaces
            named = (*apps, entry.app_name) if entry.app_name else apps
            yield from places(entry, here, inner, named)
        else:
            name = ":".join((*namespaces, entry.name)) if entry.name else ""
            yield Place(Match(here, name, view_path(entry)), entry, apps)


def view_path(pattern: URLPattern) -> str:
    """Return the dotted path of a pattern's view, as ``ResolverMatch`` has it."""
    view: Any = pattern.callback
    view = getattr(view, "view_class", view)
    if not hasattr(view, "__name__"):
        return f"{type(view).__module__}.{type(view).__name__}"
    return f"{view.__module__}.{view.__name__}"


def _join(route: str, pattern: str) -> str:
    # As URLResolver._join_route: the anchor of a nested regular expression goes.
    if route and pattern.startswith("^"):
        pattern = pattern[1:]
    return route + pattern


def _forget(*, setting: str, **_kwargs: object) -> None:
    if setting == "ROOT_URLCONF":
        known_values.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pulse.policies.routes")
