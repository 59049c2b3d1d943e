"""Lists that grow at their top, read page by page without counting them."""

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from django.db.models import Model, QuerySet

#: What a cursor begins with: rows older than one, or newer.
OLDER: Final = "o"
NEWER: Final = "n"
#: Of primary keys, in digits.
MAX_DIGITS: Final = 18

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows, newest first.

    Attributes:
        older: The cursor of the page behind; None where there is none.
        newer: The cursor of the page before; None on the first.
    """

    rows: list[M]
    older: str | None = None
    newer: str | None = None


def read(rows: QuerySet[M], cursor: str, size: int) -> Page[M]:
    """Read a page by primary key, newest first; one query.

    Args:
        rows: In any order.
        cursor: Of a page that was read before; empty, or none at all, for the first page.
        size: How many rows.
    """
    kind, pk = cursor[:1], cursor[1:]
    is_known = pk.isascii() and pk.isdecimal() and len(pk) <= MAX_DIGITS
    if kind == NEWER and is_known:
        found = list(rows.filter(pk__gt=int(pk)).order_by("pk")[: size + 1])
        more, found = len(found) > size, found[:size][::-1]
        if not found:
            return read(rows, "", size)
        return Page(found, _cursor(OLDER, found[-1]), _cursor(NEWER, found[0]) if more else None)
    is_older = kind == OLDER and is_known
    rows = rows.filter(pk__lt=int(pk)) if is_older else rows
    found = list(rows.order_by("-pk")[: size + 1])
    more, found = len(found) > size, found[:size]
    return Page(
        found,
        _cursor(OLDER, found[-1]) if more else None,
        _cursor(NEWER, found[0]) if is_older and found else None,
    )


def is_cursor(text: str) -> bool:
    """Whether a text is a cursor, or empty."""
    pk = text[1:]
    digits = pk.isascii() and pk.isdecimal() and len(pk) <= MAX_DIGITS
    return not text or (text[0] in {OLDER, NEWER} and digits)


def _cursor(kind: str, row: Model) -> str:
    return f"{kind}{row.pk}"
