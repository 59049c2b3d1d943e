"""The product list as CSV, row by row: slow on purpose, as real exports are."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Iterator

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from project.shop.models import Product

COLUMNS = ("id", "sku", "name", "price", "stock")
SECONDS_PER_ROW = 0.05


@require_safe
def export(request: HttpRequest) -> StreamingHttpResponse:
    # Each kind of server can stream only its own kind of iterator without holding it all first.
    rows = _rows_async() if isinstance(request, ASGIRequest) else _rows()
    return StreamingHttpResponse(
        rows,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="products.csv"'},
    )


def _rows() -> Iterator[str]:
    yield _line(COLUMNS)
    for product in Product.objects.iterator():
        time.sleep(SECONDS_PER_ROW)
        yield _line(_cells(product))


async def _rows_async() -> AsyncIterator[str]:
    yield _line(COLUMNS)
    # Of whole rows: Django runs the query of values_list().aiterator() on the event loop.
    async for product in Product.objects.aiterator():
        await asyncio.sleep(SECONDS_PER_ROW)
        yield _line(_cells(product))


def _cells(product: Product) -> tuple[object, ...]:
    return tuple(getattr(product, column) for column in COLUMNS)


def _line(values: tuple[object, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_inert(value) for value in values])
    return line.getvalue()


def _inert(value: object) -> object:
    """A text that a spreadsheet does not take for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
