"""What Celery calls: the request id and trace context, carried into tasks and theirs."""

from typing import Any, Final

from celery import Task
from celery.signals import before_task_publish, task_postrun, task_prerun

from pulse.core.traces import is_request_id, is_traceparent
from pulse.logging import NO_REQUEST_ID, request_id, traceparent

#: The header of a message that names the request which sent it; ``traceparent`` is W3C's own.
REQUEST_ID: Final = "pulse_request_id"
TRACEPARENT: Final = "traceparent"
#: What a task's process logged under before the task, kept on the task's own request.
BEFORE: Final = "_pulse_before"


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
