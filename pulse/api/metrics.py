"""``metrics/``: what all processes measured of requests lately."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils import json

from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.operations import (
    FLAG,
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Schema,
    Shape,
    nullable,
    record,
    several,
)
from pulse.api.parameters import Parameter, whole
from pulse.api.views import ApiView
from pulse.metrics import flush, wire
from pulse.metrics.recorder import APART

RATE: Final = nullable(NUMBER)
TOTAL: Final[Mapping[str, Schema]] = {
    "requests": WHOLE,
    "rate_per_s": RATE,
    "errors": WHOLE,
    "error_rate": RATE,
    "success_rate": RATE,
    "statuses": {"type": "object", "additionalProperties": WHOLE},
    "refused": WHOLE,
    "refused_per_s": RATE,
    "would_refuse": WHOLE,
    "slow": WHOLE,
    "bytes_in": WHOLE,
    "bytes_out": WHOLE,
    "queries": WHOLE,
    "query_ms": NUMBER,
    "latency_ms": record(dict.fromkeys(("min", "mean", "max", "p50", "p90", "p95", "p99"), RATE)),
    "apdex": RATE,
    "sla": nullable(FLAG),
}
RULE: Final = record(
    {
        "kind": TEXT,
        "key": {"type": "object", "additionalProperties": TEXT},
        "count": WHOLE,
    }
)
METRICS: Final = Shape(
    "Metrics",
    record(
        {
            "window": record({"from_at": TIME, "to_at": TIME, "seconds": NUMBER}),
            "scope": {"type": "string", "enum": ["all", "process"]},
            "stale": FLAG,
            "processes": WHOLE,
            "gaps": several(record({"from_at": TIME, "to_at": TIME})),
            "dropped": WHOLE,
            "lag_s": NUMBER,
            "apart": record(dict.fromkeys(APART, WHOLE)),
            "lifetime": record(
                {"since_at": nullable(TIME), "requests": WHOLE, "errors": WHOLE, "refused": WHOLE}
            ),
            "total": record({**TOTAL, "in_flight": WHOLE}),
            "endpoints": several(
                record({"endpoint_id": TEXT, **TOTAL, "refused_by": several(RULE)})
            ),
        }
    ),
)


class Metrics(ApiView):
    """One reading of all processes."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (
            whole(
                "window_s",
                "How many seconds to look back; by default METRICS_WINDOW_S. Whole buckets are "
                "told, so it may be up to one longer: window says.",
                1,
                flush.KEPT_S,
            ),
        )
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "Read what was measured",
            METRICS,
            text=(
                "What all processes measured of requests lately, merged; the same from each of "
                "them. Latencies are of answers that were not refused, their percentiles at most "
                "3.2 % off. What was not measured is null. Without Redis `scope` is `process`; "
                "while Redis cannot be asked `stale` is true, and it is the last reading."
            ),
            etag=True,
        )
    }

    def get(self, request: Request) -> Response:
        """Answer with the reading; 304 to who has it as it is now."""
        told = wire.read(self.query["window_s"])
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
        return conditional.answer(request, told, conditional.tag(digest))
