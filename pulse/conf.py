"""The one reader of ``settings.PULSE``.

Every entry is a property that reads anew, so that ``override_settings`` works. A bad value is
found by ``pulse.checks``; here the default stands in for it, so that a slip of configuration
never becomes an exception on a request.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from django.conf import settings

T = TypeVar("T")

IDENTITY_SOURCES: Final = ("user", "address")
HEADER_SOURCE: Final = "header:"


class Conf:
    """Typed access to the dictionary ``settings.PULSE``."""

    @property
    def ENABLED(self) -> bool:
        """Whether pulse acts at all; False counts, refuses and adds nothing."""
        return self._get("ENABLED", True, bool)

    @property
    def CACHE(self) -> str:
        """The alias of the cache whose Redis holds the counters."""
        return self._get("CACHE", "default", str)

    @property
    def CLIENT_IDENTITY(self) -> Sequence[str]:
        """Who a client is: the first of these sources that the request has.

        ``user``, ``address`` or ``header:NAME``.
        """
        default = ("user", "header:X-Track-ID", "header:Authorization", "address")
        value = self._entries().get("CLIENT_IDENTITY", default)
        return tuple(value) if isinstance(value, list | tuple) else default

    @property
    def DETAILED_ERRORS(self) -> bool:
        """Whether refusals say how long to wait in words; by default as ``DEBUG``."""
        return self._get("DETAILED_ERRORS", bool(settings.DEBUG), bool)

    @property
    def RATE_LIMIT_HEADERS(self) -> str:
        """``both``, ``legacy`` (X-RateLimit-*), ``ietf`` (RateLimit, RateLimit-Policy) or ``off``."""
        value = self._get("RATE_LIMIT_HEADERS", "both", str)
        return value if value in {"both", "legacy", "ietf", "off"} else "both"

    @property
    def PUBLISH(self) -> str:
        """``auto``: an edit is in force at once; ``manual``: it is a draft until published."""
        value = self._get("PUBLISH", "auto", str)
        return value if value in {"auto", "manual"} else "auto"

    @property
    def STORE_TIMEOUT_MS(self) -> int:
        """How long a request waits for Redis, to connect and to read each, in milliseconds."""
        return self._get("STORE_TIMEOUT_MS", 50, int)

    @property
    def LOCAL_MAX_KEYS(self) -> int:
        """How many counters the in-process store keeps before the one nearest to full goes."""
        return self._get("LOCAL_MAX_KEYS", 100_000, int)

    @property
    def RATE_LIMIT_REQUESTS_PER_SECOND(self) -> int:
        """Rate of the tier ``default`` as ``migrate`` seeds it."""
        return self._get("RATE_LIMIT_REQUESTS_PER_SECOND", 10, int)

    @property
    def RATE_LIMIT_BURST(self) -> int:
        """Burst of the tier ``default`` as ``migrate`` seeds it."""
        return self._get("RATE_LIMIT_BURST", 20, int)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Every key that ``PULSE`` may have."""
        return frozenset(name for name in vars(cls) if name.isupper())

    def _get(self, name: str, default: T, kind: type[T]) -> T:
        value = self._entries().get(name, default)
        return value if isinstance(value, kind) else default

    def _entries(self) -> Mapping[str, Any]:
        value = getattr(settings, "PULSE", {})
        return value if isinstance(value, Mapping) else {}


conf: Final = Conf()
