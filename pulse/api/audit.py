"""The audit: who did what, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db import router
from django.db.models import QuerySet
from django.http import HttpResponseBase
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from pulse.access.scopes import Scope
from pulse.api.filters import Filters, filters_of
from pulse.api.media import JsonRenderer
from pulse.api.operations import (
    ACTOR,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Shape,
    nullable,
    page,
    record,
)
from pulse.api.views import ListView
from pulse.audit.export import answer, entry_as_dict
from pulse.audit.models import Action, AuditEntry, Outcome
from pulse.audit.record import record as write_entry

#: What a query says that is no filter.
_NO_FILTERS: Final = frozenset({"format", "cursor", "page_size"})
_OBJECT: Final = {"type": "object"}
ENTRY: Final = Shape(
    "AuditEntry",
    record(
        {
            "id": TEXT,
            "created_at": TIME,
            "actor": ACTOR,
            "address": TEXT,
            "action": {"type": "string", "enum": Action.values},
            "outcome": {"type": "string", "enum": Outcome.values},
            "kind": TEXT,
            "key": _OBJECT,
            "revision": nullable(WHOLE),
            "request_id": TEXT,
            "fields": {
                "type": "object",
                "additionalProperties": record({"before": {}, "after": {}}),
            },
        }
    ),
)


class CsvRenderer(BaseRenderer):
    """Names the form; the view itself streams it."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Write what is no entry, such as a problem, as JSON."""
        return JsonRenderer().render(data, accepted_media_type, renderer_context)


class Audit(ListView):
    """Entries, newest first; as CSV all that the filters leave, streamed."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.ADMINISTER}
    renderer_classes: Sequence[type[BaseRenderer]] = (JsonRenderer, CsvRenderer)
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "List entries of the audit",
            page(ENTRY, counted=False),
            text="With `format=csv` every entry that the filters leave, not only a page.",
        )
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what entries can be narrowed."""
        return filters_of(
            AuditEntry,
            (
                *("actor_type", "actor_name", "address", "action", "outcome", "kind"),
                *("revision", "request_id", "created_at"),
            ),
            searched=("actor_name", "address", "request_id"),
            ordered=False,
        )

    def get(self, request: Request, **kwargs: Any) -> Any:
        """Answer with a page, or with the file of all."""
        if request.accepted_renderer.format != "csv":
            return super().get(request, **kwargs)
        return self._download(request)

    def rows(self) -> QuerySet[AuditEntry]:
        """Return all entries."""
        return AuditEntry.objects.using(router.db_for_write(AuditEntry))

    def write(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is told of entries."""
        return [entry_as_dict(row) for row in rows]

    def _download(self, request: Request) -> HttpResponseBase:
        assert self.principal is not None  # noqa: S101 - the audit is not open to all
        asked = {
            name: {"before": None, "after": value}
            for name, value in request.query_params.items()
            if name not in _NO_FILTERS
        }
        write_entry(
            Action.AUDIT_EXPORT,
            self.principal.actor,
            request_id=self.request_id,
            fields={"format": {"before": None, "after": "csv"}, **asked},
        )
        self.headers["Cache-Control"] = "no-store"
        rows = self.filters.apply(self.rows(), self.query)
        return answer(request._request, rows, "csv")
