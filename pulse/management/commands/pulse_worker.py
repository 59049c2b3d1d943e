"""``manage.py pulse_worker``."""

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import current_app
from celery.schedules import maybe_schedule
from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections
from django.utils import timezone

from pulse import schedules, tasks
from pulse.conf import conf
from pulse.management.output import PolicyCommand
from pulse.probes import runner

logger = logging.getLogger(__name__)

#: Between two looks at what is due, in seconds.
EVERY_S: Final = 1.0
#: Beat's own way to what this command does by itself.
TICK: Final = "pulse.tick"
#: What Celery's workers do when they begin: a release may have brought new routes.
AT_START: Final = "pulse.discover"
#: The exit code where something could not be done.
FAILED: Final = 1


class Command(PolicyCommand):
    """Runs probes without Celery."""

    help = (
        "Run the probes that are due, and what Celery's beat does for pulse beside, until it is "
        "told to stop by SIGTERM or SIGINT: then it ends within seconds, and gives back what it "
        "does not finish. Any number may run, beside Celery's workers too."
    )
    example = """examples:
  manage.py pulse_worker            # for ever, as a service
  manage.py pulse_worker --once     # what is due now, as from cron; exit 1 if it could not be done

exit codes: 0 ended as it was told to, 1 something was left undone"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Say for how long."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="do what is due, without the hourly chores, and end",
        )

    def handle(self, **options: Any) -> None:
        """Run until told to stop, or once."""
        if not conf.ENABLED:
            raise CommandError('pulse is switched off: PULSE["ENABLED"] is False.')
        with _told_to_stop() as told:
            if options["once"]:
                self._once(told)
            else:
                self._for_ever(told)

    def _once(self, told: threading.Event) -> None:
        turn = runner.take_turn("command", seconds=math.inf, soon_s=0.0, stops=told.is_set)
        if turn is None:
            self.stdout.write("Nothing is due.")
            return
        self.stdout.write(f"{turn.ended} probes ended, {turn.given_back} given back.")
        if turn.given_back:
            sys.exit(FAILED)

    def _for_ever(self, told: threading.Event) -> None:
        runner.settle()
        tasks.begin_worker()
        chores = threading.Thread(target=_do_chores, args=(told,), name="pulse-chores", daemon=True)
        chores.start()
        while not told.is_set():
            began = time.monotonic()
            try:
                runner.take_turn("command", stops=told.is_set)
            except DatabaseError as error:
                logger.warning("Probes wait for the database: %s", error)
            except Exception:  # as Celery's, which go on with the next tick
                logger.exception("A turn of probes failed")
            # As between two requests: one that broke is opened anew.
            close_old_connections()
            told.wait(max(0.0, EVERY_S - (time.monotonic() - began)))


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Tell of SIGTERM and SIGINT; a second one ends the process as it ever did."""
    told = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, _frame: object) -> None:
        told.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do_chores(told: threading.Event) -> None:
    """Do what beat would send, but for the ticks, in a thread that keeps no turn waiting."""
    entries = {
        name: (entry["task"], maybe_schedule(entry["schedule"]))
        for name, entry in schedules.beat_schedule().items()
        if entry["task"] != TICK
    }
    done_at = dict.fromkeys(entries, timezone.now())
    _do(AT_START)
    while not told.wait(EVERY_S):
        for name, (task, schedule) in entries.items():
            is_due, _next = schedule.is_due(done_at[name])
            if is_due:
                done_at[name] = timezone.now()
                _do(task)


def _do(task: str) -> None:
    try:
        current_app.tasks[task]()
    except Exception:  # as any worker, which goes on with the next
        logger.exception("The task %s failed", task)
    finally:
        connections.close_all()
