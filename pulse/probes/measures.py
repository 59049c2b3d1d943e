"""Counts what came of probes among the measures of all processes, for Prometheus.

These sums stay when the results themselves are pruned. They cost no query; a worker that is killed
loses two seconds of them.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pulse.core.attempts import Failure
from pulse.core.measures import OTHERS
from pulse.metrics.recorder import recorder
from pulse.metrics.totals import LATE_BITS, LATE_US, PROBE, PROBE_BITS, PROBE_US
from pulse.probes.attempt import Finished

#: Of these there was a whole answer, whose time tells something.
TIMED: Final = frozenset({None, Failure.EXPECTATION})


def count(ended: Iterable[Finished]) -> None:
    """Count results that were written: states, latencies, and how late they were sent."""
    states: Counter[tuple[str, str]] = Counter()
    others: Counter[str] = Counter()
    for each in ended:
        claimed, outcome = each.claimed, each.outcome
        states[str(outcome.state), claimed.target] += 1
        if outcome.latency_ms is not None and outcome.error in TIMED:
            us = round(outcome.latency_ms * 1000)
            others[f"{PROBE_BITS} {us.bit_length()}"] += 1
            others[PROBE_US] += us
        if claimed.slot_at is not None and not claimed.attempts:
            late_s = max(0.0, outcome.started_s - claimed.slot_at.timestamp())
            us = round(late_s * 1_000_000)
            others[f"{LATE_BITS} {us.bit_length()}"] += 1
            others[LATE_US] += us
    for name, amount in others.items():
        recorder.count(name, amount)
    for (state, target), amount in states.items():
        recorder.count(f"{PROBE} {state} {target}", amount, instead=f"{PROBE} {state} {OTHERS}")
