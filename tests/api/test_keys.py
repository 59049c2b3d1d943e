"""Keys by the API: told once, changed, rotated, withdrawn."""

from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from pulse.access.models import ApiKey, StoredAnswer
from pulse.policies.models import PolicyRevision
from tests.api.conftest import Script, problem

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_delay(settings) -> None:
    settings.PULSE = {**settings.PULSE, "AUTH_DELAY_MS": 0}


def make(administrator, **fields):
    told = administrator.post("api-keys/", {"name": "deploy", **fields})
    assert told.status_code == 201, told.content
    return told


def test_a_key_is_told_once_and_works(administrator) -> None:
    told = make(administrator, scopes=["view"], tier="default")
    key = told.json()
    assert told.headers["Cache-Control"] == "no-store"
    assert told.headers["Location"].endswith(f"/api-keys/{key['id']}/")
    assert key["api_key"].startswith(f"pulse_{key['prefix']}_")
    end = parse_datetime(key["expires_at"]) - timezone.now()
    assert timedelta(days=89) < end <= timedelta(days=90)
    read = administrator.get(f"api-keys/{key['id']}/").json()
    assert "api_key" not in read
    assert {**read, "api_key": key["api_key"]} == key
    assert Script(key["api_key"]).get("rate-tiers/").status_code == 200
    assert key["api_key"] not in str(list(ApiKey.objects.values()))
    assert not PolicyRevision.objects.filter(document__icontains=key["prefix"]).exists()


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["name"]),
        ({"name": 5}, ["name"]),
        ({"name": " "}, ["name"]),
        ({"name": "x" * 65}, ["name"]),
        ({"name": "a", "scopes": []}, ["scopes"]),
        ({"name": "a", "scopes": ["root"]}, ["scopes"]),
        ({"name": "a", "scopes": [["view"]]}, ["scopes"]),
        ({"name": "a", "scopes": "view"}, ["scopes"]),
        ({"name": "a", "scopes": None}, ["scopes"]),
        ({"name": "a", "tier": "none"}, ["tier"]),
        ({"name": "a", "tier": 1}, ["tier"]),
        ({"name": "a", "expires_at": "never"}, ["expires_at"]),
        ({"name": "a", "secret": "mine"}, ["secret"]),
    ],
)
def test_what_cannot_be_a_key_is_told_by_field(administrator, body, names) -> None:
    told = problem(administrator.post("api-keys/", body), 400, "invalid")
    assert list(told["errors"]) == names


def test_a_key_is_changed_under_its_version(administrator) -> None:
    key = make(administrator).json()
    place = f"api-keys/{key['id']}/"
    told = administrator.patch(place, {"scopes": ["operate"], "expires_at": None})
    assert (told.json()["scopes"], told.json()["expires_at"]) == (["operate"], None)
    assert told.headers["ETag"] == '"2"'
    same = administrator.patch(place, {"scopes": ["operate"]})
    assert same.headers["ETag"] == '"2"'
    problem(administrator.patch(place, {"name": "b"}, If_Match='"1"'), 412, "version_mismatch")
    problem(administrator.put(place, {"name": "b", "version": 1}), 412, "version_mismatch")
    whole = administrator.put(place, {"name": "b"}).json()
    assert (whole["name"], whole["scopes"]) == ("b", ["view"])
    assert whole["expires_at"][:16] == key["expires_at"][:16]
    problem(administrator.delete(place, If_Match='"1"'), 412, "version_mismatch")


