"""The policy as one document: read as it is, was or would be; applied whole; published."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.conditional import require_match
from pulse.api.errors import invalid, not_found
from pulse.api.media import ForDocuments
from pulse.api.operations import Operation
from pulse.api.parameters import Parameter, flag, moment, whole
from pulse.api.shapes import CHANGES, document_shape
from pulse.api.views import ApiView
from pulse.api.writing import WRITING, Written, carry_out, is_dry_run
from pulse.core.document import Document
from pulse.policies import document, drafts, publisher
from pulse.policies.models import PolicyRevision

READING: Sequence[Parameter] = (
    whole("revision", "As this revision has it.", 1),
    moment("at", "As it was in force at this time."),
    flag("draft", "As publishing would make it, where PUBLISH is manual."),
)


class Policy(ForDocuments, ApiView):
    """The whole policy, as pulse_export writes it and pulse_apply reads it."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": Scope.VIEW, "PUT": Scope.ADMINISTER}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": READING,
        "PUT": (*WRITING, flag("prune", "Remove what the document does not name.")),
    }

    def operation_of(self, method: str) -> Operation:
        """Return what a method does, for the schema."""
        if method == "GET":
            return Operation(
                "Read the policy as one document",
                document_shape(),
                etag=True,
                errors=(404,),
                text=(
                    "The ETag is the revision's number; that of a draft names what it says. Put it "
                    "back with `prune` to restore it."
                ),
            )
        return Operation(
            "Apply a document",
            CHANGES,
            document_shape(),
            etag=True,
            revision=True,
            errors=(409,),
            text=(
                "All of it, or nothing. What it does not name stays, unless `prune` is set. Where "
                "there is a draft, `If-Match` names that: the ETag of `policy/?draft=1`."
            ),
        )

    def scope_of(self, request: Request) -> Scope | None:
        """Return what a request asks for; a dry run changes nothing."""
        return Scope.VIEW if is_dry_run(request) else super().scope_of(request)

    def get(self, request: Request) -> Response:
        """Answer with the document in force, or the one that the query names."""
        asked = [name for name in ("revision", "at", "draft") if self.query[name]]
        if len(asked) > 1:
            raise invalid({asked[1]: [f"Name one only: {asked[0]} is there already."]})
        if self.query["draft"]:
            draft = publisher.document_of_rows()
            return conditional.answer(request, draft, conditional.tag(drafts.digest(draft)))
        number, found = self._revision()
        return conditional.answer(request, found, conditional.tag(number))

    def put(self, request: Request) -> Response:
        """Apply a document: all of it, or nothing."""
        # Read before anything is locked: whoever sends it slowly is in nobody's way.
        found = self.fields(request)
        written = carry_out(self, lambda: self._apply(request, found))
        return written.tell(conditional.answer(request, told_of(written), tag_after(written)))

    def _apply(self, request: Request, found: Document) -> document.Applied:
        assert self.principal is not None  # noqa: S101 - no write is open to all
        require_match(request, publisher.newest_number(), tags=tags_of_rows)
        return document.apply(found, self.principal.actor, prune=self.query["prune"])

    def _revision(self) -> tuple[int, Document]:
        """Return the number and the document of the revision that is asked for.

        Raises:
            Problem: There is none.
        """
        rows = PolicyRevision.objects.using(publisher.database()).order_by("-number")
        if self.query["revision"]:
            rows = rows.filter(number=self.query["revision"])
        elif self.query["at"]:
            rows = rows.filter(created_at__lte=self.query["at"])
        found: tuple[int, Document] | None = rows.values_list("number", "document").first()
        if found is not None:
            return found
        if self.query["revision"] or self.query["at"]:
            raise not_found()
        return 0, publisher.newest_document()


class Publish(ApiView):
    """The draft made the policy in force."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Publish the draft",
            CHANGES,
            etag=True,
            revision=True,
            text=(
                "For `PUBLISH` set to manual; elsewhere nothing is left to publish. `If-Match` "
                "with the ETag of `policy/?draft=1` publishes no other draft than the one read."
            ),
        )
    }

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.ADMINISTER}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {"POST": WRITING}

    def scope_of(self, request: Request) -> Scope | None:
        """Return what a request asks for; a dry run changes nothing."""
        return Scope.VIEW if is_dry_run(request) else super().scope_of(request)

    def post(self, request: Request) -> Response:
        """Publish the draft; nothing where it is in force already."""
        assert self.principal is not None  # noqa: S101 - no write is open to all
        actor = self.principal.actor
        self.fields(request, exact=True)

        def act() -> None:
            require_match(request, publisher.newest_number(), tags=tags_of_rows)
            publisher.publish(actor)

        written = carry_out(self, act)
        headers = {"ETag": conditional.tag(written.revision)}
        return written.tell(Response(written.as_dict(), headers=headers))


def tags_of_rows() -> set[str]:
    """Name what a document is written over: the draft where there is one, else what is in force."""
    named = {conditional.tag(drafts.digest())}
    if not publisher.has_unpublished():
        named.add(conditional.tag(publisher.newest_number()))
    return named


def tag_after(written: Written[document.Applied]) -> str:
    """Return the ``ETag`` of what a document was made: of the draft, where it is one."""
    is_saved_draft = written.draft and not written.dry_run
    return conditional.tag(drafts.digest() if is_saved_draft else written.revision)


def told_of(written: Written[document.Applied]) -> dict[str, Any]:
    """Return what applying did; of a draft, what it changed in the rows."""
    told = {**written.as_dict(), "warnings": written.result.warnings}
    if written.draft and not written.dry_run:
        told |= {"changed": written.result.changed, "changes": written.result.changes}
    return told
