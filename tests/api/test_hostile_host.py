"""Whatever a host has set for its own API, pulse's answers the same."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.sites import ROOT


def transcript(settings: str, path) -> list:
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.transcript"],
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": settings,
            "DATABASE_URL": f"sqlite:///{path}",
            "REDIS_URL": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_api_answers_the_same_in_a_hostile_host(tmp_path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(transcript, "project.settings.test", tmp_path / "usual.sqlite3")
        two = pool.submit(transcript, "tests.api.hostile_settings", tmp_path / "hostile.sqlite3")
        usual, hostile = one.result(), two.result()
    for expected, found in zip(usual, hostile, strict=True):
        assert found == expected
    found = {what: status for what, status, *_ in usual}
    assert found["GET rate-tiers/"] == 401
    assert [status for what, status, *_ in usual if what == "POST rate-tiers/"] == [
        201, 201, 400, 400, 400,
    ]  # fmt: skip
    assert found["GET policy/"] == found["GET schema/"] == found["GET docs/"] == 200
