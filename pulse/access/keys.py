"""Keys of the API: made, rotated, changed, withdrawn, and found by what a client sends.

Every change counts up the key epoch in its own transaction, under the lock of all edits, and is
announced after it: a process that is behind reloads with its next limited request. No revision
has keys in it, so that nothing that is rolled back revives one.
"""

import hmac
import logging
import secrets
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from pulse.access.models import ApiKey
from pulse.access.scopes import Scope
from pulse.access.signals import key_changed, key_made, key_revoked, key_rotated
from pulse.core.keys import NO_HASH, START, LiveKey, hash_of, prefix_of
from pulse.exceptions import KeyEnded, KeyRefused, StoreUnavailable
from pulse.policies import current
from pulse.policies.bases import LAST_YEAR
from pulse.policies.kinds import time_to_text
from pulse.policies.models import PolicyState, RateTier
from pulse.policies.publisher import Actor, database, lock
from pulse.store import announcement as store

logger = logging.getLogger(__name__)

LIFETIME: Final = timedelta(days=90)
#: How long a rotated key goes on beside its successor, in seconds, where nobody says.
OVERLAP_S: Final = 3600
PREFIX_LENGTH: Final = 8
PREFIX_LETTERS: Final = string.ascii_lowercase + string.digits
SECRET_BYTES: Final = 32
#: What a holder of a key may be given after it was made.
FIELDS: Final = ("name", "scopes", "tier", "expires_at")


class NewKey(NamedTuple):
    """A key that was just made.

    Attributes:
        row: What is kept of it.
        text: The whole key, which is kept nowhere: to be shown once.
    """

    row: ApiKey
    text: str


@dataclass(slots=True)
class _Change:
    """A block of ``changing()``, of which others within it are parts.

    Attributes:
        has_changed: A key was made, changed or deleted.
        is_over: A context copied from within it may outlive it; what it changes is its own.
    """

    has_changed: bool = False
    is_over: bool = False


_changing: Final[ContextVar[_Change | None]] = ContextVar("pulse_changing_keys", default=None)


class _Unset:
    """Stands for an end of which nothing was said, as None means that there is none."""


UNSET: Final = _Unset()


def make(
    name: str,
    *,
    actor: Actor,
    scopes: Sequence[str] = (Scope.VIEW,),
    tier: RateTier | None = None,
    expires_at: datetime | _Unset | None = UNSET,
) -> NewKey:
    """Make a key.

    Args:
        name: What it is for.
        actor: Who makes it.
        scopes: What it may do.
        tier: The tier of requests that come with it.
        expires_at: Its end, None for none; by default 90 days from now.

    Raises:
        ValidationError: A value is none that a key can have.
    """
    now = timezone.now()
    end = now + LIFETIME if isinstance(expires_at, _Unset) else expires_at
    if end is not None and end <= now:
        raise ValidationError({"expires_at": _("That is over: it would never count.")})
    with changing() as using:
        new = _insert(name, actor, using, scopes=list(scopes), tier=tier, expires_at=end)
        key_made.send(sender=ApiKey, key=new.row, actor=actor, using=using)
    return new


def rotate(key: ApiKey, *, actor: Actor, overlap_s: float = OVERLAP_S) -> NewKey:
    """Make a successor that may and lives as long as a key does; the key ends after the overlap.

    Raises:
        KeyEnded: It is revoked or has expired.
    """
    with changing() as using:
        row = _locked(key, using)
        now = timezone.now()
        if not is_live(row, now):
            raise KeyEnded(row.prefix)
        life = row.lifetime
        if not row.is_rotated:
            life = None if row.expires_at is None else row.expires_at - row.created_at
        end = None if life is None else _later(now, life)
        new = _insert(row.name, actor, using, scopes=row.scopes, tier=row.tier, expires_at=end)
        last = now + timedelta(seconds=overlap_s)
        ends = last if row.expires_at is None else min(last, row.expires_at)
        _set(row, using, expires_at=ends, lifetime=life, is_rotated=True)
        key_rotated.send(sender=ApiKey, key=row, successor=new.row, actor=actor, using=using)
    _refresh(key, row)
    return new


def change(key: ApiKey, *, actor: Actor, **fields: Any) -> None:
    """Give a key another name, other scopes, another tier or end; what stays the same is none.

    Raises:
        ValidationError: A value is none that a key can have.
    """
    unknown = fields.keys() - set(FIELDS)
    if unknown:
        raise TypeError(f"no field of a key that can be changed: {', '.join(sorted(unknown))}")
    with changing() as using:
        row = _locked(key, using)
        told = {
            name: {"before": _told(getattr(row, name)), "after": _told(value)}
            for name, value in fields.items()
            if getattr(row, name) != value
        }
        if told:
            _set(row, using, **fields)
            key_changed.send(sender=ApiKey, key=row, actor=actor, using=using, fields=told)
    _refresh(key, row)


def revoke(key: ApiKey, *, actor: Actor) -> None:
    """Withdraw a key for good; one that is revoked stays as it is."""
    with changing() as using:
        row = _locked(key, using)
        if row.revoked_at is None:
            _set(row, using, revoked_at=timezone.now())
            key_revoked.send(sender=ApiKey, key=row, actor=actor, using=using, deleted=False)
    _refresh(key, row)


