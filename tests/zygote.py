"""Commands of a site, each in a process of its own, without the seconds that imports take.

A process that has imported Django, and opened nothing, forks for each: what a command does, and how
it ends, is as if it had been started from a shell. Run as a module it is that process.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
WITHIN_S = 300


class Commands:
    """Runs commands of one site.

    Args:
        environment: Of each command; it names settings and database.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._zygote: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def manage(
        self, *words: str, stdin: str = "", check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of ``manage.py``."""
        return self._run({"words": ["manage.py", *words], "stdin": stdin}, check=check)

    def python(self, source: str) -> str:
        """Run a piece of the host's own code; returns what it printed."""
        return self._run({"source": source, "stdin": ""}, check=True).stdout

    def close(self) -> None:
        """End the process that forks."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.communicate(timeout=WITHIN_S)

    def _run(self, wanted: dict[str, Any], *, check: bool) -> "subprocess.CompletedProcess[str]":
        with self._lock:
            if self._zygote is None:
                self._zygote = self._started()
            assert self._zygote.stdin is not None
            assert self._zygote.stdout is not None
            self._zygote.stdin.write(json.dumps(wanted) + "\n")
            self._zygote.stdin.flush()
            line = self._zygote.stdout.readline()
        assert line, "the process that forks has ended"
        done: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], **json.loads(line))
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def _started(self) -> "subprocess.Popen[str]":
        # It reads to the end of its input, and so ends with whoever started it.
        return subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def main() -> None:
    """Answer each line with what came of it, until there are no more."""
    import django

    django.setup()
    # Apart from what the commands inherit.
    asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    while line := asked.readline():
        wanted = json.loads(line)
        with ExitStack() as stack:
            files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
            files[0].write(wanted["stdin"])
            child = os.fork()
            if child == 0:
                asked.close()
                answers.close()
                _become(wanted, files)
                return
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            told = {"returncode": code, "stdout": _text(files[1]), "stderr": _text(files[2])}
        answers.write(json.dumps(told) + "\n")
        answers.flush()


def _become(wanted: dict[str, Any], files: list[IO[str]]) -> None:
    signal.alarm(WITHIN_S)
    for number, file in enumerate(files):
        file.flush()
        file.seek(0)
        os.dup2(file.fileno(), number)
    if source := wanted.get("source"):
        exec(compile(source, "<source>", "exec"), {"__name__": "__main__"})
        return
    from django.core.management import execute_from_command_line

    sys.argv = wanted["words"]
    execute_from_command_line(sys.argv)


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


if __name__ == "__main__":
    main()
