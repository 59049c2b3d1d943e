"""The rest of the host's settings let pulse work."""

from pulse.checks import host
from tests.checks.messages import ids


def templates(settings, **files: str) -> None:
    loader = (
        "django.template.loaders.locmem.Loader",
        {f"pulse/{k}.html": v for k, v in files.items()},
    )
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [loader]},
        }
    ]


def test_templates(settings) -> None:
    """The page is found, and can be used."""
    templates(settings, refused="<p>{{ detail }}")
    assert ids(host.check_templates()) == []
    templates(settings)
    assert ids(host.check_templates()) == ["W050"]
    templates(settings, refused="{% no_such_tag %}")
    assert ids(host.check_templates()) == ["W051"]
    templates(settings, **{"refused": "ok", "429": "{% if %}", "503": "ok"})
    (message,) = host.check_templates()
    assert "pulse/429.html" in message.msg
    settings.TEMPLATES = []
    assert ids(host.check_templates()) == ["W050"]
    settings.TEMPLATES = [{"BACKEND": "no.such.Engine"}]
    assert ids(host.check_templates()) == []


def test_time_zone(settings) -> None:
    """Times in the document are UTC."""
    assert ids(host.check_time_zone()) == []
    settings.USE_TZ = False
    assert ids(host.check_time_zone()) == ["E050"]


def test_enabled(settings) -> None:
    """A pulse that is off is no surprise in production."""
    assert ids(host.check_enabled()) == []
    settings.PULSE = {"ENABLED": False}
    assert ids(host.check_enabled()) == ["W060"]


def test_cookies_that_browsers_refuse(settings) -> None:
    """SameSite=None without Secure is thrown away (S1-62)."""
    assert ids(host.check_refused_cookies()) == []
    settings.SESSION_COOKIE_SAMESITE = settings.CSRF_COOKIE_SAMESITE = "None"
    assert ids(host.check_refused_cookies()) == ["W052", "W052"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    assert ids(host.check_refused_cookies()) == []


def test_cookies_that_are_not_guarded(settings) -> None:
    """Secure and HttpOnly, of each cookie that this site sets, in one finding (S1-06)."""
    (message,) = host.check_cookies()
    assert ids([message]) == ["W061"]
    assert message.msg.startswith("SESSION_COOKIE_SECURE, CSRF_COOKIE_SECURE let browsers")
    settings.SESSION_COOKIE_SECURE = settings.CSRF_USE_SESSIONS = True
    assert ids(host.check_cookies()) == []
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    settings.SESSION_COOKIE_HTTPONLY = False
    (message,) = host.check_cookies()
    assert message.hint == "Write SESSION_COOKIE_HTTPONLY = True, LANGUAGE_COOKIE_SECURE = True."


def test_cookies_that_other_sites_may_send(settings) -> None:
    """SameSite is named for both cookies (S1-62)."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    assert ids(host.check_cookies()) == []
    settings.SESSION_COOKIE_SAMESITE, settings.CSRF_COOKIE_SAMESITE = False, "None"
    found = list(host.check_cookies())
    assert ids(found) == ["W062", "W062"]
    assert [message.msg.partition(":")[0] for message in found] == [
        "SESSION_COOKIE_SAMESITE is False",
        "CSRF_COOKIE_SAMESITE is 'None'",
    ]


def test_https_that_nothing_leads_to(settings) -> None:
    """Without the middleware that redirects, or with every path exempt (S1-51)."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^api/.*", "("]
    assert ids(host.check_https()) == []
    for everything in ("", ".*", "^"):
        settings.SECURE_REDIRECT_EXEMPT = [everything]
        assert ids(host.check_https()) == ["W063"]
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "Security" not in path]
    (message,) = host.check_https()
    assert "SecurityMiddleware is not in MIDDLEWARE" in message.msg


def test_https_that_is_not_known(settings) -> None:
    """The header of the proxy is named as Django finds it (S1-07)."""
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert ids(host.check_https()) == []
    for name in ("X-Forwarded-Proto", "X_FORWARDED_PROTO", "HTTP_X-Forwarded-Proto"):
        settings.SECURE_PROXY_SSL_HEADER = (name, "https")
        (message,) = host.check_https()
        assert ids([message]) == ["W064"]
        assert '("HTTP_X_FORWARDED_PROTO", "https")' in message.hint
    for broken in ("HTTP_X", (), (1, 2)):
        settings.SECURE_PROXY_SSL_HEADER = broken
        assert "W099" not in ids(host.check_https())
