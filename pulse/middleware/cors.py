"""CORS: django-cors-headers, with the policy's rules before the host's settings."""

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from pulse.middleware.context import Context


class Cors(CorsMiddleware):
    """Answers preflights and adds headers, by the policy, or else by the ``CORS_*`` settings."""

    def preflight(self, request: HttpRequest, context: Context) -> HttpResponse | None:
        """Answer a preflight; None for any other request."""
        del request, context
        return None

    def add_headers(
        self, request: HttpRequest, context: Context, response: HttpResponseBase
    ) -> None:
        """Tell the browser which scripts may read the answer."""
