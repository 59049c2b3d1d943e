"""Calls through the site's handler, in processes that can be killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from pulse.core.attempts import Answer, Call, Failure
from pulse.probes import in_process, transports
from tests.management.test_commands import run
from tests.probes.conftest import Apply

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _site(monkeypatch, transactional_db: None) -> Iterator[None]:
    """Processes of a site of its own, on the tests' database."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        url = f"sqlite:///{name}"
    else:
        url = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.probes.in_process_settings")
    in_process.close()
    yield
    in_process.close()


def send(url: str, *, method: str = "GET", timeout_s: float = 60.0, **fields) -> Answer:
    return asyncio.run(in_process.send(Call(method, url, timeout_s=timeout_s, **fields)))


def warm(number: int = 1) -> None:
    """Have processes begun, so that short limits are of requests alone."""

    async def together() -> None:
        calls = [in_process.send(Call("GET", "/told/", timeout_s=60.0)) for _ in range(number)]
        await asyncio.gather(*calls)

    asyncio.run(together())


def is_gone(pid: int, within_s: float = 20.0) -> bool:
    """Whether a process ends; one that is dead and not yet buried has ended."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def written(file: Path) -> list[int]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if file.exists() and len(pids := file.read_text().split()) == 2:
            return [int(pid) for pid in pids]
        time.sleep(0.02)
    raise AssertionError("nothing was written")


def test_a_request_goes_through_the_site() -> None:
    """Method, query, headers and body arrive; middleware acts; the process is kept."""
    answer = send(
        "/told/?q=a%20b&q=%C3%BC",
        method="PUT",
        headers={"X-Shop": "north", "Content-Type": "text/plain"},
        secret_headers={"Authorization": "Bearer x"},
        body=b"hello",
    )
    told = json.loads(answer.body)
    assert (answer.failure, answer.status_code, told["method"]) == (None, 200, "PUT")
    assert told["path"] == "/told/?q=a%20b&q=%C3%BC"
    assert (told["host"], told["body"]) == ("localhost", "hello")
    assert told["headers"].items() >= {"Authorization": "Bearer x", "X-Shop": "north"}.items()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    assert answer.headers["set-cookie"].count("Path=/") == 2
    assert (answer.address, answer.certificate_days) == (None, None)
    assert answer.url == "http://localhost/told/?q=a%20b&q=%C3%BC"
    assert 0 < (answer.phases.first_byte or 0) <= answer.latency_ms
    assert json.loads(send("/told/").body)["pid"] == told["pid"] != os.getpid()


def test_a_view_that_sleeps_for_ever_is_killed_at_its_limit() -> None:
    """Another process takes its place."""
    warm()
    before = json.loads(send("/told/").body)["pid"]
    answer = send("/sleeps/", timeout_s=0.5)
    assert answer.failure == Failure.TIMEOUT
    assert answer.detail == "There was no whole answer within 0.5 s; its process was killed."
    assert is_gone(before)
    assert json.loads(send("/told/").body)["pid"] != before


def test_a_view_that_eats_the_interpreter_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """Nothing of the process is asked."""
    warm()
    file = tmp_path / "pids"
    answer = send(f"/eats/?file={file}", timeout_s=3.0)
    assert answer.failure == Failure.TIMEOUT
    assert all(is_gone(pid) for pid in written(file))


def test_a_view_that_ends_its_process_is_a_failure_of_the_site() -> None:
    """Told with its exit code; the next call has a process of its own."""
    answer = send("/leaves/")
    assert (answer.failure, answer.status_code) == (Failure.PROTOCOL, None)
    assert answer.detail == "The site's process ended: exit code 3."
    assert send("/told/").status_code == 200


def test_an_exception_is_the_sites_answer() -> None:
    assert send("/fails/").status_code == 500


def test_an_endless_answer_is_too_large() -> None:
    """Read no further than a probe reads."""
    answer = send("/large/")
    assert (answer.failure, answer.body, answer.status_code) == (Failure.TOO_LARGE, b"", 200)


def test_a_view_uses_the_database() -> None:
    """The same one as the worker's."""
    get_user_model().objects.create(username="made-before")
    assert send("/counts/").body == b"2"
    assert get_user_model().objects.filter(username="made-within").exists()


