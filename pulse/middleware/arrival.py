"""How large a body may be, asked while it arrives: before Django has made a request of it."""

import logging
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final, NamedTuple

from django.core.handlers.asgi import ASGIRequest
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils import translation

from pulse.conf import conf
from pulse.core.bounds import SITE
from pulse.core.snapshot import Snapshot
from pulse.logging import say
from pulse.middleware.context import locate
from pulse.policies.routes import match_of

logger = logging.getLogger(__name__)

#: Stands for the size of a body that nothing limits.
NO_LIMIT: Final = sys.maxsize


class Taken(NamedTuple):
    """How much of a body is taken.

    Attributes:
        size: In bytes; ``NO_LIMIT`` for all of it.
        rule: What says so.
    """

    size: int
    rule: str = SITE


def by_any(snapshot: Snapshot) -> Taken:
    """Return what every endpoint takes: for a body no larger than that, none need be found."""
    site, smallest = _by_site(), snapshot.bounds.smallest_body
    return site if smallest is None else Taken(min(site.size, smallest))


def by_endpoint(snapshot: Snapshot, scope: Mapping[str, Any]) -> Taken:
    """Return what the endpoint of an ASGI scope takes; the site's limit where none is found.

    The endpoint is the one that Django will find, unless a middleware of the host's gives the
    request another path or URLconf.
    """
    if snapshot.bounds.smallest_body is None:
        return _by_site()
    try:
        # Django's own reading of a scope: method, path below the root path, headers.
        request = ASGIRequest(scope, BytesIO())
        match = match_of(_resolved(request.path_info))
        client = locate(snapshot, request).prefix
        bound = snapshot.bounds.find(
            match, request.path_info, request.method or "", client, conf.client_secret
        ).body
    except (Resolver404, UnicodeDecodeError):  # Django answers both by itself.
        return _by_site()
    except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
        say(
            logger,
            logging.ERROR,
            "The endpoint of a body cannot be found; the site's limit holds (non-fatal): %s",
            error,
        )
        return _by_site()
    return _by_site() if bound is None else Taken(bound.max_body_bytes or 0, bound.rule)


def _by_site() -> Taken:
    return Taken(conf.MAX_BODY_BYTES or NO_LIMIT)


def _resolved(path: str) -> ResolverMatch:
    """Resolve a path as behind LocaleMiddleware, which takes the language from it."""
    language = translation.get_language_from_path(path)
    if language is None:
        return resolve(path)
    with translation.override(language):
        return resolve(path)
