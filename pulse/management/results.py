"""What came of a job of probes, as the terminal tells it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pulse.core.histogram import Histogram
from pulse.management.following import Seen
from pulse.probes.state import ItemState, JobStatus, ProbeItem
from pulse.probes.summary.wire import item_as_dict, job_as_dict

#: Exit codes: some probe is not as it should be; nothing was probed.
SOME_NOT: Final = 1
NOT_RUN: Final = 2
MARKS: Final[Mapping[str, str]] = {
    ItemState.OK: "✓",
    ItemState.DEGRADED: "!",
    ItemState.FAILED: "✗",
    ItemState.TIMEOUT: "✗",
    ItemState.LOST: "?",
    ItemState.CANCELLED: "-",
}
#: Of what was not as it should be so much is told.
MAX_DETAIL: Final = 120


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a probe is not good enough.

    Attributes:
        max_latency_ms: What took longer is not, whatever its target expects.
        degraded_is_bad: Whether ``degraded`` is not.
    """

    max_latency_ms: float | None = None
    degraded_is_bad: bool = True

    def is_bad(self, item: ProbeItem) -> bool:
        """Whether a probe that has ended is not good enough."""
        if item.state == ItemState.OK or (
            item.state == ItemState.DEGRADED and not self.degraded_is_bad
        ):
            return self.is_slow(item)
        return True

    def is_slow(self, item: ProbeItem) -> bool:
        """Whether it took longer than it may."""
        most = self.max_latency_ms
        return most is not None and item.latency_ms is not None and item.latency_ms > most


@dataclass(frozen=True, slots=True)
class Verdict:
    """A job that has ended, its probes in the order in which they were asked for."""

    seen: Seen
    items: tuple[ProbeItem, ...]
    thresholds: Thresholds

    @property
    def bad(self) -> int:
        """How many are not good enough."""
        return sum(self.thresholds.is_bad(item) for item in self.items)

    @property
    def code(self) -> int:
        """The exit code."""
        if self.seen.job.status == JobStatus.FAILED:
            return NOT_RUN
        return SOME_NOT if self.bad or self.seen.job.status != JobStatus.COMPLETED else 0

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """Write the job as the API does, with its probes, and whether all is well."""
        return {
            "ok": self.code == 0,
            "job": job_as_dict(self.seen.job, self.seen.counts, now),
            "items": [
                {**item_as_dict(item), "good_enough": not self.thresholds.is_bad(item)}
                for item in self.items
            ],
        }

    def table(self) -> Iterator[str]:
        """Yield a line for each probe: mark, target, status code, latency, and what is wrong."""
        width = max((len(item.target) for item in self.items), default=0)
        for item in self.items:
            slow = self.thresholds.is_slow(item)
            mark = "!" if slow and item.state == ItemState.OK else MARKS[item.state]
            code = "" if item.status_code is None else str(item.status_code)
            latency = "" if item.latency_ms is None else f"{item.latency_ms:,.1f} ms"
            line = f"{mark} {item.target:<{width}}  {code:>3}  {latency:>12}  {_wrong(item)}"
            most = self.thresholds.max_latency_ms
            yield f"{line}longer than {most:g} ms" if slow else line.rstrip()

    def summary(self) -> str:
        """Tell it in one line: how many, how they ended, and how long they took."""
        job, counts = self.seen.job, Counter(item.state for item in self.items)
        told = ", ".join(f"{counts[state]} {state}" for state in ItemState.values if counts[state])
        number = f"{len(self.items)} probe{'' if len(self.items) == 1 else 's'}"
        parts = [f"{number}: {told or 'none ended'}"]
        if self.bad:
            parts.append(f"{self.bad} not good enough")
        parts += _latencies(self.items)
        if job.status != JobStatus.COMPLETED:
            parts.append(f"job {job.status}{f' ({job.error})' if job.error else ''}")
        return "; ".join(parts) + "."


def _wrong(item: ProbeItem) -> str:
    if item.state == ItemState.OK:
        return ""
    text = item.detail or item.error or str(item.state)
    text = " ".join(text.split())
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL - 1]}…"


def _latencies(items: Iterable[ProbeItem]) -> list[str]:
    histogram = Histogram()
    for item in items:
        if item.latency_ms is not None:
            histogram.add(round(item.latency_ms * 1000))
    p50, p95 = histogram.quantiles_ms((0.5, 0.95))
    return [] if p50 is None or p95 is None else [f"p50 {p50:,.1f} ms, p95 {p95:,.1f} ms"]
