"""The processes that run probes, as they say of themselves; who is silent is gone."""

import os
import secrets
import socket
from datetime import timedelta
from functools import lru_cache
from typing import Final

from django.db.models.functions import Now

from pulse.probes.engine import Engine
from pulse.probes.state import ProbeWorker

#: For so long a turn counts after its worker last said that it goes on.
TURN_HELD: Final = timedelta(seconds=5)
#: So often a worker says that it is there while there is nothing to do.
SEEN_EVERY: Final = timedelta(seconds=5)
#: Workers that were silent for so long are forgotten.
FORGOTTEN: Final = timedelta(hours=1)


def own_name() -> str:
    """Name this process: nobody before or after it had the name, whatever its number."""
    return _name(os.getpid())


def begin_turn(name: str, kind: str, most: int | None, held: Engine) -> bool:
    """Begin a turn, unless as many workers of the kind as may be are at theirs.

    Args:
        name: Of the worker.
        kind: ``celery`` or ``command``.
        most: How many of the kind; None for any number.
        held: The lock, by which the number is exact.
    """
    rows = ProbeWorker.objects.using(held.using)
    others = rows.filter(kind=kind, turn_until__gt=held.now).exclude(name=name)
    may = most is None or others.count() < most
    values = {
        "kind": kind,
        "seen_at": held.now,
        "turn_until": held.now + TURN_HELD if may else None,
        "in_flight": 0,
    }
    rows.update_or_create(
        name=name, defaults=values, create_defaults=values | {"started_at": held.now}
    )
    rows.filter(seen_at__lt=held.now - FORGOTTEN).delete()
    return may


def go_on(name: str, in_flight: int, held: Engine) -> None:
    """Say that the turn goes on."""
    rows = ProbeWorker.objects.using(held.using).filter(name=name)
    rows.update(seen_at=held.now, turn_until=held.now + TURN_HELD, in_flight=in_flight)


def end_turn(name: str, using: str) -> None:
    """Say that the turn is over."""
    rows = ProbeWorker.objects.using(using).filter(name=name)
    rows.update(seen_at=Now(), turn_until=None, in_flight=0)


def be_seen(name: str, kind: str, using: str) -> None:
    """Say that the worker is there, though there is nothing to do; written now and then."""
    rows = ProbeWorker.objects.using(using)
    if rows.filter(name=name, seen_at__gt=Now() - SEEN_EVERY).exists():
        return
    # Begins with an UPDATE: on SQLite a read that later turns into a write fails at once.
    if not rows.filter(name=name).update(kind=kind, seen_at=Now()):
        rows.create(name=name, kind=kind, seen_at=Now(), started_at=Now())


@lru_cache(maxsize=1)
def _name(pid: int) -> str:
    return f"{socket.gethostname()[:60]}:{pid}:{secrets.token_hex(4)}"