def test_two_at_once_have_a_process_each(tmp_path: Path) -> None:
    """Each waits for the other."""

    async def both() -> list[Answer]:
        urls = [f"/waits/?dir={tmp_path}&me={me}&other={other}" for me, other in ("ab", "ba")]
        return await asyncio.gather(
            *(in_process.send(Call("GET", url, timeout_s=60.0)) for url in urls)
        )

    first, second = asyncio.run(both())
    assert first.status_code == second.status_code == 200
    assert first.body != second.body


def test_a_call_that_is_cancelled_is_broken_off() -> None:
    """A job that is cancelled does not wait for a view."""
    warm()
    pid = json.loads(send("/told/").body)["pid"]

    async def cancelled() -> None:
        task = asyncio.create_task(in_process.send(Call("GET", "/sleeps/", timeout_s=60.0)))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert is_gone(pid)


def test_a_process_that_begins_late_is_no_fault_of_the_site() -> None:
    """It is kept, and answers the next call."""
    answer = send("/told/", timeout_s=0.01)
    assert answer.failure == Failure.INTERNAL
    assert answer.detail == "No process of the site was ready within 0.01 s."
    assert send("/told/").status_code == 200


def test_a_site_that_does_not_start_is_told(monkeypatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.no_such_settings")
    answer = send("/told/")
    assert answer.failure == Failure.INTERNAL
    assert answer.detail == "The site does not start: exit code 1."


def test_redirects_are_followed_within_the_site() -> None:
    """Only as many as are wished for, and never out of it."""
    assert send("/goes/?to=/told/").status_code == 302
    followed = send("/goes/?to=/told/", follow_redirects=1)
    assert (followed.status_code, followed.url) == (200, "http://localhost/told/")
    again = "/goes/?to=/goes/%3Fto%3D/told/"
    assert send(again, follow_redirects=1).failure == Failure.TOO_MANY_REDIRECTS
    away = send("/goes/?to=http://elsewhere.example/", follow_redirects=1)
    assert away.failure == Failure.REDIRECT_FORBIDDEN


def test_the_way_follows_the_url() -> None:
    """A path alone stays within the site."""
    answer = asyncio.run(transports.send(Call("GET", "/told/", timeout_s=60.0)))
    assert answer.status_code == 200
    forbidden = asyncio.run(transports.send(Call("GET", "http://169.254.169.254/")))
    assert forbidden.failure == Failure.ADDRESS_FORBIDDEN


def test_a_target_is_probed_within_the_site(apply: Apply) -> None:
    """By its transport, judged and recorded as any; one that never answers as ``timeout``."""
    apply(
        probe_targets=[
            {"name": "own", "path": "/told/", "transport": "in_process", "timeout_s": 60},
            {"name": "gone", "path": "/leaves/", "transport": "in_process", "timeout_s": 60},
        ]
    )
    code, out, _ = run("pulse_probe", "own", "gone", "--local", "--format", "json")
    own, gone = (item["result"] for item in json.loads(out)["items"])
    assert (code, own["state"], own["status_code"], own["address"]) == (1, "ok", 200, None)
    assert (gone["state"], gone["error"]) == ("failed", "protocol")
    assert gone["detail"] == "The site's process ended: exit code 3."


def test_no_process_outlives_its_worker(tmp_path: Path) -> None:
    """Killed without a word, while a view holds the interpreter."""
    file = tmp_path / "pids"
    source = (
        "import asyncio, django; django.setup()\n"
        "from pulse.core.attempts import Call\n"
        "from pulse.probes import in_process\n"
        f"asyncio.run(in_process.send(Call('GET', '/eats/?file={file}', timeout_s=600.0)))\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", source], cwd=ROOT)
    try:
        site, _child = written(file)
    finally:
        worker.kill()
        worker.wait()
    assert is_gone(site)
    os.kill(_child, signal.SIGKILL)
