"""The demonstration as a process of its own, in a copy of the checkout."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 60

pytestmark = pytest.mark.demo


class Demo:
    """A running demonstration and what it says."""

    def __init__(self, checkout: Path, **words: str) -> None:
        self.checkout = checkout
        self.output = checkout / "output.txt"
        clean = {"PORT", "SERVER", "WEB_PROCESSES", "DATABASE_URL", "REDIS_URL", "TRAFFIC"}
        environment = {name: value for name, value in os.environ.items() if name not in clean}
        environment |= {"DJANGO_SETTINGS_MODULE": "project.settings.demo", "TRAFFIC": "0"}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo"],
                cwd=checkout,
                env=environment | {"PORT": "0"} | words,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> dict[str, Any]:
        wait_for(
            lambda: "pulse demo ready on " in self.said() or self.process.poll() is not None,
            START_WITHIN_S,
        )
        assert self.process.poll() is None, self.said()
        return self.state()

    def said(self) -> str:
        return self.output.read_text()

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.checkout / ".demo" / "state.json").read_text())
        return found

    def pids(self) -> set[int]:
        return {pid for pids in self.state()["pids"].values() for pid in pids}


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def processes_of(checkout: Path) -> set[int]:
    """The processes that work in ``checkout``."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve(strict=True).is_relative_to(checkout):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def get(url: str, key: str = "") -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        return int(answer.status)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, kept through the module: a restart finds the data of the start before."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("pulse", "project", "templates"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def start(checkout: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def starter(**words: str) -> Demo:
        (checkout / "output.txt").unlink(missing_ok=True)
        started.append(Demo(checkout, **words))
        return started[-1]

    yield starter
    for demo in started:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.process.wait(timeout=15)


def test_all_of_it_runs_and_ctrl_c_ends_it(checkout: Path, start: Callable[..., Demo]) -> None:
    with closing(socket.socket()) as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        demo = start(PORT=str(port), WEB_PROCESSES="3")
        state = demo.wait_until_ready()

    assert f"Port {port} is busy" in demo.said()
    lines = [line for line in demo.said().splitlines() if line.startswith("pulse demo ready on")]
    assert lines == [f"pulse demo ready on {state['url']}"]
    assert (checkout / ".demo" / "state.json").stat().st_mode & 0o777 == 0o600
    assert {role: len(state["pids"][role]) for role in ("web", "worker", "beat", "redis")} == {
        "web": 3,
        "worker": 1,
        "beat": 1,
        "redis": 1,
    }
    assert get(state["url"]) == 200
    assert get(f"{state['url']}static/shop/shop.css") == 200
    assert redis.Redis.from_url(state["redis_url"]).ping()

    second = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        check=False,
        cwd=checkout,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "project.settings.demo"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode != 0
    assert f"already runs in this checkout, on {state['url']}" in second.stderr

    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=15) == 0
    assert processes_of(checkout) == set()


def test_what_dies_is_brought_back_and_kill_9_leaves_no_orphan(
    checkout: Path, start: Callable[..., Demo]
) -> None:
    demo = start()
    before = demo.wait_until_ready()
    assert "kept from last time" in demo.said()
    assert get(f"{before['url']}pulse/api/v1/policy/", before["api_key"]) == 200

    client = redis.Redis.from_url(before["redis_url"])
    client.set("kept", "yes")
    client.bgrewriteaof()
    time.sleep(1.2)  # appended data reach the disk once a second
    for role in ("redis", "web", "worker"):
        os.kill(before["pids"][role][0], signal.SIGKILL)

    def is_whole() -> bool:
        after = demo.state()["pids"]
        return all(
            len(after[role]) == len(before["pids"][role])
            and before["pids"][role][0] not in after[role]
            for role in ("redis", "web", "worker")
        )

    wait_for(is_whole)
    wait_for(lambda: get(before["url"]) == 200)
    assert demo.state()["redis_url"] == before["redis_url"]
    assert redis.Redis.from_url(before["redis_url"]).get("kept") == b"yes"

    demo.process.kill()
    demo.process.wait()
    wait_for(lambda: processes_of(checkout) == set(), 5)


def test_probes_run_on_its_worker_and_on_others(checkout: Path, start: Callable[..., Demo]) -> None:
    """The schedules of its policy find it where it listens; another worker does too."""
    demo = start()
    demo.wait_until_ready()

    def standing() -> dict[str, str]:
        with closing(sqlite3.connect(checkout / ".demo" / "db.sqlite3")) as database:
            rows = database.execute("SELECT name, status FROM pulse_probetargetstate").fetchall()
        return dict(rows)

    # The first run after the start: 15 s at most, and a busy machine.
    wait_for(lambda: {"health", "products", "product", "search"} <= set(standing()), 60)
    assert {standing()[name] for name in ("health", "products", "product", "search")} == {"up"}

    worker = subprocess.run(
        [sys.executable, "manage.py", "pulse_worker", "--once"],
        check=False,
        cwd=checkout,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "project.settings.demo"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert worker.returncode == 0, worker.stdout + worker.stderr


def test_under_asgi_each_process_serves(checkout: Path, start: Callable[..., Demo]) -> None:
    demo = start(SERVER="asgi")
    state = demo.wait_until_ready()
    assert len(state["pids"]["web"]) == 2
    assert get(f"{state['url']}api/export/") == 200
    assert get(f"{state['url']}static/shop/shop.css") == 200

    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(timeout=15) == 0
    assert processes_of(checkout) == set()
    assert "Warning" not in (checkout / ".demo" / "logs" / "web.log").read_text()


def test_a_bad_value_is_said_before_anything_starts(
    checkout: Path, start: Callable[..., Demo]
) -> None:
    demo = start(SERVER="cgi")
    assert demo.process.wait(timeout=30) == 1
    assert "SERVER must be wsgi or asgi, not 'cgi'." in demo.said()
