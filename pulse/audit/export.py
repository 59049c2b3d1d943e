"""Entries written out, in batches: as CSV for tables, as JSON for programs."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from pulse.audit.models import AuditEntry
from pulse.policies.kinds import time_to_text

#: Rows of one batch: no more of them are in memory at once, however many there are.
BATCH: Final = 1000
COLUMNS: Final = (
    *("id", "created_at", "actor_type", "actor_name", "address", "action", "outcome"),
    *("kind", "key", "revision", "request_id", "fields"),
)
#: What a spreadsheet takes for the beginning of a formula.
FORMULAS: Final = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
TYPES: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}

#: Told how many entries are written.
Progress = Callable[[int], None]


def entry_as_dict(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as the API tells it."""
    return {
        "id": str(entry.pk),
        "created_at": time_to_text(entry.created_at),
        "actor": {"type": entry.actor_type, "name": entry.actor_name},
        "address": entry.address,
        "action": entry.action,
        "outcome": entry.outcome,
        "kind": entry.kind,
        "key": entry.key,
        "revision": entry.revision,
        "request_id": entry.request_id,
        "fields": entry.fields,
    }


def written(
    rows: QuerySet[AuditEntry], form: str, progress: Progress = lambda _: None
) -> Iterator[str]:
    """Write entries, the newest first, a piece of text for each batch.

    What is recorded meanwhile is not among them.

    Args:
        rows: Which, in any order.
        form: ``csv`` or ``json``.
        progress: Is told after each batch.
    """
    yield from {"csv": _csv, "json": _json}[form](_batches(rows, progress))


def answer(request: HttpRequest, rows: QuerySet[AuditEntry], form: str) -> StreamingHttpResponse:
    """Answer with a file of entries, written while it is sent; also under ASGI."""
    pieces = written(rows, form)
    content: Any = _asynchronous(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(content, content_type=TYPES[form])
    name = f"pulse-audit-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _batches(rows: QuerySet[AuditEntry], progress: Progress) -> Iterator[Sequence[AuditEntry]]:
    """Read by primary key: no batch costs more for standing behind others."""
    last, done = None, 0
    rows = rows.order_by("-pk")
    while batch := list((rows if last is None else rows.filter(pk__lt=last))[:BATCH]):
        yield batch
        last, done = batch[-1].pk, done + len(batch)
        progress(done)


def _csv(batches: Iterator[Sequence[AuditEntry]]) -> Iterator[str]:
    # With the mark that lets spreadsheets read it as UTF-8.
    yield "\ufeff" + _lines([COLUMNS])
    for batch in batches:
        yield _lines([_cell(getattr(entry, name)) for name in COLUMNS] for entry in batch)


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    text = (time_to_text(value) or "") if hasattr(value, "astimezone") else str(value)
    # Whoever sends a request chooses some of these texts.
    return f"'{text}" if text.startswith(FORMULAS) else text


def _json(batches: Iterator[Sequence[AuditEntry]]) -> Iterator[str]:
    before = "["
    for batch in batches:
        lines = (json.dumps(entry_as_dict(entry), ensure_ascii=False) for entry in batch)
        yield before + "\n" + ",\n".join(lines)
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


async def _asynchronous(pieces: Iterator[str]) -> AsyncIterator[str]:
    def read() -> str | None:
        return next(pieces, None)

    while (piece := await sync_to_async(read)()) is not None:
        yield piece
