"""The home page and the API."""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from django.contrib.auth.models import User
from django.db.models import ProtectedError, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST, require_safe
from rest_framework import generics, permissions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from project.shop import orders
from project.shop.models import Order, Product
from project.shop.serializers import (
    OrderSerializer,
    ProductSerializer,
    SearchQuery,
    SlowQuery,
)

CHUNK_BYTES = 64 * 1024
SEARCH_RESULTS = 20
PRODUCTS_AT_HOME = 6


class Conflict(serializers.ValidationError):
    status_code = status.HTTP_409_CONFLICT


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    products = Product.objects.all()[:PRODUCTS_AT_HOME]
    site = f"{request.scheme}://{request.get_host()}"
    return render(request, "home.html", {"products": products, "site": site})


class Products(generics.ListCreateAPIView[Product]):
    """List the products, or add one. Anybody may: it is a demonstration."""

    queryset = Product.objects.all()
    serializer_class = ProductSerializer


class ProductDetail(generics.RetrieveUpdateDestroyAPIView[Product]):
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    http_method_names = ["get", "head", "put", "delete", "options"]

    def perform_destroy(self, instance: Product) -> None:
        try:
            instance.delete()
        except ProtectedError:
            raise Conflict(
                {"detail": "This product has been ordered: set its stock to 0."}
            ) from None


class Orders(APIView):
    """Place an order, as a user with a session or a token."""

    permission_classes = [permissions.IsAuthenticated]

    def post(self, request: Request) -> Response:
        form = OrderSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        basket = {line["product"]: line["quantity"] for line in form.validated_data["lines"]}
        order = _place(cast("User", request.user), basket)
        return Response(OrderSerializer(order).data, status=status.HTTP_201_CREATED)


class Search(APIView):
    def get(self, request: Request) -> Response:
        query = SearchQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        words = query.validated_data["q"]
        found = Product.objects.filter(Q(name__icontains=words) | Q(description__icontains=words))
        results = ProductSerializer(found[:SEARCH_RESULTS], many=True).data
        return Response({"query": words, "count": len(results), "results": results})


@csrf_exempt
@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    """Count the bytes of the files in a form, or of the body as it is."""
    if request.content_type == "multipart/form-data":
        try:
            sizes = [file.size or 0 for _, files in request.FILES.lists() for file in files]
        except MultiPartParserError as error:
            return _bad_request({"detail": f"The form cannot be read: {error}"})
        if not sizes:
            return _bad_request({"detail": "The form holds no file."})
        return JsonResponse({"bytes": sum(sizes), "files": len(sizes)})
    return JsonResponse({"bytes": _count_bytes(request)})


@require_GET
async def slow(request: HttpRequest) -> HttpResponse:
    """Answer after ``seconds``, holding the connection and nothing else."""
    query = SlowQuery(data=request.GET)
    if not query.is_valid():
        return _bad_request(query.errors)
    seconds = float(query.validated_data["seconds"])
    await asyncio.sleep(seconds)
    return JsonResponse({"seconds": seconds})


@require_safe
def flaky(request: HttpRequest) -> HttpResponse:
    """Fail when asked: an exception that nobody catches, as in a real accident."""
    try:
        fail = serializers.BooleanField().run_validation(request.GET.get("fail", "0"))
    except serializers.ValidationError as error:
        return _bad_request({"fail": error.detail})
    if fail:
        raise RuntimeError("asked to fail")
    return JsonResponse({"ok": True})


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    """Say what arrived, by whatever method, and who pulse takes the client to be."""
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "headers": dict(request.headers),
            "client_address": _client_address(request),
        }
    )


def _place(customer: User, basket: dict[Product, int]) -> Order:
    try:
        return orders.place(customer, basket)
    except orders.OutOfStock as error:
        raise Conflict({"detail": str(error)}) from None


def _count_bytes(request: HttpRequest) -> int:
    count = 0
    while chunk := request.read(CHUNK_BYTES):
        count += len(chunk)
    return count


def _client_address(request: HttpRequest) -> str:
    seen: Any = getattr(request, "pulse", None)
    if seen is not None:
        return str(seen.client_address)
    return str(request.META.get("REMOTE_ADDR", ""))


def _bad_request(errors: object) -> JsonResponse:
    return JsonResponse(errors, status=HTTPStatus.BAD_REQUEST, safe=False)
