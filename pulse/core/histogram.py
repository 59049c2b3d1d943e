"""Latencies of many requests in little room, from any process and any time, added up.

Buckets are logarithmic with a straight sixteen to each doubling, so a value read back is at most
1/32 (3.2 %) off, and finding a bucket costs a shift. Integer microseconds within, milliseconds
outward.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

#: Buckets to each doubling, as a power of two.
PRECISION_BITS: Final = 4
#: How far a value read back may be off, as a share of it.
RELATIVE_ERROR: Final = 2 ** -(PRECISION_BITS + 1)
#: Below this every microsecond has its own bucket.
EXACT_BELOW_US: Final = 2 << PRECISION_BITS
#: Longer latencies count as this: twelve days.
MAX_US: Final = 2**40 - 1


def bucket_of(us: int) -> int:
    """Return the bucket of a latency from 0 to ``MAX_US``: a number below 592."""
    if us < EXACT_BELOW_US:
        return us
    shift = us.bit_length() - PRECISION_BITS - 1
    return (shift << PRECISION_BITS) + (us >> shift)


def value_of(bucket: int) -> float:
    """Return the middle of a bucket, in microseconds."""
    if bucket < EXACT_BELOW_US:
        return bucket
    shift = (bucket >> PRECISION_BITS) - 1
    first = (bucket - (shift << PRECISION_BITS)) << shift
    return first + ((1 << shift) - 1) / 2


MAX_BUCKET: Final = bucket_of(MAX_US)


@dataclass(slots=True)
class Histogram:
    """Counts by bucket, and what buckets cannot tell beside them. A recorder adds in place.

    Attributes:
        counts: By bucket; buckets with nothing in them are not there.
        sum_us: Of all latencies, exact.
        min_us: The shortest, exact; meaningless while there is none.
        max_us: The longest, exact; likewise.
    """

    counts: dict[int, int] = field(default_factory=dict)
    sum_us: int = 0
    min_us: int = MAX_US
    max_us: int = 0

    @property
    def count(self) -> int:
        """How many latencies were added."""
        return sum(self.counts.values())

    @property
    def mean_ms(self) -> float | None:
        """The mean, exact; None of none."""
        count = self.count
        return self.sum_us / count / 1000 if count else None

    def add(self, us: int) -> None:
        """Count one latency, in microseconds; a negative one, after a clock was set, as 0."""
        if not 0 <= us <= MAX_US:
            us = min(max(us, 0), MAX_US)
        bucket = bucket_of(us)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.sum_us += us
        # Every request comes by here, and calls of min and max took two fifths of the time.
        if us < self.min_us:  # noqa: PLR1730 - as above
            self.min_us = us
        if us > self.max_us:  # noqa: PLR1730 - as above
            self.max_us = us

    def merge(self, other: "Histogram") -> None:
        """Add what another has counted; the same as if all had been added here."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.sum_us += other.sum_us
        self.min_us = min(self.min_us, other.min_us)
        self.max_us = max(self.max_us, other.max_us)

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency that a share of all do not exceed (nearest rank); None of none."""
        return self.quantiles_ms((share,))[0]

    def quantiles_ms(self, shares: Sequence[float]) -> list[float | None]:
        """Return the latencies that each share, from 0 to 1, of all do not exceed.

        Each is at most ``RELATIVE_ERROR`` off; the shortest and the longest are exact.
        """
        total = self.count
        if not total:
            return [None] * len(shares)
        ranks = {share: max(1, math.ceil(share * total)) for share in shares}
        found: dict[float, float] = {}
        waiting = sorted(set(shares), reverse=True)
        seen = 0
        for bucket, count in sorted(self.counts.items()):
            seen += count
            while waiting and ranks[waiting[-1]] <= seen:
                us = min(max(value_of(bucket), self.min_us), self.max_us)
                rank = ranks[share := waiting.pop()]
                us = self.min_us if rank == 1 else self.max_us if rank == total else us
                found[share] = us / 1000
        return [found[share] for share in shares]

    def to_json(self) -> dict[str, int]:
        """Return the counts with texts as keys, in order of latency.

        Two of them added key by key are those of both together. ``sum_us``, ``min_us`` and
        ``max_us`` are kept beside, as numbers that a database can add and compare.
        """
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}


def from_json(counts: Mapping[str, int], sum_us: int, min_us: int, max_us: int) -> Histogram:
    """Read what ``to_json`` wrote; what can be no bucket or count is left out."""
    return Histogram(
        {
            int(key): count
            for key, count in counts.items()
            if key.isascii() and key.isdecimal() and len(key) <= 3 and int(key) <= MAX_BUCKET
            # A bool is an int, and one in place of a count is a slip of another kind.
            if type(count) is int and count > 0
        },
        sum_us,
        min_us,
        max_us,
    )


def add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add up counts as ``to_json`` writes them."""
    total: dict[str, int] = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0) + count
    return total
