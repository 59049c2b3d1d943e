"""The tests in two runs: what may run beside each other does, and then the rest, each alone.

``python -m tests`` hands its arguments on to pytest. ``python -m pytest`` does it all in one run.
"""

import subprocess
import sys
import time

from tests.parts import ALONE, TOGETHER

#: More than there are processors: who runs together mostly waits, for workers and for leases.
PROCESSES = 3
NOTHING_CHOSEN = 5


def run(part: str, arguments: list[str]) -> int:
    beside = ["-n", str(PROCESSES), "--dist", "loadscope", "--no-loadscope-reorder"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--part",
        part,
        *(beside if part == TOGETHER else []),
    ]
    print(f"== {part}", flush=True)
    began = time.monotonic()
    code = subprocess.call([*command, *arguments])
    print(f"== {part}: {time.monotonic() - began:.0f} s", flush=True)
    return code


def main(arguments: list[str]) -> int:
    codes = [run(part, arguments) for part in (TOGETHER, ALONE)]
    failed = [code for code in codes if code not in {0, NOTHING_CHOSEN}]
    return failed[0] if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
