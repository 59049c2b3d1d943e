"""Views that no test would run within its own process."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from django.contrib.auth import get_user_model
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def told(request: HttpRequest) -> HttpResponse:
    answer = {
        "pid": os.getpid(),
        "method": request.method,
        "path": request.get_full_path(),
        "host": request.get_host(),
        "body": request.body.decode(),
        "headers": dict(request.headers),
    }
    response = JsonResponse(answer)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


def sleeps(request: HttpRequest) -> HttpResponse:
    time.sleep(3600)
    return HttpResponse()


def leaves(request: HttpRequest) -> HttpResponse:
    os._exit(3)


def eats(request: HttpRequest) -> HttpResponse:
    """Hold the interpreter, so that no other thread and no handler of a signal runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.setswitchinterval(3600)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(request.GET["file"]).write_text(f"{os.getpid()} {child.pid}")
    return HttpResponse(str(re.match("(a+)+$", "a" * 64 + "b")))


def fails(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("as in a real accident")


def large(request: HttpRequest) -> HttpResponseBase:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    return StreamingHttpResponse(endless())


def counts(request: HttpRequest) -> HttpResponse:
    get_user_model().objects.create(username="made-within")
    return HttpResponse(str(get_user_model().objects.count()))


def waits(request: HttpRequest) -> HttpResponse:
    """Answer once another one is here as well."""
    mine, other = (Path(request.GET["dir"], request.GET[name]) for name in ("me", "other"))
    mine.touch()
    while not other.exists():
        time.sleep(0.01)
    return HttpResponse(str(os.getpid()))


def goes(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(request.GET["to"])


urlpatterns = [
    path("told/", told),
    path("sleeps/", sleeps),
    path("leaves/", leaves),
    path("eats/", eats),
    path("fails/", fails),
    path("large/", large),
    path("counts/", counts),
    path("waits/", waits),
    path("goes/", goes),
]
