"""Static files by WhiteNoise, under WSGI and ASGI alike."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # WhiteNoise is untyped
    """WhiteNoise, native in both worlds.

    WhiteNoise itself is synchronous only: under ASGI it would make Django run every middleware
    before it in a thread, and warn of each file that it cannot stream it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        return cast("HttpResponseBase", super().__call__(request))

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        if self.autorefresh:
            file = await sync_to_async(self.find_file)(request.path_info)
        else:
            file = self.files.get(request.path_info)
        if file is None:
            return await cast("Awaitable[HttpResponseBase]", self.get_response(request))
        return await sync_to_async(self._serve_whole)(file, request)

    def _serve_whole(self, file: object, request: HttpRequest) -> HttpResponse:
        with contextlib.closing(self.serve(file, request)) as streamed:
            response = HttpResponse(streamed.getvalue(), status=streamed.status_code)
        del response["Content-Type"]
        for name, value in streamed.items():
            response[name] = value
        return response
