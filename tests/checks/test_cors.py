"""Which pages may read: nobody said too much, and somebody said something."""

import re
from io import StringIO

import pytest
from django.core.management import call_command

from pulse.checks import cors, policies
from pulse.policies import document, publisher
from tests.checks.messages import ids

APP = {"origin": "https://app.example.com", "path": "/", "mode": "enforce"}
ANY = {"origin": "*", "path": "/api/", "mode": "enforce"}


@pytest.mark.parametrize(
    ("everyone", "credentials", "expected"),
    [(True, True, ["E070"]), (True, False, []), (False, True, [])],
)
def test_any_origin_with_credentials(settings, everyone, credentials, expected) -> None:
    """S0-01: the host's settings are told of, and not obeyed."""
    settings.CORS_ALLOW_ALL_ORIGINS = everyone
    settings.CORS_ALLOW_CREDENTIALS = credentials
    assert ids(cors.check_settings()) == expected
    settings.PULSE = {"CORS": False}
    assert ids(cors.check_settings()) == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^https://\w+\.example\.com$", []),
        (r"^https://\w+\.example\.com\Z", []),
        (r"^(https://a\.example\.com|https://b\.example\.com)$", []),
        (r"^(https://a\.example\.com|https://b\.example\.com)", ["W071"]),
        (r"^(https://a\.example\.com$|https://b\.example\.com)", ["W071"]),
        (r"^https://[a|b(]\.example\.com\)$", []),
        (r"^https://a\.example\.com\$", ["W071"]),
        (r"^(?:https://a\.example\.com$|https://b\.example\.com$)", []),
        (re.compile(r"^https://\w+\.example\.com$"), []),
        (r"^https://\w+\.example\.com", ["W071"]),
        (re.compile(r"^https://\w+\.example\.com"), ["W071"]),
        (r"https://a\.example\.com$|https://b\.example\.com", ["W071"]),
    ],
)
def test_regexes_end_where_an_origin_does(settings, pattern, expected) -> None:
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [pattern]
    assert ids(cors.check_settings()) == expected


@pytest.mark.parametrize(
    ("pattern", "credentials", "expected", "example"),
    [
        (r"^.*$", True, "E071", "https://evil.example"),
        (r".*", True, "E071", "https://evil.example"),
        (r"^http://.+$", True, "E071", "http://evil.example"),
        (r"^.*$", False, "W074", "https://evil.example"),
        (r"^https?://.*example\.com$", True, "W074", "https://evilexample.com"),
        (r"^http://.*example\.com:\d+$", False, None, ""),
        (r"^https://app.example.com$", False, "W074", "https://appxexample.com"),
        (r"^https://(.*\.)?example\.com$", True, None, ""),
        (r"^https://[\w.-]+\.example\.com$", True, None, ""),
        (r"^https://([a-z]+\.)*a-b\.example\.com\Z", True, None, ""),
        (r"^http://192\.168\.0\.\d+$", True, None, ""),
        (r"(", True, "W071", ""),
    ],
)
def test_regexes_match_what_they_mean_and_no_neighbour(
    settings, pattern, credentials, expected, example
) -> None:
    """S0-01: any origin, in other words, is told as that is; so is a name beside the one meant."""
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [pattern]
    settings.CORS_ALLOW_CREDENTIALS = credentials
    messages = list(cors.check_settings())
    assert ids(messages) == ([] if expected is None else [expected])
    assert all(example in message.msg for message in messages)


@pytest.mark.parametrize(
    ("debug", "rules", "setting", "expected"),
    [
        (False, [ANY, APP], None, ["W070"]),
        (False, [{**ANY, "mode": "shadow"}], None, []),
        (True, [ANY], None, []),
        (False, [APP], None, []),
        (True, [], None, ["W073"]),
        (True, [], [], []),
        (True, [{**APP, "mode": "off"}], None, []),
        (False, [], None, []),
    ],
)
def test_rules_in_force(settings, debug, rules, setting, expected) -> None:
    """S0-05, S2-29: any origin in production, and the default while developing."""
    settings.DEBUG = debug
    if setting is not None:
        settings.CORS_ALLOWED_ORIGINS = setting
    assert ids(cors.check_rules({"cors_origins": rules})) == expected


def test_an_api_that_nobody_said_anything_of(settings) -> None:
    """S1-50, in production alone."""
    (message,) = cors.check_deployed_rules({})
    assert ids([message]) == ["W072"]
    assert "project.shop.views.Products" in message.msg
    assert ids(cors.check_deployed_rules({"cors_origins": [APP]})) == []
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    assert ids(cors.check_deployed_rules({})) == []
    assert ids(cors.check_switched_off()) == []


def test_an_api_with_cors_switched_off(settings) -> None:
    settings.PULSE = {"CORS": False}
    assert ids(cors.check_switched_off()) == ["W072"]
    assert ids(cors.check_deployed_rules({})) == []
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "corsheaders.middleware.CorsMiddleware"]
    assert ids(cors.check_switched_off()) == []


def test_a_site_without_an_api(settings) -> None:
    settings.ROOT_URLCONF = "tests.checks.test_cors"
    assert ids(cors.check_deployed_rules({})) == []


urlpatterns: list[object] = []


@pytest.mark.parametrize("found", [None, 7, "text", {}, [None, 7]])
def test_a_broken_document_makes_no_check_fail(found) -> None:
    list(cors.check_rules({"cors_origins": found}))
    list(cors.check_deployed_rules({"cors_origins": found}))


@pytest.mark.django_db
def test_commands_show_them(settings) -> None:
    document.apply({"version": 1, "cors_origins": [{"origin": "*"}]}, publisher.SYSTEM)
    out = StringIO()
    call_command("check", databases=["default"], stderr=out)
    assert "pulse.W070" in out.getvalue()
    assert "W070" in ids(policies.check_policy(frozenset({"default"})))
