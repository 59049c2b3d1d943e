"""One id from the proxy to the last task: real servers, a real worker, and their logs."""

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.servers import end_with_parent
from tests.sites import Site, running, wait_until
from tests.zygote import ROOT

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.flows.id_settings",
    # uvicorn would put the client in the proxy's place, and pulse would see no proxy to trust.
    "FORWARDED_ALLOW_IPS": "192.0.2.1",
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OUTSIDE = "no-request-id"

Line = dict[str, Any]


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def site(request, redis_server, tmp_path_factory) -> Iterator[Site]:
    with redis_server.client() as client:
        client.flushdb()
    directory = tmp_path_factory.mktemp("ids")
    site = Site(directory, redis_server.url, server=request.param, processes=1, **SETTINGS)
    site.apply({"rate_tiers": [{"name": "default", "default": True, "limits": ["10000/s"]}]})
    yield from running(site)


@pytest.fixture(scope="module")
def worker(site: Site, tmp_path_factory) -> Iterator[Path]:
    """A worker's log."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    celery = [sys.executable, "-m", "celery", "-q", "-A", "project", "worker", "--loglevel", "INFO"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*celery, "--pool", "threads", "--concurrency", "2", "--without-mingle"],
            cwd=ROOT,
            env=site.environment,
            stdout=output,
            stderr=output,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
        )
    try:
        wait_until(lambda: "ready." in log.read_text(), 60)
        yield log
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lines(log: Path) -> list[Line]:
    """What was logged: every line that a process of the host's wrote is JSON."""
    found = []
    for line in log.read_text().splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
        assert "KeyError" not in line
        assert "Logging error" not in line
    return found


def told(log: Path, name: str, count: int) -> list[Line]:
    """The lines of the host's own that name something, once there are so many."""

    def found() -> list[Line]:
        return [
            line
            for line in lines(log)
            if line["logger"].startswith("host.") and name in line["message"].split()
        ]

    wait_until(lambda: len(found()) >= count)
    assert len(found()) == count
    return found()


def test_tasks_run_under_the_request_that_sent_them(site: Site, worker: Path) -> None:
    """Retried, passed on, within and failing: the id and the trace go along (S1-34)."""
    answer = site.get("/publish/?n=sent", X_Request_ID="abc123", traceparent=PARENT)
    assert answer.headers["X-Request-ID"] == "abc123"
    (published,) = told(site.log, "sent", 1)
    assert (published["request_id"], published["trace_id"]) == ("abc123", TRACE)
    done = told(worker, "sent", 6)
    assert {line["message"] for line in done} == {
        "sent begins",
        "sent again",
        "sent goes on",
        "sent within",
        "sent goes on after",
        "sent fails",
    }
    assert {(line["request_id"], line["trace_id"]) for line in done} == {("abc123", TRACE)}

    def of_celery() -> list[Line]:
        """Celery's own lines on the end of a task."""
        return [
            line
            for line in lines(worker)
            if line["logger"] == "celery.app.trace" and line["request_id"] == "abc123"
        ]

    wait_until(lambda: len(of_celery()) >= 4)
    assert any(" succeeded in " in line["message"] for line in of_celery())
    assert any(" raised unexpected" in line["message"] for line in of_celery())


def test_a_task_without_a_request_runs_under_none(site: Site, worker: Path) -> None:
    """Beat's, a command's: the word for it, also right after a request's (S1-35)."""
    site.get("/publish/?n=before", X_Request_ID="abc123")
    told(worker, "before", 6)
    site.python(
        "from tests.flows import id_tasks\nfor _ in range(4): id_tasks.second.delay('alone')\n"
    )
    done = told(worker, "alone", 12)
    assert {line["request_id"] for line in done} == {OUTSIDE}
    assert not any("trace_id" in line for line in done)
    received = [line for line in lines(worker) if " received" in line["message"]]
    assert {line["request_id"] for line in received} == {OUTSIDE}


def test_what_a_message_claims_is_looked_at(site: Site, worker: Path) -> None:
    """Whoever reaches the broker writes no log line (trap 17)."""
    site.python(
        "from tests.flows import id_tasks\n"
        "for value in ['a\\nb forged', 'x' * 10000, 7, ['abc123'], {'a': 1}, None, '']:\n"
        "    headers = {'pulse_request_id': value, 'traceparent': value, '_pulse_before': value}\n"
        "    id_tasks.third.apply_async(args=['claimed'], headers=headers)\n"
    )
    done = told(worker, "claimed", 7)
    assert {line["request_id"] for line in done} == {OUTSIDE}
    assert not any("trace_id" in line for line in done)


@pytest.mark.parametrize("path", ["tell", "atell", "stream"])
def test_a_line_names_its_own_request(site: Site, path: str) -> None:
    """Eight kept-alive connections at once, each line under the id of its answer (S1-34)."""
    ids: dict[str, str] = {}

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        for number in range(10):
            name = f"{path}-{client}-{number}"
            connection.request("GET", f"/{path}/?n={name}")
            answer = connection.getresponse()
            body = answer.read()
            ids[name] = answer.headers["X-Request-ID"]
            if path != "stream":
                assert json.loads(body) == {"id": ids[name]}
        connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(ids.values())) == 80
    expected = 3 if path == "stream" else 1
    for name, ident in ids.items():
        assert {line["request_id"] for line in told(site.log, name, expected)} == {ident}
        assert UUID(ident)


def test_what_a_view_leaves_running_is_outside(site: Site) -> None:
    """A thread of the host's own (S1-35)."""
    site.get("/beside/?n=left")
    (line,) = told(site.log, "left", 1)
    assert line["request_id"] == OUTSIDE


def test_each_request_is_one_line(site: Site) -> None:
    """Under the id of its answer, by route, without its query (S1-31, S2-48)."""
    answer = site.get("/tell/?n=counted&token=hunter2")
    ident = answer.headers["X-Request-ID"]
    wait_until(
        lambda: any(line["request_id"] == ident and "route" in line for line in lines(site.log))
    )
    (line,) = [line for line in lines(site.log) if line["request_id"] == ident and "route" in line]
    assert (line["method"], line["route"], line["status"]) == ("GET", "tell/", 200)
    assert (line["client"], line["verdict"]) == ("203.0.113.1", "allowed")
    assert "hunter2" not in site.logged()
