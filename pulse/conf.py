"""The one reader of ``settings.PULSE``.

Every entry is read once, and anew after ``override_settings``: each request asks for several. A bad
value is found by ``pulse.checks``; here the default stands in for it, so that a slip of
configuration never becomes an exception on a request.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.signals import setting_changed

from pulse.core.bounds import MAX_BODY_BYTES, MAX_SLOW_MS
from pulse.core.clients import client_secret
from pulse.core.marks import probe_secret
from pulse.core.networks import Network, parse_network
from pulse.core.quotas import MAX_COUNT, SECOND_US, Quota, make_quota
from pulse.exceptions import InvalidNetwork, InvalidQuota

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number within bounds."""

    least: int
    most: int
    default: int


IDENTITY_SOURCES: Final = ("api_key", "user", "address")
NUMBERS: Final = {
    "STORE_TIMEOUT_MS": Number(1, 5000, 50),
    "LOCAL_MAX_KEYS": Number(1000, MAX_COUNT, 100_000),
    "RATE_LIMIT_REQUESTS_PER_SECOND": Number(1, SECOND_US, 10),
    "RATE_LIMIT_BURST": Number(1, MAX_COUNT, 20),
    "MAX_BODY_BYTES": Number(0, MAX_BODY_BYTES, 10 * 2**20),
    "SLOW_REQUEST_MS": Number(0, MAX_SLOW_MS, 1000),
    "AUTH_DELAY_MS": Number(0, 1000, 20),
    "SAMPLE_BYTES": Number(0, 2**30, 8 * 2**20),
    "PROBE_PAYLOAD_MAX_BYTES": Number(1, 100 * 2**20, 2**20),
    "PROBE_PAYLOAD_TOTAL_BYTES": Number(1, 2**30, 10 * 2**20),
    "PROBE_TURNS": Number(1, 64, 2),
    "PROBE_RESULTS_MAX": Number(1000, MAX_COUNT, 2_000_000),
    "AUDIT_DAYS": Number(1, 36_500, 365),
    "METRICS_WINDOW_S": Number(10, 3600, 300),
    "METRICS_BUCKET_S": Number(5, 60, 60),
    "MAX_ENDPOINTS": Number(1, 100_000, 1000),
    "APDEX_MS": Number(1, MAX_SLOW_MS, 500),
    "SLA_P95_MS": Number(1, MAX_SLOW_MS, 200),
    "SLOW_QUERY_MS": Number(0, MAX_SLOW_MS, 500),
}
#: What a minute can be made of.
BUCKETS_S: Final = (5, 6, 10, 12, 15, 20, 30, 60)
AUTH_FAILURES: Final = "20/m"
PROBE_SECRET_ENV: Final = ("PULSE_PROBE_*",)
SLA_ERROR_RATE: Final = 0.05
USAGE_WARNING: Final = 0.8
METRICS_NETWORKS: Final = ("127.0.0.0/8", "::1")
#: A variable's name, or what several begin with; never all of them.
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?", re.ASCII)
#: What a setting may be; the first is its default.
CHOICES: Final = {
    "RATE_LIMIT_HEADERS": ("both", "legacy", "ietf", "off"),
    "PUBLISH": ("auto", "manual"),
    "PROBE_TRANSPORT": ("http", "in_process"),
}


