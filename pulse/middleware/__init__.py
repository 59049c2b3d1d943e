"""The door to the middleware."""

from pulse.middleware.stack import PulseMiddleware

__all__ = ["PulseMiddleware"]
