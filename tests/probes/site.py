"""Addresses of a host of many kinds of views, for what is found in a URLconf."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from django.views.static import serve
from rest_framework import serializers, viewsets
from rest_framework.decorators import action, api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.views import APIView


def plain(request: HttpRequest, **_: object) -> HttpResponse:
    return HttpResponse("ok")


@csrf_exempt
@require_http_methods(["GET", "PUT"])
def limited(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@require_POST
async def later(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


class Classic(View):
    def get(self, request: HttpRequest, **_: object) -> HttpResponse:
        return HttpResponse("ok")

    def delete(self, request: HttpRequest, **_: object) -> HttpResponse:
        return HttpResponse("ok")


class Told(View):
    """Says of itself what may be asked of it."""

    def options(self, request: HttpRequest, *_: object, **__: object) -> HttpResponse:
        return HttpResponse("anything")


@require_http_methods(["GET"])
def _only_get(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


class LineSerializer(serializers.Serializer[None]):
    product = serializers.IntegerField(min_value=10)
    quantity = serializers.IntegerField(default=3)


class ItemSerializer(serializers.Serializer[None]):
    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(choices=["book", "pen"])
    price = serializers.DecimalField(max_digits=6, decimal_places=2, min_value=2)
    contact = serializers.EmailField()
    lines = LineSerializer(many=True, allow_empty=False)
    note = serializers.CharField(required=False)


class Items(viewsets.ViewSet):
    serializer_class = ItemSerializer

    def get_serializer_class(self) -> type[serializers.Serializer[None]]:
        return LineSerializer if self.action == "touch" else ItemSerializer

    def list(self, request: Request) -> Response:
        return Response([])

    def create(self, request: Request) -> Response:
        return Response({}, status=201)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response({"pk": pk})

    def partial_update(self, request: Request, pk: str) -> Response:
        return Response({"pk": pk})

    @action(detail=True, methods=["post"])
    def touch(self, request: Request, pk: str) -> Response:
        return Response({"pk": pk})


class Bare(APIView):
    def get(self, request: Request) -> Response:
        return Response({})

    def post(self, request: Request) -> Response:
        return Response({})


@api_view(["GET", "PATCH"])
def by_function(request: Request) -> Response:
    return Response({})


router = DefaultRouter()
router.register("items", Items, basename="item")

inner = [
    path("<slug:slug>/", plain, name="deep"),
    path("secret", plain),
]

urlpatterns = [
    path("plain/", plain, name="plain"),
    path("plain/", limited, name="shadowed"),
    path("limited/", limited),
    path("later/", later),
    path("classic/<uuid:key>/", Classic.as_view(), name="classic"),
    path("told/", Told.as_view()),
    path("wrapped/", require_http_methods(["GET"])(Classic.as_view())),
    path("files/<int:n>.json", plain, name="files"),
    path("tree/<path:where>", plain, name="tree"),
    path("shops/<str:shop>/", include((inner, "shops"), namespace="shops")),
    path("space here/", plain),
    re_path(r"^years/(?P<year>[0-9]{4})/$", plain, name="year"),
    re_path(r"^never/(?P<word>x{30}y)/$", plain, name="never"),
    re_path(r"^static/(?P<path>.*)$", serve),
    path("bare/", Bare.as_view()),
    path("function/", by_function),
    path("api/", include(router.urls)),
    path("pulse/", include("pulse.urls")),
]
