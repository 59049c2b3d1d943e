"""What keys say to the rest of the house, and to hosts."""

from django.dispatch import Signal

#: A key was made, rotated, changed, revoked or deleted, and the change is not yet committed: a
#: receiver that raises undoes it. Arguments: ``sender`` (ApiKey), ``key`` (the row), ``actor``
#: (publisher's), ``using``; ``key_rotated`` has the ``successor`` besides, ``key_changed`` the
#: ``fields``, each with ``before`` and ``after``, and ``key_revoked`` also ``deleted``.
key_made = Signal()
key_rotated = Signal()
key_changed = Signal()
key_revoked = Signal()

#: A key was sent that does not count. Arguments: ``sender`` (ApiKey), ``prefix`` (empty where the
#: text has not the form of a key), ``reason`` (``unknown wrong expired revoked``),
#: ``actor`` (whose address it is), ``request``.
key_failed = Signal()
