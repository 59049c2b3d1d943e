"""Header policies that do not do what they seem to, and what production needs."""

from io import StringIO

import pytest
from django.core.management import call_command

from pulse.checks import headers, policies, registry
from pulse.policies import document, publisher
from pulse.policies.completion import complete
from tests.checks.messages import REDIS, ids


def check(*items: dict[str, object], deployed: bool = False) -> list[str]:
    found = complete({"header_policies": list(items)})
    run = headers.check_deployed_headers if deployed else headers.check_headers
    return ids(run(found))


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([{"name": "a", "preset": "html"}], []),
        ([{"name": "a", "path": "/api/", "preset": "legacy"}], ["W080"]),
        ([{"name": "a", "path": "/api/", "preset": "legacy", "mode": "shadow"}], []),
        ([{"name": "a", "path": "/x/"}, {"name": "b", "path": "/x/"}], ["W083"]),
        ([{"name": "a", "path": "/x/", "percent": 50}, {"name": "b", "path": "/x/"}], []),
        ([{"name": "a", "path": "/x/"}, {"name": "b", "path": "/x/", "mode": "off"}], []),
        ([{"name": "a", "path": "/x/"}, {"name": "b", "path": "/x"}], []),
        ([{"name": "a", "preset": "api"}], ["W086"]),
        ([{"name": "a", "preset": "api", "csp_report_only": True}], []),
        (
            [
                {"name": "a", "preset": "api"},
                {"name": "b", "path": "/admin/", "preset": "html"},
            ],
            [],
        ),
        ([{"name": "a", "path": "/admin/", "preset": "api"}], ["W086"]),
        ([{"name": "a", "path": "/api/", "preset": "api"}], []),
    ],
)
def test_policies_that_do_not_do_what_they_seem_to(items, expected) -> None:
    """Deprecated headers, two on one path, an admin without its scripts (trap 15)."""
    assert check(*items) == expected


@pytest.mark.parametrize(
    ("settings_of_django", "expected"),
    [
        ({"SECURE_HSTS_SECONDS": 0}, []),
        ({"SECURE_HSTS_SECONDS": 3600}, ["W081"]),
        ({"SECURE_HSTS_SECONDS": 31536000}, ["W081"]),
        ({"SECURE_HSTS_SECONDS": 31536000, "SECURE_HSTS_INCLUDE_SUBDOMAINS": True}, []),
    ],
)
def test_two_that_hold_browsers_for_different_times(settings, settings_of_django, expected) -> None:
    """What Django sets comes first, so the policy is not what is sent (S2-15)."""
    for name, value in settings_of_django.items():
        setattr(settings, name, value)
    assert check({"name": "a", "preset": "html"}) == expected
    assert check({"name": "a", "headers": {"X-A": "b"}}) == []
    assert check({"name": "a", "preset": "html", "force": True}) == []


def test_reports_without_a_collector(settings) -> None:
    """W084, unless the policy names another."""
    reporting = {"name": "a", "path": "/x/", "preset": "html", "csp_report_only": True}
    own = {"Content-Security-Policy": "default-src 'self'; report-uri https://r.example/"}
    assert check(reporting) == []
    settings.ROOT_URLCONF = "project.shop.urls"
    assert check(reporting) == ["W084"]
    assert check({**reporting, "headers": own}) == []
    assert check({**reporting, "csp_report_only": False}) == []


@pytest.mark.parametrize(
    ("items", "redirects", "expected"),
    [
        ([], True, ["W085"]),
        ([{"name": "a", "mode": "shadow"}], True, ["W085"]),
        ([{"name": "a", "preset": "html"}], True, []),
        ([{"name": "a", "preset": "html"}], False, ["W082"]),
        ([{"name": "a", "preset": "html"}, {"name": "b", "preset": "api"}], False, ["W082"]),
        (
            [{"name": "a", "preset": "html", "headers": {"Strict-Transport-Security": None}}],
            False,
            [],
        ),
    ],
)
def test_what_production_needs(settings, items, redirects, expected) -> None:
    settings.SECURE_SSL_REDIRECT = redirects
    assert check(*items, deployed=True) == expected


@pytest.mark.parametrize(
    ("times", "is_now"),
    [
        ({}, True),
        ({"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2999-01-01T00:00:00Z"}, True),
        ({"ends_at": "2020-01-01T00:00:00Z"}, False),
        ({"starts_at": "2999-01-01T00:00:00Z"}, False),
    ],
)
def test_a_policy_whose_time_it_is_not_protects_and_harms_nobody(settings, times, is_now) -> None:
    """What ended, or is yet to start, is not in force."""
    settings.SECURE_SSL_REDIRECT = True
    assert check({"name": "a", "preset": "html", **times}, deployed=True) == (
        [] if is_now else ["W085"]
    )
    legacy = {"name": "a", "path": "/api/", "preset": "legacy", **times}
    assert check(legacy) == (["W080"] if is_now else [])


@pytest.mark.django_db
def test_the_published_policy_is_what_is_looked_at() -> None:
    document.apply(
        {"header_policies": [{"name": "a", "path": "/api/", "preset": "legacy"}]}, publisher.SYSTEM
    )
    assert "W080" in ids(policies.check_policy(frozenset({"default"})))
    assert "W082" in ids(policies.check_deployed_policy(frozenset({"default"})))
    assert registry.check_deployed_policies(databases=None) == []


@pytest.mark.django_db
def test_only_a_deployment_is_asked_for_policies(settings) -> None:
    settings.CACHES = {"default": REDIS}
    for deploy in (True, False):
        out = StringIO()
        call_command("check", databases=["default"], deploy=deploy, stderr=out, tags=["pulse"])
        assert ("pulse.W085" in out.getvalue()) is deploy
