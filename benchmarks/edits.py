"""What an edit costs among many rules: saving it, and taking it up. Runs in a worker of its own."""

import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any


def prepare(names: list[str]) -> dict[str, Any]:
    """Make the databases of these policies; the seconds that each document took to apply."""
    from django.conf import settings

    from benchmarks import policies

    directory = Path(settings.DATABASES["default"]["NAME"]).parent
    return {"seconds": policies.prepare(directory, names)}


def edit(rows: int, trials: int = 3) -> dict[str, Any]:
    """Save single edits among ``rows`` endpoint limits, then load and compile what they made."""
    from django.conf import settings
    from django.db import connection

    from benchmarks import policies
    from pulse.policies import current, publisher
    from pulse.policies.compiler import compile_document
    from pulse.policies.models import EndpointLimit, PolicyRevision

    directory = Path(settings.DATABASES["default"]["NAME"]).parent
    path = directory / f"edit-{rows}.sqlite3"
    with (
        sqlite3.connect(policies.database(directory, f"rules{rows}")) as source,
        sqlite3.connect(path) as target,
    ):
        source.backup(target)
    connection.close()
    connection.settings_dict["NAME"] = str(path)
    current.forget()

    saved: list[float] = []
    by_save: list[float] = []
    loaded: list[float] = []
    compiled: list[float] = []
    for trial in range(trials):
        row = EndpointLimit.objects.get(name="limit-match")
        row.percent = 99 - trial
        with _timed(saved), publisher.edit(publisher.Actor("command", "bench"), source="command"):
            row.save()
        row.percent = 50 + trial
        with _timed(by_save):
            row.save()
        current.forget()
        with _timed(loaded):
            current.current_snapshot()
        document = publisher.newest_document()
        with _timed(compiled):
            compile_document(document, None, time.time())
    made = PolicyRevision.objects.count()
    assert made > 2 * trials, f"only {made} revisions were made"
    return {
        "rows": rows,
        "save_s": median(saved),
        "plain_save_s": median(by_save),
        "reload_ms": median(loaded) * 1000,
        "compile_ms": median(compiled) * 1000,
    }


class _timed:  # noqa: N801 - reads as a word of the statement that it is in
    """Appends to a list the seconds that its block took."""

    def __init__(self, into: list[float]) -> None:
        self._into = into

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._into.append(time.perf_counter() - self._start)
