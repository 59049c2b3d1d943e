"""Child processes that are started, watched, brought back and ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from project.demonstration import tether

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 10.0
LOG_TAIL_LINES = 15


@dataclass(slots=True)
class Child:
    """One program of the demonstration.

    It has a process group of its own, so that Ctrl-C at the terminal reaches only the parent,
    which then ends the children in a good order.
    """

    role: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    pass_fds: tuple[int, ...] = ()
    niceness: int = 5
    """How far it stands back for Redis, which all of them wait for on the same few cores."""
    before_start: Callable[[], None] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    """How often in a row it ended soon after its start."""
    started_at: float = field(default=0.0, init=False)
    due_at: float = field(default=0.0, init=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def start(self) -> None:
        if self.before_start:
            self.before_start()
        with self.log.open("ab") as log:
            command = ["nice", "-n", str(self.niceness), *self.command]
            self.process = launch(command, self.environment, log, self.pass_fds)
        self.started_at = time.monotonic()

    def watch(self) -> str | None:
        """Look after it; what happened, in words, if it ended since the last look."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.due_at:
                self.start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.failures = 0 if now - self.started_at >= STEADY_AFTER_S else self.failures + 1
        delay = min(FIRST_DELAY_S * 2**self.failures, LONGEST_DELAY_S) if self.failures else 0.0
        self.process, self.due_at = None, now + delay
        return f"{self.role} ended ({_in_words(code)}); it is started again"

    def tail(self) -> str:
        """The last lines of its log."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
        return ""


def launch(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: BinaryIO,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start ``command`` so that it cannot outlive this process.

    To be called from the main thread: the kernel watches the thread that started the child.
    """
    tied = [sys.executable, "-I", "-S", tether.__file__, "KILL", str(os.getpid()), *command]
    return subprocess.Popen(  # noqa: S603  (our own commands)
        tied,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=pass_fds,
        process_group=0,
    )


def wake(children: Sequence[Child]) -> None:
    """Let stopped processes go on: they hear no farewell, and others wait for them."""
    for child in children:
        if child.process and child.process.poll() is None:
            _signal_group(child.process.pid, signal.SIGCONT)


def end(children: Sequence[Child], patience_s: float) -> None:
    """Ask all of ``children`` to end; kill what is left after ``patience_s``."""
    running = [
        child.process for child in children if child.process and child.process.poll() is None
    ]
    for process in running:
        _signal_group(process.pid, signal.SIGTERM, leader_only=True)
    deadline = time.monotonic() + patience_s
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in running:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(pid: int, number: signal.Signals, *, leader_only: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if leader_only:
            os.kill(pid, number)
        else:
            os.killpg(pid, number)


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
