"""The policies of every kind: read, filtered, written, by the same rules as the document's."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.db.models.fields import TextField
from django.urls import reverse
from django.utils import translation
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.conditional import require_match
from pulse.api.errors import Problem
from pulse.api.filters import TEXTS, Filters, filters_of
from pulse.api.operations import Operation, Schema, Shape, page
from pulse.api.parameters import Parameter
from pulse.api.shapes import CHANGES, body_shape, row_shape
from pulse.api.views import ApiView, DetailView, ListView, find_row
from pulse.api.writing import WRITING, Written, carry_out, is_dry_run
from pulse.core.document import Item
from pulse.exceptions import InvalidDocument
from pulse.policies import kinds, publisher, rows
from pulse.policies.bases import Policy
from pulse.policies.guarded import MINUTES, REFUSALS
from pulse.policies.kinds import SHARED, Kind, time_to_text

#: What every row has beside its item; never written.
READ_ONLY: Final = ("id", "version", "created_at", "updated_at")
WRITE_TEXT: Final = (
    "A dry run (`?dry_run=1`, scope `view`) answers with the changes, and saves nothing. What "
    "changes nothing makes no revision and keeps the version."
)
PUT_TEXT: Final = "A field that is left out gets its default. Another natural key renames the row."
PATCH_TEXT: Final = "A field that is left out stays as it is; null sets its default."
#: Resources whose name is not that of their kind with hyphens.
RENAMED: Final = {"probe_payloads": "payloads"}


def name_of(kind: Kind) -> str:
    """Return the name of a kind's resource."""
    return RENAMED.get(kind.name, kind.name.replace("_", "-"))


