"""Where a request came from, for those who are not in front of it."""

from django.http import HttpRequest

from pulse.core.clients import ClientAddress, resolve_address
from pulse.policies import current


def client_of(request: HttpRequest) -> ClientAddress:
    """Return the client's address as the limits see it, also where PulseMiddleware did not run."""
    context = getattr(request, "pulse", None)
    if context is not None and context.client is not None:
        found: ClientAddress = context.client
        return found
    snapshot = current.current_snapshot()
    return resolve_address(
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
        snapshot.trusted_proxies,
        trusts_unix=snapshot.trusts_unix,
    )
