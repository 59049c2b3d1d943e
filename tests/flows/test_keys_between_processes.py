"""Keys and nonces, between two serving processes."""

import time

import pytest

from tests.sites import Answer, Site, running, statuses

WIDE = {"name": "default", "default": True, "limits": [{"rate": "10000/s"}]}
PAID = {"name": "paid", "limits": [{"rate": "7777/s"}]}
ONCE = {"name": "search", "url_name": "search", "require_nonce": True}
#: Another edit, and back to the revision before it.
EDIT_AND_BACK = """
from pulse.policies import history
from pulse.policies.document import apply
from pulse.policies.publisher import Actor
actor = Actor("user", "kim")
apply({"version": 1, "exemptions": [{"path": "/later/"}]}, actor)
print(history.rollback(%s, actor).revision)
"""
POLICY = "/pulse/api/v1/policy/"


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(request, redis_server, tmp_path_factory):
    with redis_server.client() as client:
        client.flushdb()
    directory = tmp_path_factory.mktemp("site")
    site = Site(
        directory,
        redis_server.url,
        server=request.param,
        processes=2,
        DJANGO_SETTINGS_MODULE="tests.flows.patient_settings",
    )
    site.apply({"rate_tiers": [WIDE, PAID], "endpoint_limits": [ONCE]})
    yield from running(site)


def key(site: Site, *words: str) -> str:
    return site.manage("pulse_key", "make", "ci", "--scope", "administer", *words).stdout.strip()


def limits_told(site: Site, answers: list[Answer]) -> set[str]:
    """What answers tell of their limit; where one tells nothing, the site's log may say why."""
    missing = [answer for answer in answers if "X-RateLimit-Limit" not in answer.headers]
    assert not missing, f"{statuses(missing)} {missing[0].body[:500]!r}\n{site.logged()[-4000:]}"
    return {answer.headers["X-RateLimit-Limit"] for answer in answers}


def test_a_revoked_key_fails_on_the_next_request_in_all_processes(site: Site) -> None:
    """And no rollback revives it."""
    token = key(site, "--tier", "paid")
    sent = {"Authorization": f"Bearer {token}"}
    assert statuses(site.together(24, POLICY, **sent)) == {200: 24}
    assert limits_told(site, site.together(24, "/api/echo/", **sent)) == {"7777"}
    number = site.get(POLICY, **sent).headers["ETag"].strip('"')

    site.manage("pulse_key", "revoke", token.split("_")[1])
    answers = site.together(12, "/api/echo/", **sent) + site.together(12, "/api/echo/", **sent)
    assert limits_told(site, answers) == {"10000"}
    assert set(statuses(site.together(12, POLICY, "203.0.113.50", **sent))) == {401}

    assert int(site.python(EDIT_AND_BACK % number)) > int(number) + 1
    assert limits_told(site, site.together(12, "/api/echo/", **sent)) == {"10000"}
    assert set(statuses(site.together(8, POLICY, "203.0.113.51", **sent))) == {401}


def test_failed_keys_of_an_address_meet_one_limit_for_all_processes(site: Site) -> None:
    """Twenty a minute, whichever process is asked; then also with a right key, from there alone."""
    token = key(site)
    sent = {"Authorization": "Bearer pulse_nobody00_" + "s" * 43}
    found = statuses(site.together(40, POLICY, "203.0.113.60", **sent))
    assert set(found) == {401, 429}
    assert 20 <= found[401] <= 23
    right = {"Authorization": f"Bearer {token}"}
    refused = site.get(POLICY, "203.0.113.60", **right)
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert site.get(POLICY, "203.0.113.61", **right).status == 200


def test_of_twenty_with_one_nonce_one_passes(site: Site) -> None:
    for number in range(3):
        sent = {"X_Timestamp": str(int(time.time())), "X_Nonce": f"nonce-of-the-flow-{number}"}
        found = statuses(site.together(20, "/api/search/?q=a", **sent))
        assert found == {200: 1, 409: 19}
    assert site.get("/api/search/?q=a").status == 400
