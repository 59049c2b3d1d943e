"""``manage.py pulse_probe``."""

import contextlib
import json
import math
import sys
import time
from argparse import ArgumentTypeError
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from pulse import tasks
from pulse.conf import conf
from pulse.exceptions import CooldownActive, PulseError, TooManyJobs
from pulse.management import following
from pulse.management.commands.pulse_apply import user_name
from pulse.management.following import NoWorker, Seen
from pulse.management.output import PolicyCommand
from pulse.management.progress import Progress
from pulse.management.results import NOT_RUN, Thresholds, Verdict
from pulse.policies.publisher import Actor
from pulse.probes import engine, jobs
from pulse.probes.jobs import Order, Starter
from pulse.probes.state import ProbeItem, Trigger

#: As shells have it for what was interrupted.
INTERRUPTED: Final = 130


class Command(PolicyCommand):
    """Probes targets now, and tells what came of it by text and exit code."""

    help = (
        "Probe targets now: those that are named (targets, or endpoints such as "
        '"GET /api/products/"), those of a schedule, or every safe one. A worker runs them; with '
        "--local this process does."
    )
    example = """examples:
  manage.py pulse_probe                                    # every safe target
  manage.py pulse_probe products "GET /api/search/" --max-latency-ms 300
  manage.py pulse_probe --schedule core --fail-on failed --format json
  manage.py pulse_probe --local --format summary           # in CI, without a worker
  manage.py pulse_probe products --watch --interval 60

exit codes: 0 all are ok, 1 some are not, 2 nothing was probed, 130 interrupted"""
    formats = ("table", "json", "summary")

    def add_arguments(self, parser: CommandParser) -> None:
        """Say what to probe, how, and what is good enough."""
        add = parser.add_argument
        add("targets", nargs="*", metavar="TARGET", help="the name of a target, or an endpoint")
        add("--schedule", default="", metavar="NAME", help="instead: the targets of a schedule")
        add("--timeout", type=_positive, metavar="S", help="of each, if that is less, in seconds")
        add("--deadline", type=_positive, metavar="S", help="of all together, in seconds")
        add("--max-latency-ms", type=_positive, metavar="MS", help="what takes longer is not ok")
        add(
            "--fail-on",
            choices=("degraded", "failed"),
            default="degraded",
            help="from where on the exit code is 1 (default: degraded)",
        )
        add("--local", action="store_true", help="run what is due in this process")
        add(
            "--worker-within",
            type=_positive,
            default=15.0,
            metavar="S",
            help="give up if no worker is there after so many seconds (default: 15)",
        )
        add("--watch", action="store_true", help="again and again, until interrupted")
        add(
            "--interval",
            type=_positive,
            default=60.0,
            metavar="S",
            help="with --watch: between two starts, in seconds (default: 60)",
        )
        super().add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Probe once, or again and again."""
        if not conf.ENABLED:
            raise _not_run('pulse is switched off: PULSE["ENABLED"] is False.')
        if options["schedule"] and options["targets"]:
            raise _not_run("Name targets or a schedule, not both.")
        local = following.engine_of_our_own() if options["local"] else contextlib.nullcontext()
        try:
            with local:
                if options["watch"]:
                    self._watch(options)
                verdict = self._probe(options)
        except KeyboardInterrupt:
            self.stderr.write("Interrupted.")
            sys.exit(INTERRUPTED)
        except PulseError as refusal:
            raise _not_run(str(refusal)) from refusal
        self._print(verdict, options)
        if verdict.code:
            sys.exit(verdict.code)

    def _watch(self, options: dict[str, Any]) -> None:
        while True:
            began, wait_s = time.monotonic(), options["interval"]
            try:
                self._print(self._probe(options), options)
            except CooldownActive as refusal:
                self.stderr.write(str(refusal))
                wait_s = refusal.retry_after_s
            except TooManyJobs as refusal:
                self.stderr.write(str(refusal))
            time.sleep(max(0.0, wait_s - (time.monotonic() - began)))

    def _probe(self, options: dict[str, Any]) -> Verdict:
        job = jobs.start(
            Order(
                schedule=options["schedule"],
                targets=tuple(options["targets"]),
                timeout_s=options["timeout"],
                deadline_s=options["deadline"],
            ),
            Starter(Actor("command", user_name()), Trigger.COMMAND),
        )
        try:
            if not options["local"]:
                tasks.nudge()
            with Progress(self.stderr) as progress:
                seen = following.follow(
                    job,
                    taken_within_s=options["worker_within"],
                    told=lambda seen: _show(progress, seen),
                )
        except NoWorker:
            following.give_up(job)
            text = f"No worker took the probes within {options['worker_within']:g} s. "
            raise _not_run(f"{text}Start one (manage.py pulse_worker), or use --local.") from None
        except BaseException:
            # Whoever waited for it is gone; so nobody needs it any more.
            following.give_up(job)
            raise
        items = ProbeItem.objects.using(engine.database()).filter(job=job).select_related("job")
        thresholds = Thresholds(options["max_latency_ms"], options["fail_on"] == "degraded")
        return Verdict(seen, tuple(items.order_by("pk")), thresholds)

    def _print(self, verdict: Verdict, options: dict[str, Any]) -> None:
        form, watches = options["format"], options["watch"]
        if form == "json":
            told = verdict.as_dict(timezone.now())
            # One line for each round, so that others can read them as they come.
            self.stdout.write(json.dumps(told, indent=None if watches else 2, ensure_ascii=False))
            return
        if form == "table":
            for line in verdict.table():
                self.stdout.write(line)
        style = self.style.ERROR if verdict.code else self.style.SUCCESS
        when = f"{timezone.localtime():%H:%M:%S} " if watches else ""
        self.stdout.write(when + style(verdict.summary()))


def _show(progress: Progress, seen: Seen) -> None:
    counts = seen.counts
    bad = counts["failed"] + counts["timeout"] + counts["lost"]
    more = f"{bad} failed" if bad else ""
    if seen.job.started_at is None:
        more = "waiting for a worker"
    progress.show(f"Job {seen.job.pk}", seen.ended, counts["total"], more)


def _not_run(text: str) -> CommandError:
    return CommandError(text, returncode=NOT_RUN)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is no number above 0")
    return value
