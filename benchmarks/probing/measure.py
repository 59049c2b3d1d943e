"""Probes and their peers fetch from one cheap target by turns; then 10,000 schedules a minute."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.probing.cpu import used_s
from benchmarks.probing.processes import (
    Database,
    Target,
    Told,
    background,
    postgres,
    sqlite,
    target,
    wait_until,
)
from benchmarks.processes import ROOT, CaseFailed

SITE = ("-m", "benchmarks.probing.site")
SETTINGS = "benchmarks.probing.settings"
CONCURRENCY = 200
SCHEDULES = 10_000
MakeDatabase = Callable[[Path], Database]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        number: Fetched in a round; of Celery's tasks, which take longer, a fifth.
        seconds: For which schedules run, once they are under way.
    """

    number: int = 2000
    rounds: int = 10
    seconds: float = 60.0


@dataclass(slots=True)
class Fetching:
    """What one way to fetch costs, in microseconds of CPU for each; one figure a round.

    Attributes:
        cpu: Of the processes that fetch and record.
        database: Of the database's own, where it is a server.
        target: Of what is fetched.
        publishing: Of who sends messages, where there are some.
        wall_s: Seconds of a round.
    """

    title: str
    records: str
    number: int
    cpu: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)
    publishing: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Lateness:
    """How late probes began, of so many schedules, each due once a minute."""

    records: str
    schedules: int
    seconds: float
    applied_s: float
    due: int
    ok: int
    missed: int
    p50_s: float
    p99_s: float
    most_s: float
    cpu_share: float
    database_share: float
    load: float


@dataclass(slots=True)
class Probing:
    """All of it."""

    fetching: dict[str, Fetching] = field(default_factory=dict)
    lateness: dict[str, Lateness] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(directory: Path, redis_url: str, scale: Scale) -> Probing:
    """Measure probes beside their peers."""
    found = Probing()
    with target(directory) as fetched, _databases(found) as databases:
        with contextlib.ExitStack() as stack:
            ways = _ways(stack, directory, redis_url, fetched, databases, scale, found)
            for _ in range(scale.rounds):
                for name, way in ways.items():
                    if name not in found.failed:
                        with _noted(found, name):
                            way()
        for name, database in databases.items():
            with _noted(found, f"schedules-{name}"):
                found.lateness[name] = _lateness(name, database(directory), fetched, scale)
    return found


@contextlib.contextmanager
def _databases(found: Probing) -> Iterator[dict[str, MakeDatabase]]:
    with contextlib.ExitStack() as stack:
        databases: dict[str, MakeDatabase] = {"SQLite": sqlite}
        with _noted(found, "probes-PostgreSQL"):
            databases["PostgreSQL"] = stack.enter_context(postgres())
        yield databases


@contextlib.contextmanager
def _noted(found: Probing, name: str) -> Iterator[None]:
    try:
        yield
    except CaseFailed as reason:
        found.failed[name] = str(reason)


