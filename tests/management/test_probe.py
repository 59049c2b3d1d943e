"""``pulse_probe``: probes now, tells by text and exit code, and leaves nothing running behind."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from pulse.management import following
from pulse.policies import document
from pulse.probes import discovery, jobs
from pulse.probes.state import JobStatus, ProbeItem, ProbeJob
from tests.factories import KIM
from tests.management.test_commands import run

pytestmark = pytest.mark.django_db(transaction=True)

TARGETS = [
    {"name": "well", "path": "/api/products/"},
    {"name": "broken", "path": "/api/flaky/", "query": {"fail": "1"}},
    {"name": "late", "path": "/api/products/", "expect": {"max_latency_ms": 0.001}},
]


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(autouse=True)
def _targets(settings, live_server, silent: str) -> None:
    settings.PULSE = {"PROBE_BASE_URL": live_server.url}
    host, _, port = silent.partition(":")
    hanging = {
        "name": "hanging",
        "url": f"http://{silent}/",
        "allow_networks": [f"{host}/32:{port}"],
        "timeout_s": 60,
    }
    document.apply(
        {
            "version": 1,
            "probe_targets": [*TARGETS, hanging],
            "probe_schedules": [
                {"name": "core", "every": "1h", "targets": ["well"], "cooldown_s": 0},
                {"name": "calm", "every": "1h", "targets": ["well"]},
            ],
        },
        KIM,
    )


@contextmanager
def interrupted_when(is_so: Callable[[], bool]) -> Iterator[None]:
    """Press Ctrl-C when something is so."""

    def press() -> None:
        until = time.monotonic() + 60
        try:
            while not is_so() and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            connections.close_all()
        os.kill(os.getpid(), signal.SIGINT)

    # What a shell starts in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


def only_job() -> ProbeJob:
    return ProbeJob.objects.get(trigger="command")


def test_all_are_ok() -> None:
    """Exit 0, a line for each and one for all; endpoints by their id as well."""
    discovery.discover()
    code, out, err = run("pulse_probe", "well", "GET /api/search/", "--local")
    assert (code, err) == (0, "")
    first, second, last = out.splitlines()
    assert first.startswith("✓ well")
    assert second.startswith("✓ GET /api/search/  200")
    assert last.startswith("2 probes: 2 ok; p50 ")
    assert (only_job().status, only_job().actor_type) == ("completed", "command")


def test_some_are_not() -> None:
    """Exit 1, and what is wrong beside each."""
    code, out, _ = run("pulse_probe", "well", "broken", "--local")
    assert code == 1
    assert "✗ broken  500" in out
    assert "status 500, expected 200-399" in out
    assert "2 probes: 1 ok, 1 failed; 1 not good enough; p50 " in out


@pytest.mark.parametrize(("threshold", "code"), [("degraded", 1), ("failed", 0)])
def test_degraded_may_be_good_enough(threshold: str, code: int) -> None:
    """As ``--fail-on`` says."""
    found, out, _ = run("pulse_probe", "late", "--local", "--fail-on", threshold)
    assert found == code
    assert out.startswith("! late")


def test_what_takes_too_long_is_not_ok() -> None:
    """``--max-latency-ms``, whatever the target itself expects."""
    code, out, _ = run("pulse_probe", "well", "--local", "--max-latency-ms", "0.001")
    assert code == 1
    assert "longer than 0.001 ms" in out
    assert out.startswith("! well")


def test_json_is_what_the_api_tells() -> None:
    code, out, _ = run("pulse_probe", "well", "broken", "--local", "--format", "json")
    told = json.loads(out)
    assert (code, told["ok"], told["job"]["status"]) == (1, False, "completed")
    assert told["job"]["counts"]["failed"] == 1
    assert [(item["target"], item["good_enough"]) for item in told["items"]] == [
        ("well", True),
        ("broken", False),
    ]
    assert told["items"][1]["result"]["status_code"] == 500


def test_a_summary_is_one_line() -> None:
    code, out, _ = run("pulse_probe", "--schedule", "core", "--local", "--format", "summary")
    assert (code, out.count("\n")) == (0, 1)
    assert only_job().schedule == "core"


def test_a_deadline_ends_the_job_and_keeps_the_others() -> None:
    """S0-17: what hangs is told as timeout, and the exit code is 1."""
    code, out, _ = run("pulse_probe", "well", "hanging", "--local", "--deadline", "2")
    assert code == 1
    assert "✓ well" in out
    assert "✗ hanging" in out
    assert "2 probes: 1 ok, 1 timeout; 1 not good enough" in out


def test_a_worker_runs_it() -> None:
    """By its rows, whoever it is."""
    with following.engine_of_our_own():
        code, out, _ = run("pulse_probe", "well")
    assert (code, out.startswith("✓ well")) == (0, True)


def test_a_second_start_within_the_cooldown_is_told() -> None:
    """Exit 2; defect 1 of the forerunner: the helpful text never reached who asked."""
    assert run("pulse_probe", "--schedule", "calm", "--local")[0] == 0
    code, out, err = run("pulse_probe", "--schedule", "calm", "--local")
    assert (code, out) == (2, "")
    assert err.startswith("Probe cooldown active. Please wait ")


def test_too_many_jobs_are_told() -> None:
    for number in range(3):
        order = jobs.Order(targets=(TARGETS[number]["name"],))
        jobs.start(order, jobs.Starter(KIM, "page"))
    code, _, err = run("pulse_probe", "hanging")
    assert code == 2
    assert err == "Too many concurrent probe jobs (3/3). Wait for existing jobs to complete."


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nobody"], "Unknown target: nobody"),
        (["--schedule", "never"], "Unknown schedule: never"),
        (["../../../etc/passwd"], "Invalid endpoint_id format: ../../../etc/passwd"),
        (["DELETE /api/products/<int:pk>/"], "Unknown target: DELETE /api/products/<int:pk>/"),
        (["well", "--schedule", "core"], "Name targets or a schedule, not both."),
    ],
)
def test_what_cannot_be_probed_is_told(words: list[str], text: str) -> None:
    """Exit 2, before anything is started; defect 2: nothing unsafe by its endpoint."""
    assert run("pulse_probe", *words) == (2, "", text)
    assert not ProbeJob.objects.exists()


def test_without_a_worker_it_gives_up() -> None:
    """Exit 2 with what to do, and the job is not left for a worker that comes some day."""
    code, _, err = run("pulse_probe", "well", "--worker-within", "0.5")
    assert code == 2
    assert err == (
        "No worker took the probes within 0.5 s. "
        "Start one (manage.py pulse_worker), or use --local."
    )
    assert only_job().status == JobStatus.CANCELLED


def test_switched_off_nothing_is_probed(settings) -> None:
    settings.PULSE = {"ENABLED": False}
    code, _, err = run("pulse_probe", "well")
    assert (code, "switched off" in err) == (2, True)


def test_an_interruption_cancels_the_job() -> None:
    """Exit 130, and what runs is broken off."""

    def is_running() -> bool:
        return ProbeItem.objects.filter(target="hanging", state="running").exists()

    with interrupted_when(is_running):
        code, _, err = run("pulse_probe", "hanging", "--local")
    assert (code, err) == (130, "Interrupted.\n")
    assert only_job().status == JobStatus.CANCELLED
    assert ProbeItem.objects.get(target="hanging").state == "cancelled"


def test_watching_goes_on_until_interrupted() -> None:
    """A line of JSON for each round; exit 130."""

    def is_enough() -> bool:
        return ProbeJob.objects.filter(trigger="command", status="completed").count() >= 2

    words = ["--schedule", "core", "--watch", "--interval", "0.1", "--format", "json", "--local"]
    with interrupted_when(is_enough):
        code, out, _ = run("pulse_probe", *words)
    rounds: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert code == 130
    assert rounds
    assert {told["ok"] for told in rounds} == {True}
    assert not ProbeJob.objects.filter(status__in=["queued", "running"]).exists()


def test_watching_waits_for_a_cooldown() -> None:
    """And says so, instead of ending."""
    run("pulse_probe", "well", "--local")

    def is_told() -> bool:
        return time.monotonic() > began + 1.0

    began = time.monotonic()
    with interrupted_when(is_told):
        code, _, err = run("pulse_probe", "well", "--watch", "--local")
    assert code == 130
    assert err.startswith("Probe cooldown active. Please wait ")


def test_help_has_examples_and_exit_codes(capsys) -> None:
    with pytest.raises(SystemExit):
        call_command("pulse_probe", "--help")
    text = capsys.readouterr().out
    assert "examples:\n  manage.py pulse_probe " in text
    assert "exit codes: 0 all are ok, 1 some are not, 2 nothing was probed" in text
