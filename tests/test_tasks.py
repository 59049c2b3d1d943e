"""The request id on its way into a task, without a broker."""

import contextvars
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app.trace import build_tracer
from celery.signals import before_task_publish

from pulse import tasks
from pulse.logging import NO_REQUEST_ID, request_id, traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HOST = logging.getLogger("host.tasks")


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("host", broker="memory://", set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    app.close()


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    tokens = request_id.set(NO_REQUEST_ID), traceparent.set("")
    yield
    request_id.reset(tokens[0])
    traceparent.reset(tokens[1])


def run(app: Celery, task: Any, **headers: Any) -> Any:
    """Do what a worker does with a message."""
    tracer = build_tracer(task.name, task, app=app, eager=False)
    message = {"id": "1", "task": task.name, "args": [], "kwargs": {}, **headers}
    return tracer("1", [], {}, message)


@pytest.fixture
def heard(app) -> tuple[Any, list[tuple[str, str]]]:
    """A task, and under what it ran each time."""
    found: list[tuple[str, str]] = []

    @app.task(name="host.tell")
    def tell() -> None:
        found.append((request_id.get(), traceparent.get()))

    return tell, found


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (NO_REQUEST_ID, "")),
        ({"pulse_request_id": "abc123", "traceparent": PARENT}, ("abc123", PARENT)),
        ({"pulse_request_id": "abc123"}, ("abc123", "")),
        ({"traceparent": PARENT}, (NO_REQUEST_ID, PARENT)),
        ({"pulse_request_id": "a\nb forged", "traceparent": "00"}, (NO_REQUEST_ID, "")),
        ({"pulse_request_id": ["abc123"], "traceparent": 7}, (NO_REQUEST_ID, "")),
        ({"pulse_request_id": None, "_pulse_before": ("forged", "x")}, (NO_REQUEST_ID, "")),
    ],
)
def test_a_task_runs_under_what_its_message_carries(app, heard, headers, expected) -> None:
    """If that is well-formed (S1-34, S1-35)."""
    task, found = heard
    run(app, task, **headers)
    assert found == [expected]


def test_what_was_before_a_task_is_after_it(app, heard) -> None:
    """A worker's thread is given back as it was, also by a task that fails."""
    task, found = heard

    @app.task(name="host.fail")
    def fail() -> None:
        raise RuntimeError("the host's own")

    request_id.set("before-1")
    traceparent.set(PARENT)
    for each in (task, fail):
        run(app, each, pulse_request_id="abc123")
        assert (request_id.get(), traceparent.get()) == ("before-1", PARENT)
    assert found == [("abc123", "")]


def test_a_message_that_claims_to_be_eager_leaves_nothing_behind(app, heard) -> None:
    """It runs under what was there, and so does the next."""
    task, found = heard
    run(app, task, is_eager=True, pulse_request_id="abc123", _pulse_before=("forged", "x"))
    assert found == [(NO_REQUEST_ID, "")]
    assert request_id.get() == NO_REQUEST_ID


def test_an_eager_task_runs_under_its_caller(app, heard) -> None:
    """As part of it, and leaves it as it was (S1-34)."""
    task, found = heard
    app.conf.task_always_eager = True
    request_id.set("abc123")
    task.delay()
    task.apply()
    assert found == [("abc123", ""), ("abc123", "")]
    assert request_id.get() == "abc123"


def test_a_sender_puts_its_request_into_the_message(app, heard) -> None:
    """In the message's headers, beside the host's own; OpenTelemetry's stay (S1-34)."""
    task, _ = heard
    sent: list[dict[str, Any]] = []

    def keep(headers: dict[str, Any], **_: Any) -> None:
        sent.append(headers)

    before_task_publish.connect(keep, weak=False, dispatch_uid="test")
    try:
        task.apply_async()
        request_id.set("abc123")
        traceparent.set(PARENT)
        task.apply_async(headers={"mine": "1"})
        task.apply_async(headers={"traceparent": "theirs"})
    finally:
        before_task_publish.disconnect(dispatch_uid="test")
    outside, within, theirs = sent
    assert not {"pulse_request_id", "traceparent"} & set(outside)
    assert (
        within.items() >= {"pulse_request_id": "abc123", "traceparent": PARENT, "mine": "1"}.items()
    )
    assert theirs["traceparent"] == "theirs"


def test_signals_are_connected_once() -> None:
    """However often an app is made ready."""
    before = len(before_task_publish.receivers)
    tasks.connect()
    assert len(before_task_publish.receivers) == before


def test_a_message_without_headers_is_left_alone() -> None:
    """Celery's first protocol has none."""
    contextvars.copy_context().run(lambda: (request_id.set("abc123"), tasks.give(headers=None)))
