"""The one value that tells every process which policy stands."""

from typing import Final

from pulse.core.announcement import Announcement
from pulse.exceptions import StoreUnavailable
from pulse.store.connection import Backend, Script, current_backend

ANNOUNCE: Final = Script("announce")


def read() -> Announcement | None:
    """What is announced, None if nothing is.

    Raises:
        StoreUnavailable: Redis cannot be asked, or the cache is none.
    """
    backend = _backend()
    return _parse(backend.call("GET", backend.keys.announcement))


def announce(announcement: Announcement) -> Announcement:
    """Put up an announcement and return the one that then stands.

    Of one lineage, revision and key epoch only rise. Another lineage is written over: the
    caller has looked at the database, and a restored one is as true as the one before.

    Raises:
        StoreUnavailable: Redis cannot be asked, or the cache is none.
    """
    backend = _backend()
    arguments = (announcement.lineage, announcement.revision, announcement.key_epoch)
    return _parse(backend.run(ANNOUNCE, (backend.keys.announcement,), arguments)) or announcement


def _backend() -> Backend:
    backend = current_backend()
    if backend is None:
        raise StoreUnavailable("the cache is no Redis")
    return backend


def _parse(reply: object) -> Announcement | None:
    return Announcement.parse(reply.decode(errors="replace")) if isinstance(reply, bytes) else None
