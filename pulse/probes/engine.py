"""The engine's lock and clock: what every claim and every start has in common.

One row is locked first, and everything that the caps are counted from is read after that. The
database's clock alone is asked, so that no worker's counts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from pulse.policies import publisher
from pulse.probes.state import ProbeEngine


@dataclass(slots=True)
class Engine:
    """The lock, held.

    Attributes:
        row: The locked row.
        now: The database's time, read after the lock was granted.
        using: The alias of the database.
    """

    row: ProbeEngine
    now: datetime
    using: str


def database() -> str:
    """Return the alias of the database that probes are kept in: that of the policies."""
    return publisher.database()


@contextmanager
def locked() -> Iterator[Engine]:
    """Hold the engine's lock for one transaction.

    Begins with an UPDATE: on SQLite a read that later turns into a write fails at once, and what
    is read after it cannot be older than the lock.
    """
    using = database()
    rows = ProbeEngine.objects.using(using)
    with transaction.atomic(using=using):
        if not rows.filter(pk=1).update(locked_at=Now()):
            rows.get_or_create(pk=1)
        row = rows.annotate(clock=Now()).select_for_update().get(pk=1)
        yield Engine(row, row.clock, using)


def now(using: str) -> datetime:
    """Return the database's time; one query."""
    moment: datetime = ProbeEngine.objects.using(using).values_list(Now()).get(pk=1)[0]
    return moment
