"""Views that log: before, while and after they answer."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from project.urls import urlpatterns as site_urls
from tests.flows import id_tasks

logger = logging.getLogger("host.views")


def tell(request: HttpRequest) -> HttpResponse:
    logger.info("tell %s", request.GET["n"])
    return JsonResponse({"id": request.request_id})


async def atell(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.001)
    logger.info("tell %s", request.GET["n"])
    return JsonResponse({"id": request.request_id})


def stream(request: HttpRequest) -> HttpResponse:
    name = request.GET["n"]

    def parts() -> Iterator[bytes]:
        for number in range(3):
            time.sleep(0.01)
            logger.info("stream %s", name)
            yield f"{number}".encode()

    async def aparts() -> AsyncIterator[bytes]:
        for part in range(3):
            await asyncio.sleep(0.01)
            logger.info("stream %s", name)
            yield f"{part}".encode()

    return StreamingHttpResponse(aparts() if hasattr(request, "scope") else parts())


def beside(request: HttpRequest) -> HttpResponse:
    name = request.GET["n"]
    threading.Thread(target=logger.info, args=("beside %s", name)).start()
    return HttpResponse()


def publish(request: HttpRequest) -> HttpResponse:
    logger.info("publish %s", request.GET["n"])
    id_tasks.first.delay(request.GET["n"])
    id_tasks.fails.delay(request.GET["n"])
    return HttpResponse()


urlpatterns = [
    path("tell/", tell),
    path("atell/", atell),
    path("stream/", stream),
    path("beside/", beside),
    path("publish/", publish),
    *site_urls,
]
