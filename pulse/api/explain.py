"""``explain/``: what would become of a request, or what became of a refused one."""

from collections.abc import Mapping
from typing import ClassVar, Final

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api.errors import invalid
from pulse.api.operations import (
    ACTOR,
    ANYTHING,
    FLAG,
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
from pulse.api.views import ApiView
from pulse.core.endpoints import METHODS
from pulse.policies.explain.explanations import explain
from pulse.policies.explain.questions import COUNTERS, MAX_COUNT, MAX_TEXT, read
from pulse.policies.explain.refusals import explain_refusal

DECISION: Final = "decision"
WORDS: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
KEY: Final[Schema] = {"type": "object", "additionalProperties": TEXT}
OBJECT: Final[Schema] = {"type": "object"}

REQUEST: Final = Shape(
    "DescribedRequest",
    record(
        {
            "path": {**WORDS, "pattern": "^/"},
            "method": {**WORDS, "examples": list(METHODS), "default": "GET"},
            "address": WORDS,
            "user": nullable(WORDS),
            "api_key": nullable(WORDS),
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "count": {"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": 1},
            "counters": {"type": "string", "enum": list(COUNTERS), "default": "live"},
            "https": {"type": "boolean", "default": False},
        },
        *("method", "address", "user", "api_key", "headers", "count", "counters", "https"),
        additionalProperties=False,
    ),
)
REFUSAL: Final = Shape(
    "DecisionId", record({DECISION: {"type": "string"}}, additionalProperties=False)
)
LIMIT: Final = Shape(
    "ExplainedLimit",
    record(
        {
            "rate": TEXT,
            "algorithm": TEXT,
            "limit": WHOLE,
            "remaining": nullable(WHOLE),
            "retry_after": nullable(WHOLE),
            "passed": nullable(FLAG),
        }
    ),
)
RULE: Final = Shape(
    "ExplainedRule",
    record(
        {
            "kind": TEXT,
            "key": KEY,
            "mode": nullable(TEXT),
            "matched": FLAG,
            "why": TEXT,
            "counted_by": nullable(TEXT),
            "outcome": {
                "type": "string",
                "enum": ["passed", "refused", "would_refuse", "not_matched", "exempt", "off"],
            },
            "limits": several(LIMIT),
        }
    ),
)
ANSWER: Final = Shape(
    "Explanation",
    record(
        {
            "verdict": {"type": "string", "enum": ["allowed", "refused"]},
            "status": WHOLE,
            "allowed": WHOLE,
            "refused": WHOLE,
            "revision": WHOLE,
            "route": nullable(TEXT),
            "url_name": nullable(TEXT),
            "exempt_by": nullable(TEXT),
            "client": record(
                {"address": nullable(TEXT), "kind": nullable(TEXT), "tier": nullable(TEXT)}
            ),
            "rules": several(RULE),
            "headers": KEY,
            "body": nullable(OBJECT),
            "cors": nullable(OBJECT),
            "bounds": nullable(OBJECT),
            "header_policy": nullable(TEXT),
            "headers_by_setting": KEY,
            DECISION: record(
                {
                    "kind": TEXT,
                    "key": KEY,
                    "rate": TEXT,
                    "client": TEXT,
                    "method": TEXT,
                    "route": nullable(TEXT),
                    "at": TIME,
                }
            ),
            "then": nullable(
                record(
                    {
                        "revision": WHOLE,
                        "created_at": TIME,
                        "actor": ACTOR,
                        "reason": TEXT,
                        "item": nullable(OBJECT),
                        "words": TEXT,
                    }
                )
            ),
            "now": record(
                {
                    "revision": WHOLE,
                    "exists": FLAG,
                    "in_force": FLAG,
                    "item": nullable(OBJECT),
                    "words": TEXT,
                    "changed": {"type": "object", "additionalProperties": ANYTHING},
                    "limits": several(LIMIT),
                }
            ),
        },
        *("cors", "bounds", "header_policy", "headers_by_setting"),
        *(DECISION, "then", "now"),
    ),
)


class Explain(ApiView):
    """Tell why; it charges nothing."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.VIEW}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Explain a request or a refusal",
            ANSWER,
            {"oneOf": [REQUEST, REFUSAL]},
            text=(
                "Describe a request, and be told what would become of it now: every rule in the "
                "order in which it is asked, the counters, headers and body. Of several at one "
                "instant (`count`) it tells of the last. Or send the `decision` of a refusal: "
                "then `then` is the rule as it was, and `now` as it is. Nothing is charged."
            ),
            body_example={"method": "GET", "path": "/api/search/", "address": "203.0.113.9"},
        )
    }

    def post(self, request: Request) -> Response:
        """Explain."""
        fields = self.fields(request)
        if DECISION not in fields:
            return Response(explain(read(fields)).answer)
        decision = fields[DECISION]
        if len(fields) > 1 or not isinstance(decision, str):
            raise invalid({DECISION: [_("Send a decision id, as text and alone.")]})
        return Response(explain_refusal(decision))