def _ways(
    stack: contextlib.ExitStack,
    directory: Path,
    redis_url: str,
    fetched: Target,
    databases: dict[str, MakeDatabase],
    scale: Scale,
    found: Probing,
) -> dict[str, Callable[[], None]]:
    """Start what fetches, and run each once, unmeasured."""
    ways: dict[str, Callable[[], None]] = {}
    for kind, database in databases.items():
        for scheme in ("http", "https") if kind == "SQLite" else ("http",):
            name = f"pulse-{scheme}-{kind}"
            title = f"pulse, {'plain HTTP' if scheme == 'http' else 'TLS'}"
            with _noted(found, name):
                figures = Fetching(title, kind, scale.number)
                way = _pulse(stack, database(directory), fetched, scheme, figures)
                found.fetching[name], ways[name] = figures, way
    for scheme in ("http", "https"):
        name = f"aiohttp-{scheme}"
        title = f"aiohttp in one loop, {'plain HTTP' if scheme == 'http' else 'TLS'}"
        figures = Fetching(title, "nothing", scale.number)
        found.fetching[name] = figures
        ways[name] = _aiohttp(fetched, scheme, figures)
    name = "celery"
    with _noted(found, name):
        figures = Fetching("one requests.get a Celery task", "nothing", scale.number // 5)
        ways[name] = _celery(stack, redis_url, fetched, figures)
        found.fetching[name] = figures
    return ways


def _pulse(
    stack: contextlib.ExitStack, database: Database, fetched: Target, scheme: str, figures: Fetching
) -> Callable[[], None]:
    site = Told(
        *SITE,
        BENCH_DATABASE_URL=database.url,
        # What the target shows stands for itself.
        SSL_CERT_FILE=str(fetched.certificate),
    )
    stack.callback(site.end)
    site.ask(
        "make", targets=figures.number, ports=fetched.ports[scheme], scheme=scheme, schedules=False
    )
    # Once unmeasured: what is written for a target for the first time is written once.
    site.ask("run")

    def way() -> None:
        with _apart(figures, fetched, database):
            made = site.ask("run")
        figures.cpu.append(made["cpu_s"] / made["number"] * 1e6)
        figures.wall_s.append(made["wall_s"])

    return way


def _aiohttp(fetched: Target, scheme: str, figures: Fetching) -> Callable[[], None]:
    command = [
        *(sys.executable, "-m", "benchmarks.probing.aiohttp_get"),
        *(str(figures.number), str(CONCURRENCY), str(fetched.certificate), scheme),
        *map(str, fetched.ports[scheme]),
    ]

    def way() -> None:
        with _apart(figures, fetched):
            done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise CaseFailed(done.stderr.strip().rpartition("\n")[2])
        made = json.loads(done.stdout)
        figures.cpu.append(made["cpu_s"] / made["number"] * 1e6)
        figures.wall_s.append(made["wall_s"])

    return way


def _celery(
    stack: contextlib.ExitStack, redis_url: str, fetched: Target, figures: Fetching
) -> Callable[[], None]:
    try:
        from benchmarks.probing.celery_get import app, get
    except ImportError as missing:
        raise CaseFailed("not installed") from missing
    app.conf.broker_url = redis_url
    worker = stack.enter_context(
        background(
            *("-m", "celery", "-A", "benchmarks.probing.celery_get", "worker"),
            *("--pool", "prefork", "--concurrency", "2", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            BENCH_BROKER=redis_url,
        )
    )

    def fetch(number: int) -> None:
        ports = fetched.ports["http"]
        expected = fetched.answered() + number
        for each in range(number):
            get.delay(f"http://127.0.0.1:{ports[each % len(ports)]}/t/{each}")
        wait_until(lambda: fetched.answered() >= expected, 120)

    fetch(50)

    def way() -> None:
        began, before = time.perf_counter(), used_s([worker])
        own = time.process_time()
        with _apart(figures, fetched):
            fetch(figures.number)
        figures.publishing.append((time.process_time() - own) / figures.number * 1e6)
        figures.cpu.append((used_s([worker]) - before) / figures.number * 1e6)
        figures.wall_s.append(time.perf_counter() - began)

    return way


@contextlib.contextmanager
def _apart(figures: Fetching, fetched: Target, database: Database | None = None) -> Iterator[None]:
    """Tell what others use meanwhile."""
    server = database.pid if database else None
    before = used_s([fetched.pid]), used_s([server] if server else [])
    yield
    after = used_s([fetched.pid]), used_s([server] if server else [])
    figures.target.append((after[0] - before[0]) / figures.number * 1e6)
    if server:
        figures.database.append((after[1] - before[1]) / figures.number * 1e6)


def _lateness(name: str, database: Database, fetched: Target, scale: Scale) -> Lateness:
    """Run a worker on as many schedules, each due once a minute, at a time of its own."""
    site = Told(*SITE, BENCH_DATABASE_URL=database.url)
    try:
        made = site.ask(
            "make", targets=SCHEDULES, ports=fetched.ports["http"], scheme="http", schedules=True
        )
        worker = background(
            *("-m", "django", "pulse_worker"),
            BENCH_DATABASE_URL=database.url,
            DJANGO_SETTINGS_MODULE=SETTINGS,
        )
        server = [database.pid] if database.pid else []
        with worker as pid:
            before = fetched.answered()
            wait_until(lambda: fetched.answered() > before + SCHEDULES / 60, 120)
            since_s = time.time()
            used = used_s([pid]), used_s(server)
            time.sleep(scale.seconds)
            until_s = time.time()
            worker_s, server_s = used_s([pid]) - used[0], used_s(server) - used[1]
            # What was due last is recorded as well.
            time.sleep(5)
            load = os.getloadavg()[0]
        seen = site.ask("lateness", since_s=since_s, until_s=until_s)
    finally:
        site.end()
    if not seen["due"] or seen["p99_s"] is None:
        raise CaseFailed("nothing was due")
    passed_s = until_s - since_s
    return Lateness(
        name, SCHEDULES, passed_s, made["applied_s"],
        seen["due"], seen["ok"], seen["missed"], seen["p50_s"], seen["p99_s"], seen["most_s"],
        cpu_share=worker_s / passed_s, database_share=server_s / passed_s, load=load,
    )  # fmt: skip
