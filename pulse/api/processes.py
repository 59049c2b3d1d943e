"""Which process runs which revision."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api import paging
from pulse.api.operations import (
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Schema,
    Shape,
    nullable,
    page,
    record,
)
from pulse.api.parameters import Parameter, choice, whole
from pulse.api.views import ApiView
from pulse.policies.processes import convergence
from pulse.store.processes import WEB, WORKER

USAGE: Final[Schema] = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {"size": WHOLE, "most": nullable(WHOLE)},
    },
}
RESOURCES: Final[Schema] = {
    "type": "object",
    "description": "What it uses, as it told with its last beat.",
    "properties": {
        "memory_bytes": nullable(WHOLE),
        "cpu_s": nullable(NUMBER),
        "descriptors": nullable(WHOLE),
        "threads": nullable(WHOLE),
        "pools": USAGE,
        "caches": USAGE,
    },
}
PROCESS: Final = Shape(
    "Process",
    record(
        {
            "id": {**TEXT, "description": "Host and process id."},
            "kind": {"type": "string", "enum": [WEB, WORKER]},
            "revision": nullable(WHOLE),
            "since_at": nullable(TIME),
            "seen_at": TIME,
            "resources": nullable(RESOURCES),
        }
    ),
)


class Processes(ApiView):
    """Every process that was heard of within ten seconds; without Redis the one that answers."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (
            choice("kind", "Of which kind.", (WEB, WORKER)),
            whole("revision", "Which run this revision.", 0),
            *paging.BY_NUMBER,
        )
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "List processes",
            page(PROCESS),
            text="Which process runs which revision, since when.",
        )
    }

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Answer with a page of them, by name."""
        del kwargs
        asked = {name: self.query[name] for name in ("kind", "revision")}
        wanted = {name: value for name, value in asked.items() if value is not None}
        told = [process.as_dict() for process in convergence().processes]
        told = [each for each in told if wanted.items() <= each.items()]
        return Response(paging.of_few(request, told, self.query))