def delete(key: ApiKey, *, actor: Actor) -> None:
    """Withdraw a key and forget it."""
    with changing() as using:
        row = _locked(key, using)
        key_revoked.send(sender=ApiKey, key=row, actor=actor, using=using, deleted=True)
        row.delete(using=using)
        _has_changed()


def is_live(key: ApiKey, now: datetime) -> bool:
    """Whether a key counts at a time."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


def as_dict(key: ApiKey) -> dict[str, Any]:
    """Return what is told of a key, as plain JSON."""
    return {
        "id": str(key.pk),
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "tier": None if key.tier is None else key.tier.name,
        "expires_at": time_to_text(key.expires_at),
        "last_used_at": time_to_text(key.last_used_at),
        "revoked_at": time_to_text(key.revoked_at),
        "version": key.version,
        "created_at": time_to_text(key.created_at),
        "updated_at": time_to_text(key.updated_at),
    }


def live(using: str) -> list[LiveKey]:
    """Read the keys that count, for the policy in force; one query."""
    rows = ApiKey.objects.using(using).filter(revoked_at=None).order_by()
    return [
        LiveKey(prefix, kept, tier, None if end is None else end.timestamp())
        for prefix, kept, tier, end in rows.values_list(
            "prefix", "hash", "tier__name", "expires_at"
        )
    ]


def authenticate(text: str) -> ApiKey:
    """Find the key that a client sends; one query by the prefix, and one more for a right key.

    Unknown prefixes take the same way with a hash that none has, and what is compared is compared
    in constant time. The row is read only then: to make one takes a while, by which who tries
    prefixes could tell those that there are.

    Raises:
        KeyRefused: It is unknown, wrong, revoked or expired.
        DatabaseError: The keys cannot be read.
    """
    rows = ApiKey.objects.using(database()).order_by()
    found = list(rows.filter(prefix=prefix_of(text) or "").values_list("pk", "hash")[:1])
    kept = found[0][1] if found else NO_HASH
    if not hmac.compare_digest(hash_of(text), kept):
        raise KeyRefused("wrong" if found else "unknown")
    key = rows.filter(pk=found[0][0]).first()
    if key is None:  # Deleted since.
        raise KeyRefused("unknown")
    if key.revoked_at is not None:
        raise KeyRefused("revoked")
    if not is_live(key, timezone.now()):
        raise KeyRefused("expired")
    return key


@contextmanager
def changing() -> Iterator[str]:
    """Change keys within the block, in one transaction that counts up the key epoch at most once.

    Nobody else changes one meanwhile.

    Yields:
        The alias of the database that they are in.
    """
    using, outer = database(), _changing.get()
    if outer is not None and not outer.is_over:
        with transaction.atomic(using=using):
            yield using
        return
    here = _Change()
    token = _changing.set(here)
    try:
        with transaction.atomic(using=using):
            lock(using)
            yield using
            if here.has_changed:
                _count_up(using)
    finally:
        here.is_over = True
        _changing.reset(token)


def _has_changed() -> None:
    here = _changing.get()
    if here is not None:
        here.has_changed = True


def _count_up(using: str) -> None:
    """Have every process read the keys anew, once they are committed."""
    PolicyState.objects.using(using).filter(pk=1).update(key_epoch=F("key_epoch") + 1)
    transaction.on_commit(lambda: _announce(using), using=using, robust=True)


def _announce(using: str) -> None:
    """Tell every process that keys have changed; this one knows at once."""
    try:
        state = PolicyState.objects.using(using).get(pk=1)
        store.announce(current.announcement_of(state))
    except StoreUnavailable as error:
        logger.info("A change of keys is not announced, others will look for it: %s", error)
    except DatabaseError as error:
        logger.warning("A change of keys cannot be announced, others will look for it: %s", error)
    current.look_at_database()


def _later(now: datetime, life: timedelta) -> datetime:
    """Return a time by which a life that begins now is over; no later than can be shown."""
    last = datetime(LAST_YEAR, 12, 31, tzinfo=UTC)
    return last if life > last - now else now + life


def _insert(name: str, actor: Actor, using: str, **fields: Any) -> NewKey:
    prefix = "".join(secrets.choice(PREFIX_LETTERS) for _ in range(PREFIX_LENGTH))
    text = f"{START}{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row = ApiKey(
        name=name, prefix=prefix, hash=hash_of(text), created_by=actor.name[:150], **fields
    )
    row.full_clean(validate_unique=False)
    row.save(using=using, force_insert=True)
    _has_changed()
    return NewKey(row, text)


def _locked(key: ApiKey, using: str) -> ApiKey:
    """Read a key anew under the lock: another may have changed it since it was shown.

    Raises:
        ApiKey.DoesNotExist: Another has deleted it.
    """
    return ApiKey.objects.using(using).select_related("tier").get(pk=key.pk)


def _set(key: ApiKey, using: str, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(key, name, value)
    key.version += 1
    key.full_clean(validate_unique=False)
    key.save(using=using, update_fields=[*fields, "version", "updated_at"])
    _has_changed()


def _refresh(key: ApiKey, row: ApiKey) -> None:
    """Let the caller's copy show what was written."""
    vars(key).update(vars(row))


def _told(value: Any) -> Any:
    if isinstance(value, RateTier):
        return value.name
    return time_to_text(value) if isinstance(value, datetime) else value
