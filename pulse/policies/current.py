"""The policy in force in this process: held in memory, renewed when another is announced.

A request only reads a global. Loading is single-flight: one thread loads, others wait for it at
most a moment and then go on with what they hold.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from django.core.signals import setting_changed
from django.db import Error as DatabaseError
from django.db import connections, router, transaction

from pulse.core.announcement import Announcement
from pulse.core.document import Document
from pulse.core.keys import LiveKey
from pulse.core.snapshot import Snapshot
from pulse.exceptions import InvalidDocument, PulseError, StoreUnavailable
from pulse.logging import say
from pulse.policies.compiler import compile_document
from pulse.policies.models import PolicyRevision, PolicyState
from pulse.store import announcement as store

logger = logging.getLogger(__name__)

#: How long a request waits for another thread that is loading, in seconds.
WAIT_S: Final = 0.25
#: How long until a failed load is tried again, in seconds.
RETRY_S: Final = 1.0
#: How often the database is looked at: without Redis, and with it (for what was never announced).
LOOK_DATABASE_S: Final = 2.0
LOOK_DATABASE_BESIDE_REDIS_S: Final = 10.0

#: How many revisions a process that has just started goes back, past those that make no policy.
MAX_EARLIER: Final = 20

NOTHING: Final = Snapshot()


class _Holder:
    """What this process holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.snapshot: Snapshot | None = None
        #: What the document was compiled to, and the keys that are beside it in the snapshot.
        self.compiled = NOTHING
        self.keys: Sequence[LiveKey] = ()
        self.override: Snapshot | None = None
        self.overriding: Document = {}
        self.document: Document = {}
        #: Since when it is in force here, in epoch seconds; and whether none was before it.
        self.since = 0.0
        self.is_first = True
        self.retry_at = 0.0
        self.looked_at = 0.0
        #: What was announced and nobody has, and until when the database is not asked for it again.
        self.missed: tuple[str | None, float] = (None, 0.0)


class _Keys:
    """Reads the keys that count; the room that has them stands above this one."""

    read: Callable[[str], Sequence[LiveKey]] = staticmethod(lambda _using: ())


_held = _Holder()


def current_snapshot() -> Snapshot:
    """Return the policy in force; the first call in a process queries the database.

    Where the database cannot be read, the policy held before stays in force, and the empty
    one where there was none.
    """
    snapshot = _held.snapshot if _held.override is None else _held.override
    if snapshot is None or _is_over(snapshot):
        return _renew()
    return snapshot


def is_loaded() -> bool:
    """Whether ``current_snapshot()`` would answer at once: without a query, a lock or a compile."""
    snapshot = _held.snapshot if _held.override is None else _held.override
    return snapshot is not None and not _is_over(snapshot)


def document_in_force() -> Document:
    """Return the document that the policy in force was compiled from."""
    return _held.document if _held.override is None else _held.overriding


def compile_beside_keys(document: Document) -> Snapshot:
    """Compile a document as it would be in force at this moment, with the keys that count.

    Raises:
        InvalidDocument: It makes no policy.
    """
    now = time.time()
    return compile_document(document, None, now).with_keys(_held.keys, now)


def read_keys_by(read: Callable[[str], Sequence[LiveKey]]) -> None:
    """Have the keys that count read beside each policy.

    Args:
        read: Reads them from a database, by its alias.
    """
    _Keys.read = read


def adopt(document: Document, compiled: Snapshot) -> None:
    """Put a document in force in this process, unless a newer one of its lineage is."""
    with _held.lock:
        held = _announcement_held()
        new = compiled.announcement
        if held is None or (new is not None and new.supersedes(held)):
            try:
                keys = _Keys.read(router.db_for_write(PolicyState))
            except DatabaseError as error:
                # The next request is told that this process is behind, and loads.
                say(logger, logging.WARNING, "Keys cannot be read: %s", error)
            else:
                _put_in_force(document, compiled, keys)


def catch_up(announced: str | None) -> Snapshot:
    """Bring this process to the policy that the store announces, or to one newer still.

    Where the store announces nothing, or another lineage, or something older, the database
    decides and what it says is announced.

    Returns:
        The policy to decide with; the one held where nothing newer is to be had in time.
    """
    if not _held.lock.acquire(timeout=WAIT_S):
        return current_snapshot()
    try:
        held = _held.snapshot
        is_behind = held is None or (held.stamp != announced and not _is_missed(announced))
        if is_behind and _load():
            _restore(announced)
    finally:
        _held.lock.release()
    return current_snapshot()


