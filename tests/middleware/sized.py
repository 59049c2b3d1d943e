"""Views that say that they were called, and read their bodies in every way there is."""

import asyncio
import threading
import time
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.response import Response
from rest_framework.views import APIView

#: The names of the views that were called, in order.
called: list[str] = []
#: Held by ``blocking`` until a test lets it go.
gate = threading.Event()


@csrf_exempt
def raw(request: HttpRequest) -> HttpResponse:
    called.append("raw")
    parts = iter(lambda: request.read(65536), b"")
    return JsonResponse({"bytes": sum(map(len, parts))})


@csrf_exempt
def whole(request: HttpRequest) -> HttpResponse:
    called.append("whole")
    return JsonResponse({"bytes": len(request.body)})


@csrf_exempt
def form(request: HttpRequest) -> HttpResponse:
    called.append("form")
    files = sum(file.size or 0 for file in request.FILES.values())
    return JsonResponse({"bytes": files + sum(map(len, request.POST.values()))})


@csrf_exempt
def forgiving(request: HttpRequest) -> HttpResponse:
    try:
        return JsonResponse({"bytes": len(request.POST)})
    except Exception:
        return HttpResponse("as you like", status=200)


def guarded(request: HttpRequest) -> HttpResponse:
    called.append("guarded")
    return HttpResponse("past the CSRF check")


class Api(APIView):
    parser_classes = [JSONParser, FormParser, MultiPartParser]

    def post(self, request: Any) -> Response:
        return Response({"fields": len(request.data)})


def pulse_of(request: HttpRequest) -> Any:
    return request.pulse  # type: ignore[attr-defined]


def told(request: HttpRequest) -> HttpResponse:
    pulse = pulse_of(request)
    in_s = None if pulse.deadline is None else pulse.deadline - time.monotonic()
    return JsonResponse({"deadline_in_s": in_s, "remaining_s": pulse.remaining_s})


def blocking(request: HttpRequest) -> HttpResponse:
    called.append("blocking began")
    gate.wait(float(request.GET.get("s", "0.3")))
    called.append("blocking ended")
    return HttpResponse("done")


async def waiting(request: HttpRequest) -> HttpResponse:
    called.append("waiting began")
    try:
        await asyncio.sleep(float(request.GET.get("s", "5")))
    except asyncio.CancelledError:
        called.append("waiting cancelled")
        raise
    called.append("waiting ended")
    return HttpResponse("done")


async def own(request: HttpRequest) -> HttpResponse:
    raise TimeoutError("the view's own")


urlpatterns = [
    path("raw/", raw, name="raw"),
    path("whole/", whole, name="whole"),
    path("form/", form, name="form"),
    path("forgiving/", forgiving, name="forgiving"),
    path("guarded/", guarded, name="guarded"),
    path("api/", Api.as_view(), name="api"),
    path("told/", told, name="told"),
    path("blocking/", blocking, name="blocking"),
    path("waiting/", waiting, name="waiting"),
    path("own/", own, name="own"),
]


def nowhere(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse("nowhere", status=404)


def bad(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse("bad", status=400)


handler400, handler404 = bad, nowhere
