"""What Celery calls: turns of probes; and the request id, carried into tasks and theirs.

A message carries no work, so losing or doubling one costs nothing: what is to be done is in rows.
"""

import contextlib
import logging
import mmap
from typing import Any, Final

from celery import Task, shared_task
from celery.signals import (
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from pulse.alerts import courier, evaluation
from pulse.alerts import retention as alert_retention
from pulse.conf import conf
from pulse.core.traces import is_request_id, is_traceparent
from pulse.exceptions import StoreUnavailable
from pulse.logging import NO_REQUEST_ID, request_id, traceparent
from pulse.metrics import flush, history
from pulse.policies import watching
from pulse.probes import discovery, engine, retention, rollups, runner
from pulse.store import heartbeat, processes

logger = logging.getLogger(__name__)

#: The header of a message that names the request which sent it; ``traceparent`` is W3C's own.
REQUEST_ID: Final = "pulse_request_id"
TRACEPARENT: Final = "traceparent"
#: What a task's process logged under before the task, kept on the task's own request.
BEFORE: Final = "_pulse_before"
#: A look that nobody has taken by then is left to the hourly one, in seconds.
START_EXPIRES_S: Final = 600

#: A nudge that nobody took within so many seconds is stale: beat's next tick is there.
EXPIRES_S: Final = 10
#: A turn ends by itself long before these, in seconds; they are for one that hangs.
SOFT_LIMIT_S: Final = int(runner.LONGEST_TURN_S)
HARD_LIMIT_S: Final = SOFT_LIMIT_S + 15

#: One byte that a worker shares with the processes that it forks: whether it is to stop. Celery
#: tells the worker alone.
_stopping: Final = mmap.mmap(-1, 1)


@shared_task(  # type: ignore[untyped-decorator]  # Celery has no types
    name="pulse.tick",
    ignore_result=True,
    acks_late=False,
    soft_time_limit=SOFT_LIMIT_S,
    time_limit=HARD_LIMIT_S,
)
def tick() -> None:
    """Run the probes that are due, unless enough others do it."""
    try:
        runner.take_turn("celery", most_turns=conf.PROBE_TURNS, stops=is_stopping)
    except DatabaseError as error:
        logger.warning("Probes wait for the database: %s", error)


def nudge() -> None:
    """Have what was just started run at once, after commit. Without a broker beat comes to it."""
    transaction.on_commit(lambda: _send(tick), using=engine.database(), robust=True)


def is_stopping() -> bool:
    """Whether the worker that this process belongs to shuts down."""
    return _stopping[0] != 0


def _send(task: Task) -> None:
    try:
        task.apply_async(expires=EXPIRES_S, retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001 - of any broker; who edits or starts is not to fail by it
        logger.info("No worker was told of what is to be done: %s", error)


def begin_worker(**_: Any) -> None:
    """Let the heartbeat run in a process that serves no requests: it tells of it as a worker."""
    if conf.ENABLED:
        processes.become_worker()
        heartbeat.ensure()


def _begin_without_fork(sender: Any = None, **_: Any) -> None:
    # Pools of threads and of green ones run tasks where the worker itself is.
    pool = getattr(sender, "pool", None)
    if "prefork" not in type(pool).__module__:
        begin_worker()


def _stop(**_: Any) -> None:
    _stopping[0] = 1


def _go_on(**_: Any) -> None:
    _stopping[0] = 0


def connect() -> None:
    """Connect what carries the id, and what stops turns, in all processes that may have them."""
    for signal, receiver in (
        (worker_process_init, begin_worker),
        (worker_ready, _begin_without_fork),
        (worker_ready, _go_on),
        (worker_shutting_down, _stop),
        (worker_process_shutdown, flush.flush_at_end),
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


@shared_task(name="pulse.guards", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def guards() -> None:
    """End the guards that are over, where no serving process does."""
    try:
        watching.look(anew=True)
    except DatabaseError as error:
        logger.warning("Guards wait for the database: %s", error)


@shared_task(name="pulse.alerts", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def alerts() -> None:
    """Look at the alert rules, and have sent what there is to tell."""
    if not conf.ENABLED:
        return
    try:
        look = evaluation.evaluate()
    except DatabaseError as error:
        logger.warning("Alerts wait for the database: %s", error)
    else:
        if look.told:
            nudge_couriers()


@shared_task(name="pulse.deliver", ignore_result=True, time_limit=300)  # type: ignore[untyped-decorator]  # celery has no types
def deliver() -> None:
    """Send the words of alerts that are due."""
    if not conf.ENABLED:
        return
    try:
        courier.deliver()
    except DatabaseError as error:
        logger.warning("Words of alerts wait for the database: %s", error)


def nudge_couriers() -> None:
    """Have word sent at once, after commit. Without a broker beat comes to it."""
    transaction.on_commit(lambda: _send(deliver), using=engine.database(), robust=True)


@shared_task(name="pulse.keep_measures", ignore_result=True)  # type: ignore[untyped-decorator]  # celery has no types
def keep_measures() -> None:
    """Keep what was measured in the minutes that are over."""
    try:
        history.keep(timezone.now())
    except (DatabaseError, StoreUnavailable) as error:
        logger.warning("Measures wait to be kept: %s", error)


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
    retention.prune(timezone.now(), also=alert_retention.old)


def discover_at_start(**_: Any) -> None:
    """Have a worker that begins look: a release may have brought new routes."""
    # A broker that is away must not keep the worker from starting; the hourly look makes up.
    with contextlib.suppress(OperationalError):
        discover.apply_async(retry=False, expires=START_EXPIRES_S)


worker_ready.connect(discover_at_start, weak=False, dispatch_uid="pulse.discover_at_start")
