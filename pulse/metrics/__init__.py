"""What is measured of requests; what hosts may call."""

from pulse.metrics.requests import record_request

__all__ = ["record_request"]
