"""CORS: django-cors-headers, with the policy's rules before the host's settings."""

import logging
import time
from functools import cache
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from corsheaders.conf import conf as host
from corsheaders.middleware import CorsMiddleware
from corsheaders.signals import check_request_enabled
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from pulse.conf import conf
from pulse.core.cors import (
    ALLOW_CREDENTIALS,
    ALLOW_HEADERS,
    ALLOW_METHODS,
    ALLOW_ORIGIN,
    ALLOW_PRIVATE_NETWORK,
    EXPOSE_HEADERS,
    EXPOSED_HEADERS,
    KIND,
    MAX_AGE,
    NOTHING,
    CorsIndex,
    CorsRule,
    Found,
    Headers,
)
from pulse.core.origins import ANY, LONGEST
from pulse.logging import say
from pulse.middleware.context import Context, is_secure
from pulse.middleware.responses import fields_of, put
from pulse.policies import current, origins
from pulse.store import buckets
from pulse.store.hourly import HOUR_S

logger = logging.getLogger(__name__)

UNSAFE_DEFAULT: Final = "CORS enabled without explicit origins. Using safe default..."
#: What an answer says of CORS; where a rule covers the path, it says it alone.
ALL_HEADERS: Final = frozenset(
    name.lower()
    for name in (
        ALLOW_ORIGIN,
        ALLOW_CREDENTIALS,
        ALLOW_METHODS,
        ALLOW_HEADERS,
        ALLOW_PRIVATE_NETWORK,
        EXPOSE_HEADERS,
        MAX_AGE,
    )
)
BY_ORIGIN: Final = "Origin"
BY_REQUEST: Final = "Access-Control-Request-Method, Access-Control-Request-Headers"
#: Origins are the clients' to invent: so many texts with one in them are counted an hour, of those
#: that may read and of those that may not apart, so that a stranger leaves room for users.
MAX_COUNTED: Final = 500
NO_RULES: Final = CorsIndex()


class Cors(CorsMiddleware):
    """Answers preflights and adds headers, by the policy, or else by the ``CORS_*`` settings.

    The lack of a header is a refusal by itself, so what fails in here fails closed: the allowed
    origin is the last header that is set.
    """

    def preflight(self, request: HttpRequest, context: Context) -> HttpResponse | None:
        """Answer a preflight; None for other requests, and where nobody says who may read."""
        if request.method != "OPTIONS" or not conf.CORS:
            return None
        meta = request.META
        origin, method = meta.get("HTTP_ORIGIN"), meta.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if origin is None or method is None:
            return None
        found = _rules(context).find(request.path_info, origin)
        if found.rule is None:
            response = self._base_preflight(request, found)
        else:
            response = _judge(request, found.rule, origin, method)
        if response is not None:
            _count(request, context, found, origin, response)
            _vary(response, f"{BY_ORIGIN}, {BY_REQUEST}" if found.varies else BY_REQUEST)
            # Django would log a 403 again, as if a view had refused somebody.
            response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
            context.verdict = "preflight"
        return response

    def add_headers(
        self, request: HttpRequest, context: Context, response: HttpResponseBase
    ) -> None:
        """Tell the browser which scripts may read the answer."""
        if context.verdict == "preflight" or not conf.CORS:
            return
        origin = request.META.get("HTTP_ORIGIN")
        rules = _rules(context)
        has_rules = bool(rules)
        found = rules.find(request.path_info, origin) if has_rules else NOTHING
        if found.path is not None:
            _clear(response)
            if found.varies:
                _vary(response, BY_ORIGIN)
        rule = found.rule
        if rule is None:
            if _has_base():
                self._add_base_headers(request, response)
        elif origin is not None or not found.varies:
            # An answer that is the same for all may be kept by a cache, and says it to all.
            _allow(response, rule, origin, rule.permission.answer)
        if origin is not None and has_rules:
            _count(request, context, found, origin, response)

    def origin_found_in_white_lists(self, origin: str, url: SplitResult) -> bool:  # noqa: ARG002
        """Look an origin up among the host's, which upstream splits anew on each request."""
        return origin in _base().origins or self.regex_domain_match(origin)

    def check_signal(self, request: HttpRequest) -> bool:
        """Ask the host's receivers, once a request."""
        if not check_request_enabled.receivers:
            return False
        known: bool | None = request.__dict__.get("_pulse_cors_signal")
        if known is None:
            known = request.__dict__["_pulse_cors_signal"] = bool(super().check_signal(request))
        return known

    def _base_preflight(self, request: HttpRequest, found: Found) -> HttpResponse | None:
        """Answer by the host's settings, and with nothing where only rules cover the path."""
        response: Any = self.check_preflight(request) if _has_base() else None
        if response is not None:
            self._add_base_headers(request, response)
        elif found.path is not None:
            response = _empty(200)
        return response  # type: ignore[no-any-return]  # corsheaders has no stubs

    def _add_base_headers(self, request: HttpRequest, response: HttpResponseBase) -> None:
        fields, name = fields_of(response), ALLOW_ORIGIN.lower()
        of_view = fields.pop(name, None)
        try:
            self.add_response_headers(request, response)
        except Exception:
            # It names the origin first, and may end before all is said that goes with that.
            _clear(response)
            raise
        if name not in fields:
            if of_view is not None:  # The settings say nothing here, so what the view says holds.
                fields[name] = of_view
            return
        headers = response.headers
        if _base().is_for_everyone and ALLOW_CREDENTIALS in headers:
            # Upstream names whoever asks: any page could act as the visitor.
            del headers[ALLOW_CREDENTIALS]
            headers[ALLOW_ORIGIN] = ANY
        headers[EXPOSE_HEADERS] = _base().exposed


