"""What every test stands on: a process that has just started, and servers if asked for."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from whitenoise.middleware import WhiteNoiseMiddleware

from pulse import conf
from tests.parts import ALONE, TOGETHER, Groups, choose
from tests.servers import mortal_redis, redis_server

__all__ = ["mortal_redis", "redis_server"]

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
#: Started as root, the PostgreSQL wheel makes a user of the system's: only where that is asked for.
POSTGRES = bool(os.environ.get("CI") or os.environ.get("PULSE_TEST_POSTGRES"))
MISSING = {
    "browser": (bool(CHROMIUM), "no Chromium: install it, or name it in CHROMIUM"),
    "postgres": (POSTGRES, "set PULSE_TEST_POSTGRES=1 to start a PostgreSQL from its wheel"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", choices=(TOGETHER, ALONE), help="what python -m tests runs at once")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, aloud, what cannot run here; in CI that is an error."""
    choose(config.getoption("--part"), config, items)
    for item in items:
        for marker, (present, reason) in MISSING.items():
            if item.get_closest_marker(marker) and not present:
                if os.environ.get("CI"):
                    raise pytest.UsageError(f"{item.nodeid}: {reason}")
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Nothing is left in this process of what the test before did."""
    from pulse.access import principals
    from pulse.audit import failures
    from pulse.metrics import flush, settling, totals, window
    from pulse.middleware import context
    from pulse.policies import current, watching
    from pulse.store import blocked, buckets, csp, heartbeat, peaks, processes, refusals, sample
    from pulse.store.memory import memory

    def forget() -> None:
        heartbeat.stop()
        failures.forget()
        current.forget()
        memory.clear()
        buckets.forget()
        refusals.forget()
        watching.forget()
        csp.forget()
        peaks.forget()
        processes.forget()
        sample.forget()
        blocked.forget_all()
        flush.forget()
        window.forget()
        totals.forget()
        settling.forget()
        context.forget_groups()
        principals.forget()

    forget()
    yield
    forget()


@pytest.fixture(scope="session", autouse=True)
def static_files() -> Iterator[None]:
    """Each client of a test makes every middleware anew; WhiteNoise reads all its files then."""
    find, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def find_once(self: WhiteNoiseMiddleware) -> None:
        if not found:
            find(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def patient_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Beside other tests, a Redis that lives may be later than a request waits for one."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--part") == TOGETHER:
            patch.setitem(conf.NUMBERS, "STORE_TIMEOUT_MS", conf.Number(1, 5000, 1000))
        yield


@pytest.fixture
def redis_cache(settings, redis_server):
    """The default cache is a real Redis, and empty."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": redis_server.url,
            "KEY_PREFIX": "test",
        }
    }
    with redis_server.client() as client:
        client.flushdb()
    return redis_server
