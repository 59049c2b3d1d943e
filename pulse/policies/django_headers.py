"""What Django's own settings put into answers, before pulse sees these."""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.security import SecurityMiddleware
from django.utils.module_loading import import_string

from pulse.core.headers import HSTS


class Given(NamedTuple):
    """A header of an answer, and where it is from.

    Attributes:
        setting: The setting of Django's that gives it, unless a view has set its own; empty where
            none does.
    """

    name: str
    value: str
    setting: str


def given(*, secure: bool) -> dict[str, Given]:
    """Return the headers of an answer that passes the host's middlewares, by name in small letters.

    Args:
        secure: Django knows that the request came over HTTPS.
    """
    return {header.name.lower(): header for header in _given(secure=secure)}


def _given(*, secure: bool) -> Iterator[Given]:
    if _is_installed(SecurityMiddleware):
        if settings.SECURE_HSTS_SECONDS and secure:
            yield Given(HSTS, _hsts(), "SECURE_HSTS_SECONDS")
        if settings.SECURE_CONTENT_TYPE_NOSNIFF:
            yield Given("X-Content-Type-Options", "nosniff", "SECURE_CONTENT_TYPE_NOSNIFF")
        if settings.SECURE_REFERRER_POLICY:
            yield Given("Referrer-Policy", _referrer_policy(), "SECURE_REFERRER_POLICY")
        if settings.SECURE_CROSS_ORIGIN_OPENER_POLICY:
            value = str(settings.SECURE_CROSS_ORIGIN_OPENER_POLICY)
            name = "Cross-Origin-Opener-Policy"
            yield Given(name, value, "SECURE_CROSS_ORIGIN_OPENER_POLICY")
    if _is_installed(XFrameOptionsMiddleware):
        yield Given("X-Frame-Options", settings.X_FRAME_OPTIONS.upper(), "X_FRAME_OPTIONS")


def _hsts() -> str:
    parts = [f"max-age={settings.SECURE_HSTS_SECONDS}"]
    if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS:
        parts.append("includeSubDomains")
    if settings.SECURE_HSTS_PRELOAD:
        parts.append("preload")
    return "; ".join(parts)


def _referrer_policy() -> str:
    # One text or several, of which browsers take the last that they know.
    policy: Any = settings.SECURE_REFERRER_POLICY
    values = [each.strip() for each in policy.split(",")] if isinstance(policy, str) else policy
    return ",".join(values)


@cache
def _is_installed(middleware: type) -> bool:
    """Whether the host has a middleware, or one made of it."""
    for path in settings.MIDDLEWARE:
        with suppress(ImportError):  # Django says it better.
            found = import_string(path)
            if isinstance(found, type) and issubclass(found, middleware):
                return True
    return False


def _forget(*, setting: str, **_: object) -> None:
    if setting == "MIDDLEWARE":
        _is_installed.cache_clear()


setting_changed.connect(_forget, dispatch_uid="pulse.policies.django_headers")