class _Base:
    """What the host's own settings say, read once.

    Attributes:
        origins: Those of ``CORS_ALLOWED_ORIGINS``, as browsers write them.
        allows: The settings let anybody in.
        is_for_everyone: They let everybody in.
        exposed: What scripts may read by them, with what pulse adds.
        default: The rules of a host that says nothing at all; empty where it does, or may not.
    """

    def __init__(self) -> None:
        split = [urlsplit(origin) for origin in host.CORS_ALLOWED_ORIGINS if origin != "null"]
        self.origins = frozenset(f"{url.scheme}://{url.netloc}" for url in split)
        if "null" in host.CORS_ALLOWED_ORIGINS:
            self.origins |= {"null"}
        self.is_for_everyone = bool(host.CORS_ALLOW_ALL_ORIGINS)
        self.allows = bool(self.is_for_everyone or self.origins or host.CORS_ALLOWED_ORIGIN_REGEXES)
        own = [str(name) for name in host.CORS_EXPOSE_HEADERS]
        known = {name.lower() for name in own}
        self.exposed = ", ".join(
            [*own, *(name for name in EXPOSED_HEADERS if name.lower() not in known)]
        )
        applies = settings.DEBUG and not origins.has_host_settings()
        self.default = origins.default_index() if applies else NO_RULES


class _Counted:
    """The texts with a client's origin in them that were counted in this hour, by verb."""

    def __init__(self) -> None:
        self.hour = 0
        self.texts: dict[str, set[str]] = {}

    def admits(self, verb: str, text: str) -> bool:
        """Whether a text may be counted; no more are kept than a few hundred an hour."""
        hour = int(time.time()) // HOUR_S
        if hour != self.hour:
            self.hour, self.texts = hour, {}
        texts = self.texts.setdefault(verb, set())
        if text in texts:
            return True
        if len(texts) >= MAX_COUNTED:
            return False
        texts.add(text)
        return True


_counted = _Counted()


@cache
def _base() -> _Base:
    return _Base()


def _has_base() -> bool:
    return _base().allows or bool(check_request_enabled.receivers)


