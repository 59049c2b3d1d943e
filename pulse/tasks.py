"""What Celery calls: the request id and trace context, carried into tasks and theirs."""

import contextlib
from typing import Any, Final

from celery import Task, shared_task
from celery.signals import before_task_publish, task_postrun, task_prerun, worker_ready
from django.utils import timezone
from kombu.exceptions import OperationalError

from pulse.core.traces import is_request_id, is_traceparent
from pulse.logging import NO_REQUEST_ID, request_id, traceparent
from pulse.probes import discovery, retention, rollups

#: The header of a message that names the request which sent it; ``traceparent`` is W3C's own.
REQUEST_ID: Final = "pulse_request_id"
TRACEPARENT: Final = "traceparent"
#: What a task's process logged under before the task, kept on the task's own request.
BEFORE: Final = "_pulse_before"
#: A look that nobody has taken by then is left to the hourly one, in seconds.
START_EXPIRES_S: Final = 600


def connect() -> None:
    """Connect what carries the id, in processes that publish and in those that work."""
    for signal, receiver in (
        (before_task_publish, give),
        (task_prerun, take),
        (task_postrun, leave),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"pulse.{receiver.__name__}")


def give(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Put what the sender logs under into the message's headers."""
    if headers is None:
        return
    if (ident := request_id.get()) != NO_REQUEST_ID:
        headers.setdefault(REQUEST_ID, ident)
    if trace := traceparent.get():
        headers.setdefault(TRACEPARENT, trace)


def take(task: Task, **_: Any) -> None:
    """Log the task under what its message carries; messages may come from anybody."""
    if task.request.is_eager:  # It runs within what called it.
        return
    setattr(task.request, BEFORE, (request_id.get(), traceparent.get()))
    ident, trace = task.request.get(REQUEST_ID), task.request.get(TRACEPARENT)
    request_id.set(ident if is_request_id(ident) else NO_REQUEST_ID)
    traceparent.set(trace if is_traceparent(trace) else "")


def leave(task: Task, **_: Any) -> None:
    """Log under what was before the task."""
    if task.request.is_eager:
        return
    ident, trace = getattr(task.request, BEFORE)
    request_id.set(ident)
    traceparent.set(trace)


@shared_task(name="pulse.discover", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def discover() -> None:
    """Look which operations the site has."""
    discovery.discover()


@shared_task(name="pulse.rollup_days", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def rollup_days() -> None:
    """Make days of the hours of days that are over."""
    rollups.roll_days(timezone.now())


@shared_task(name="pulse.prune", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def prune() -> None:
    """Remove history that is older than it is kept."""
    retention.prune(timezone.now())


def discover_at_start(**_: Any) -> None:
    """Have a worker that begins look: a release may have brought new routes."""
    # A broker that is away must not keep the worker from starting; the hourly look makes up.
    with contextlib.suppress(OperationalError):
        discover.apply_async(retry=False, expires=START_EXPIRES_S)


worker_ready.connect(discover_at_start, weak=False, dispatch_uid="pulse.discover_at_start")
