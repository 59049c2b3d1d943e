"""What every resource has: who may, what is refused, and in which form."""

import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import OperationalError
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from pulse.access.scopes import Scope
from pulse.policies.models import RateTier
from tests.api.conftest import API, Script, problem, script

pytestmark = pytest.mark.django_db

TIERS = "rate-tiers/"
GOLD = {"name": "gold", "limits": ["100/s"]}


def browser(*permissions: str, **given) -> Client:
    user = get_user_model().objects.create_user("ana", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(**given)
    client.force_login(user)
    return client


def test_nobody_is_asked_for_a_key(nobody) -> None:
    told = nobody.get(TIERS)
    problem(told, 401, "not_authenticated")
    assert told.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key", ["pulse_nobody00_" + "s" * 43, "pulse_", "something else", "", "é" * 20]
)
def test_a_wrong_key_is_told_no_more_than_no_key(key, nobody, settings) -> None:
    settings.PULSE = {**settings.PULSE, "AUTH_DELAY_MS": 0}
    told = problem(Script(key).get(TIERS), 401, "not_authenticated")
    assert told["detail"] == problem(nobody.get(TIERS), 401, "not_authenticated")["detail"]


def test_higher_scopes_are_asked_for_by_what_writes(viewer) -> None:
    assert viewer.get(TIERS).status_code == 200
    told = problem(viewer.post(TIERS, GOLD), 403, "permission_denied")
    assert "administer" in told["detail"]
    assert not RateTier.objects.filter(name="gold").exists()


def test_a_dry_run_is_for_who_may_see(viewer) -> None:
    assert viewer.post(f"{TIERS}?dry_run=1", GOLD).status_code == 200
    problem(viewer.post(f"{TIERS}?dry_run=0", GOLD), 403, "permission_denied")
    problem(viewer.post(f"{TIERS}?dry_run=1&dry_run=0", GOLD), 403, "permission_denied")
    assert not RateTier.objects.filter(name="gold").exists()


def test_a_session_needs_its_permission_and_its_token() -> None:
    client = browser("administer", enforce_csrf_checks=True)
    body = {"data": json.dumps(GOLD), "content_type": "application/json"}
    problem(client.post(f"{API}/{TIERS}", **body), 403, "permission_denied")
    token = _get_new_csrf_string()
    client.cookies["csrftoken"] = token
    made = client.post(f"{API}/{TIERS}", **body, headers={"X-CSRFToken": token})
    assert made.status_code == 201


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "once"}])
def test_a_form_is_no_request_of_the_api(headers) -> None:
    """Where a session would have to look for its token in it."""
    client = browser("administer", enforce_csrf_checks=True)
    token = _get_new_csrf_string()
    client.cookies["csrftoken"] = token
    told = client.post(f"{API}/{TIERS}", GOLD, headers={"X-CSRFToken": token, **headers})
    problem(told, 415, "unsupported_media_type")
    assert not RateTier.objects.filter(name="gold").exists()


def test_a_session_without_permission_may_nothing() -> None:
    problem(browser().get(f"{API}/{TIERS}"), 403, "permission_denied")


def test_a_key_needs_no_csrf_token() -> None:
    given = script(Scope.ADMINISTER)
    given.client = Client(enforce_csrf_checks=True)
    assert given.post(TIERS, GOLD).status_code == 201


@pytest.mark.parametrize("accept", ["text/html", "*/*", "application/json", "image/png", "", "x;;"])
def test_errors_are_problems_whatever_is_accepted(administrator, accept) -> None:
    told = administrator.get("rate-tiers/999/", Accept=accept)
    assert told.headers["Content-Type"] == "application/problem+json"
    assert told.status_code in {404, 406}


def test_what_nobody_can_answer_in_is_not_acceptable(administrator) -> None:
    problem(administrator.get(TIERS, Accept="text/html"), 406, "not_acceptable")


def test_a_method_that_is_not_there_names_those_that_are(administrator, nobody) -> None:
    for who in (administrator, nobody):
        told = who("PUT", TIERS, {})
        problem(told, 405, "method_not_allowed")
        assert told.headers["Allow"] == "GET, POST, HEAD"


def test_head_is_get_without_a_body(administrator) -> None:
    told = administrator("HEAD", TIERS)
    assert (told.status_code, told.content) == (200, b"")


@pytest.mark.parametrize("body", ["{", "[1", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 5000, "\xff"])
def test_what_is_not_json_cannot_be_parsed(administrator, body) -> None:
    problem(administrator.post(TIERS, body.encode("latin-1")), 400, "parse_error")


@pytest.mark.parametrize("body", [[], "text", 1, None])
def test_a_body_is_an_object(administrator, body) -> None:
    told = problem(administrator.post(TIERS, json.dumps(body)), 400, "invalid")
    assert list(told["errors"]) == ["non_field_errors"]


@pytest.mark.parametrize(
    "body", ['{"name": "a\\u0000"}', '{"name": "\\ud800"}', '{"a": 9999999999999999999999}']
)
def test_what_no_database_can_hold_is_refused(administrator, body) -> None:
    problem(administrator.post(TIERS, body), 400, "invalid")


def test_another_form_is_not_supported(administrator) -> None:
    told = administrator.client.post(
        f"{API}/{TIERS}",
        data="name=gold",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Bearer {administrator.key}"},
    )
    problem(told, 415, "unsupported_media_type")


@pytest.mark.parametrize("ident", ["0", "x", "-1", "1e3", "9" * 40, "٣", "1;drop"])
def test_an_id_that_is_none(administrator, ident) -> None:
    problem(administrator.get(f"{TIERS}{ident}/"), 404, "not_found")


def test_a_lost_database_is_no_error_of_the_client(administrator, monkeypatch) -> None:
    def lost(*_args, **_given):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr("pulse.api.policies.PolicyList.rows", lost)
    told = administrator.get(TIERS)
    assert problem(told, 503, "unavailable")["retry_after"] == 1
    assert told.headers["Retry-After"] == "1"


def test_answers_are_for_who_asked(administrator) -> None:
    headers = administrator.get(TIERS).headers
    assert headers["Cache-Control"] == "private, no-cache"
    assert {"Accept", "Authorization", "Cookie"} <= set(headers["Vary"].split(", "))


@pytest.mark.parametrize("address", ["rate-tiers", "unheard/", "rate-tiers/1/2/3", "../admin"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_an_address_that_is_none_is_a_problem_too(nobody, method, address) -> None:
    problem(nobody(method, address, Accept="text/html"), 404, "not_found")


def test_a_host_without_users_can_write_by_key(administrator, settings) -> None:
    settings.MIDDLEWARE = ["pulse.middleware.PulseMiddleware"]
    assert administrator.post(TIERS, GOLD).status_code == 201
