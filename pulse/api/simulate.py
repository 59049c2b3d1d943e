"""``simulate/``: what a draft would have refused of what was recorded."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api.errors import invalid
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
from pulse.api.shapes import document_shape
from pulse.api.views import ApiView
from pulse.exceptions import InvalidDocument
from pulse.policies.simulate.simulations import MAX_WINDOW_S, MIN_WINDOW_S, WINDOW_S, simulate

SHARE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
KEY: Final[Schema] = {"type": "object", "additionalProperties": TEXT}

REFUSALS: Final = Shape(
    "SimulatedRefusals",
    record(
        {
            "refused": nullable(COUNT),
            "share": nullable(SHARE),
            "low": nullable(COUNT),
            "high": nullable(COUNT),
            "clients": nullable(COUNT),
            "would_refuse": nullable(COUNT),
        }
    ),
)
ANSWER: Final = Shape(
    "Simulation",
    record(
        {
            "window": record({"from_at": TIME, "to_at": TIME}),
            "requests": COUNT,
            "sampled": COUNT,
            "share": SHARE,
            "confidence": NUMBER,
            "draft": REFUSALS,
            "now": REFUSALS,
            "top_clients": several(record({"client": TEXT, "refused": COUNT})),
            "rules": several(
                record(
                    {
                        "kind": TEXT,
                        "key": KEY,
                        "draft": COUNT,
                        "now": COUNT,
                        "draft_would": COUNT,
                        "now_would": COUNT,
                    }
                )
            ),
            "not_simulated": several(
                record({"kind": TEXT, "key": KEY, "why": TEXT, "requests": nullable(WHOLE)})
            ),
            "left_out": record({"clients": COUNT, "requests": COUNT}),
            "cut": FLAG,
            "scope": {"type": "string", "enum": ["all", "process"]},
            "available": FLAG,
        }
    ),
)


def _body() -> Schema:
    return record(
        {
            "document": document_shape(),
            "prune": {"type": "boolean", "default": False},
            "window_s": {
                "type": "integer",
                "minimum": MIN_WINDOW_S,
                "maximum": MAX_WINDOW_S,
                "default": WINDOW_S,
            },
        },
        *("prune", "window_s"),
        additionalProperties=False,
    )


class Simulate(ApiView):
    """Try a document on recorded requests; it saves nothing."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.VIEW}

    def operation_of(self, method: str) -> Operation:  # noqa: ARG002 - there is one
        """Return what a method does, for the schema."""
        return Operation(
            "Simulate a draft on recorded requests",
            ANSWER,
            _body(),
            text=(
                "Send a part of a document, as for `PUT policy/`. The draft and the policy in "
                "force are replayed on the recorded requests of the last `window_s` seconds. "
                "Where only a `share` of the clients was recorded, `low` and `high` bound what is "
                "refused in all with the `confidence`. What recorded requests cannot tell is in "
                "`not_simulated`, never in the figures. Nothing is saved or charged."
            ),
            body_example={
                "document": {
                    "endpoint_limits": [
                        {
                            "name": "login",
                            "path": "/login/",
                            "key": "ip",
                            "limits": [{"rate": "5/m"}],
                        }
                    ]
                },
                "window_s": WINDOW_S,
            },
        )

    def post(self, request: Request) -> Response:
        """Simulate."""
        body = self.fields(request, "document", "prune", "window_s")
        document, prune, window_s = _read(body)
        assert self.principal is not None  # noqa: S101 - it is not open to all
        try:
            found = simulate(document, self.principal.actor, prune=prune, window_s=window_s)
        except InvalidDocument as error:
            raise invalid(
                {f"document.{place}": texts for place, texts in error.errors.items()}
            ) from error
        return Response(found)


def _read(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool, int]:
    """Check the fields of the body.

    Raises:
        Problem: One of them cannot be.
    """
    document, prune = body.get("document"), body.get("prune", False)
    window_s = body.get("window_s", WINDOW_S)
    errors: dict[str, list[str]] = {}
    if not isinstance(document, Mapping):
        errors["document"] = [_("Write a part of a policy document.")]
    if not isinstance(prune, bool):
        errors["prune"] = [_("Write true or false.")]
    is_whole = isinstance(window_s, int) and not isinstance(window_s, bool)
    if not is_whole or not MIN_WINDOW_S <= window_s <= MAX_WINDOW_S:
        text = _("Write a whole number of seconds from %(least)d to %(most)d.")
        errors["window_s"] = [text % {"least": MIN_WINDOW_S, "most": MAX_WINDOW_S}]
    if errors:
        raise invalid(errors)
    assert isinstance(document, Mapping)  # noqa: S101 - for the type checker
    return document, prune, window_s
