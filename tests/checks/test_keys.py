"""Keys that live too long or end soon, and passwords on every request."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pulse.access import keys as api_keys
from pulse.access.models import ApiKey
from pulse.checks import keys
from tests.checks.messages import ids
from tests.factories import KIM

BASIC = "rest_framework.authentication.BasicAuthentication"
TOKEN = "rest_framework.authentication.TokenAuthentication"


def key(name: str, days: float | None) -> api_keys.NewKey:
    end = None if days is None else timezone.now() + timedelta(days=days)
    return api_keys.make(name, actor=KIM, expires_at=end)


@pytest.mark.django_db
def test_keys_that_live_long_or_end_soon_are_named():
    """S1-43, S3-09; usual ones, revoked and ended ones are fine."""
    assert list(keys.check_keys("default")) == []
    key("usual", 90)
    ended = timezone.now() - timedelta(days=1)
    ApiKey.objects.filter(pk=key("ended", 1).row.pk).update(expires_at=ended)
    api_keys.revoke(key("gone", None).row, actor=KIM)
    assert list(keys.check_keys("default")) == []
    key("forever", None)
    key("years", 1000)
    soon = key("soon", 13)
    first, second = keys.check_keys("default")
    assert ids([first, second]) == ["W130", "W131"]
    assert "(forever)" in first.msg
    assert "(years)" in first.msg
    assert f"{soon.row.prefix} (soon)" in second.msg
    assert f"pulse_key rotate {soon.row.prefix}" in second.hint


@pytest.mark.django_db
def test_of_many_keys_some_are_named():
    for number in range(7):
        key(f"number {number}", None)
    [finding] = keys.check_keys("default")
    assert "2 more" in finding.msg


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"DEFAULT_AUTHENTICATION_CLASSES": [BASIC]}, ["W132"]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": (BASIC,)}, ["W132"]),
        ({"DEFAULT_AUTHENTICATION_CLASSES": [BASIC, TOKEN]}, []),
        ({"DEFAULT_AUTHENTICATION_CLASSES": []}, []),
        ({}, []),
        (None, []),
    ],
)
def test_passwords_with_every_request_are_told(settings, given, expected):
    """S3-07."""
    settings.REST_FRAMEWORK = given
    assert ids(keys.check_basic()) == expected
