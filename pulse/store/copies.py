"""Last good copies of what everybody may see, for when the database is away.

In this process, and in Redis for those that have just started. A copy is no truth: who shows one
says from when it is.
"""

import json
from typing import Any, Final

from pulse.exceptions import StoreUnavailable
from pulse.store.connection import current_backend

#: How long Redis keeps one, in seconds.
KEPT_S: Final = 7 * 86_400

_held: dict[str, dict[str, Any]] = {}


def keep(name: str, value: dict[str, Any]) -> None:
    """Keep a JSON value under a name; where Redis is away, in this process alone."""
    _held[name] = value
    backend = current_backend()
    if backend is None:
        return
    try:
        backend.call("SET", backend.keys.named(f"copy:{name}"), json.dumps(value), "EX", KEPT_S)
    except StoreUnavailable:
        return


def last(name: str) -> dict[str, Any] | None:
    """Return the copy of this process, or else the one in Redis; None if there is none."""
    if name in _held:
        return _held[name]
    backend = current_backend()
    if backend is None:
        return None
    try:
        reply = backend.call("GET", backend.keys.named(f"copy:{name}"))
        found = json.loads(reply) if isinstance(reply, bytes) else None
    except (StoreUnavailable, ValueError):
        return None
    return found if isinstance(found, dict) else None


def forget() -> None:
    """Drop what this process holds."""
    _held.clear()
