"""``python -m benchmarks``: measures, prints the tables, and keeps them under ``results/``."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import measure, report
from benchmarks.cases import CASES, EXACT, Case, is_possible
from benchmarks.probing.measure import Scale
from benchmarks.probing.measure import measure as measure_probes
from benchmarks.processes import Place
from benchmarks.server import NoServer, private_server

GROUPS = ("store", "sync", "asgi", "counts", "exact", "edits", "probes")
RESULTS = Path(__file__).with_name("results")
HUGE = 10_000


def main() -> int:
    options = _options()
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    results: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": report.machine(),
        **{name: {} for name in ("figures", "measuring", "counts")},
        **{name: {} for name in ("let_through", "applied", "failed")},
        "edits": [],
        "probes": None,
    }
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pulse-bench-") as directory,
            private_server(options.server, core) as (url, server),
        ):
            results["server"] = server
            _measure(options, Place(Path(directory), url, core), results)
    except NoServer as missing:
        print(missing, file=sys.stderr)
        return 1
    text = report.as_markdown(results)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%d}{'-quick' if options.quick else ''}"
    (options.out / f"{name}.md").write_text(text)
    (options.out / f"{name}.json").write_text(report.as_json(results))
    _say(f"Kept in {options.out / name}.md and .json")
    return 0


def _measure(options: argparse.Namespace, place: Place, results: dict[str, Any]) -> None:
    chosen = options.only or GROUPS
    cases = [case for case in CASES if case.quick or not options.quick]
    if options.case:
        cases = [case for case in cases if any(part in case.name for part in options.case)]
    results["failed"] |= {c.name: "not installed" for c in cases if not is_possible(c)}
    cases = [case for case in cases if is_possible(case)]
    sizes = [10, 1000] if options.quick else [10, 1000, HUGE]

    needed = (*chosen, *_counted(chosen))
    policies = {case.policy for case in cases if case.policy and case.group in needed}
    policies |= {"hundred"} if "exact" in chosen else set()
    policies |= {f"rules{size}" for size in sizes} if "edits" in chosen else set()
    if policies:
        _say("Making the policies")
        results["applied"] = measure.prepare(place, sorted(policies, key=_size))

    for group in ("store", "sync", "asgi"):
        if group in chosen:
            _time(options, group, [case for case in cases if case.group == group], place, results)
    if "counts" in chosen:
        _say("Counting commands and SQL")
        counted = [case for case in cases if case.group != "store" and case.store]
        counted = [case for case in counted if case.is_pulse or not options.quick]
        counts, failed = measure.count_commands(counted, place)
        results["counts"], results["failed"] = counts, results["failed"] | failed
    if "exact" in chosen:
        _say("Counting who is let through")
        exact = [case for case in EXACT if is_possible(case)]
        exact = [case for case in exact if case.is_pulse or not options.quick]
        passed, failed = measure.count_let_through(exact, place, trials=1 if options.quick else 3)
        results["let_through"], results["failed"] = passed, results["failed"] | failed
    if "edits" in chosen:
        _say("Editing")
        results["edits"] = measure.measure_edits(place, sizes)
    if "probes" in chosen:
        scale = Scale(number=1000, rounds=3, seconds=15) if options.quick else Scale()
        if options.seconds:
            scale = replace(scale, seconds=options.seconds)
        _say(f"Probing, and running schedules for {scale.seconds:g} s on each database")
        probes = measure_probes(place.directory, place.redis_url, scale)
        results["probes"] = probes.as_dict()
        results["failed"] |= probes.failed


def _time(
    options: argparse.Namespace,
    group: str,
    cases: Sequence[Case],
    place: Place,
    results: dict[str, Any],
) -> None:
    rounds, generations = (15, 1) if options.quick else (options.rounds, 2)
    paired = [case for case in cases if case.switches]
    cases = [case for case in cases if not case.switches]
    _say(f"Timing {len(cases)} cases of {group}, {generations} x {rounds} rounds")
    timing = measure.time_in_turns(cases, place, rounds, generations)
    results["figures"] |= timing.figures
    results["failed"] |= timing.failed
    if paired:
        processes = 2 if options.quick else 6
        _say(f"Timing what measures add, {processes} x {4 * rounds} pairs")
        found, failed = measure.time_measuring(paired, place, 4 * rounds, processes)
        results["measuring"] |= found
        results["failed"] |= failed


def _counted(chosen: Sequence[str]) -> tuple[str, ...]:
    return ("sync", "asgi") if "counts" in chosen else ()


def _size(policy: str) -> int:
    return int(policy.removeprefix("rules")) if policy.startswith("rules") else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure pulse beside its peers.",
        epilog="Example: python -m benchmarks --quick --only sync --only store",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="within a minute: fewer cases and rounds")
    add("--only", action="append", choices=GROUPS, help="this group; may be repeated")
    add("--case", action="append", help="cases whose name has this; may be repeated")
    add("--server", choices=("redis", "valkey"), default="", help="redis if it is found")
    add("--rounds", type=int, default=50, help="batches of each case, twice (50)")
    add("--seconds", type=float, default=0, help="for which schedules of probes run (60)")
    add("--out", type=Path, default=RESULTS, help="where the report is kept")
    return parser.parse_args()


_started = time.monotonic()


def _say(text: str) -> None:
    print(f"[{time.monotonic() - _started:5.1f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
