"""What is measured of running cases: time in turns, commands and SQL, and who is let through."""

import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

from benchmarks.cases import Case
from benchmarks.processes import CaseFailed, Place, Process, alive
from benchmarks.reference import redis_client

HEARTBEAT = (":processes", ":announcement")


@dataclass(slots=True)
class Figures:
    """What one case took, in microseconds a call.

    Attributes:
        median: Over all batches, neighbours included.
        quiet: The 10th percentile: the machine undisturbed.
        cpu: The process's own CPU time, 10th percentile.
        server: What the server spent on the case's script, where it has one.
    """

    median: float
    quiet: float
    cpu: float
    server: float | None = None


@dataclass(slots=True)
class Timing:
    """The batches of one group of cases."""

    figures: dict[str, Figures] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def time_in_turns(cases: Sequence[Case], place: Place, rounds: int, generations: int) -> Timing:
    """Time cases that are all alive at once, a batch each by turns, in a new order each round.

    Each generation is new processes, which evens out how lucky one lies in memory.
    """
    timing = Timing()
    batches: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
    server: dict[str, float] = {}
    for _ in range(generations):
        with alive(cases, place, timing.failed) as processes:
            sizes = _checked(processes, timing.failed)
            for _ in range(rounds):
                order = list(sizes)
                random.shuffle(order)
                for process in order:
                    batches[process.case.name].append(process.ask("batch", size=sizes[process]))
            for process in sizes:
                if process.case.group == "store" and process.case.store == "redis":
                    spent = _server_us(process, place)
                    if spent:
                        server[process.case.name] = min(spent, server.get(process.case.name, spent))
    for name, made in batches.items():
        if made and name not in timing.failed:
            walls, cpus = ([batch[kind] for batch in made] for kind in ("wall", "cpu"))
            timing.figures[name] = Figures(
                median(walls), quiet(walls), quiet(cpus), server.get(name)
            )
    return timing


@dataclass(frozen=True, slots=True)
class Measuring:
    """What measuring requests costs them, in microseconds of CPU.

    Attributes:
        without: What a request takes that is not measured; median.
        added: The median of what the measured one of a pair takes longer, and to count it.
        low: The least of that among the processes.
        high: The most.
        counting: What of that it takes to count it, later and with others.
        flush_ms: What handing over once a second takes, beside the requests.
    """

    without: float
    added: float
    low: float
    high: float
    counting: float
    flush_ms: float


def time_measuring(
    cases: Sequence[Case], place: Place, rounds: int, processes: int
) -> tuple[dict[str, Measuring], dict[str, str]]:
    """Time requests in pairs within one process after the other: measured by pulse, and not.

    Two processes of the same code differ by more than what is looked for, by how lucky each lies
    in memory.
    """
    found: dict[str, Measuring] = {}
    failed: dict[str, str] = {}
    for case in cases:
        pairs: list[tuple[float, float]] = []
        added: list[float] = []
        counting: list[float] = []
        flushes: list[float] = []
        for _ in range(processes):
            with alive([case], place, failed) as started:
                for process, size in _checked(started, failed).items():
                    try:
                        told = process.ask("pairs", size=size, rounds=rounds)
                    except CaseFailed as reason:
                        failed[case.name] = str(reason)
                        continue
                    pairs += told["pairs"]
                    counting.append(told["count"])
                    added.append(_median_difference(told["pairs"]) + told["count"])
                    flushes.append(told["flush"])
        if pairs and case.name not in failed:
            without = median(pair[0] for pair in pairs)
            cost = _median_difference(pairs) + median(counting)
            found[case.name] = Measuring(
                without, cost, min(added), max(added), median(counting), median(flushes)
            )
    return found, failed


def _median_difference(pairs: Sequence[tuple[float, float]]) -> float:
    return median(with_it - without for without, with_it in pairs)


def _checked(processes: Sequence[Process], failed: dict[str, str]) -> dict[Process, int]:
    """The calls in a batch of each process that does what its row says."""
    sizes = {}
    for process in processes:
        try:
            sizes[process] = process.ask("check")["size"]
        except CaseFailed as reason:
            failed[process.case.name] = str(reason)
    return sizes


def quiet(values: list[float]) -> float:
    return quantiles(values, n=10, method="inclusive")[0] if len(values) > 1 else values[0]


