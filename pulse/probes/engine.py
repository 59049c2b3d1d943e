"""The engine's lock and clock: what every claim, result and start has in common.

One row is locked first, and everything that is decided by is read after that: nobody who holds it
can be in another's way, or wait for somebody who waits. The database's clock alone is asked, so
that no worker's counts.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import connections, transaction
from django.db.models.functions import Now

from pulse.policies import publisher
from pulse.probes.state import ProbeEngine

#: How long a worker waits for the lock, and for how long it may hold it and do nothing.
PATIENCE: Final = "5s"


@dataclass(slots=True)
class Engine:
    """The lock, held.

    Attributes:
        row: The locked row.
        now: The database's time, read after the lock was granted.
        monotonic_s: ``time.monotonic`` just before that: what is counted from it is never late.
        using: The alias of the database.
    """

    row: ProbeEngine
    now: datetime
    monotonic_s: float
    using: str


def database() -> str:
    """Return the alias of the database that probes are kept in: that of the policies."""
    return publisher.database()


def clock(using: str) -> datetime:
    """Return the database's time; one query."""
    rows = ProbeEngine.objects.using(using)
    found: datetime | None = rows.filter(pk=1).values_list(Now(), flat=True).first()
    if found is None:
        # Somebody else may make it first.
        rows.bulk_create([ProbeEngine(pk=1)], ignore_conflicts=True)
        return clock(using)
    return found


def moment_of(epoch_s: float) -> datetime:
    """Return what a column holds of an instant, from epoch seconds."""
    return datetime.fromtimestamp(epoch_s, UTC)


@contextmanager
def locked(*, as_worker: bool = False) -> Iterator[Engine]:
    """Hold the engine's lock for one transaction.

    Begins with an UPDATE: on SQLite a read that later turns into a write fails at once, and what
    is read after it cannot be older than the lock.

    Args:
        as_worker: On PostgreSQL, give up after ``PATIENCE`` (OperationalError); and let the
            server end the session of one who is stopped while it holds the lock, so that a frozen
            process holds nobody else up.
    """
    using = database()
    connection, rows = connections[using], ProbeEngine.objects.using(using)
    is_outermost = not connection.in_atomic_block
    with transaction.atomic(using=using):
        if as_worker:
            be_patient(using, is_outermost=is_outermost)
        elif is_outermost:
            _read_committed(using)
        while not rows.filter(pk=1).update(locked_at=Now()):
            # Somebody else may make it first: it is theirs, or ours, to lock either way.
            rows.bulk_create([ProbeEngine(pk=1)], ignore_conflicts=True)
        monotonic_s = time.monotonic()
        row = rows.annotate(clock=Now()).get(pk=1)
        yield Engine(row, row.clock, monotonic_s, using)


def be_patient(using: str, *, is_outermost: bool = True) -> None:
    """Wait for locks no longer than ``PATIENCE``, and hold them idle no longer, this transaction.

    PostgreSQL alone: SQLite has one lock for all, with a time of its own.
    """
    if connections[using].vendor != "postgresql":
        return
    if is_outermost:
        _read_committed(using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true),"
            " set_config('idle_in_transaction_session_timeout', %s, true)",
            [PATIENCE, PATIENCE],
        )


def _read_committed(using: str) -> None:
    """Take back a stricter level of the host's: by it, who waited for the lock would fail."""
    connection = connections[using]
    is_strict = connection.settings_dict["OPTIONS"].get("isolation_level")
    if connection.vendor == "postgresql" and is_strict:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
