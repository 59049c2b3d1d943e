"""``metrics/``: what all processes measured of requests, lately and before."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final

from django.utils import timezone
from django.utils.translation import gettext as _
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
from pulse.api.parameters import Parameter, choice, moment, text, whole
from pulse.api.views import ApiView
from pulse.exceptions import InvalidDocument
from pulse.metrics import flush, series, wire
from pulse.metrics.recorder import APART
from pulse.policies.kinds import Errors, add_error

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
#: A history has at most so many points: a day of minutes, a month of hours.
MAX_POINTS: Final = 1500
STEPS: Final = {"60": timedelta(minutes=1), "3600": timedelta(hours=1)}
#: How far a history looks back that names no beginning, in points.
POINTS: Final = 60
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
                record(
                    {
                        "endpoint_id": TEXT,
                        **TOTAL,
                        "in_flight": WHOLE,
                        "refused_by": several(RULE),
                    }
                )
            ),
        }
    ),
)


HISTORY: Final = Shape(
    "MetricsHistory",
    record(
        {
            "step_s": {"type": "integer", "enum": [60, 3600]},
            "points": several(
                record(
                    {
                        "at": TIME,
                        **dict.fromkeys(("requests", "errors", "refused"), nullable(WHOLE)),
                        "latency_ms": TOTAL["latency_ms"],
                    }
                )
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


class History(ApiView):
    """Minutes and hours, as they were kept."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (
            moment("from_at", f"Where it begins; by default {POINTS} points before its end."),
            moment("to_at", "Where it ends; by default now."),
            text("endpoint", "An endpoint id, such as GET /api/products/; by default all."),
            choice("step_s", "How long a point is: a minute or an hour.", STEPS, "60"),
        )
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "Read the history",
            HISTORY,
            text=(
                "Minutes of the last day and hours of the last month, as a worker kept them; the "
                "newest minutes come from Redis. What nobody recorded is a point of nulls."
            ),
        )
    }

    def get(self, _request: Request) -> Response:
        """Answer with every point of the time that was asked for."""
        step = STEPS[self.query["step_s"]]
        until = self.query["to_at"] or timezone.now()
        since = self.query["from_at"] or until - (POINTS - 1) * step
        errors: Errors = {}
        if since > until:
            add_error(errors, "from_at", _("It is after to_at."))
        elif (until - since) / step > MAX_POINTS:
            told = _("At most %(most)d points are told at once: %(most)d times step_s.")
            add_error(errors, "from_at", told % {"most": MAX_POINTS})
        if errors:
            raise InvalidDocument(errors)
        spans = series.between(since, until, step, self.query["endpoint"] or "")
        body = {"step_s": int(step.total_seconds()), "points": [wire.point(one) for one in spans]}
        return Response(body)