def leaving_no_connection(function: Callable[[], None]) -> Callable[[], None]:
    """Make a function of the heartbeat close the connections that it opened.

    No request ends in its thread, with which Django would look after them; one held for good
    keeps a test database from being dropped.
    """

    def call() -> None:
        try:
            function()
        finally:
            connections.close_all()

    return call


def look() -> None:
    """See whether another policy is announced; the heartbeat calls this each second."""
    interval = LOOK_DATABASE_BESIDE_REDIS_S
    try:
        found = store.read()
    except StoreUnavailable:
        interval = LOOK_DATABASE_S
    else:
        held = _announcement_held()
        if held is None or found != held:
            catch_up(None if found is None else str(found))
    now = time.monotonic()
    if now - _held.looked_at >= interval:
        _held.looked_at = now
        look_at_database()


def look_at_database() -> None:
    """Take up what the database has and nobody announced."""
    using = router.db_for_write(PolicyState)
    try:
        state = PolicyState.objects.using(using).filter(pk=1).first()
        if state is None:
            return
        found = announcement_of(state)
        if _held.snapshot is None or _held.snapshot.announcement != found:
            catch_up(str(found))
    except DatabaseError as error:
        say(logger, logging.WARNING, "The policy in the database cannot be looked at: %s", error)


def announcement_of(state: PolicyState) -> Announcement:
    """Name the revision that a state row tells of."""
    return Announcement(str(state.lineage), state.revision, state.key_epoch)


@contextmanager
def overridden(document: Document) -> Iterator[Snapshot]:
    """Put a document in force in this process alone, for as long as the block lasts."""
    before = _held.override, _held.overriding
    snapshot = compile_beside_keys(document)
    _held.overriding, _held.override = document, snapshot
    try:
        yield snapshot
    finally:
        _held.override, _held.overriding = before


def standing() -> dict[str, Any]:
    """Say which revision is in force in this process, and since when; loads nothing.

    ``first`` is true where the process came up with it, rather than changed to it.
    """
    if _held.snapshot is None:
        return {"revision": None}
    return {
        "revision": _held.snapshot.revision,
        "since": round(_held.since, 3),
        "first": _held.is_first,
    }


def forget() -> None:
    """Hold nothing, as a process that has just started."""
    with _held.lock:
        _held.snapshot = None
        _held.compiled, _held.keys = NOTHING, ()
        _held.document = {}
        _held.retry_at = _held.looked_at = 0.0
        _held.missed = (None, 0.0)


def _renew() -> Snapshot:
    """Load the first policy, or compile the held one anew as a policy, or a key, starts or ends."""
    if not _held.lock.acquire(timeout=WAIT_S):
        return _held.override or _held.snapshot or NOTHING
    try:
        if _held.override is not None:
            return _held.override
        held = _held.snapshot
        if held is None:
            _load()
        elif held.announcement and _is_over(held):
            _take_the_next(held.announcement)
    finally:
        _held.lock.release()
    return _held.snapshot or NOTHING


def _is_over(snapshot: Snapshot) -> bool:
    """Whether a policy or key has started or ended since the snapshot was compiled."""
    return snapshot.valid_until is not None and snapshot.valid_until <= time.time()


def _take_the_next(announcement: Announcement) -> None:
    try:
        if _is_over(_held.compiled):
            _install(_held.document, announcement, _held.keys)
        else:
            _put_in_force(_held.document, _held.compiled, _held.keys)
    except PulseError as error:
        # Written past every validator. What was in force until now is better than nothing.
        compiled = replace(_held.compiled, valid_until=None)
        _put_in_force(_held.document, compiled, _held.keys)
        say(
            logger,
            logging.ERROR,
            "What starts now cannot be compiled; what was in force stays: %s",
            error,
        )


def _load() -> bool:
    """Read the newest revision and put it in force; keep the old one if that fails.

    Returns:
        Whether what is held is what the database says.
    """
    if time.monotonic() < _held.retry_at:
        return False
    using = router.db_for_write(PolicyState)
    # In a host's transaction an error of ours must not be the end of it.
    inside = connections[using].in_atomic_block
    try:
        with transaction.atomic(using=using) if inside else nullcontext():
            return _load_from(using)
    except (DatabaseError, PulseError) as error:
        _held.retry_at = time.monotonic() + RETRY_S
        say(
            logger,
            logging.ERROR,
            "The policy cannot be loaded; the one held stays in force: %s",
            error,
        )
        return False


