"""Limits by a user whom Django REST framework alone can authenticate, such as by a token."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from pulse.middleware import limits
from pulse.middleware.context import Context
from pulse.middleware.observe import swallow


class PulseThrottle(BaseThrottle):
    """Settles, once the view has authenticated, the limits that depend on its user.

    Name it in a view's ``throttle_classes``, or in ``DEFAULT_THROTTLE_CLASSES``. The middleware
    then leaves those limits aside where it finds no user by itself, and they cost one more call to
    the store; what does not depend on the user is decided before the view as ever. A refusal looks
    as every other, whatever the view's exception handler makes of it.

    Attributes:
        settles_limits: By this the middleware knows that a view's limits are settled.
    """

    settles_limits: Final = True

    def __init__(self) -> None:
        self._context: Context | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - DRF's
        """Charge what the middleware left, and nothing where it left nothing."""
        http: Any = request._request
        context: Context | None = getattr(http, "pulse", None)
        if context is None:  # Pulse is disabled.
            return True
        if context.deferred:
            self._context = context
            try:
                context.refused = limits.settle(http)
            except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
                swallow(http, "limits", error)
        return context.refused is None

    def wait(self) -> float | None:
        """Return the seconds after which the request passes."""
        refused = None if self._context is None else self._context.refused
        return None if refused is None else float(refused.headers.get("Retry-After", 1))
