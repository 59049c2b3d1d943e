"""CPU that processes have used, by what the kernel says of them: whole trees, the dead included."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def used_s(pids: Iterable[int]) -> float:
    """Seconds of CPU of these processes and of all that they started; 0 where nothing is told."""
    return sum(_used(pid) for pid in {each for pid in pids for each in _tree(pid)})


def _used(pid: int) -> float:
    fields = _fields(pid)
    # utime, stime, and those of children that have ended and were waited for.
    return sum(map(int, fields[11:15])) * TICK_S if fields else 0.0


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _fields(pid: int) -> list[str]:
    try:
        # The name, in brackets, may have spaces.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