def _load_from(using: str) -> bool:
    state = PolicyState.objects.using(using).filter(pk=1).first()
    if state is None:
        _held.retry_at = time.monotonic() + RETRY_S
        return False
    announcement = announcement_of(state)
    if _held.snapshot is None or _held.snapshot.announcement != announcement:
        keys = _Keys.read(using)
        if announcement.is_of_revision(_held.compiled.announcement):
            compiled = replace(_held.compiled, announcement=announcement)
            _put_in_force(_held.document, compiled, keys)
            return True
        try:
            _install(_document_of(state.revision, using), announcement, keys)
        except InvalidDocument as error:
            if _held.snapshot is not None:
                raise
            _install_earlier(using, announcement, keys, error)
    return True


def _document_of(number: int, using: str) -> Document:
    revisions = PolicyRevision.objects.using(using).filter(number=number)
    document: Document | None = revisions.values_list("document", flat=True).first()
    if document is None and number:
        raise InvalidDocument({"document": [f"Revision {number} is missing."]})
    return {} if document is None else document


def _install_earlier(
    using: str, announcement: Announcement, keys: Sequence[LiveKey], error: InvalidDocument
) -> None:
    """Put the newest policy in force that can be compiled: with none, nothing would be limited.

    It goes by the name of the one that cannot, so that the next revision takes its place.
    """
    earlier = PolicyRevision.objects.using(using).filter(number__lt=announcement.revision)
    for number, document in earlier.values_list("number", "document")[:MAX_EARLIER]:
        with suppress(InvalidDocument):
            _install(document, announcement, keys)
            say(
                logger,
                logging.ERROR,
                "Revision %d makes no policy, so %d is in force: %s",
                announcement.revision,
                number,
                error,
            )
            return
    raise error


def _is_missed(announced: str | None) -> bool:
    missed, until = _held.missed
    return missed == announced and time.monotonic() < until


def _install(document: Document, announcement: Announcement, keys: Sequence[LiveKey]) -> None:
    _put_in_force(document, compile_document(document, announcement, time.time()), keys)


def _put_in_force(document: Document, compiled: Snapshot, keys: Sequence[LiveKey]) -> None:
    snapshot = compiled.with_keys(keys, time.time()) if keys else compiled
    before = _held.snapshot
    if before is None or before.revision != snapshot.revision:
        _held.since, _held.is_first = time.time(), before is None
    _held.snapshot, _held.compiled, _held.keys = snapshot, compiled, keys
    _held.document = document
    say(logger, logging.INFO, "Policy revision %d is in force", snapshot.revision)


def _restore(announced: str | None) -> None:
    """Announce what the database says, where the store knows nothing of it or less."""
    held = _announcement_held()
    if held is None or str(held) == announced:
        return
    found = Announcement.parse(announced)
    if found is not None and not held.supersedes(found):
        was_missed = _held.missed[0] == announced
        _held.missed = (announced, time.monotonic() + RETRY_S)
        if not was_missed or not _begin_lineage(held):
            return
        held = _announcement_held() or held
    try:
        store.announce(held)
    except StoreUnavailable:
        say(logger, logging.DEBUG, "Revision %d could not be announced", held.revision)


def _announcement_held() -> Announcement | None:
    return _held.snapshot.announcement if _held.snapshot else None


def _begin_lineage(held: Announcement) -> bool:
    """Give the database a lineage of its own, as it was restored from an earlier day.

    What is announced comes after the commit, so a database that still knows less a second later
    has lost revisions. It would count up again through numbers that processes hold already.

    Returns:
        Whether this process now holds the new lineage.
    """
    using = router.db_for_write(PolicyState)
    if connections[using].in_atomic_block:  # The host's, which may come to nothing.
        return False
    states = PolicyState.objects.using(using)
    try:
        begun = states.filter(pk=1, lineage=held.lineage, revision=held.revision).update(
            lineage=uuid4()
        )
    except DatabaseError as error:
        say(
            logger,
            logging.WARNING,
            "The restored database cannot be given a lineage of its own: %s",
            error,
        )
        return False
    if begun:
        say(
            logger,
            logging.WARNING,
            "The database was restored to revision %d, before what is announced; "
            "it begins a lineage of its own",
            held.revision,
        )
    return _load()


def _forget_on_change(*, setting: str, **_: object) -> None:
    if setting == "DATABASES":
        forget()


def _begin_anew_in_child() -> None:
    # The lock may be held by a thread that stayed with the parent.
    _held.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)

setting_changed.connect(_forget_on_change, dispatch_uid="pulse.policies.current")
