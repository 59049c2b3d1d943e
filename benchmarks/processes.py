"""Processes of cases: started together, asked one after the other."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.server import end_with_parent

ROOT = Path(__file__).resolve().parents[1]


class CaseFailed(Exception):
    """A case that cannot be measured, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where cases run: their databases, their Redis, their core (None for any)."""

    directory: Path
    redis_url: str
    core: int | None


class Process:
    """One case in a process of its own."""

    def __init__(self, case: Case, place: Place) -> None:
        self.case = case
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.worker", json.dumps(case.as_dict())),
                *(str(place.directory), place.redis_url),
                "" if place.core is None else str(place.core),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, cwd=ROOT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the runner has no threads
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        self._read()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something and wait for the answer.

        Raises:
            CaseFailed: It could not.
        """
        self.tell(do, **arguments)
        return self._read()

    def tell(self, do: str, **arguments: Any) -> None:
        """Have it do something; ``hear()`` waits for the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        return self._read()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise CaseFailed(errors.strip().rpartition("\n")[2] or "ended without a word")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CaseFailed(answer["error"])
        return answer


@contextlib.contextmanager
def alive(cases: Iterable[Case], place: Place, failed: dict[str, str]) -> Iterator[list[Process]]:
    """Have all of these running at once; those that cannot run are noted and left out."""
    processes = [Process(case, place) for case in cases]
    ready = []
    try:
        for process in processes:
            try:
                process.wait_until_ready()
            except CaseFailed as reason:
                failed[process.case.name] = str(reason)
            else:
                ready.append(process)
        yield ready
    finally:
        for process in processes:
            process.end()
