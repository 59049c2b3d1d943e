"""What locks and compiles policies, on PostgreSQL as well."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.engines import private_postgres

ROOT = Path(__file__).parents[1]
#: What meets the database in a way of its own: its locks, its idea of a transaction and of a text,
#: what it does with JSON. What else reads rows by these means has its proof on SQLite.
SUITES = (
    # Edits: one lock, one transaction, one revision.
    "tests/policies/test_current.py",
    "tests/policies/test_document.py",
    "tests/policies/test_edit_road.py",
    "tests/policies/test_every_kind.py",
    "tests/policies/test_guarded.py",
    "tests/policies/test_history.py",
    "tests/policies/test_publisher.py",
    "tests/policies/test_uses.py",
    # Rows of their own beside the policy: appended, claimed, counted, pruned.
    "tests/access/test_keys.py",
    "tests/alerts/test_deliveries.py",
    "tests/alerts/test_evaluation.py",
    "tests/audit",
    "tests/metrics/test_history.py",
    "tests/probes",
    # The doors that search, sort, page and lock for themselves.
    "tests/admin/test_edits.py",
    "tests/admin/test_probes_jobs.py",
    "tests/api/test_audit.py",
    "tests/api/test_document.py",
    "tests/api/test_idempotency.py",
    "tests/api/test_jobs.py",
    "tests/api/test_lists.py",
    "tests/api/test_policies.py",
    "tests/api/test_revisions.py",
    "tests/api/test_two_writers.py",
    "tests/management/test_prune.py",
    "tests/pages/test_endpoints.py",
    "tests/pages/test_probes.py",
)
LIMITS = "tests/flows/test_limits_between_processes.py"
#: What serves the site by processes of its own, and races on time. Of limits only what an edit
#: does: what they count is in Redis.
FLOWS = (
    "tests/flows/test_eighteen_defects.py",
    f"{LIMITS}::test_edit_elsewhere_is_in_force_on_the_next_request",
    f"{LIMITS}::test_every_process_tells_that_it_runs_the_newest_revision",
    "tests/flows/test_migrations.py",
)
#: What lies among them and meets none, or meets it by what others prove.
IGNORED = (
    "tests/probes/client",
    "tests/probes/summary/test_wire.py",
    "tests/probes/test_attempt.py",
    "tests/probes/test_contracts.py",
    "tests/probes/test_in_process.py",
    "tests/probes/test_inputs.py",
    "tests/probes/test_interleavings.py",
    "tests/probes/test_loop.py",
    "tests/probes/test_openapi.py",
    "tests/probes/test_plan.py",
    "tests/probes/test_tasks.py",
    "tests/probes/test_words.py",
    "tests/probes/test_worker.py",
)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with private_postgres() as server:
        yield server.url


@pytest.mark.postgres
@pytest.mark.timeout(1500)
def test_suites_pass_on_postgresql(database_url: str, redis_server) -> None:
    """The same promises hold where edits lock rows instead of a file."""
    run(database_url, SUITES)


@pytest.mark.postgres
@pytest.mark.timeout(1500)
def test_flows_pass_on_postgresql(database_url: str, redis_server) -> None:
    """And between processes."""
    run(database_url, FLOWS)


def run(database_url: str, suites: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "-m",
            "not postgres and not browser and not demo",
            *(f"--ignore={path}" for path in IGNORED),
            *suites,
        ],
        check=False,
        cwd=ROOT,
        env=environment | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
