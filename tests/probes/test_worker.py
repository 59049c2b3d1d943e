"""``manage.py pulse_worker``: probes without Celery, in a process of its own."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from pulse.management.commands import pulse_worker
from pulse.probes.state import (
    DiscoveredEndpoint,
    ItemState,
    JobStatus,
    ProbeItem,
    ProbeJob,
    ProbeWorker,
)
from tests.probes.conftest import Apply
from tests.probes.engines import start
from tests.servers import end_with_parent

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]


class Target(http.server.ThreadingHTTPServer):
    """Answers at once, but for a path that it thinks about for long; knows how many it has."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Target

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/slow/":
            time.sleep(30)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Target]:
    with Target() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def quick_and_slow(apply: Apply, site: Target) -> None:
    """Targets on a server of the test's own, which they may reach."""
    open_to = {"allow_networks": ["127.0.0.1/32"]}
    apply(
        probe_targets=[
            {"name": "quick", "url": f"{site.url}/quick/"} | open_to,
            {"name": "slow", "url": f"{site.url}/slow/"} | open_to,
        ]
    )


def environment() -> dict[str, str]:
    """Settings by which another process meets the rows of this test."""
    told = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{told['NAME']}"
    else:
        host = told["OPTIONS"].get("host") or told["HOST"]
        user, port = told["USER"], told["PORT"]
        url = f"postgres://{user}@/{told['NAME']}?host={host}" + (f"&port={port}" if port else "")
    return {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "project.settings.test",
        "PYTHONUNBUFFERED": "1",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "manage.py", "pulse_worker", *words]


def once(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        check=False,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
    )
    yield process
    process.kill()
    process.wait()


def until(holds: Any, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_once_does_what_is_due_and_ends(quick_and_slow: None, site: Target) -> None:
    """Over the network, with the results recorded."""
    start("quick")
    done = once("--once")
    assert done.returncode == 0, done.stderr
    assert "1 probes ended" in done.stdout
    item = ProbeItem.objects.get()
    assert (item.state, item.status_code, item.address) == (ItemState.OK, 200, "127.0.0.1")
    assert site.asked == ["/quick/"]
    assert once("--once").stdout == "Nothing is due.\n"


def test_a_worker_outlives_a_turn_that_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it fails by; the next one may go well."""
    told, turns = threading.Event(), []

    def fails(kind: str, **_: object) -> None:
        turns.append(kind)
        if len(turns) == 2:
            told.set()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pulse_worker, "_do_chores", lambda told: None)
    monkeypatch.setattr(pulse_worker, "EVERY_S", 0.01)
    monkeypatch.setattr(pulse_worker.runner, "take_turn", fails)
    pulse_worker.Command()._for_ever(told)
    assert turns == ["command", "command"]
    assert "A turn of probes failed" in caplog.text


def test_a_worker_runs_until_it_is_told_to_stop(
    quick_and_slow: None, worker: subprocess.Popen[str]
) -> None:
    """Comes to what is started unasked, says that it is there, and looks which routes there are."""
    until(ProbeWorker.objects.exists)
    until(DiscoveredEndpoint.objects.exists)
    start("quick")
    until(lambda: ProbeJob.objects.get().status == JobStatus.COMPLETED)
    assert ProbeWorker.objects.get().kind == "command"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_gives_back_what_runs(
    quick_and_slow: None, site: Target, worker: subprocess.Popen[str], number: signal.Signals
) -> None:
    """Within seconds; what ended is recorded, and the rest waits for others."""
    start("quick", "slow")
    until(lambda: ProbeItem.objects.filter(state=ItemState.OK).exists() and "/slow/" in site.asked)
    worker.send_signal(number)
    assert worker.wait(15) == 0
    states = dict(ProbeItem.objects.values_list("target", "state"))
    assert states == {"quick": ItemState.OK, "slow": ItemState.QUEUED}
    assert ProbeWorker.objects.get().turn_until is None


def test_help_has_examples_and_exit_codes() -> None:
    told = once("--help").stdout
    assert "manage.py pulse_worker --once" in told
    assert "exit codes: 0" in told
