"""How large a body, and how long an answer, may be."""

from django.http import HttpRequest, HttpResponse

from pulse.middleware.context import Context


def judge(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse a body that no endpoint of this site takes, or whose length cannot be read."""
    del request, context
    return None


def judge_endpoint(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse a body that the endpoint does not take, now that the route is known."""
    del request, context
    return None
