"""What is measured of requests; what hosts may call."""

from pulse.metrics.requests import record_request
from pulse.metrics.resources import cache_metrics, pool_metrics

__all__ = ["cache_metrics", "pool_metrics", "record_request"]
