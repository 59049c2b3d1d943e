"""The operations of this site: each route by each method that its view truly has."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.urls import URLResolver, get_resolver
from django.utils import translation
from django.views import View
from rest_framework.views import APIView

from pulse.core.endpoints import METHODS, Match
from pulse.core.targets import EndpointId, parse_endpoint_id
from pulse.exceptions import InvalidEndpointId
from pulse.policies import routes

logger = logging.getLogger(__name__)

#: Pulse's own pages are watched by whoever watches pulse.
OWN_APP: Final = "pulse"
#: Of the admin's hundreds, the one page that is there for everybody.
ADMIN_APP: Final = "admin"
ADMIN_PAGE: Final = "login"
#: Files, which are no operations of a site.
FILES: Final = frozenset(
    {"django.views.static.serve", "django.contrib.staticfiles.views.serve"},
)
#: The same answer once more in another format, by Django REST framework's routers.
SUFFIX: Final = re.compile(r"\\?\.(?:\(\?P)?<format>|<drf_format_suffix:format>")
#: Where ``require_http_methods`` and its like keep what they allow.
REQUIRE: Final = ("django.views.decorators.http", "request_method_list")
#: Follows from GET, and is given by the framework: listed where a view writes them itself.
IMPLIED: Final = ("HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Operation:
    """A route by a method.

    Attributes:
        view: What is called, as the URLconf has it.
    """

    endpoint: EndpointId
    match: Match
    view: Callable[..., Any]


def find_operations(urlconf: str | None = None) -> list[Operation]:
    """Return every operation, in the order of the URLconf; queries nothing.

    Of a route that stands there twice, the first is the one that Django calls. Pulse's own, the
    admin's behind its login, files and format suffixes are left out, and what no endpoint id can
    name.
    """
    # A route with a language in front, or a translated one, is told in the site's own language.
    with translation.override(settings.LANGUAGE_CODE):
        return list(_walk(get_resolver(urlconf)))


def methods_of(view: Callable[..., Any]) -> tuple[str, ...]:
    """Return the methods that a view answers, as far as it can be known; GET where it cannot.

    HEAD and OPTIONS are among them only where the view has them of its own.
    """
    allowed = _declared(view)
    if isinstance(cls := getattr(view, "cls", None), type):  # Django REST framework's.
        actions = getattr(view, "actions", None)
        found = _of_class(cls, actions, APIView)
    elif isinstance(cls := getattr(view, "view_class", None), type):
        found = _of_class(cls, None, View)
    else:
        found = allowed or frozenset({"GET"})
    found = found if allowed is None else found & allowed
    if "GET" in found:
        found -= {"HEAD"}
    return tuple(method for method in METHODS if method in found)


def _walk(resolver: URLResolver) -> Iterator[Operation]:
    seen: set[str] = set()
    for place in routes.places(resolver):
        if place.match.route in seen:
            continue
        seen.add(place.match.route)
        if _is_left_out(place):
            continue
        view = place.pattern.callback
        for method in methods_of(view):
            text = f"{method} /{place.match.route}"
            try:
                endpoint = parse_endpoint_id(text)
            except InvalidEndpointId:
                logger.debug("No endpoint id can name the route %s", place.match.route)
                continue
            yield Operation(endpoint, place.match, view)


def _is_left_out(place: routes.Place) -> bool:
    if ADMIN_APP in place.apps and place.pattern.name != ADMIN_PAGE:
        return True
    route, _name, view = place.match
    return OWN_APP in place.apps or view in FILES or SUFFIX.search(route) is not None


def _of_class(cls: type[Any], actions: Mapping[str, str] | None, base: type[Any]) -> frozenset[str]:
    names: Iterable[str] = cls.http_method_names
    if actions is not None:
        has = {name.lower() for name in actions}
    else:
        has = {name.lower() for name in names if hasattr(cls, name.lower())}
    # ``View.setup`` makes a HEAD of each GET; that of a view set's action is its own writing.
    if getattr(cls, "options", None) is getattr(base, "options", None):
        has.discard("options")
    return frozenset(name.upper() for name in names if name.lower() in has)


def _declared(view: Callable[..., Any]) -> frozenset[str] | None:
    """Return what decorators let through; None where none says so."""
    allowed: frozenset[str] | None = None
    module, variable = REQUIRE
    while view is not None:
        code = getattr(view, "__code__", None)
        globals_of = getattr(view, "__globals__", {})
        if (
            code is not None
            and globals_of.get("__name__") == module
            and variable in code.co_freevars
        ):
            cells = view.__closure__ or ()
            listed = cells[code.co_freevars.index(variable)].cell_contents
            names = frozenset(str(name).upper() for name in listed)
            allowed = names if allowed is None else allowed & names
        view = getattr(view, "__wrapped__", None)  # type: ignore[assignment]  # None ends it
    return allowed
