"""Keys of the API, by the API: made, changed, rotated, withdrawn. The key itself is told once."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access import keys
from pulse.access.models import ApiKey
from pulse.access.scopes import Scope
from pulse.api import conditional
from pulse.api.conditional import require_match
from pulse.api.errors import invalid
from pulse.api.filters import Filters, filters_of
from pulse.api.operations import (
    TEXT,
    TIME,
    Operation,
    Shape,
    nullable,
    page,
    record,
    several,
)
from pulse.api.views import ApiView, DetailView, ListView, find_row
from pulse.policies import publisher
from pulse.policies.kinds import Errors, add_error, read_time, time_to_text
from pulse.policies.models import RateTier
from pulse.policies.publisher import Actor

FIELDS: Final = ("name", "scopes", "tier", "expires_at")
READ_ONLY: Final = (
    "id",
    "prefix",
    "api_key",
    "last_used_at",
    "revoked_at",
    "version",
    "created_at",
    "updated_at",
)
MAX_OVERLAP_S: Final = 30 * 24 * 3600
#: The field of an answer that is told once.
WHOLE_KEY: Final = "api_key"


_END: Final = {
    **nullable(TIME),
    "description": "By default 90 days from now; null: never.",
}
_PARTS: Final[Mapping[str, Any]] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 64},
    "scopes": {
        "type": "array",
        "items": {"type": "string", "enum": [scope.value for scope in Scope]},
        "minItems": 1,
        "uniqueItems": True,
    },
    "tier": nullable({"type": "string", "minLength": 1}),
    "expires_at": _END,
}
_VERSION: Final = {"type": "integer", "minimum": 1}
KEY: Final = Shape(
    "ApiKey",
    record(
        {
            "id": TEXT,
            "name": TEXT,
            "prefix": TEXT,
            "scopes": several(TEXT),
            "tier": nullable(TEXT),
            "expires_at": nullable(TIME),
            "last_used_at": nullable(TIME),
            "revoked_at": nullable(TIME),
            "version": _VERSION,
            "created_at": TIME,
            "updated_at": TIME,
        }
    ),
)
NEW_KEY: Final = Shape(
    "NewApiKey",
    {
        "allOf": [
            KEY,
            record(
                {
                    WHOLE_KEY: {
                        **nullable(TEXT),
                        "description": "The whole key, told once; null where it is repeated.",
                    }
                }
            ),
        ]
    },
)
BODY: Final = Shape(
    "ApiKeyBody",
    record(
        {**_PARTS, "version": _VERSION},
        "scopes",
        "tier",
        "expires_at",
        "version",
        additionalProperties=False,
    ),
)
PART: Final = Shape(
    "ApiKeyPart",
    record({**_PARTS, "version": _VERSION}, *_PARTS, "version", additionalProperties=False),
)


class KeyView(ApiView):
    """What the views of keys have in common."""

    @property
    def actor(self) -> Actor:
        """Who asks."""
        assert self.principal is not None  # noqa: S101 - no view of keys is open to all
        return self.principal.actor

    def find(self, **kwargs: Any) -> Any:
        """Return the key that the address names."""
        return find_row(_rows(), kwargs["ident"])

    def write(self, found: Any) -> Any:
        """Return what is told of keys."""
        return (
            list(map(keys.as_dict, found)) if isinstance(found, Sequence) else keys.as_dict(found)
        )

    def etag(self, row: Any, told: Mapping[str, Any]) -> str:
        """Return the ``ETag`` of a key: its version, until it was used or its tier changed."""
        is_all = row.last_used_at is None and (
            row.tier is None or row.tier.updated_at <= row.updated_at
        )
        return conditional.tag(row.version, None if is_all else told)

    def to_store(self, data: Any) -> Any:
        """Keep the key out of what is repeated: it is nowhere but with who made it."""
        return (
            {**data, WHOLE_KEY: None} if isinstance(data, Mapping) and WHOLE_KEY in data else data
        )

    def read(self, request: Request, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the body's fields; those that it leaves out as they are known.

        Raises:
            Problem: Some are none; each by its name.
        """
        body = {**known, **self.fields(request, *FIELDS, *READ_ONLY)}
        errors: Errors = {}
        values = {
            "name": _text(body.get("name"), errors, "name"),
            "scopes": _list(body.get("scopes", [Scope.VIEW.value]), errors, "scopes"),
            "tier": _tier(body.get("tier"), errors),
        }
        if "expires_at" in body:
            values["expires_at"] = read_time(body["expires_at"], errors, "expires_at")
        if errors:
            raise invalid(errors)
        return values

    def made(self, request: Request, new: keys.NewKey) -> Response:
        """Answer with a key that was just made, the only time that it is told."""
        address = reverse("pulse:api-api-keys-detail", args=[new.row.pk])
        told = keys.as_dict(new.row)
        headers = {
            "Location": request.build_absolute_uri(address),
            "ETag": self.etag(new.row, told),
        }
        self.headers["Cache-Control"] = "no-store"
        return Response({**told, WHOLE_KEY: new.text}, status=201, headers=headers)


