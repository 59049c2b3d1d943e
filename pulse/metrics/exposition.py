"""What Prometheus is told: sums of all processes, and the last reading; the same from any of them.

prometheus-client writes it down (the extra ``prometheus``); counting is pulse's own, in Redis, so
no directory is shared by processes, and no sum goes back when one of them ends.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pulse.conf import conf
from pulse.exceptions import StoreUnavailable
from pulse.metrics import totals, window
from pulse.metrics.totals import Totals
from pulse.policies import current
from pulse.store import processes
from pulse.store.connection import current_backend

#: Bounds of requests are doublings from 256 µs to 34 s, by their bits in microseconds.
REQUEST_BITS: Final = range(8, 26)
#: Those of decisions, from 8 µs to 131 ms.
DECISION_BITS: Final = range(3, 18)
#: Those of probes, from 1 ms to 67 s.
PROBE_BITS: Final = range(10, 27)
DISTRIBUTION: Final = "django-pulse-policy"


def families() -> Iterator[Metric]:
    """Yield what is known of requests, decisions, the store, the policy and processes.

    Some calls to Redis; never fails: where it cannot be asked, sums are those known last.
    """
    sums = totals.read()
    yield from _requests(sums)
    yield from _decisions(sums)
    yield from _probes(sums)
    yield from _itself(sums)
    yield from _processes()
    if conf.PROMETHEUS_COMPAT:
        yield from _compatible(sums)


def _requests(sums: Totals) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "pulse_requests", "Answers by route.", labels=("method", "route", "status")
    )
    durations = HistogramMetricFamily(
        "pulse_request_duration_seconds",
        "Time of answers that were not refused.",
        labels=("method", "route"),
    )
    for endpoint in sums.endpoints.values():
        place = (endpoint.method, endpoint.route)
        for status, amount in sorted(endpoint.statuses.items()):
            requests.add_metric((*place, str(status)), amount)
        if endpoint.bits:
            buckets = _buckets(endpoint.bits, REQUEST_BITS)
            durations.add_metric(place, buckets, endpoint.sum_us / 1_000_000)
    yield requests
    yield durations
    refusals = CounterMetricFamily(
        "pulse_refusals", "Requests that were refused.", labels=("policy", "reason")
    )
    for (reason, rule), amount in sorted(sums.refused.items()):
        refusals.add_metric((rule, reason), amount)
    yield refusals
    would = CounterMetricFamily(
        "pulse_would_refuse", "Requests that a rule in shadow would refuse.", labels=("policy",)
    )
    for rule, amount in sorted(sums.would_refuse.items()):
        would.add_metric((rule,), amount)
    yield would


def _decisions(sums: Totals) -> Iterator[Metric]:
    decisions = CounterMetricFamily(
        "pulse_decisions", "Decisions on limits.", labels=("result", "store")
    )
    for place, amount in sorted(sums.decisions.items()):
        decisions.add_metric(place, amount)
    yield decisions
    durations = HistogramMetricFamily("pulse_decision_duration_seconds", "Time of decisions.")
    if sums.decision_bits:
        buckets = _buckets(sums.decision_bits, DECISION_BITS)
        durations.add_metric((), buckets, sums.decision_us / 1_000_000)
    yield durations
    errors = CounterMetricFamily("pulse_store_errors", "Failures of Redis.", labels=("error",))
    for error, amount in sorted(sums.store_errors.items()):
        errors.add_metric((error,), amount)
    yield errors
    backend = current_backend()
    if backend is not None:
        yield GaugeMetricFamily(
            "pulse_store_up",
            "Whether Redis answers the process that was asked.",
            value=int(not (backend.guard.is_open or sums.is_stale)),
        )


def _probes(sums: Totals) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "pulse_probe_results", "Results of probes.", labels=("target", "state")
    )
    for (state, target), amount in sorted(sums.probes.items()):
        results.add_metric((target, state), amount)
    yield results
    for name, text, bits, sum_us in (
        ("duration", "Time of whole answers to probes.", sums.probe_bits, sums.probe_us),
        ("lateness", "How late probes of schedules were sent.", sums.late_bits, sums.late_us),
    ):
        family = HistogramMetricFamily(f"pulse_probe_{name}_seconds", text)
        if bits:
            family.add_metric((), _buckets(bits, PROBE_BITS), sum_us / 1_000_000)
        yield family


def _compatible(sums: Totals) -> Iterator[Metric]:
    """Yield two names that dashboards of other limiters know."""
    by_address = conf.PROMETHEUS_ADDRESSES
    names = ("reason", "ip") if by_address else ("reason",)
    hits = CounterMetricFamily(
        "api_rate_limit_hits", "Requests that a limit refused.", labels=names
    )
    counted: Counter[tuple[str, ...]] = Counter()
    for (reason, of), amount in (sums.refused_of if by_address else sums.refused).items():
        counted[(reason, of) if by_address else (reason,)] += amount
    for labels, amount in sorted(counted.items()):
        hits.add_metric(labels, amount)
    yield hits
    # By status the time is not kept: each endpoint's is told beside the answers of each status.
    durations = HistogramMetricFamily(
        "api_request_duration_seconds",
        "Time of answers that were not refused.",
        labels=("method", "path", "status"),
    )
    for endpoint in sums.endpoints.values():
        if endpoint.bits:
            labels = (endpoint.method, endpoint.route, "all")
            buckets = _buckets(endpoint.bits, REQUEST_BITS)
            durations.add_metric(labels, buckets, endpoint.sum_us / 1_000_000)
    yield durations


def _itself(sums: Totals) -> Iterator[Metric]:
    reading = window.read()
    yield GaugeMetricFamily(
        "pulse_requests_in_flight", "Requests that are being answered.", value=reading.in_flight
    )
    yield GaugeMetricFamily(
        "pulse_metrics_endpoints", "Endpoints measured lately.", value=len(reading.endpoints)
    )
    yield GaugeMetricFamily(
        "pulse_metrics_flush_lag_seconds",
        "How long ago the slowest process sent what it measured.",
        value=reading.lag_s,
    )
    yield CounterMetricFamily(
        "pulse_metrics_evicted", "Endpoints let go for want of room.", value=sums.evicted
    )
    yield CounterMetricFamily(
        "pulse_metrics_dropped", "Answers whose measures were lost.", value=sums.dropped
    )
    swallowed = CounterMetricFamily(
        "pulse_swallowed_errors", "Failures in pulse that failed no request.", labels=("where",)
    )
    for where, amount in sorted(sums.swallowed.items()):
        swallowed.add_metric((where,), amount)
    yield swallowed


def _processes() -> Iterator[Metric]:
    standing = current.standing()
    if standing["revision"] is not None:
        yield GaugeMetricFamily(
            "pulse_policy_revision",
            "Revision in force in the process that was asked.",
            value=standing["revision"],
        )
        yield GaugeMetricFamily(
            "pulse_policy_age_seconds",
            "How long it has been in force there.",
            value=max(0.0, time.time() - standing["since"]),
        )
    yield from _running(standing["revision"])
    build = GaugeMetricFamily("pulse_build_info", "The release of pulse.", labels=("version",))
    build.add_metric((_version(),), 1)
    yield build


def _running(newest: int | None) -> Iterator[Metric]:
    try:
        running = processes.running()
    except StoreUnavailable:
        return  # Not known, which is not none.
    if running is None:
        running = [processes.this_process()]
    kinds = GaugeMetricFamily("pulse_processes", "Processes that are alive.", labels=("kind",))
    for kind in (processes.WEB, processes.WORKER):
        kinds.add_metric((kind,), sum(one.kind == kind for one in running))
    yield kinds
    revisions = [said for one in running if isinstance(said := one.said.get("revision"), int)]
    newest = max([*revisions, newest or 0])
    yield GaugeMetricFamily(
        "pulse_processes_behind",
        "Processes that run an older revision than the newest that any runs.",
        value=sum(revision < newest for revision in revisions),
    )
    yield from _used(running)
    yield from _remembered(running)


def _used(running: Sequence[processes.Running]) -> Iterator[Metric]:
    """Yield what processes use, as each tells it."""
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
        "memory_bytes": GaugeMetricFamily(
            "pulse_process_resident_memory_bytes", "Memory of a process.", labels=("process",)
        ),
        "descriptors": GaugeMetricFamily(
            "pulse_process_open_fds", "Descriptors that a process has open.", labels=("process",)
        ),
        "cpu_s": CounterMetricFamily(
            "pulse_process_cpu_seconds", "Processor time of a process.", labels=("process",)
        ),
    }
    ratios = {
        kind: GaugeMetricFamily(
            f"pulse_{kind}_usage_ratio", f"How full a {kind} is.", labels=("process", kind)
        )
        for kind in ("pool", "cache")
    }
    for one in running:
        said = one.said.get("resources")
        if not isinstance(said, dict):
            continue
        for name, family in families.items():
            if isinstance(value := said.get(name), int | float):
                family.add_metric((one.id,), value)
        for kind, ratio in ratios.items():
            for name, usage in (said.get(f"{kind}s") or {}).items():
                if usage.get("most") and isinstance(size := usage.get("size"), int):
                    ratio.add_metric((one.id, name), size / usage["most"])
    yield from (*families.values(), *ratios.values())


def _remembered(running: Sequence[processes.Running]) -> Iterator[Metric]:
    """Yield how well local caches serve."""
    for what in ("hits", "misses", "evictions"):
        text = f"{what.capitalize()} of a local cache."
        family = CounterMetricFamily(f"pulse_cache_{what}", text, labels=("process", "cache"))
        for one in running:
            said = one.said.get("resources")
            found = said.get("caches") if isinstance(said, dict) else None
            for name, usage in (found or {}).items():
                if isinstance(amount := usage.get(what), int):
                    family.add_metric((one.id, name), amount)
        yield family


def _buckets(bits: Mapping[int, int], bounds: range) -> list[tuple[str, float]]:
    """Add latencies up, from the shortest: what has ``n`` bits in microseconds is below 2 ** n."""
    made = []
    for bound in bounds:
        below = sum(amount for has, amount in bits.items() if has <= bound)
        made.append((str(2**bound / 1_000_000), below))
    return [*made, ("+Inf", sum(bits.values()))]


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # Run from a copy of its folder.
        return "unknown"
