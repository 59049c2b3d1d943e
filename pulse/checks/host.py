"""Whether the rest of the host's settings let pulse work."""

import re
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template

from pulse.checks.findings import found, one_of
from pulse.checks.middleware import SECURITY, has
from pulse.conf import conf

REFUSED: Final = "pulse/refused.html"
OWN_PAGES: Final = ("pulse/413.html", "pulse/429.html", "pulse/503.html")

LOCALE: Final = "django.middleware.locale.LocaleMiddleware"
#: Cookies of Django that mean something to whoever gets hold of them.
COOKIES: Final = ("SESSION_COOKIE", "CSRF_COOKIE")
#: Paths, as Django matches them, that nobody exempts by name.
UNLIKELY: Final = ("", "zq/7", "ZQ_9.x")


def check_time_zone() -> Iterator[CheckMessage]:
    """Times are kept with their zone."""
    if not settings.USE_TZ:
        yield found("E050")


def check_templates() -> Iterator[CheckMessage]:
    """Browsers are refused by a page."""
    try:
        get_template(REFUSED)
    except TemplateDoesNotExist:
        yield found("W050")
    except (ImproperlyConfigured, ImportError):
        return  # TEMPLATES itself is broken, which Django says.
    except TemplateSyntaxError as error:
        yield found("W051", name=REFUSED, error=error)
    for name in OWN_PAGES:
        try:
            get_template(name)
        except TemplateDoesNotExist:
            continue
        except TemplateSyntaxError as error:
            yield found("W051", name=name, error=error)


def check_enabled() -> Iterator[CheckMessage]:
    """Pulse acts in production."""
    if not conf.ENABLED:
        yield found("W060")


def check_refused_cookies() -> Iterator[CheckMessage]:
    """Browsers keep the cookies that Django sets."""
    for cookie in COOKIES:
        setting, secure = f"{cookie}_SAMESITE", f"{cookie}_SECURE"
        if getattr(settings, setting) == "None" and not getattr(settings, secure):
            yield found("W052", setting=setting, secure=secure)


def check_cookies() -> Iterator[CheckMessage]:
    """Cookies travel encrypted, out of reach of scripts, and with this site's own requests.

    Django's own checks look at the first two of a session and a CSRF token, and at no language.
    """
    weak = [name for name in _guarding() if not getattr(settings, name)]
    if weak:
        corrected = ", ".join(f"{name} = True" for name in weak)
        yield found("W061", settings=one_of(weak), corrected=corrected)
    for cookie in COOKIES:
        setting = f"{cookie}_SAMESITE"
        value = getattr(settings, setting)
        if not value or value == "None":
            yield found("W062", setting=setting, value=repr(value))


def check_https() -> Iterator[CheckMessage]:
    """Who comes over HTTP is led to HTTPS, and HTTPS is known for what it is.

    Django's own check tells of a redirect that is off, but only where its middleware is on.
    """
    if not has(SECURITY):
        yield found(
            "W063",
            why="SecurityMiddleware is not in MIDDLEWARE, so SECURE_SSL_REDIRECT does nothing",
            corrected=f'Add "{SECURITY}" to MIDDLEWARE after pulse.',
        )
    elif settings.SECURE_SSL_REDIRECT:
        for pattern in settings.SECURE_REDIRECT_EXEMPT:
            if _exempts_all(pattern):
                yield found(
                    "W063",
                    why=f"SECURE_REDIRECT_EXEMPT has {pattern!r}, which is every path",
                    corrected='Name the paths alone, such as r"^healthz$".',
                )
    header = settings.SECURE_PROXY_SSL_HEADER
    # What is no pair of texts Django refuses by itself.
    name = header[0] if isinstance(header, list | tuple) and header else None
    if isinstance(name, str) and not (name.startswith("HTTP_") and name == _as_meta(name)):
        yield found("W064", name=name, corrected=_as_meta(name))


def _guarding() -> Iterator[str]:
    """Name the settings that guard a cookie which this site sets."""
    yield from ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY")
    if not settings.CSRF_USE_SESSIONS:
        yield "CSRF_COOKIE_SECURE"
    if has(LOCALE):
        yield "LANGUAGE_COOKIE_SECURE"


def _exempts_all(pattern: object) -> bool:
    """Whether a pattern of Django's, which it searches for, is found in any path."""
    try:
        return all(re.search(str(pattern), path) for path in UNLIKELY)
    except re.error:
        return False  # Django says so.


def _as_meta(name: str) -> str:
    """Write a header's name as a request's META has it."""
    meta = name.upper().replace("-", "_")
    return meta if meta.startswith("HTTP_") else f"HTTP_{meta}"