class KeyList(KeyView, ListView):
    """All keys, and new ones."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {
        "GET": Scope.ADMINISTER,
        "POST": Scope.ADMINISTER,
    }

    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("List API keys", page(KEY)),
        "POST": Operation(
            "Make an API key",
            NEW_KEY,
            BODY,
            status=201,
            location=True,
            body_example={"name": "ci", "scopes": ["administer"]},
            text="The answer is the only one that has the key.",
        ),
    }

    @property
    def filters(self) -> Filters:  # type: ignore[override]  # made when it is asked for
        """By what keys can be narrowed and ordered."""
        return filters_of(
            ApiKey,
            ("name", "prefix", "tier", *_TIMES, "version"),
            (("tier", "tier__name"),),
            ("name", "prefix"),
        )

    def rows(self) -> QuerySet[Any]:
        """Return all keys by name."""
        return _rows().order_by("name", "pk")

    def post(self, request: Request) -> Response:
        """Make a key."""
        return self.made(request, keys.make(actor=self.actor, **self.read(request, {})))


class KeyDetail(KeyView, DetailView):
    """One key."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {
        "GET": Scope.ADMINISTER,
        "PUT": Scope.ADMINISTER,
        "PATCH": Scope.ADMINISTER,
        "DELETE": Scope.ADMINISTER,
    }

    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation("Read an API key", KEY, etag=True),
        "PUT": Operation("Write an API key", KEY, BODY, etag=True),
        "PATCH": Operation("Change an API key", KEY, PART, etag=True),
        "DELETE": Operation("Withdraw an API key and forget it", status=204, etag=True),
    }

    def put(self, request: Request, ident: str) -> Response:
        """Make a key what the body says, whole; without an end, that of one made then."""
        return self._change(
            request,
            ident,
            lambda row: {"expires_at": time_to_text(row.created_at + keys.LIFETIME)},
        )

    def patch(self, request: Request, ident: str) -> Response:
        """Change the fields that the body names."""
        return self._change(
            request, ident, lambda row: {name: keys.as_dict(row)[name] for name in FIELDS}
        )

    def delete(self, request: Request, ident: str) -> Response:
        """Withdraw a key and forget it."""
        with keys.changing():
            row = self.find(ident=ident)
            require_match(request, row.version)
            keys.delete(row, actor=self.actor)
        return Response(status=204)

    def _change(self, request: Request, ident: str, known: Any) -> Response:
        # Read before anything is locked: whoever sends it slowly is in nobody's way.
        version = self.fields(request).get("version")
        with keys.changing():
            row = self.find(ident=ident)
            require_match(request, row.version, version)
            keys.change(row, actor=self.actor, **self.read(request, known(row)))
            told = keys.as_dict(row)
        return conditional.answer(request, told, self.etag(row, told))


class KeyRotation(KeyView):
    """A successor of a key."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.ADMINISTER}

    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Rotate an API key",
            NEW_KEY,
            record(
                {"overlap_s": {"type": "number", "minimum": 0, "maximum": MAX_OVERLAP_S}},
                "overlap_s",
                additionalProperties=False,
            ),
            status=201,
            location=True,
            body_example={"overlap_s": 3600},
            etag=True,
            text="The answer has the successor; the key itself ends after the overlap.",
        )
    }

    def post(self, request: Request, ident: str) -> Response:
        """Make a successor; the key itself ends after the overlap."""
        overlap_s = self.fields(request, "overlap_s").get("overlap_s", keys.OVERLAP_S)
        is_number = isinstance(overlap_s, int | float) and not isinstance(overlap_s, bool)
        if not is_number or not 0 <= overlap_s <= MAX_OVERLAP_S:
            text = _("Write a number of seconds from 0 to %d.") % MAX_OVERLAP_S
            raise invalid({"overlap_s": [text]})
        with keys.changing():
            row = self.find(ident=ident)
            require_match(request, row.version)
            new = keys.rotate(row, actor=self.actor, overlap_s=overlap_s)
        return self.made(request, new)


class KeyRevocation(KeyView):
    """The end of a key."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"POST": Scope.ADMINISTER}
    operations: ClassVar[Mapping[str, Operation]] = {
        "POST": Operation(
            "Revoke an API key",
            KEY,
            etag=True,
            text="In force on the next request, in every process.",
        )
    }

    def post(self, request: Request, ident: str) -> Response:
        """Withdraw a key for good."""
        self.fields(request, exact=True)
        with keys.changing():
            row = self.find(ident=ident)
            require_match(request, row.version)
            keys.revoke(row, actor=self.actor)
            told = keys.as_dict(row)
        return conditional.answer(request, told, self.etag(row, told))


_TIMES: Final = ("expires_at", "last_used_at", "revoked_at", "created_at", "updated_at")


def _rows() -> QuerySet[Any]:
    return ApiKey.objects.using(publisher.database()).select_related("tier")


def _text(value: Any, errors: Errors, name: str) -> Any:
    if isinstance(value, str):
        return value.strip()
    add_error(errors, name, _("This is required.") if value is None else _("Write a text."))
    return ""


def _list(value: Any, errors: Errors, name: str) -> list[Any]:
    if isinstance(value, list):
        return value
    add_error(errors, name, _("Write a list."))
    return []


def _tier(value: Any, errors: Errors) -> RateTier | None:
    if value is None:
        return None
    found = None
    if isinstance(value, str):
        found = RateTier.objects.using(publisher.database()).filter(name=value).first()
    if found is None:
        add_error(errors, "tier", _("There is no such tier."))
    return found
