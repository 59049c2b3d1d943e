"""Security headers, on every answer that passes."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse.core.clients import client_secret
from pulse.middleware.context import Context
from pulse.policies.headers import collector


def add(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Set and remove headers as the policy for the request's path says."""
    snapshot, client = context.snapshot, context.client
    if snapshot is None or client is None or not snapshot.headers:
        return
    rule = snapshot.headers.find(
        request.path_info, client.prefix, client_secret(settings.SECRET_KEY)
    )
    if rule is None:
        return
    secure = request.is_secure() or (
        client.peer_trusted and request.META.get("HTTP_X_FORWARDED_PROTO") == "https"
    )
    found = rule.sent(
        secure=secure,
        # A browser that was held to HTTPS on localhost is held so for every project there.
        hsts=not settings.DEBUG,
        collector=collector() if rule.reports else "",
    )
    # Checked when the policy was compiled: Django would check each again, for 0.7 µs.
    store = response.headers._store  # Django's own, since 2.2
    if rule.force:
        store.update(found)
    else:
        for name, header in found.items():
            store.setdefault(name, header)
    for name in rule.removed:
        store.pop(name, None)
