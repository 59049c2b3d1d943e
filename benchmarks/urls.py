"""The URLconf of every case: the benchmarked view first, then names for rules to name."""

from django.urls import include, path

from benchmarks.policies import MANY, NAMED, PATH, WIDTH
from benchmarks.site import bench
from benchmarks.views import make_view

_case = bench().case
_view = make_view(_case.subject, is_async=_case.group == "asgi" and not _case.sync_view)

urlpatterns = [
    path(PATH.removeprefix("/"), _view, name="items"),
    *(path(f"named/{i}/", _view, name=f"named-{i}") for i in range(NAMED)),
    # In two steps, so that to find one of a thousand costs little more than one of ten.
    *(
        path(f"{MANY}/{first}/", include([path(f"{last}/", _view) for last in range(WIDTH)]))
        for first in range(-(-_case.endpoints // WIDTH))
    ),
]
