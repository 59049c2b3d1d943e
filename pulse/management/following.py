"""Following a job of probes from a terminal: by its rows, whoever runs it."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone

from pulse.exceptions import JobFinished
from pulse.policies.publisher import Actor
from pulse.probes import engine, jobs, runner, transports
from pulse.probes.state import OPEN_JOBS, ProbeJob, ProbeWorker

logger = logging.getLogger(__name__)

#: Between two looks at the rows, in seconds.
LOOK_S: Final = 0.2
#: A worker that was seen so long ago is still there.
ALIVE: Final = timedelta(seconds=15)
#: Between two turns of the local engine that had nothing to do, in seconds.
REST_S: Final = 0.1


class NoWorker(Exception):
    """Nobody runs probes here."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as it is now.

    Attributes:
        counts: Of its probes by state, with ``total``.
    """

    job: ProbeJob
    counts: Mapping[str, int]

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whichever way."""
        return self.job.status not in OPEN_JOBS

    @property
    def ended(self) -> int:
        """How many of its probes have ended."""
        return self.counts["total"] - self.counts["queued"] - self.counts["running"]


def follow(job: ProbeJob, *, taken_within_s: float, told: Callable[[Seen], None]) -> Seen:
    """Look at a job until it has ended.

    Args:
        job: Which.
        taken_within_s: How long to wait for a worker where none is to be seen.
        told: Is told what was seen, each time.

    Raises:
        NoWorker: Nobody took it, and nobody is there who would.
        KeyboardInterrupt: Of the terminal; the job goes on.
    """
    until = time.monotonic() + taken_within_s
    while True:
        seen = look(job.pk)
        told(seen)
        if seen.is_over:
            return seen
        if seen.job.started_at is None and time.monotonic() > until and not _is_anybody_there():
            raise NoWorker
        time.sleep(LOOK_S)


def look(job_id: int) -> Seen:
    """Read a job; two queries."""
    # First the job: when it is over, nothing of it changes after.
    job = jobs.find(job_id)
    return Seen(job, jobs.counts([job_id], engine.database())[job_id])


def give_up(job: ProbeJob) -> None:
    """Cancel a job, if it has not ended meanwhile."""
    with contextlib.suppress(JobFinished):
        jobs.cancel(job.pk, Actor(job.actor_type, job.actor_name))


@contextmanager
def engine_of_our_own() -> Iterator[None]:
    """Run what is due in a thread of this process, while the block lasts."""
    told = threading.Event()
    thread = threading.Thread(target=_run, args=(told,), name="pulse-probe", daemon=True)
    thread.start()
    try:
        yield
    finally:
        told.set()
        thread.join()


def _run(told: threading.Event) -> None:
    try:
        while not told.is_set():
            try:
                runner.take_turn(
                    "command",
                    seconds=math.inf,
                    soon_s=0.0,
                    stops=told.is_set,
                    sends=transports.send,
                )
            except DatabaseError as error:
                logger.warning("Probes wait for the database: %s", error)
            told.wait(REST_S)
    finally:
        connections.close_all()


def _is_anybody_there() -> bool:
    workers = ProbeWorker.objects.using(engine.database())
    return workers.filter(seen_at__gt=timezone.now() - ALIVE).exists()