def _rules(context: Context) -> CorsIndex:
    """Return the rules in force; while developing, and with nothing said, those of the default."""
    if context.snapshot is None:
        return NO_RULES
    rules = context.snapshot.cors
    if rules or not _base().default or check_request_enabled.receivers:
        return rules
    if current.document_in_force().get(KIND):
        return rules
    _warn_of_default()
    return _base().default


@cache
def _warn_of_default() -> None:
    """Say once in a process what each request would say."""
    say(logger, logging.WARNING, UNSAFE_DEFAULT)


def _judge(request: HttpRequest, rule: CorsRule, origin: str, method: str) -> HttpResponse:
    """Answer a preflight by a rule."""
    meta, permission = request.META, rule.permission
    asked = meta.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    if rule.strict and not permission.covers(method, asked):
        return _empty(403)
    response = _empty(200)
    wants_network = meta.get("HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK") == "true"
    if wants_network and rule.private_network:
        response.headers[ALLOW_PRIVATE_NETWORK] = "true"
    _allow(response, rule, origin, permission.preflight)
    return response


def _allow(
    response: HttpResponseBase, rule: CorsRule, origin: str | None, headers: Headers
) -> None:
    """Let scripts of an origin read an answer."""
    allowed = rule.allowed_origin(origin)
    if allowed is None:
        return
    told = dict(headers)
    if allowed == ANY:
        # Nothing compiles to it, and nothing sends it: everybody, with the visitor's cookies.
        told.pop(ALLOW_CREDENTIALS, None)
    told[ALLOW_ORIGIN] = allowed
    put(response, told)


def _empty(status: int) -> HttpResponse:
    return HttpResponse(status=status, headers={"Content-Length": "0"})


def _clear(response: HttpResponseBase) -> None:
    """Take away what a view or another middleware said of CORS: the rules cover the path."""
    fields = fields_of(response)
    if not ALL_HEADERS.isdisjoint(fields):
        for name in ALL_HEADERS & fields.keys():
            del fields[name]


def _vary(response: HttpResponseBase, names: str) -> None:
    fields = fields_of(response)
    if "vary" in fields:
        patch_vary_headers(response, names.split(", "))
    else:
        fields["vary"] = ("Vary", names)


def _count(
    request: HttpRequest, context: Context, found: Found, origin: str, response: HttpResponseBase
) -> None:
    """Count what an origin was told, by the rule; by the origin too, where a rule is for many."""
    told = fields_of(response).get(ALLOW_ORIGIN.lower())
    is_allowed = told is not None and told[1] in {ANY, origin}
    if is_allowed:
        if found.rule is not None:
            _count_use(buckets.CORS_USED, found.rule, origin)
    elif found.would is not None:
        _count_use(buckets.CORS_WOULD_USE, found.would, origin)
    elif found.path is not None and not _is_own(request, context, origin):
        _count_origin(buckets.CORS_REFUSED, f"{KIND}:{origin} {found.path}", origin)


def _count_use(verb: str, rule: CorsRule, origin: str) -> None:
    buckets.add(verb, rule.name)
    if rule.is_for_many:
        _count_origin(verb, f"{rule.name} {origin}", origin)


def _is_own(request: HttpRequest, context: Context, origin: str) -> bool:
    """Whether it is the site's own: browsers send it with its forms too, which need no leave."""
    scheme = "https" if is_secure(request, context) else "http"
    try:
        return origin == f"{scheme}://{request.get_host()}"
    except DisallowedHost:
        return False


def _count_origin(verb: str, text: str, origin: str) -> None:
    is_clean = len(origin) <= LONGEST and origin.isascii() and origin.isprintable()
    if is_clean and " " not in origin and _counted.admits(verb, text):
        buckets.add(verb, text)


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DEBUG" or setting.startswith("CORS_"):
        _base.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pulse.middleware.cors")