def is_share(value: object) -> bool:
    """Whether a value is a number from 0 to 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


class Conf:
    """Typed access to the dictionary ``settings.PULSE``."""

    @cached_property
    def ENABLED(self) -> bool:
        """Whether pulse acts at all; False counts, refuses and adds nothing."""
        return self._get("ENABLED", default=True, kind=bool)

    @cached_property
    def CACHE(self) -> str:
        """The alias of the cache whose Redis holds the counters."""
        return self._get("CACHE", "default", str)

    @cached_property
    def CLIENT_IDENTITY(self) -> Sequence[str]:
        """Who a client is: the first of these sources that the request has.

        ``api_key``, ``user``, ``address`` or ``header:NAME``.
        """
        default = ("api_key", "user", "header:X-Track-ID", "header:Authorization", "address")
        value = self._entries().get("CLIENT_IDENTITY", default)
        if isinstance(value, list | tuple) and all(isinstance(source, str) for source in value):
            return tuple(value)
        return default

    @cached_property
    def DETAILED_ERRORS(self) -> bool:
        """Whether refusals say how long to wait in words; by default as ``DEBUG``."""
        return self._get("DETAILED_ERRORS", bool(settings.DEBUG), bool)

    @cached_property
    def RATE_LIMIT_HEADERS(self) -> str:
        """``both``, ``legacy`` (X-RateLimit-*), ``ietf`` (RateLimit and its policy) or ``off``."""
        return self._choice("RATE_LIMIT_HEADERS")

    @cached_property
    def PUBLISH(self) -> str:
        """``auto``: an edit is in force at once; ``manual``: it is a draft until published."""
        return self._choice("PUBLISH")

    @cached_property
    def STORE_TIMEOUT_MS(self) -> int:
        """How long a request waits for Redis, to connect and to read each, in milliseconds."""
        return self._number("STORE_TIMEOUT_MS")

    @cached_property
    def LOCAL_MAX_KEYS(self) -> int:
        """How many counters the in-process store keeps; full ones, then the longest unused, go."""
        return self._number("LOCAL_MAX_KEYS")

    @cached_property
    def RATE_LIMIT_REQUESTS_PER_SECOND(self) -> int:
        """Rate of the tier ``default`` as ``migrate`` seeds it."""
        return self._number("RATE_LIMIT_REQUESTS_PER_SECOND")

    @cached_property
    def RATE_LIMIT_BURST(self) -> int:
        """Burst of the tier ``default`` as ``migrate`` seeds it."""
        return self._number("RATE_LIMIT_BURST")

    @cached_property
    def CORS(self) -> bool:
        """Whether pulse adds CORS headers and answers preflights."""
        return self._get("CORS", default=True, kind=bool)

    @cached_property
    def MAX_BODY_BYTES(self) -> int:
        """The largest body where no endpoint limit says another, in bytes; 0 for no limit."""
        return self._number("MAX_BODY_BYTES")

    @cached_property
    def ACCESS_LOG(self) -> bool:
        """Whether each request is logged, at the level INFO."""
        return self._get("ACCESS_LOG", default=True, kind=bool)

    @cached_property
    def SLOW_REQUEST_MS(self) -> int:
        """How long an answer takes that is logged as slow, in milliseconds; 0 for none."""
        return self._number("SLOW_REQUEST_MS")

    @cached_property
    def AUTH_FAILURES(self) -> str:
        """How many keys that do not count an address may send, such as ``20/m``."""
        return self.auth_failures.rate

    @cached_property
    def AUTH_DELAY_MS(self) -> int:
        """The longest that a refused key is kept waiting, by chance, in milliseconds."""
        return self._number("AUTH_DELAY_MS")

    @cached_property
    def SAMPLE_BYTES(self) -> int:
        """How much the sample of recorded requests may take, in bytes; 0: nothing is recorded."""
        return self._number("SAMPLE_BYTES")

    @cached_property
    def PROBE_BASE_URL(self) -> str:
        """Where probes reach this site, such as ``http://127.0.0.1:8000``; empty: nowhere."""
        return self._get("PROBE_BASE_URL", "", str).rstrip("/")

    @cached_property
    def SITE_URL(self) -> str:
        """Where people reach this site, such as ``https://www.example.com``; empty: no links."""
        return self._get("SITE_URL", "", str).rstrip("/")

    @cached_property
    def PROBE_TRANSPORT(self) -> str:
        """How endpoints without a target of their own are probed: ``http`` or ``in_process``."""
        return self._choice("PROBE_TRANSPORT")

    @cached_property
    def PROBE_OPENAPI(self) -> str:
        """The dotted path of a function that returns the site's OpenAPI document as a mapping.

        Empty: drf-spectacular is asked, where the host has it.
        """
        return self._get("PROBE_OPENAPI", "", str)

    @cached_property
    def PROBE_PAYLOAD_MAX_BYTES(self) -> int:
        """The largest body of one stored payload, in bytes."""
        return self._number("PROBE_PAYLOAD_MAX_BYTES")

    @cached_property
    def PROBE_PAYLOAD_TOTAL_BYTES(self) -> int:
        """The most that all stored payloads' bodies may be together, in bytes."""
        return self._number("PROBE_PAYLOAD_TOTAL_BYTES")

    @cached_property
    def PROBE_TURNS(self) -> int:
        """How many Celery tasks run probes at once, over all workers."""
        return self._number("PROBE_TURNS")

    @cached_property
    def PROBE_RESULTS_MAX(self) -> int:
        """How many single results are kept; the oldest go first."""
        return self._number("PROBE_RESULTS_MAX")

    @cached_property
    def AUDIT_DAYS(self) -> int:
        """How long entries of the audit are kept, in days."""
        return self._number("AUDIT_DAYS")

    @cached_property
    def METRICS(self) -> bool:
        """Whether requests are measured."""
        return self._get("METRICS", default=True, kind=bool)

    @cached_property
    def METRICS_BACKEND(self) -> str:
        """The dotted path of what measures in the place of pulse; empty: pulse does."""
        return self._get("METRICS_BACKEND", "", str)

    @cached_property
    def METRICS_WINDOW_S(self) -> int:
        """How far a reading goes back that is asked for no other time, in seconds."""
        return self._number("METRICS_WINDOW_S")

    @cached_property
    def METRICS_BUCKET_S(self) -> int:
        """How long the buckets are that measures are kept in, in seconds; a part of a minute."""
        seconds = self._number("METRICS_BUCKET_S")
        return seconds if seconds in BUCKETS_S else NUMBERS["METRICS_BUCKET_S"].default

    @cached_property
    def MAX_ENDPOINTS(self) -> int:
        """How many endpoints are measured each by itself; the longest unused go."""
        return self._number("MAX_ENDPOINTS")

    @cached_property
    def APDEX_MS(self) -> int:
        """How long a good answer takes at most, in milliseconds: Apdex's T."""
        return self._number("APDEX_MS")

    @cached_property
    def SLA_P95_MS(self) -> int:
        """How long 95 % of answers take at most where the promise is kept, in milliseconds."""
        return self._number("SLA_P95_MS")

    @cached_property
    def SLA_ERROR_RATE(self) -> float:
        """The most errors among requests where the promise is kept, from 0 to 1."""
        value = self._entries().get("SLA_ERROR_RATE", SLA_ERROR_RATE)
        return float(value) if is_share(value) else SLA_ERROR_RATE

    @cached_property
    def COUNT_QUERIES(self) -> bool:
        """Whether the SQL statements of requests are counted and timed."""
        return self._get("COUNT_QUERIES", default=False, kind=bool)

    @cached_property
    def SLOW_QUERY_MS(self) -> int:
        """How long a statement takes that is logged as slow, in milliseconds; 0 for none.

        Only where ``COUNT_QUERIES`` is set.
        """
        return self._number("SLOW_QUERY_MS")

    @cached_property
    def SECRET_KEYS(self) -> Sequence[str]:
        """What encrypts stored secrets: the first writes, all read; empty: ``SECRET_KEY``'s."""
        value = self._entries().get("SECRET_KEYS", ())
        if isinstance(value, list | tuple) and all(isinstance(key, str) and key for key in value):
            return tuple(value)
        return ()

    @cached_property
    def USAGE_WARNING(self) -> float:
        """From which share of its bound on a pool or a local cache is warned of, 0 to 1."""
        value = self._entries().get("USAGE_WARNING", USAGE_WARNING)
        return float(value) if is_share(value) else USAGE_WARNING

    @cached_property
    def PROMETHEUS_COMPAT(self) -> bool:
        """Whether Prometheus is told two names more, which dashboards of other limiters know."""
        return self._get("PROMETHEUS_COMPAT", default=False, kind=bool)

    @cached_property
    def PROMETHEUS_ADDRESSES(self) -> bool:
        """Whether those two tell from which address what was refused came, up to a bound."""
        return self._get("PROMETHEUS_ADDRESSES", default=False, kind=bool)

    @cached_property
    def METRICS_NETWORKS(self) -> Sequence[str]:
        """From which networks Prometheus may ask without a key."""
        value = self._entries().get("METRICS_NETWORKS", METRICS_NETWORKS)
        if not isinstance(value, list | tuple):
            return METRICS_NETWORKS
        try:
            for text in value:
                parse_network(text)
        except (InvalidNetwork, TypeError):
            return METRICS_NETWORKS
        return tuple(value)

    @cached_property
    def metrics_networks(self) -> Sequence[Network]:
        """``METRICS_NETWORKS`` as addresses are looked up in them."""
        return tuple(map(parse_network, self.METRICS_NETWORKS))

    @cached_property
    def PROBE_SECRET_ENV(self) -> Sequence[str]:
        """Which variables of its environment a worker may send as secrets of probes.

        Names; one that ends in ``*`` stands for all that begin so.
        """
        value = self._entries().get("PROBE_SECRET_ENV", PROBE_SECRET_ENV)
        if isinstance(value, list | tuple) and all(
            isinstance(name, str) and VARIABLE.fullmatch(name) for name in value
        ):
            return tuple(value)
        return PROBE_SECRET_ENV

    @cached_property
    def OUTBOUND_NETWORK(self) -> str:
        """The dotted path of what probes and webhooks reach instead of the network; for tests."""
        return self._get("OUTBOUND_NETWORK", "", str)

    @cached_property
    def auth_failures(self) -> Quota:
        """``AUTH_FAILURES`` as it is counted."""
        try:
            return make_quota(self._get("AUTH_FAILURES", AUTH_FAILURES, str))
        except InvalidQuota:
            return make_quota(AUTH_FAILURES)

    @cached_property
    def client_secret(self) -> bytes:
        """The key of every hash of clients: of shares of them, of what identifies one."""
        return client_secret(settings.SECRET_KEY)

    @cached_property
    def probe_secret(self) -> bytes:
        """The key that signs the requests of probes."""
        return probe_secret(settings.SECRET_KEY)

    @classmethod
    def names(cls) -> frozenset[str]:
        """Every key that ``PULSE`` may have."""
        return frozenset(name for name in vars(cls) if name.isupper())

    def _get(self, name: str, default: T, kind: type[T]) -> T:
        value = self._entries().get(name, default)
        return value if isinstance(value, kind) else default

    def _choice(self, name: str) -> str:
        choices = CHOICES[name]
        value = self._get(name, choices[0], str)
        return value if value in choices else choices[0]

    def _number(self, name: str) -> int:
        number = NUMBERS[name]
        value = self._entries().get(name, number.default)
        # True is an int to Python; nobody who writes it means one millisecond.
        if not isinstance(value, int) or isinstance(value, bool):
            return number.default
        return value if number.least <= value <= number.most else number.default

    def _entries(self) -> Mapping[str, Any]:
        value = getattr(settings, "PULSE", {})
        return value if isinstance(value, Mapping) else {}


conf: Final = Conf()


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"PULSE", "DEBUG", "SECRET_KEY"}:
        vars(conf).clear()


setting_changed.connect(_forget, dispatch_uid="pulse.conf")
