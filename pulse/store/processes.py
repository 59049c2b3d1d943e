"""Which processes are alive, and what each says of itself: told with every beat.

No request costs more by it. Who is not heard of for ten seconds is gone; without Redis a process
knows of itself alone.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulse.store.connection import SILENCE_S, Backend, Script, current_backend, member

RUNNING: Final = Script("running")
WEB: Final = "web"
WORKER: Final = "worker"

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """One process that is alive.

    Attributes:
        id: Host and process id, such as ``web-1:4711``.
        kind: ``web``, or ``worker``, which serves no requests.
        seen: When it was heard of last, in epoch seconds by this machine's clock.
        said: What it says of itself.
    """

    id: str
    kind: str
    seen: float
    said: Said = field(default_factory=dict)


class _Own:
    """What this process is, and how it is asked what it says."""

    kind = WEB
    says: Callable[[], Said] = staticmethod(dict)
    more: tuple[Callable[[], Said], ...] = ()

    def said(self) -> dict[str, Any]:
        told = dict(self.says())
        for function in self.more:
            told.update(function())
        return told


def become_worker() -> None:
    """Say from now on that this process serves no requests: it shares no counters."""
    _own.kind = WORKER


def forget() -> None:
    """Be again what a process is that has just started."""
    _own.kind = WEB


def say_by(function: Callable[[], Said]) -> None:
    """Have a function asked, with each beat, what this process says of itself."""
    _own.says = function


def say_also(function: Callable[[], Said]) -> None:
    """Have a function asked too, whose names are others."""
    if function not in _own.more:
        _own.more = (*_own.more, function)


def is_web() -> bool:
    """Whether this process serves requests."""
    return _own.kind == WEB


def beat(backend: Backend) -> int | None:
    """Tell that this process is alive; returns how many share the counters, where that is known.

    Raises:
        StoreUnavailable: Redis cannot be told.
    """
    told = json.dumps({"kind": _own.kind, **_own.said()}, separators=(",", ":"))
    count = backend.beat(told, shares=_own.kind == WEB)
    return count if isinstance(count, int) else None


def this_process() -> Running:
    """Return what this process says of itself at this moment."""
    return Running(member(), _own.kind, time.time(), _own.said())


def running() -> list[Running] | None:
    """Return every process that is alive, by name; None where no Redis brings them together.

    Raises:
        StoreUnavailable: Redis cannot be asked.
    """
    backend = current_backend()
    if backend is None:
        return None
    keys = (backend.keys.alive, backend.keys.running)
    found: Any = backend.run(RUNNING, keys, (SILENCE_S,))
    if not isinstance(found, list):
        return []
    now = time.time()
    told = [_read(*found[start : start + 3], now=now) for start in range(0, len(found) - 2, 3)]
    return sorted((one for one in told if one is not None), key=lambda one: one.id)


def _read(name: bytes, ago: bytes, said: bytes, *, now: float) -> Running | None:
    try:
        values = json.loads(said)
        kind = values.pop("kind", WEB)
        return Running(name.decode(), str(kind), now - float(ago), values)
    except (AttributeError, TypeError, ValueError):  # Of another release, or of nobody.
        return None


_own: Final = _Own()
