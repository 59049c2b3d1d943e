"""The site whose probes are measured: told over standard input what to do, a line of JSON each.

``python -m benchmarks.probing.site``; its environment has ``BENCH_DATABASE_URL``.
"""

import json
import math
import os
import resource
import sys
import time
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.probing.settings"


def make(*, targets: int, ports: list[int], scheme: str, schedules: bool) -> dict[str, Any]:
    """Make the database, with so many targets, each in a schedule of its own or in none."""
    from django.core.management import call_command

    from pulse.policies import document
    from pulse.policies.publisher import Actor
    from pulse.probes import runner

    call_command("migrate", verbosity=0)
    began = time.perf_counter()
    policy: dict[str, Any] = {
        "version": 1,
        "probe_targets": [
            {
                "name": f"t{number}",
                "url": f"{scheme}://127.0.0.1:{ports[number % len(ports)]}/t/{number}",
                "allow_networks": ["127.0.0.1/32"],
                "timeout_s": 10,
            }
            for number in range(targets)
        ],
        # Hosts are few, and are not what is measured.
        "probe_budgets": [{"max_concurrency": 200, "max_per_host": 20}],
    }
    if schedules:
        policy["probe_schedules"] = [
            {"name": f"s{number}", "every": "60s", "targets": [f"t{number}"]}
            for number in range(targets)
        ]
    document.apply(policy, Actor("command", "benchmark"), prune=True)
    applied_s = time.perf_counter() - began
    runner.settle()
    return {"applied_s": applied_s}


def run() -> dict[str, Any]:
    """Run one job of every target, as a worker without Celery does, and record the results."""
    from pulse.policies.publisher import Actor
    from pulse.probes import jobs, runner
    from pulse.probes.state import ProbeItem, ProbeStart, Trigger

    ProbeStart.objects.all().delete()
    job = jobs.start(jobs.Order(), jobs.Starter(Actor("command", "benchmark"), Trigger.COMMAND))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    runner.take_turn("command", seconds=math.inf, soon_s=0.0)
    after, ended = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    well = ProbeItem.objects.filter(job=job, state="ok").count()
    if well != job.total:
        odd = ProbeItem.objects.filter(job=job).exclude(state="ok").first()
        raise RuntimeError(f"{well} of {job.total} are ok; one is {odd}: {odd and odd.detail}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"number": job.total, "cpu_s": used, "wall_s": ended - began}


def lateness(*, since_s: float, until_s: float) -> dict[str, Any]:
    """Say how late the probes of schedules were that were due in a span of epoch seconds."""
    from datetime import UTC, datetime

    from pulse.probes.state import ProbeEngine, ProbeItem

    since, until = (datetime.fromtimestamp(each, UTC) for each in (since_s, until_s))
    due = ProbeItem.objects.filter(due_at__gte=since, due_at__lt=until)
    begun = due.filter(started_at__isnull=False).values_list("started_at", "due_at")
    late = sorted((started - due_at).total_seconds() for started, due_at in begun)
    return {
        "due": due.count(),
        "ok": due.filter(state="ok").count(),
        "missed": ProbeEngine.objects.get(pk=1).missed,
        "p50_s": late[len(late) // 2] if late else None,
        "p99_s": late[len(late) * 99 // 100] if late else None,
        "most_s": late[-1] if late else None,
    }


DOES = {"make": make, "run": run, "lateness": lateness}


def main() -> None:
    import django

    django.setup()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = DOES[asked.pop("do")](**asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
