"""Security headers, on every answer that passes."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse.conf import conf
from pulse.middleware.context import Context, is_secure
from pulse.middleware.responses import fields_of
from pulse.policies.headers import collector


def add(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Set and remove headers as the policy for the request's path says."""
    snapshot, client = context.snapshot, context.client
    if snapshot is None or client is None or not snapshot.headers:
        return
    rule = snapshot.headers.find(request.path_info, client.prefix, conf.client_secret)
    if rule is None:
        return
    rule.dress(
        fields_of(response),
        secure=is_secure(request, context),
        # A browser that was held to HTTPS on localhost is held so for every project there.
        hsts=not settings.DEBUG,
        collector=collector() if rule.reports else "",
    )
