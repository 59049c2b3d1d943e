"""Revisions: the record of every policy, compared, and gone back to."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.conditional import require_match
from pulse.api.document import tag_after, tags_of_rows, told_of
from pulse.api.errors import not_found
from pulse.api.filters import Filters, filters_of
from pulse.api.operations import ACTOR, TEXT, TIME, WHOLE, Operation, Shape, page, record, several
from pulse.api.parameters import Parameter, whole
from pulse.api.shapes import CHANGE, CHANGES, document_shape
from pulse.api.views import MAX_DIGITS, ApiView, DetailView, ListView
from pulse.api.writing import WRITING, carry_out, is_dry_run
from pulse.policies import document, history, publisher
from pulse.policies.guarded import as_dict as guard_as_dict
from pulse.policies.guarded import guard_of
from pulse.policies.kinds import time_to_text
from pulse.policies.models import PolicyRevision
from pulse.policies.state import GuardState

GUARD: Final = Shape(
    "Guard",
    record(
        {
            "refusals": WHOLE,
            "minutes": WHOLE,
            "until_at": TIME,
            "seen": WHOLE,
            "state": {"type": "string", "enum": GuardState.values},
        }
    ),
)
_PROPERTIES: Final = {
    "number": WHOLE,
    "created_at": TIME,
    "actor": ACTOR,
    "source": TEXT,
    "reason": TEXT,
    "request_id": TEXT,
    "hash": TEXT,
    "previous_hash": TEXT,
    "guard": {"anyOf": [GUARD, {"type": "null"}]},
}
SUMMARY: Final = Shape("RevisionSummary", record(_PROPERTIES))
DIFFERENCE: Final = Shape(
    "Difference", record({"from": WHOLE, "to": WHOLE, "changes": several(CHANGE)})
)


class RevisionList(ListView):
    """All revisions, newest first, without what they changed."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    counted = False
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List revisions", page(SUMMARY, counted=False))
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what revisions can be narrowed."""
        names = (
            *("number", "created_at", "actor_type", "actor_name", "source", "reason"),
            *("request_id", "hash", "previous_hash"),
        )
        searched = ("actor_name", "reason", "request_id")
        return filters_of(PolicyRevision, names, searched=searched, ordered=False)

    def rows(self) -> QuerySet[PolicyRevision]:
        """Return all revisions; what is not told is not read."""
        return _rows().defer("document", "changes")

    def write(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is told of revisions."""
        return [_told(row) for row in rows]


class Revision(DetailView):
    """One revision, with what it changed and the document that it is."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}

    def operation_of(self, method: str) -> Operation:
        """Return what a method does, for the schema."""
        del method
        properties = {**_PROPERTIES, "changes": several(CHANGE), "document": document_shape()}
        shape = Shape("Revision", record(properties))
        return Operation("Read a revision", shape, etag=True, errors=(404,))

    def find(self, **kwargs: Any) -> PolicyRevision:
        """Return the revision of a number."""
        return _find(kwargs["number"])

    def write(self, row: Any) -> dict[str, Any]:
        """Return all that is told of a revision."""
        return {**_told(row), "changes": row.changes, "document": row.document}

    def etag(self, row: Any, told: Mapping[str, Any]) -> str:  # noqa: ARG002 - it tells of no more
        """Return a tag that changes with its guard alone: a revision never does."""
        guard = guard_of(row)
        return conditional.tag(
            row.number if guard is None else f"{row.number}-{guard.state}-{guard.seen}"
        )


class RevisionDifference(ApiView):
    """What leads from one revision to another."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (whole("to", "The other revision; by default the newest.", 1),)
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("Compare two revisions", DIFFERENCE, errors=(404,))
    }

    def get(self, request: Request, number: str) -> Response:
        """Answer with the changes, each with its effect."""
        del request
        one = _find(number)
        other = self.query["to"] or _rows().latest("number").number
        try:
            changes = history.compare(one.number, other)
        except PolicyRevision.DoesNotExist:
            raise not_found() from None
        return Response({"from": one.number, "to": other, "changes": changes})


class RevisionRollback(ApiView):
    """The way back to a revision, as a new one."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.ADMINISTER}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {"POST": WRITING}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Roll back to a revision",
            CHANGES,
            etag=True,
            revision=True,
            errors=(404, 409),
            text=(
                "The policy becomes what the revision's document says, as a new revision. "
                "`If-Match` names what is written over, as for `policy/`."
            ),
        )
    }

    def scope_of(self, request: Request) -> Scope | None:
        """Return what a request asks for; a dry run changes nothing."""
        return Scope.VIEW if is_dry_run(request) else super().scope_of(request)

    def post(self, request: Request, number: str) -> Response:
        """Go back."""
        self.fields(request, exact=True)
        found = _find(number)
        assert self.principal is not None  # noqa: S101 - no write is open to all
        actor = self.principal.actor
        reason = f"Roll back to revision {found.number}"

        def act() -> document.Applied:
            require_match(request, publisher.newest_number(), tags=tags_of_rows)
            return history.rollback(found.number, actor)

        written = carry_out(
            self,
            act,
            source="rollback",
            default_reason=reason,
        )
        headers = {"ETag": tag_after(written)}
        return written.tell(Response(told_of(written), headers=headers))


def _rows() -> QuerySet[PolicyRevision]:
    return PolicyRevision.objects.using(publisher.database()).select_related("guard")


def _find(number: str) -> PolicyRevision:
    """Return the revision of a number.

    Raises:
        Problem: There is none.
    """
    is_number = number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS
    found = _rows().filter(number=int(number)).first() if is_number else None
    if found is None:
        raise not_found()
    return found


def _told(row: PolicyRevision) -> dict[str, Any]:
    guard = guard_as_dict(guard_of(row))
    if guard is not None:
        guard["until_at"] = time_to_text(guard["until_at"])
    return {
        "number": row.number,
        "created_at": time_to_text(row.created_at),
        "actor": {"type": row.actor_type, "name": row.actor_name},
        "source": row.source,
        "reason": row.reason,
        "request_id": row.request_id,
        "hash": row.hash,
        "previous_hash": row.previous_hash,
        "guard": guard,
    }
