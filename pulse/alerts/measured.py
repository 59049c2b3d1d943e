"""The names of what alert rules may look at."""

from typing import Final

from pulse.core.measures import SHARES

#: Whether a target is down: 1 where it is, 0 where it is not.
PROBE_DOWN: Final = "probe_down"
#: Jobs of probes that could not run, or came to their deadline.
JOBS_FAILED: Final = "jobs_failed"
#: Requests that are being answered, of all endpoints together.
IN_FLIGHT: Final = "in_flight"
#: What is told of requests, by path as the API has it.
OF_REQUESTS: Final = (
    *("requests", "rate_per_s", "errors", "error_rate", "success_rate"),
    *("refused", "refused_per_s", "would_refuse", "slow", "bytes_in", "bytes_out"),
    *("queries", "query_ms", "apdex"),
    *(f"latency_ms.{name}" for name in ("min", "mean", "max", *SHARES)),
)
METRICS: Final = (*OF_REQUESTS, IN_FLIGHT, PROBE_DOWN, JOBS_FAILED)
