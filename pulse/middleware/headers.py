"""Security headers, on every answer that passes."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse.middleware.context import Context


def add(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:
    """Set and remove headers as the policy for the request's path says."""
