"""Migrations of a host that are not pulse's own."""

import os
import subprocess
import sys

import pytest

from tests.zygote import ROOT


@pytest.mark.parametrize("target", [("auth",), ("pulse", "zero")])
def test_other_migrations_need_no_tables_of_pulse(tmp_path, target) -> None:
    """``post_migrate`` is sent to every app: before pulse has tables, and after it lost them."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project.settings.test",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
    }
    for words in [target] if target == ("auth",) else [(), target, ()]:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", *words, "--verbosity", "0"],
            check=False,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