def _server_us(process: Process, place: Place) -> float | None:
    """What the server says that it spent on one script of the case."""
    with redis_client(place.redis_url) as client:
        client.config_resetstat()
        process.ask("run", requests=2000)
        spent = client.info("commandstats").get("cmdstat_evalsha")
    return None if spent is None else float(spent["usec_per_call"])


@dataclass(frozen=True, slots=True)
class Counts:
    """What one request costs at steady state."""

    commands: float
    sql: float
    named: dict[str, int]


def count_commands(
    cases: Sequence[Case], place: Place, requests: int = 200
) -> tuple[dict[str, Counts], dict[str, str]]:
    """Count, by MONITOR, the commands of each case's own keys; and the SQL that it makes."""
    counts: dict[str, Counts] = {}
    failed: dict[str, str] = {}
    with alive(cases, place, failed) as processes:
        for process in processes:
            try:
                process.ask("check")
                sql = process.ask("count", requests=requests)["sql"]
                seen = _monitored(process, place, requests)
            except CaseFailed as reason:
                failed[process.case.name] = str(reason)
                continue
            counts[process.case.name] = Counts(seen.total() / requests, sql / requests, dict(seen))
    return counts, failed


def _monitored(process: Process, place: Place, requests: int) -> Counter[str]:
    """The commands that a case's requests send, by name; none of its heartbeat and its scripts."""
    url = urlsplit(place.redis_url)
    seen: Counter[str] = Counter()
    prefix = f"bench:{process.case.name}:"
    with socket.create_connection((url.hostname, url.port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        lines = monitor.makefile("r", encoding="latin-1")
        lines.readline()
        process.ask("run", requests=requests)
        with redis_client(place.redis_url) as client:
            client.echo("benchmark-over")
        for line in lines:
            if '"benchmark-over"' in line:
                return seen
            head, _, command = line.partition("] ")
            if prefix not in command or head.endswith("lua"):
                continue
            words = [word.strip('"') for word in command.split()]
            if any(word.endswith(HEARTBEAT) for word in (words[1], *words[3:4])) and len(words) < 6:
                continue
            seen[words[0].upper()] += 1
    return seen


@dataclass(frozen=True, slots=True)
class LetThrough:
    """How many of a limit of 100 an hour passed: median, and the range over the trials."""

    threads: list[int]
    processes: list[int]


def count_let_through(
    cases: Sequence[Case], place: Place, trials: int
) -> tuple[dict[str, LetThrough], dict[str, str]]:
    """Have one client try 1600 times: from 8 threads of a process, then from 4 processes."""
    place = Place(place.directory, place.redis_url, None)
    passed: dict[str, LetThrough] = {}
    failed: dict[str, str] = {}
    for case in cases:
        copies = 4 if case.store == "redis" else 1
        with alive([case] * copies, place, failed) as processes:
            if len(processes) < copies:
                continue
            try:
                threads = [_together(processes[:1], f"10.2.0.{i + 1}", 8) for i in range(trials)]
                crowd = [
                    _together(processes, f"10.2.1.{i + 1}", 1)
                    for i in range(trials if copies > 1 else 0)
                ]
            except CaseFailed as reason:
                failed[case.name] = str(reason)
                continue
            passed[case.name] = LetThrough(threads, crowd)
    return passed, failed


def _together(processes: Sequence[Process], client: str, threads: int) -> int:
    at = time.time() + 0.1
    for process in processes:
        process.tell(
            "attempt", client=client, attempts=1600 // len(processes), threads=threads, at=at
        )
    return sum(process.hear()["passed"] for process in processes)


def measure_edits(place: Place, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Save and take up one edit, among so many endpoint limits each."""
    failed: dict[str, str] = {}
    with alive([PREPARE], Place(place.directory, "", None), failed) as processes:
        if failed:
            raise CaseFailed(failed[PREPARE.name])
        return [processes[0].ask("edit", rows=rows) for rows in sizes]


def prepare(place: Place, policies: Sequence[str]) -> dict[str, float]:
    """Make the databases of the policies; the seconds that each took to apply."""
    failed: dict[str, str] = {}
    with alive([PREPARE], Place(place.directory, "", None), failed) as processes:
        if failed:
            raise CaseFailed(failed[PREPARE.name])
        seconds: dict[str, float] = processes[0].ask("prepare", names=list(policies))["seconds"]
        return seconds


PREPARE = Case("prepare", "prepare", "the policies", store="local")
