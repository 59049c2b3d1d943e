"""Lists in pages: by number with a count, or by cursor without one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework.request import Request

from pulse.api.parameters import Parameter, whole
from pulse.probes.summary import cursors

M = TypeVar("M", bound=Model)
T = TypeVar("T")

SIZE: Final = 50
MOST: Final = 500
LAST: Final = 1_000_000

PAGE_SIZE: Final = whole("page_size", "How many there are on a page.", 1, MOST, SIZE)
PAGE: Final = whole("page", "Which page, from 1.", 1, LAST, 1)


def _read_cursor(value: str) -> str:
    if not cursors.is_cursor(value):
        raise ValueError(_("This is no cursor of this list."))
    return value


CURSOR: Final = Parameter(
    "cursor",
    "Where to go on, as next and previous have it.",
    {"type": "string", "pattern": "^[on][0-9]{1,18}$"},
    _read_cursor,
    default="",
)

BY_NUMBER: Final = (PAGE, PAGE_SIZE)
BY_CURSOR: Final = (CURSOR, PAGE_SIZE)


def by_number(
    request: Request,
    rows: QuerySet[M],
    query: Mapping[str, Any],
    write: Callable[[Sequence[M]], list[dict[str, Any]]],
) -> dict[str, Any]:
    """Return a page with the count of all rows; two queries and those of ``write``.

    Past the last page there is an empty one: rows may go while somebody leafs.

    Args:
        request: Whose address the other pages have, too.
        rows: In a total order.
        query: Has ``page`` and ``page_size``.
        write: Makes the rows of the page what is told of them.
    """
    return _numbered(request, rows.count(), query, lambda part: write(list(rows[part])))


def of_few(request: Request, rows: Sequence[T], query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of what is in memory, as it is told."""
    return _numbered(request, len(rows), query, lambda part: list(rows[part]))


def _numbered(
    request: Request, count: int, query: Mapping[str, Any], read: Callable[[slice], list[Any]]
) -> dict[str, Any]:
    page, size = query["page"], query["page_size"]
    last = max(1, -(-count // size))
    found = read(slice((page - 1) * size, page * size)) if page <= last else []
    return {
        "count": count,
        "next": _address(request, page=page + 1) if page < last else None,
        "previous": _address(request, page=min(page - 1, last)) if page > 1 else None,
        "results": found,
    }


def by_cursor(
    request: Request,
    rows: QuerySet[M],
    query: Mapping[str, Any],
    write: Callable[[Sequence[M]], list[dict[str, Any]]],
) -> dict[str, Any]:
    """Return a page of what is newest first, without counting; one query and those of ``write``."""
    page = cursors.read(rows, query["cursor"], query["page_size"])
    return {
        "next": _address(request, cursor=page.older) if page.older else None,
        "previous": _address(request, cursor=page.newer) if page.newer else None,
        "results": write(page.rows),
    }


def _address(request: Request, **changed: Any) -> str:
    query = {name: values[-1] for name, values in request.query_params.lists()}
    return request.build_absolute_uri(f"{request.path}?{urlencode({**query, **changed})}")
