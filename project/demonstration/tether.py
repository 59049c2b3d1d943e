"""Ties a process to the life of its parent (Linux; elsewhere it does nothing).

As a script: ``python tether.py SIGNAL PARENT_PID COMMAND...`` asks for the signal and becomes
the command, so that a parent killed with ``kill -9`` leaves no orphan. A script, since code
between fork and exec is not safe in a process with threads. ``-`` stands for whoever the
parent is.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int, parent: int) -> None:
    """Have the kernel send ``number`` to this process when the thread that started it ends."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), number)


def main(arguments: list[str]) -> None:
    name, parent, *command = arguments
    number = signal.Signals[f"SIG{name}"]
    die_with_parent(number, os.getppid() if parent == "-" else int(parent))
    os.execvp(command[0], command)  # noqa: S606  (no shell is wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
