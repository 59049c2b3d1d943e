"""``pulse_prune``: counts first, removes then, and can be interrupted."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from pulse.management.progress import Progress
from pulse.probes import retention
from pulse.probes.state import ProbeWorker
from tests.management.test_commands import run

pytestmark = pytest.mark.django_db


@pytest.fixture
def dead_worker() -> None:
    long_ago = timezone.now() - timedelta(days=9)
    ProbeWorker.objects.create(name="dead", started_at=long_ago, seen_at=long_ago)


def test_a_dry_run_only_counts(dead_worker: None) -> None:
    code, out, _ = run("pulse_prune", "--dry-run")
    assert code == 0
    assert "workers                   1\n" in out
    assert out.endswith("1 rows would go.\n")
    assert ProbeWorker.objects.exists()


def test_it_tells_what_went(dead_worker: None) -> None:
    code, out, _ = run("pulse_prune", "--format", "json")
    told = json.loads(out)
    assert (code, told["total"], told["rows"]["workers"], told["dry_run"]) == (0, 1, 1, False)
    assert not ProbeWorker.objects.exists()


def test_an_interruption_is_told_by_its_exit_code(monkeypatch) -> None:
    """130, as shells have it."""

    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "prune", interrupted)
    code, _, err = run("pulse_prune")
    assert code == 130
    assert "Interrupted" in err


def test_help_has_an_example(capsys) -> None:
    with pytest.raises(SystemExit):
        call_command("pulse_prune", "--help")
    assert "examples:\n  manage.py pulse_prune " in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_for_terminals_alone() -> None:
    """And leaves nothing behind."""
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        with Progress(stream) as progress:
            progress.show("results", 500, 2000)
            progress.show("results", 2000, 2000)
    assert file.getvalue() == ""
    assert "results ███████░░░" in terminal.getvalue()
    assert "2,000 of 2,000" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K")
