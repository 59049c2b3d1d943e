"""What is measured of requests: counts of one endpoint over a time, which add up.

Counted in one process and merged with those of others, of other times and other endpoints; no
percentile is ever made of percentiles.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pulse.core.histogram import Histogram

#: Paths that resolve to nothing are one endpoint, however many are invented.
UNRESOLVED: Final = "* (unresolved)"
#: Stands for endpoints that found no room among those that are kept.
OTHERS: Final = "* (others)"
#: The percentiles that are told, by name.
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
ERRORS_FROM: Final = 500
#: A window of which less was measured is said to have gaps.
COVERED: Final = 0.9


@dataclass(slots=True)
class Measures:
    """What came of requests. A recorder adds in place.

    Attributes:
        statuses: How many answers by status code; every answer is in one.
        refused_by: How many pulse refused, by kind and natural key, such as
            ``rate_tiers:default``.
        would_refuse: How many rules in shadow would have refused.
        satisfied: Answers within the time that counts as good (Apdex T).
        tolerated: Answers within four times that.
        slow: Answers that took longer than one may.
        bytes_in: Of bodies of requests.
        bytes_out: Of bodies of answers, as far as their length is known.
        queries: SQL statements; 0 where they are not counted.
        query_us: What they took, in microseconds.
        latencies: Of answers that pulse did not refuse.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    refused_by: Counter[str] = field(default_factory=Counter)
    would_refuse: int = 0
    satisfied: int = 0
    tolerated: int = 0
    slow: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queries: int = 0
    query_us: int = 0
    latencies: Histogram = field(default_factory=Histogram)

    @property
    def requests(self) -> int:
        """Every answer, refused ones too."""
        return self.statuses.total()

    @property
    def refused(self) -> int:
        """What pulse refused."""
        return self.refused_by.total()

    @property
    def errors(self) -> int:
        """Answers that tell of a fault of the server's."""
        return sum(count for status, count in self.statuses.items() if status >= ERRORS_FROM)

    @property
    def error_rate(self) -> float | None:
        """Errors among requests, from 0 to 1; None of none."""
        return self.errors / self.requests if self.requests else None

    @property
    def apdex(self) -> float | None:
        """The share of good answers, tolerated ones counted half; None of none (Apdex Alliance)."""
        timed = self.latencies.count
        return (self.satisfied + self.tolerated / 2) / timed if timed else None

    def merge(self, other: "Measures") -> None:
        """Add what another has counted; the same as if all had been added here."""
        self.statuses.update(other.statuses)
        self.refused_by.update(other.refused_by)
        self.would_refuse += other.would_refuse
        self.satisfied += other.satisfied
        self.tolerated += other.tolerated
        self.slow += other.slow
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.queries += other.queries
        self.query_us += other.query_us
        self.latencies.merge(other.latencies)


@dataclass(frozen=True, slots=True)
class Targets:
    """What service is promised: the answer must be within both to keep it.

    Attributes:
        p95_ms: The longest that 95 % of answers may take, in milliseconds.
        error_rate: The most errors among requests, from 0 to 1.
    """

    p95_ms: float = 200.0
    error_rate: float = 0.05


@dataclass(frozen=True, slots=True)
class Lifetime:
    """What was counted since counting began.

    Attributes:
        since_at: None where that is not known.
    """

    since_at: datetime | None = None
    requests: int = 0
    errors: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """One reading: what all processes measured over a time, merged.

    Attributes:
        from_at: Where it begins; it is aligned with no bucket.
        to_at: Where it ends: at the last flush that is known.
        scope: ``all``, or ``process`` where no Redis brings processes together.
        processes: How many of them were heard.
        in_flight: Requests that are being answered.
        in_flight_by: By endpoint id, where their route is known.
        gaps: Spans with nothing recorded, since there was nobody to record or nowhere to.
        apart: What is in none of the counts: ``probes``, ``pulse``, ``streams``.
        endpoints: By endpoint id, ``GET /api/products/``.
        total: Of all endpoints; also of those that found no room.
        dropped: Requests whose measures were lost, as there was no room or no store for them.
        lag_s: How long ago the oldest process that is alive was last heard, in seconds.
        is_stale: The store could not be asked: this is what was known last, or of this process.
    """

    from_at: datetime
    to_at: datetime
    scope: str
    processes: int
    total: Measures
    endpoints: Mapping[str, Measures]
    lifetime: Lifetime = field(default_factory=Lifetime)
    in_flight: int = 0
    in_flight_by: Mapping[str, int] = field(default_factory=dict)
    gaps: Sequence[tuple[datetime, datetime]] = ()
    apart: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    lag_s: float = 0.0
    is_stale: bool = False

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.to_at - self.from_at).total_seconds()

    @property
    def covered_s(self) -> float:
        """How long it is without its gaps: what rates are made of."""
        gone = sum((until - since).total_seconds() for since, until in self.gaps)
        return max(self.seconds - gone, 0.0)

    @property
    def is_covered(self) -> bool:
        """Whether its gaps are too short to speak of."""
        return self.covered_s >= COVERED * self.seconds


def merged(parts: Iterable[Measures]) -> Measures:
    """Add measures up in new ones."""
    total = Measures()
    for part in parts:
        total.merge(part)
    return total


def keeps(measures: Measures, targets: Targets) -> bool | None:
    """Whether the promised service was kept; None where nothing was measured."""
    if not measures.requests:
        return None
    p95_ms = measures.latencies.quantile_ms(0.95)
    within = p95_ms is None or p95_ms <= targets.p95_ms
    return within and (measures.error_rate or 0.0) <= targets.error_rate


def latency_ms(measures: Measures) -> dict[str, float | None]:
    """Write how long answers took, in milliseconds; None of none."""
    latencies = measures.latencies
    any_timed = bool(latencies.counts)
    quantiles = latencies.quantiles_ms(list(SHARES.values()))
    return {
        "min": latencies.min_us / 1000 if any_timed else None,
        "mean": latencies.mean_ms,
        "max": latencies.max_us / 1000 if any_timed else None,
        **dict(zip(SHARES, quantiles, strict=True)),
    }


def told(
    measures: Measures, seconds: float, targets: Targets, *, in_flight: int | None = None
) -> dict[str, Any]:
    """Write measures as the API tells them; what was not measured is None, never 0.

    Args:
        measures: Of one endpoint or of all.
        seconds: Over how long, without gaps.
        targets: What the verdict ``sla`` goes by.
        in_flight: Requests that are being answered; None where that is not known by endpoint.
    """
    requests = measures.requests
    error_rate = measures.error_rate
    body: dict[str, Any] = {
        "requests": requests,
        "rate_per_s": requests / seconds if seconds else None,
        "errors": measures.errors,
        "error_rate": error_rate,
        "success_rate": None if error_rate is None else 1 - error_rate,
        "statuses": {
            str(status): measures.statuses[status] for status in sorted(measures.statuses)
        },
        "refused": measures.refused,
        "refused_per_s": measures.refused / seconds if seconds else None,
        "would_refuse": measures.would_refuse,
        "slow": measures.slow,
        "bytes_in": measures.bytes_in,
        "bytes_out": measures.bytes_out,
        "queries": measures.queries,
        "query_ms": measures.query_us / 1000,
        "latency_ms": latency_ms(measures),
        "apdex": measures.apdex,
        "sla": keeps(measures, targets),
    }
    if in_flight is not None:
        body["in_flight"] = in_flight
    return body
