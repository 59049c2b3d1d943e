"""Which tests may run beside others, and which race on time and run alone."""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER, ALONE = "together", "alone"
ROOT = Path(__file__).parents[1]

#: One after the other, from the start: they wait for leases, deadlines and workers, so that they
#: leave the machine to the rest, and what they wait for has minutes.
PATIENT = (
    "tests/faults/test_probe_",
    "tests/faults/test_alerts",
)
#: One process of its own, and the longest test by far.
LONGEST = "tests/test_postgres.py::test_suites"
#: In their own process, and of no time but what they set themselves; a file stays together.
QUICK = (
    "tests/access/",
    "tests/admin/",
    "tests/alerts/",
    "tests/api/",
    "tests/audit/",
    "tests/browser/",
    "tests/checks/",
    "tests/core/",
    "tests/metrics/",
    "tests/middleware/",
    "tests/pages/",
    "tests/policies/",
    "tests/probes/",
    "tests/templatetags/",
    # By processes of their own, whose Redis may be late.
    "tests/flows/test_cors_mistakes.py",
    "tests/flows/test_migrations.py",
    "tests/flows/test_request_ids.py",
)
#: Among those, but measured by the clock, by memory, or with processes of their own.
EXCEPT = (
    # A Redis that a busy machine keeps waiting is none, by the middleware's own budget.
    "tests/middleware/test_announcement.py",
    "tests/middleware/test_replay.py",
    "tests/middleware/test_stack.py",
    "tests/middleware/test_timeouts.py",
    "tests/probes/client/",
    "tests/probes/test_in_process.py",
    "tests/probes/test_runner.py",
    "tests/probes/test_tasks.py",
    "tests/probes/test_worker.py",
)


def choose(part: str | None, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of one part, and put them in their order."""
    if part is None:
        return
    left_out = [item for item in items if part_of(item) != part]
    items[:] = [item for item in items if part_of(item) == part]
    config.hook.pytest_deselected(items=left_out)
    if part == TOGETHER:
        items.sort(key=_place)


class Groups(LoadScopeScheduling):
    """A file stays together, and what waits is one group, whatever file it is in."""

    def _split_scope(self, nodeid: str) -> str:
        return "patient" if nodeid.startswith(PATIENT) else nodeid.partition("::")[0]


def part_of(item: pytest.Item) -> str:
    path = _path(item)
    is_together = _name(item).startswith((*PATIENT, LONGEST)) or (
        path.startswith(QUICK) and not path.startswith(EXCEPT)
    )
    return TOGETHER if is_together else ALONE


def _place(item: pytest.Item) -> int:
    name = _name(item)
    return 0 if name.startswith(PATIENT) else 1 if name.startswith(LONGEST) else 2


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()


def _name(item: pytest.Item) -> str:
    return f"{_path(item)}::{item.name}"