class PolicyView(ApiView):
    """What the list and the details of a kind have in common.

    Attributes:
        kind_name: Of the registry of kinds.
        extra: Read-only fields of this kind, beside those that all have, and their schemas.
        resting: The values of those that change without the row, before anything was measured.
    """

    kind_name: str = ""
    extra: ClassVar[Mapping[str, Schema]] = {}
    resting: ClassVar[Mapping[str, Any]] = {}

    @property
    def kind(self) -> Kind:
        """The kind of the rows."""
        found = kinds.find_kind(self.kind_name)
        assert found is not None, self.kind_name  # noqa: S101 - mounted from the registry
        return found

    def queryset(self) -> "QuerySet[Any]":
        """Return every row, to be read with what it names."""
        return self.kind.queryset(publisher.database())

    def write(self, found: Any) -> Any:
        """Return what is told of rows: the item of each, and what is never written."""
        listed = found if isinstance(found, Sequence) else [found]
        extras = self.extras(listed)
        told = [
            {
                "id": str(row.pk),
                **self.kind.to_item(row),
                **extra,
                "version": row.version,
                "created_at": time_to_text(row.created_at),
                "updated_at": time_to_text(row.updated_at),
            }
            for row, extra in zip(listed, extras, strict=True)
        ]
        return told if isinstance(found, Sequence) else told[0]

    def extras(self, listed: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """Return the fields ``extra`` of rows, in a fixed number of queries."""
        return [{}] * len(listed)

    def etag(self, row: Any, told: Mapping[str, Any]) -> str:
        """Return the ``ETag`` of what is told of a row: its version, until that is not all.

        What is measured, and the names of other rows, change without this row.
        """
        is_all = self.resting.items() <= told.items() and not self._may_name_anew(row)
        return conditional.tag(row.version, None if is_all else told)

    def _may_name_anew(self, row: Any) -> bool:
        """Whether a row that this one names was changed after it, perhaps in its name."""
        named = [getattr(row, name) for name in self.kind.names]
        times = [getattr(one, "updated_at", None) for one in named if one is not None]
        return any(at is None or at > row.updated_at for at in times)

    @property
    def shape(self) -> Shape:
        """What is told of a row, for the schema."""
        return row_shape(self.kind_name, self.extra)

    @property
    def all(self) -> str:
        """Rows in words, for the schema."""
        with translation.override("en"):
            return str(self.kind.model._meta.verbose_name_plural)

    def scope_of(self, request: Request) -> Scope | None:
        """Return what a request asks for; a dry run changes nothing."""
        return Scope.VIEW if is_dry_run(request) else super().scope_of(request)

    def parameters_of(self, method: str) -> Sequence[Parameter]:
        """Return the query parameters of a method."""
        found = super().parameters_of(method)
        return found if method == "GET" else (*found, *WRITING)

    def item_of(self, request: Request) -> dict[str, Any]:
        """Return the fields of the body that are written."""
        ignored = {*READ_ONLY, *self.extra} - set(self.kind.all_fields)
        return {name: value for name, value in self.fields(request).items() if name not in ignored}

    def save(self, item: Item, row: Policy | None) -> Policy:
        """Save a row as an item says; what its policy would be wrong with is told by its fields."""
        return rows.write(self.kind, item, row, publisher.database())

    def told_by_field(self, error: InvalidDocument, row: Policy | None) -> InvalidDocument:
        """Return what is wrong with the whole policy, by the fields of the row that was written."""
        if row is None:
            return error
        return InvalidDocument(rows.errors_of_row(error, self.kind, row))


class PolicyList(PolicyView, ListView):
    """All rows of a kind, and new ones."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {
        "GET": Scope.VIEW,
        "POST": Scope.ADMINISTER,
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # of the kind, not of the class
        """By what the rows can be narrowed and ordered."""
        return filters_of_kind(self.kind)

    def operation_of(self, method: str) -> Operation:
        """Return what a method does, for the schema."""
        if method == "GET":
            return Operation(f"List {self.all}", page(self.shape))
        return Operation(
            f"Add one of the {self.all}",
            self.shape,
            body_shape(self.kind_name),
            status=201,
            location=True,
            revision=True,
            others={200: CHANGES},
            text=WRITE_TEXT,
        )

    def rows(self) -> "QuerySet[Any]":
        """Return all rows, in the order of their model."""
        found = self.queryset()
        return found.order_by(*found.model._meta.ordering, "pk")

    def post(self, request: Request, **kwargs: Any) -> Response:
        """Make a row."""
        del kwargs
        item = self.item_of(request)
        made: list[Policy] = []

        def act() -> Mapping[str, Any]:
            made.append(self.save(item, None))
            # Read before the commit: what fails after it would be sent, and done, again.
            told: Mapping[str, Any] = self.write(made[0])
            return told

        try:
            written = carry_out(self, act)
        except InvalidDocument as error:
            raise self.told_by_field(error, made[0] if made else None) from error
        if written.dry_run:
            return Response(written.as_dict())
        row, told = made[0], written.result
        address = reverse(f"pulse:api-{name_of(self.kind)}-detail", args=[row.pk])
        headers = {
            "Location": request.build_absolute_uri(address),
            "ETag": self.etag(row, told),
        }
        return written.tell(Response(told, status=201, headers=headers))


class PolicyDetail(PolicyView, DetailView):
    """One row of a kind."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {
        "GET": Scope.VIEW,
        "PUT": Scope.ADMINISTER,
        "PATCH": Scope.ADMINISTER,
        "DELETE": Scope.ADMINISTER,
    }

    def operation_of(self, method: str) -> Operation:
        """Return what a method does, for the schema."""
        if method == "GET":
            return Operation(f"Read one of the {self.all}", self.shape, etag=True)
        if method == "DELETE":
            return Operation(
                f"Delete one of the {self.all}",
                status=204,
                errors=(409,),
                etag=True,
                revision=True,
                others={200: CHANGES},
                text="409 `in_use` while others name it.",
            )
        said = "Write" if method == "PUT" else "Change"
        return Operation(
            f"{said} one of the {self.all}",
            {"anyOf": [self.shape, CHANGES]},
            body_shape(self.kind_name, partial=method == "PATCH"),
            errors=(409,),
            etag=True,
            revision=True,
            text=f"{WRITE_TEXT} {PUT_TEXT if method == 'PUT' else PATCH_TEXT}",
        )

    def find(self, **kwargs: Any) -> Any:
        """Return the row that the address names."""
        return find_row(self.queryset(), kwargs["ident"])

    def put(self, request: Request, ident: str) -> Response:
        """Make the row what the body says, whole; also under another name."""
        item = self.item_of(request)
        return self._change(request, ident, lambda _row: item)

    def patch(self, request: Request, ident: str) -> Response:
        """Change the fields that the body names."""
        item = self.item_of(request)
        return self._change(request, ident, lambda row: {**self.kind.to_item(row), **item})

    def delete(self, request: Request, ident: str) -> Response:
        """Delete the row; not while others name it."""

        def act() -> None:
            row = self.find(ident=ident)
            require_match(request, row.version)
            row.delete(using=publisher.database())

        try:
            written = carry_out(self, act)
        except InvalidDocument as error:
            if not error.errors.keys().isdisjoint((REFUSALS, MINUTES)):
                raise
            # What is left makes no policy: it names what would be gone.
            texts = [f"{place}: {text}" for place, found in error.errors.items() for text in found]
            raise Problem(409, "in_use", " ".join(texts)) from error
        if written.dry_run:
            return Response(written.as_dict())
        return written.tell(Response(status=204))

    def _change(self, request: Request, ident: str, item_for: Any) -> Response:
        found: list[Any] = []

        def act() -> None:
            row = self.find(ident=ident)
            require_match(request, row.version, self.fields(request).get("version"))
            found.append(row)
            found.append(self.save(item_for(row), row))

        try:
            written: Written[None] = carry_out(self, act)
        except InvalidDocument as error:
            raise self.told_by_field(error, found[-1] if len(found) == 2 else None) from error
        if written.dry_run:
            return Response(written.as_dict())
        row = found[-1]
        told = self.write(row)
        return written.tell(conditional.answer(request, told, self.etag(row, told)))


def filters_of_kind(kind: Kind) -> Filters:
    """Return by what the rows of a kind can be narrowed and ordered."""
    names = (*kind.fields, *SHARED, "version", "created_at", "updated_at")
    named = tuple((name, f"{name}__{other.by}") for name, other in kind.names.items())
    searched = tuple(
        name
        for name in (*kind.fields, "description")
        if name not in kind.names
        and isinstance(column := kind.column(name), TEXTS)
        and (isinstance(column, TextField) or not column.choices)
    )
    return filters_of(kind.model, names, named, searched)
