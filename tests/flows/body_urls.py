"""The sample API, each of whose views writes its name to the file ``CALLED`` when it is called."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from project.shop import views
from pulse.pages import health

View = Callable[[HttpRequest], HttpResponse]


def marked(view: View) -> View:
    @wraps(view)
    def mark(request: HttpRequest) -> HttpResponse:
        with Path(os.environ["CALLED"]).open("a") as file:
            file.write(f"{view.__name__}\n")
        return view(request)

    return csrf_exempt(mark)


urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("api/upload/", marked(views.upload), name="upload"),
    path("api/echo/", marked(views.echo), name="echo"),
    path("api/slow/", views.slow, name="slow"),
]
