"""The process of one case: told over its standard input what to do, a line of JSON each.

``python -m benchmarks.worker CASE DIRECTORY REDIS_URL CORE``; started by ``benchmarks.processes``.
"""

import gc
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import site
from benchmarks.cases import Case
from benchmarks.policies import ORIGIN

CLIENTS = [f"10.1.{i // 16}.{i % 16 + 1}" for i in range(256)]
BATCH_S = 0.012
#: How much of a batch is run before it is timed: the neighbours have had the caches.
WARMING = 0.25
#: As many as a busy process has answered when the heartbeat counts them.
COUNTED_AT_ONCE = 500


class Worker:
    """One case, ready to be asked."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._clients = cycle(CLIENTS)
        self._driver: Any = None
        self._run: Callable[[list[str]], object]
        if case.group == "store":
            from benchmarks.calls import make_call

            call = self._call = make_call(case.subject)

            def run(addresses: list[str]) -> None:
                for address in addresses:
                    call(address)

            self._run = run
        else:
            from benchmarks.drive import Asgi, Wsgi

            self._driver = Asgi() if case.group == "asgi" else Wsgi()
            self._run = self._driver.many

    def check(self) -> dict[str, Any]:
        """See that the case does what its row says, before it is timed. Returns the batch size."""
        if self._driver is None:
            self._call(CLIENTS[0])
        else:
            self._check_answers()
        gc.collect()
        gc.freeze()
        size = 8
        while True:
            took = self._timed(size)[0]
            if took >= BATCH_S / 2:
                return {"size": max(8, round(size * BATCH_S / took))}
            size *= 2

    def batch(self, size: int) -> dict[str, float]:
        """Microseconds a call of one batch: on the wall, and of this process's own CPU."""
        self._empty()
        self._run(self._take(max(4, round(size * WARMING))))
        self._empty()
        wall, cpu = self._timed(size)
        return {"wall": wall / size * 1e6, "cpu": cpu / size * 1e6}

    def pairs(self, size: int, rounds: int) -> dict[str, Any]:
        """Batches by turns, measured by pulse and not, in random order; CPU microseconds a call.

        What they leave is counted and handed over by this thread, which is timed, many at once:
        ``count`` is what each takes, ``flush`` what it takes to hand over, in milliseconds.
        """
        from pulse.conf import conf
        from pulse.metrics import flush
        from pulse.metrics.recorder import recorder
        from pulse.store import heartbeat

        def run(number: int) -> float:
            addresses = self._take(number)
            began = time.thread_time()
            self._run(addresses)
            return (time.thread_time() - began) / number * 1e6

        def count() -> None:
            queued = len(recorder.queue)
            began = time.thread_time()
            recorder.fold()
            counted = time.thread_time()
            flush.flush()
            counts.append((counted - began) / queued * 1e6)
            flushes.append((time.thread_time() - counted) * 1e3)

        pairs: list[tuple[float, float]] = []
        counts: list[float] = []
        flushes: list[float] = []
        with heartbeat.suspended():
            for _ in range(rounds):
                taken = {}
                for measures in random.sample((True, False), 2):
                    vars(conf)["METRICS"] = measures  # What was read of the settings is kept there.
                    run(max(4, round(size * WARMING)))
                    taken[measures] = run(size)
                pairs.append((taken[False], taken[True]))
                if len(recorder.queue) >= COUNTED_AT_ONCE:
                    count()
            if not counts:
                count()
        return {"pairs": pairs, "count": median(counts), "flush": median(flushes)}

    def attempt(self, client: str, attempts: int, threads: int, at: float) -> dict[str, int]:
        """One client tries often, from several threads at once; how many were let through."""
        passed = [0] * threads
        start = threading.Barrier(threads)
        time.sleep(max(0.0, at - time.time()))

        def try_often(place: int) -> None:
            start.wait()
            for _ in range(attempts // threads):
                passed[place] += self._driver.once(client).status == 200

        workers = [threading.Thread(target=try_often, args=(place,)) for place in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return {"passed": sum(passed)}

    def count(self, requests: int) -> dict[str, int]:
        """Make requests and count the SQL statements that they cost."""
        self._run(self._take(requests))
        with _counted_sql() as statements:
            self._run(self._take(requests))
        return {"sql": len(statements)}

    def run(self, requests: int) -> dict[str, float]:
        """Make requests; the time is told for information."""
        return {"seconds": self._timed(requests)[0]}

    def _check_answers(self) -> None:
        case = self._case
        for client in CLIENTS:
            self._driver.once(client)
        answers = [self._driver.once(CLIENTS[0]) for _ in range(2)]
        for answer in answers:
            assert answer.status == case.status, f"{case.name} answers {answer.status}"
        if case.is_pulse and case.status == 200:
            # Buckets refill in between, but none that is charged is ever told to be full.
            for answer in answers:
                left = int(answer.headers["X-RateLimit-Remaining"])
                assert left < int(answer.headers["X-RateLimit-Limit"]), "nothing is counted"
        if case.policy.startswith("edge"):
            for answer in answers:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                assert headers.get("access-control-allow-origin") == ORIGIN, "no CORS"
                assert "content-security-policy" in headers, "no security headers"
        if case.store == "redis":
            from benchmarks.reference import redis_client

            with redis_client(site.bench().redis_url) as client:
                wrote = next(client.scan_iter(f"*{site.bench().prefix}:*", count=10_000), None)
            assert wrote is not None, f"{case.name} keeps nothing in Redis"

    def _empty(self) -> None:
        """DRF keeps a list of times for each client; it is measured at its best, with none."""
        if self._case.subject == "drf" and self._case.group != "exact":
            from django.core.cache import cache

            cache.delete_many([f"throttle_anon_{client}" for client in CLIENTS])

    def _take(self, count: int) -> list[str]:
        return list(islice(self._clients, count))

    def _timed(self, size: int) -> tuple[float, float]:
        addresses = self._take(size)
        wall, cpu = time.perf_counter(), time.process_time()
        self._run(addresses)
        return time.perf_counter() - wall, time.process_time() - cpu


@contextmanager
def _counted_sql() -> Iterator[list[str]]:
    """Every statement of every thread but the heartbeat's, as Django hands it to the database."""
    from django.db.backends.utils import CursorWrapper

    seen: list[str] = []
    original = CursorWrapper.execute

    def execute(self: Any, sql: str, params: Any = None) -> Any:
        if threading.current_thread().name != "pulse":
            seen.append(sql)
        return original(self, sql, params)

    CursorWrapper.execute = execute  # type: ignore[method-assign, assignment]
    try:
        yield seen
    finally:
        CursorWrapper.execute = original  # type: ignore[method-assign]


def main() -> None:
    case_json, directory, redis_url, core = sys.argv[1:]
    case = Case.from_dict(json.loads(case_json))
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a library prints is no answer.
    site.set_up(case, Path(directory), redis_url)
    if case.group == "prepare":
        from benchmarks import edits as subject
    else:
        subject = Worker(case)  # type: ignore[assignment]
    if core:
        os.sched_setaffinity(0, {int(core)})
    _answer(channel, {"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(subject, asked.pop("do"))(**asked)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        _answer(channel, answer)


def _answer(channel: Any, answer: dict[str, Any]) -> None:
    channel.write(json.dumps(answer) + "\n")
    channel.flush()


if __name__ == "__main__":
    main()
