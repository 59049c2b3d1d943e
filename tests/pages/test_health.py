"""healthz and readyz, as load balancers, strangers and operators ask."""

import time

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from pulse.access import keys
from pulse.doctor import readiness
from pulse.policies import current, document
from pulse.store import heartbeat
from pulse.store.connection import current_backend
from tests import factories


@pytest.fixture(autouse=True)
def looked_anew():
    readiness.forget()
    yield
    readiness.forget()


@pytest.fixture
def operator(transactional_db: None) -> Client:
    user = get_user_model().objects.create_user("kim", password="x", is_staff=True)
    user.user_permissions.add(
        Permission.objects.get(codename="view", content_type__app_label="pulse")
    )
    client = Client()
    client.force_login(user)
    return client


def test_alive_is_said_without_touching_anything(client: Client, db: None) -> None:
    client.get("/healthz")  # Loads the policy.
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/healthz")
    assert answer.json() == {"status": "healthy"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert not queries


def test_alive_is_said_by_a_process_whose_first_policy_does_not_come(
    client: Client, db: None, fresh_process: None, monkeypatch
) -> None:
    def load() -> None:
        raise AssertionError("asks for the policy")

    with heartbeat.suspended():
        current.forget()
        monkeypatch.setattr(current, "current_snapshot", load)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get("/healthz")
    assert answer.json() == {"status": "healthy"}
    assert "X-Request-ID" in answer.headers
    assert not queries


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reading_methods_answer(client: Client, transactional_db: None, path: str) -> None:
    assert client.head(path).status_code == 200
    assert client.head(path).content == b""
    assert client.post(path).status_code == 405
    assert client.get(f"{path}/").status_code == 404


def test_a_stranger_learns_no_more_than_whether(client: Client, transactional_db: None) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_key_that_does_not_count_is_a_strangers(client: Client, transactional_db: None) -> None:
    """Whoever routes traffic by the answer must not be told 401."""
    answer = client.get("/readyz", headers={"Authorization": "Bearer pulse_aaaaaaaa_" + "b" * 43})
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_who_may_view_sees_each_check(operator: Client, redis_cache) -> None:
    body = operator.get("/readyz").json()
    assert body["status"] == "healthy"
    assert body["revision"] == current.current_snapshot().revision
    names = [check["name"] for check in body["checks"]]
    assert names[:2] == ["database", "cache"]
    assert "policy" in names
    assert all(check["duration_ms"] >= 0 for check in body["checks"])


def test_no_worker_is_told_where_something_is_scheduled(operator: Client, redis_cache) -> None:
    targets = [{"name": "products", "path": "/api/products/"}]
    schedules = [{"name": "core", "every": "60s", "targets": ["products"]}]
    document.apply(
        {"version": 1, "probe_targets": targets, "probe_schedules": schedules}, factories.KIM
    )
    body = operator.get("/readyz").json()
    found = {check["name"]: check for check in body["checks"]}
    assert body["status"] == "degraded"
    assert found["worker"]["status"] == "degraded"
    assert "no worker" in found["worker"]["detail"]


def test_a_frozen_redis_degrades_and_holds_nobody(operator: Client, settings, mortal_redis) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": mortal_redis.url,
        }
    }
    assert current_backend() is not None
    mortal_redis.freeze()
    try:
        began = time.monotonic()
        answer = Client().get("/readyz")
        assert time.monotonic() - began < 5
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    finally:
        mortal_redis.thaw()


def test_a_key_of_pulse_may_see(client: Client, transactional_db: None) -> None:
    made = keys.make("ci", actor=factories.KIM)
    answer = client.get("/readyz", headers={"Authorization": f"Bearer {made.text}"})
    assert "checks" in answer.json()