def test_a_rotated_key_goes_on_for_its_overlap(administrator) -> None:
    key = make(administrator, scopes=["view"]).json()
    told = administrator.post(f"api-keys/{key['id']}/rotate/", {"overlap_s": 60})
    assert told.status_code == 201
    successor = told.json()
    assert (successor["name"], successor["scopes"]) == ("deploy", ["view"])
    old = administrator.get(f"api-keys/{key['id']}/").json()
    assert parse_datetime(old["expires_at"]) <= timezone.now() + timedelta(seconds=60)
    for each in (key, successor):
        assert Script(each["api_key"]).get("rate-tiers/").status_code == 200
    administrator.post(f"api-keys/{key['id']}/rotate/", {"overlap_s": 0})
    problem(Script(key["api_key"]).get("rate-tiers/"), 401, "not_authenticated")
    problem(administrator.post(f"api-keys/{key['id']}/rotate/", {}), 400, "invalid")
    for wrong in (-1, True, "60", 1e12, None):
        told = administrator.post(f"api-keys/{successor['id']}/rotate/", {"overlap_s": wrong})
        assert list(problem(told, 400, "invalid")["errors"]) == ["overlap_s"]


def test_a_revoked_key_fails_on_the_next_request(administrator) -> None:
    key = make(administrator).json()
    place = f"api-keys/{key['id']}/"
    told = administrator.post(f"{place}revoke/", {})
    assert told.json()["revoked_at"] is not None
    problem(Script(key["api_key"]).get("rate-tiers/"), 401, "not_authenticated")
    again = administrator.post(f"{place}revoke/", {})
    assert again.json()["revoked_at"] == told.json()["revoked_at"]
    problem(administrator.post(f"{place}revoke/", {"a": 1}), 400, "invalid")
    assert administrator.delete(place).status_code == 204
    problem(administrator.get(place), 404, "not_found")


def test_keys_are_for_administrators(viewer) -> None:
    problem(viewer.get("api-keys/"), 403, "permission_denied")
    problem(viewer.post("api-keys/", {"name": "a"}), 403, "permission_denied")


def test_a_repeated_creation_tells_no_key(administrator) -> None:
    first = administrator.post("api-keys/", {"name": "a"}, Idempotency_Key="k1")
    again = administrator.post("api-keys/", {"name": "a"}, Idempotency_Key="k1")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == {**first.json(), "api_key": None}
    assert first.json()["api_key"] not in str(list(StoredAnswer.objects.values()))
    assert ApiKey.objects.filter(name="a").count() == 1


def test_a_key_that_was_changed_is_neither_rotated_nor_revoked(administrator) -> None:
    key = make(administrator).json()
    place = f"api-keys/{key['id']}/"
    administrator.patch(place, {"name": "b"})
    for deed in ("rotate", "revoke"):
        told = administrator.post(f"{place}{deed}/", {}, If_Match='"1"')
        assert problem(told, 412, "version_mismatch")["current_version"] == 2
    assert ApiKey.objects.filter(name="b").count() == 1
    assert administrator.post(f"{place}rotate/", {}, If_Match='"2"').status_code == 201
    told = administrator.post(f"{place}revoke/", {}, If_Match='"3"')
    assert (told.status_code, told.headers["ETag"]) == (200, '"4"')


def test_the_last_use_of_a_key_is_no_old_news(administrator) -> None:
    key = make(administrator).json()
    place = f"api-keys/{key['id']}/"
    seen = administrator.get(place).headers["ETag"]
    assert seen == '"1"'
    assert administrator.get(place, If_None_Match=seen).status_code == 304
    ApiKey.objects.filter(pk=key["id"]).update(last_used_at=timezone.now())
    told = administrator.get(place, If_None_Match=seen)
    assert told.status_code == 200
    assert told.json()["last_used_at"] is not None
    used = told.headers["ETag"]
    assert administrator.get(place, If_None_Match=used).status_code == 304
    assert administrator.patch(place, {"name": "b"}, If_Match=used).status_code == 200
    problem(administrator.patch(place, {"name": "c"}, If_Match=used), 412, "version_mismatch")


def test_a_key_that_lives_almost_for_ever_can_be_rotated(administrator) -> None:
    key = make(administrator, expires_at="9998-12-30T00:00:00Z").json()
    told = administrator.post(f"api-keys/{key['id']}/rotate/", {})
    assert told.status_code == 201
    assert told.json()["expires_at"][:4] == "9998"
