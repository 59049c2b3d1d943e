"""``python -m tests.stepped COMMAND``: a command of the site's whose clock jumps to and fro.

The process's own clock is stepped, as Python tells it: the machine's cannot be without harm to
whoever else is on it. The monotonic clock goes on, as it does when a machine's clock is set.
"""

import itertools
import sys
import threading
import time

import time_machine
from django.core.management import execute_from_command_line

EVERY_S = 0.2


def _step(clock: time_machine.Traveller) -> None:
    for shift in itertools.cycle((7200, -14_400, 7200)):
        time.sleep(EVERY_S)
        clock.shift(shift)


if __name__ == "__main__":
    with time_machine.travel(time.time() + 3600, tick=True) as traveller:
        threading.Thread(target=_step, args=(traveller,), daemon=True).start()
        execute_from_command_line(["manage.py", *sys.argv[1:]])
