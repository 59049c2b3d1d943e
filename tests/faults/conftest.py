"""Engines of probes: a database, a target that counts, no workers yet."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import HOSTS, PATIENCE_S, Engine, Postgres, migrated, private_postgres
from tests.servers import RedisServer
from tests.targets import CountingTarget


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever waits for an engine gives up long before, and says what it waited for."""
    for item in items:
        if {"engine", "postgres_engine", "celery_engine"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(120 + 3 * PATIENCE_S))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with private_postgres() as server:
        yield server


@pytest.fixture
def target() -> Iterator[CountingTarget]:
    counting = CountingTarget(HOSTS)
    yield counting
    counting.close()


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database that every test copies."""
    file = tmp_path_factory.mktemp("engine") / "migrated.sqlite3"
    migrated(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    return migrated(postgres.new_database())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request, tmp_path: Path, target: CountingTarget) -> Iterator[Engine]:
    """One on each database."""
    if request.param == "postgresql":
        yield from _on_postgres(request, tmp_path, target)
    else:
        file = shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "site.sqlite3")
        made = Engine(tmp_path, target, f"sqlite:///{file}")
        yield made
        made.close()


@pytest.fixture
def postgres_engine(request, tmp_path: Path, target: CountingTarget) -> Iterator[Engine]:
    yield from _on_postgres(request, tmp_path, target)


@pytest.fixture
def celery_engine(
    request, tmp_path: Path, target: CountingTarget, mortal_redis: RedisServer
) -> Iterator[Engine]:
    """One whose workers are Celery's, with a Redis of their own."""
    yield from _on_postgres(request, tmp_path, target, mortal_redis.url)


def _on_postgres(
    request: pytest.FixtureRequest, directory: Path, target: CountingTarget, redis_url: str = ""
) -> Iterator[Engine]:
    postgres = request.getfixturevalue("postgres")
    url = postgres.new_database(like=request.getfixturevalue("postgres_url"))
    made = Engine(directory, target, url, redis_url)
    yield made
    made.close()
