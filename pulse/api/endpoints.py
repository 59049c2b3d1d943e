"""``endpoints/``: the site's own routes, with what guards and probes them, and how they do."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils import json
from rest_framework.utils.encoders import JSONEncoder

from pulse.access.scopes import Scope
from pulse.api import conditional, paging
from pulse.api.metrics import TOTAL
from pulse.api.operations import (
    ANYTHING,
    FLAG,
    TEXT,
    TIME,
    Operation,
    Shape,
    nullable,
    page,
    record,
    several,
)
from pulse.api.parameters import Parameter, choice, flag, text
from pulse.api.views import ApiView
from pulse.probes import discovery
from pulse.probes.state import TargetStatus
from pulse.probes.summary import endpoints as summary

STATES: Final = ("new", "present", "vanished")
ENDPOINT: Final = Shape(
    "Endpoint",
    record(
        {
            "endpoint_id": TEXT,
            "route": TEXT,
            "url_name": nullable(TEXT),
            "view": nullable(TEXT),
            "safe": FLAG,
            "requires_input": FLAG,
            "sample": ANYTHING,
            "state": {"type": "string", "enum": list(STATES)},
            "policies": several(
                record({"kind": TEXT, "key": {"type": "object", "additionalProperties": ANYTHING}})
            ),
            "metrics": nullable(record(TOTAL)),
            "probe": nullable(
                record(
                    {
                        "target": TEXT,
                        "status": {"type": "string", "enum": [str(each) for each in TargetStatus]},
                        "last_result_at": nullable(TIME),
                    }
                )
            ),
        }
    ),
)


class Endpoints(ApiView):
    """Every route that was found."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (
            text("search", "Words that the endpoint id, the URL name or the view has."),
            choice("state", "Whether it is there.", STATES),
            Parameter(
                "safe", "Whether its method is safe.", flag("", "").schema, flag("", "").read
            ),
            choice("ordering", "In which order.", summary.SORTS, summary.SORTS[0]),
            *paging.BY_NUMBER,
        )
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "List endpoints",
            page(ENDPOINT),
            text=(
                "Routes of the URLconf by method, with the policies that are for them, what was "
                "measured in the last minutes (null where nobody asked), and the probe that tells "
                "how they stand. A worker looks for routes; `state` says what is new or gone."
            ),
            etag=True,
        )
    }

    def get(self, request: Request) -> Response:
        """Answer with a page; 304 to who has it as it is now."""
        discovery.discover_if_empty()
        query = self.query
        rows = [
            each
            for each in summary.everything(timezone.now())
            if query["state"] in {None, each.covered.state}
            and query["safe"] in {None, each.covered.safe}
            and summary.has(each, query["search"] or "")
        ]
        found = summary.in_order(rows, query["ordering"])
        body: dict[str, Any] = paging.of_few(request, found, query)
        body["results"] = [summary.endpoint_as_dict(row) for row in body["results"]]
        told = json.dumps(body, sort_keys=True, cls=JSONEncoder)
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        return conditional.answer(request, body, conditional.tag(digest))
