import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from django.core.exceptions import ImproperlyConfigured

from project.demonstration.secret import read_or_create_secret
from project.settings import sources

PRODUCTION = {
    "SECRET_KEY": "s",
    "ALLOWED_HOSTS": "shop.example.com, www.example.com",
    "DATABASE_URL": "postgres://shop:p%40ss@db.example.com:5433/shop?sslmode=require",
    "REDIS_URL": "redis://redis.example.com/1",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch
    sys.modules.pop("project.settings.production", None)


def load_production() -> ModuleType:
    sys.modules.pop("project.settings.production", None)
    return importlib.import_module("project.settings.production")


def test_production_is_read_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    settings = load_production()
    assert settings.ALLOWED_HOSTS == ["shop.example.com", "www.example.com"]
    assert settings.DATABASES["default"]["PASSWORD"] == "p@ss"
    assert settings.CACHES["default"]["LOCATION"] == "redis://redis.example.com/1"
    assert settings.SESSION_COOKIE_SECURE
    assert not settings.DEBUG


def test_production_logs_json_unless_told_otherwise(environment: pytest.MonkeyPatch) -> None:
    console = load_production().LOGGING["handlers"]["console"]
    assert (console["formatter"], console["filters"]) == ("json", ["request_id"])
    environment.setenv("LOG_FORMAT", "line")
    assert load_production().LOGGING["handlers"]["console"]["formatter"] == "line"


@pytest.mark.parametrize("name", PRODUCTION)
def test_production_does_not_start_without(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, " ")
    with pytest.raises(ImproperlyConfigured, match=name):
        load_production()


def test_sqlite_database_is_fit_for_several_processes() -> None:
    database = sources.database_from("sqlite:////var/lib/shop%20one/db.sqlite3")
    assert database["NAME"] == "/var/lib/shop one/db.sqlite3"
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "WAL" in database["OPTIONS"]["init_command"]
    assert sources.database_from("sqlite:///here.sqlite3")["NAME"] == "here.sqlite3"
    assert sources.database_from("sqlite://:memory:")["NAME"] == ":memory:"


def test_postgres_database_by_network_and_by_socket() -> None:
    database = sources.database_from(PRODUCTION["DATABASE_URL"])
    assert (database["HOST"], database["PORT"]) == ("db.example.com", "5433")
    assert database["OPTIONS"] == {"sslmode": "require"}
    database = sources.database_from("postgresql://me@/shop?host=/run/pg")
    assert (database["HOST"], database["NAME"], database["USER"]) == ("/run/pg", "shop", "me")


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "postgres://h", "postgres://h:port/d", "postgres://u:secret@[h/d", "no"]
)
def test_other_databases_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        sources.database_from(url)
    assert "secret" not in str(caught.value)


def test_broker_of_a_unix_socket_has_celerys_spelling() -> None:
    assert sources.broker_from("redis://h:1/2") == "redis://h:1/2"
    found = sources.broker_from("unix:///run/redis.sock?db=3")
    assert found == "redis+socket:///run/redis.sock?virtual_host=3"


@pytest.mark.parametrize("content", [None, "", "{", "[]", json.dumps({"pids": {}})])
def test_state_that_is_missing_or_broken_is_empty(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    assert sources.demonstration_state(tmp_path) == {}


def test_secret_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    first = read_or_create_secret(path)
    assert len(first) >= 50
    assert read_or_create_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]
