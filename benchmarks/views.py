"""The views of the cases. Those of a peer are guarded as its documentation says.

A view is made once, as the URLconf is loaded; what it holds (a client, a limiter) it holds for
good, as a careful host would have it.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse

from benchmarks.site import bench

View = Callable[..., Any]
Guard = Callable[[HttpRequest], bool]


def make_view(subject: str, *, is_async: bool) -> View:
    """The view of a case, native to the interface unless the peer is not."""
    if subject == "bare":
        return _guarded(None, is_async=is_async)
    if subject in GUARDS:
        return _guarded(GUARDS[subject](), is_async=is_async)
    return VIEWS[subject]()


def _guarded(guard: Guard | None, *, is_async: bool) -> View:
    def view(request: HttpRequest) -> HttpResponse:
        if guard is not None and not guard(request):
            return HttpResponse("slow down", status=429)
        return HttpResponse("ok")

    if not is_async:
        return view

    # A call that blocks for some 30 us is the faster one; a thread or a loop's turn costs more.
    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    return async_view


def _evalsha() -> Guard:
    from benchmarks.reference import GCRA, gcra_arguments, redis_client

    client = redis_client(bench().redis_url)
    digest = client.script_load(GCRA)
    prefix = bench().prefix
    arguments = gcra_arguments()

    def guard(request: HttpRequest) -> bool:
        reply = client.evalsha(digest, 1, f"{prefix}:{request.META['REMOTE_ADDR']}", *arguments)
        return bool(reply[0])

    return guard


def _limits(strategy: str) -> Guard:
    from limits import parse, storage, strategies

    kept = storage.storage_from_string("memory://")
    if bench().case.store == "redis":
        kept = storage.storage_from_string(bench().redis_url, key_prefix=bench().prefix)
    limiter = getattr(strategies, strategy)(kept)
    item = parse(bench().rate.replace("/h", "/hour"))

    def guard(request: HttpRequest) -> bool:
        return bool(limiter.hit(item, "site", request.META["REMOTE_ADDR"]))

    return guard


def _ratelimit() -> View:
    from django_ratelimit.decorators import ratelimit  # type: ignore[import-untyped]

    def view(request: HttpRequest) -> HttpResponse:
        if request.limited:  # type: ignore[attr-defined]
            return HttpResponse("slow down", status=429)
        return HttpResponse("ok")

    guarded: View = ratelimit(key="ip", rate=bench().rate, block=False)(view)
    return guarded


def _drf(*, throttled: bool) -> View:
    from rest_framework.throttling import AnonRateThrottle
    from rest_framework.views import APIView

    class Plain(APIView):
        throttle_classes = [AnonRateThrottle] if throttled else []

        def get(self, _request: Any) -> HttpResponse:
            return HttpResponse("ok")

    return Plain.as_view()


GUARDS: dict[str, Callable[[], Guard]] = {
    "evalsha": _evalsha,
    "limits_fixed": lambda: _limits("FixedWindowRateLimiter"),
    "limits_sliding": lambda: _limits("SlidingWindowCounterRateLimiter"),
}
VIEWS: dict[str, Callable[[], View]] = {
    "ratelimit": _ratelimit,
    "drf": lambda: _drf(throttled=True),
    "drf_bare": lambda: _drf(throttled=False),
}
