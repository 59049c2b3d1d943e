"""MIDDLEWARE has what pulse needs, in the order in which it works."""

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.http import HttpRequest, HttpResponse

from pulse.checks import middleware
from pulse.middleware import PulseMiddleware
from tests.checks.messages import ids

PULSE = "pulse.middleware.PulseMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
WHITENOISE = "whitenoise.middleware.WhiteNoiseMiddleware"
CORS = "corsheaders.middleware.CorsMiddleware"


class SyncOnlyMiddleware:
    """As hosts write them: nothing is said of async."""

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


class OwnAuthentication(AuthenticationMiddleware):
    """A host's own one."""


class OwnPulse(PulseMiddleware):
    """A host's own one."""


def broken_middleware(get_response):
    raise RuntimeError


SYNC = f"{__name__}.SyncOnlyMiddleware"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([PULSE, SECURITY], []),
        ((PULSE,), []),
        ([f"{__name__}.OwnPulse", SECURITY], []),
        (["pulse.middleware.stack.PulseMiddleware"], []),
        ([SECURITY, COMMON], ["E010"]),
        ([], ["E010"]),
        (None, ["E010"]),
        ([SECURITY, PULSE, COMMON], ["E011"]),
        ([PULSE, SECURITY, PULSE], ["E012"]),
        ([PULSE, "no.such.Middleware", f"{__name__}.broken_middleware"], []),
    ],
)
def test_place(settings, entries, expected) -> None:
    """There, first, and once."""
    settings.MIDDLEWARE = entries
    assert ids(middleware.check_place()) == expected


@pytest.mark.parametrize(
    "entries", [[SECURITY, COMMON], [SECURITY, PULSE, COMMON], [PULSE, SECURITY, PULSE, COMMON]]
)
def test_corrected_middleware(settings, entries) -> None:
    """The hint is the corrected list, to be pasted."""
    settings.MIDDLEWARE = entries
    (message,) = middleware.check_place()
    listed = message.hint.partition("MIDDLEWARE = ")[2]
    assert eval(listed) == [PULSE, SECURITY, COMMON]


@pytest.mark.parametrize(
    ("entries", "asgi", "expected"),
    [
        ([PULSE, SESSION, COMMON], "site.asgi.application", []),
        ([PULSE, SYNC], None, []),
        ([PULSE, SYNC], "site.asgi.application", ["W010"]),
        ([PULSE, SYNC, WHITENOISE], "site.asgi.application", ["W010", "W010"]),
        ([PULSE, "no.such.Middleware"], "site.asgi.application", []),
    ],
)
def test_async(settings, entries, asgi, expected) -> None:
    """A middleware that cannot run in the loop is named, where there is a loop."""
    settings.MIDDLEWARE, settings.ASGI_APPLICATION = entries, asgi
    messages = list(middleware.check_async())
    assert ids(messages) == expected
    assert all(SYNC in message.msg or WHITENOISE in message.msg for message in messages)


@pytest.mark.parametrize(
    ("entries", "pulse", "expected"),
    [
        ([PULSE, SESSION, AUTHENTICATION], {}, []),
        ([PULSE, f"{__name__}.OwnAuthentication"], {}, []),
        ([PULSE], {}, ["W011"]),
        ([PULSE], {"CLIENT_IDENTITY": ["address"]}, []),
    ],
)
def test_authentication(settings, entries, pulse, expected) -> None:
    """Who counts by user needs somebody to find users."""
    settings.MIDDLEWARE, settings.PULSE = entries, pulse
    assert ids(middleware.check_authentication()) == expected


@pytest.mark.parametrize(
    ("entries", "redirect", "expected"),
    [
        ([PULSE, COMMON], False, []),
        ([PULSE, SECURITY, CORS, COMMON], False, []),
        ([PULSE, SECURITY, CORS, COMMON], True, ["W013"]),
        ([PULSE, COMMON, CORS], False, ["W013"]),
        ([PULSE, WHITENOISE, CORS], False, ["W013"]),
        ([PULSE, CORS, SESSION, CORS], False, ["W012"]),
        ([PULSE, COMMON, CORS, CORS], False, ["W012", "W013"]),
    ],
)
def test_cors(settings, entries, redirect, expected) -> None:
    """One middleware for CORS, and before what may answer."""
    settings.MIDDLEWARE, settings.SECURE_SSL_REDIRECT = entries, redirect
    assert ids(middleware.check_cors()) == expected


def test_corrected_cors(settings) -> None:
    """Both hints are lists to be pasted."""
    settings.MIDDLEWARE = [PULSE, SESSION, COMMON, CORS, SECURITY]
    (message,) = middleware.check_cors()
    assert eval(message.hint.partition("MIDDLEWARE = ")[2]) == [
        PULSE,
        SESSION,
        CORS,
        COMMON,
        SECURITY,
    ]
    settings.MIDDLEWARE = [PULSE, CORS, SESSION, CORS]
    (message,) = middleware.check_cors()
    assert eval(message.hint.partition("MIDDLEWARE = ")[2]) == [PULSE, CORS, SESSION]
