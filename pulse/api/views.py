"""The base of every view of the API: its own in everything, whatever the host has set.

A view says who may do what (``scopes``), which query parameters it knows (``parameters``) and what
it tells (``operations``, for the schema), and has a function for each method.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from django.db import connections, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import MethodNotAllowed, UnsupportedMediaType
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from pulse.access.principals import Principal, principal_of, visitor_of
from pulse.access.scopes import Scope
from pulse.api import conditional, idempotency, paging
from pulse.api.errors import forbidden, invalid, not_found
from pulse.api.filters import Filters
from pulse.api.media import SETTINGS, JsonParser, JsonRenderer, Negotiation
from pulse.api.operations import Operation
from pulse.api.parameters import Parameter, choice, read_query
from pulse.api.schema import ViewSchema
from pulse.core.keys import START, bearer_of
from pulse.envelope import WHOLE, request_id_of
from pulse.exceptions import KeyRefused

#: Kept by nobody but the client, and asked for anew each time.
PRIVATE = "private, no-cache"
SAFE = frozenset({"GET", "HEAD"})
#: What a page of HTML can send without a script.
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
#: Of primary keys, in digits.
MAX_DIGITS = 18


class ApiView(APIView):
    """One address.

    Attributes:
        scopes: What each method asks for; None: it is open to all. Methods that are not named do
            not exist.
        parameters: Those of each method's query; others are refused.
        operations: What each method does, for the schema.
        principal: Who asks; None for nobody.
        query: The query parameters by name, read.
    """

    settings = SETTINGS
    # Who asks is looked up below: the framework's own way ends at settings of the host.
    authentication_classes: Sequence[Any] = ()
    permission_classes: Sequence[Any] = ()
    throttle_classes: Sequence[Any] = ()
    renderer_classes: Sequence[type[BaseRenderer]] = (JsonRenderer,)
    parser_classes: Sequence[type[BaseParser]] = (JsonParser,)
    content_negotiation_class = Negotiation
    metadata_class = None
    versioning_class = None
    schema: Any = ViewSchema()

    scopes: ClassVar[Mapping[str, Scope | None]] = {}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {}
    operations: ClassVar[Mapping[str, Operation]] = {}

    principal: Principal | None = None
    query: Mapping[str, Any]
    post: Callable[..., HttpResponseBase]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Make the view; transactions are its own affair, as a refusal is kept for later."""
        view: Callable[..., HttpResponseBase] = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """See who asks, whether they may, and what for."""
        if self.method not in self.scopes:
            raise MethodNotAllowed(self.method)
        super().initial(request, *args, **kwargs)
        self.query = read_query(request.query_params, self.all_parameters(self.method))
        if self.method == "POST" and idempotency.HEADER in request.headers:
            self.post = partial(idempotency.once, self, self.post)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Tell the framework how long a body is that came in pieces: without that it reads none.

        Under ASGI the body is there whole before any view; under WSGI one without a length was
        refused.
        """
        if not request.META.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" in request.META:
            request.META["CONTENT_LENGTH"] = str(len(request.body))
        made: Request = super().initialize_request(request, *args, **kwargs)
        return made

    def to_store(self, data: Any) -> Any:
        """Return what of an answer may be kept and repeated: no secret."""
        return data

    @property
    def method(self) -> str:
        """The request's method; GET for HEAD, which is answered alike."""
        method = str(self.request.method)
        return "GET" if method == "HEAD" else method

    @property
    def allowed_methods(self) -> list[str]:
        """What ``Allow`` names."""
        return [*self.scopes, *(["HEAD"] if "GET" in self.scopes else [])]

    @property
    def default_response_headers(self) -> dict[str, str]:
        """What every answer carries."""
        return {
            "Allow": ", ".join(self.allowed_methods),
            "Vary": "Accept, Authorization, Cookie",
            "Cache-Control": PRIVATE,
        }

    def parameters_of(self, method: str) -> Sequence[Parameter]:
        """Return the query parameters of a method."""
        return self.parameters.get(method, ())

    def all_parameters(self, method: str) -> Sequence[Parameter]:
        """Return the query parameters of a method, with that of the form to answer in."""
        found = tuple(self.parameters_of(method))
        if len(self.renderer_classes) > 1 and method == "GET":
            formats = [str(renderer.format) for renderer in self.renderer_classes]
            found += (choice("format", "In which form, whatever Accept says.", formats),)
        return found

    def operation_of(self, method: str) -> Operation:
        """Return what a method does, for the schema; by default what its docstring says."""
        found = self.operations.get(method)
        if found is not None:
            return found
        said = (getattr(self, method.lower()).__doc__ or method).strip().partition("\n")[0]
        return Operation(said.partition(".")[0], answer={})

    def scope_of(self, request: Request) -> Scope | None:  # noqa: ARG002 - for those who override
        """Return what this request asks for."""
        return self.scopes[self.method]

    def perform_authentication(self, request: Request) -> None:
        """See who asks: by a key, or by a session and then with its CSRF token.

        Raises:
            KeyRefused: A key was sent, and does not count.
        """
        token = bearer_of(request.META.get("HTTP_AUTHORIZATION", ""))
        is_foreign = token is not None and not token.startswith(START)
        if is_foreign and self.scopes[self.method] is None:
            # A token of the host's is no wrong key where none is asked for.
            self.principal = visitor_of(request._request)
        else:
            self.principal = principal_of(request._request)
        if self.principal is None or self.principal.key_prefix is not None:
            return
        if request.method not in SAFE:
            _refuse_form(request._request)
            _require_token(request._request)

    def check_permissions(self, request: Request) -> None:
        """Let through who holds the scope.

        Raises:
            KeyRefused: Nobody is known.
            Problem: Who asks may not.
        """
        scope = self.scope_of(request)
        if scope is None:
            return
        if self.principal is None:
            raise KeyRefused("absent")
        if scope not in self.principal.scopes:
            raise forbidden(_("This takes the scope “%s”.") % scope)

    def fields(self, request: Request, *known: str, exact: bool = False) -> Mapping[str, Any]:
        """Return the body's fields.

        Args:
            request: The body's.
            *known: Which there may be; others are refused. None named: any.
            exact: None named: none.

        Raises:
            Problem: The body is no object, or has others.
        """
        body = request.data
        if not isinstance(body, Mapping):
            raise invalid({WHOLE: [_("Write an object.")]})
        unknown = [name for name in body if (known or exact) and name not in known]
        if unknown:
            text = _("Unknown field. Known are: %s.") % (", ".join(known) or "-")
            raise invalid({name: [text] for name in unknown})
        return body

    @property
    def request_id(self) -> str:
        """The request's id."""
        return request_id_of(self.request._request)


class ListView(ApiView):
    """Rows in pages, filtered.

    Attributes:
        filters: By what they can be narrowed and ordered.
        counted: Pages have numbers, and rows a count; else there are cursors, newest first.
    """

    filters: ClassVar[Filters]
    counted: ClassVar[bool] = True

    def parameters_of(self, method: str) -> Sequence[Parameter]:
        """Return the query parameters of a method."""
        if method != "GET":
            return super().parameters_of(method)
        pages = paging.BY_NUMBER if self.counted else paging.BY_CURSOR
        return (*super().parameters_of(method), *self.filters.parameters, *pages)

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Answer with a page."""
        del kwargs
        rows = self.filters.apply(self.rows(), self.query)
        read = paging.by_number if self.counted else paging.by_cursor
        return Response(read(request, rows, self.query, self.write))

    def rows(self) -> QuerySet[Any]:
        """Return all rows, in a total order."""
        raise NotImplementedError

    def write(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Return what is told of the rows of a page, in a fixed number of queries."""
        raise NotImplementedError


class DetailView(ApiView):
    """One row."""

    def get(self, request: Request, **kwargs: Any) -> Response:
        """Answer with the row; 304 to who has it."""
        row = self.find(**kwargs)
        told = self.write(row)
        return conditional.answer(request, told, self.etag(row, told))

    def find(self, **kwargs: Any) -> Any:
        """Return the row that the address names.

        Raises:
            Problem: There is none.
        """
        raise NotImplementedError

    def write(self, row: Any) -> dict[str, Any]:
        """Return what is told of the row."""
        raise NotImplementedError

    def etag(self, row: Any, told: Mapping[str, Any]) -> str:  # noqa: ARG002 - for those who override
        """Return the ``ETag`` of what is told of a row."""
        return conditional.tag(row.version)


class Nowhere(ApiView):
    """Every address that there is not, told as the API tells of what is missing."""

    schema: Any = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Say that there is nothing.

        Raises:
            Problem: Always.
        """
        del request, args, kwargs
        raise not_found(_("There is nothing here. Addresses end with a slash; see docs/."))


def find_row(rows: QuerySet[Any], ident: str) -> Any:
    """Return the row of an opaque id.

    Raises:
        Problem: There is none.
    """
    is_key = ident.isascii() and ident.isdecimal() and len(ident) <= MAX_DIGITS
    row: Model | None = rows.filter(pk=int(ident)).first() if is_key else None
    if row is None:
        raise not_found()
    return row


def _refuse_form(request: HttpRequest) -> None:
    """Refuse what a browser's form sends: to look for a token in it would use the body up.

    Raises:
        UnsupportedMediaType: It is one.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if request.content_type in FORMS and length != "0":
        raise UnsupportedMediaType(str(request.content_type))


def _require_token(request: HttpRequest) -> None:
    """Refuse a session's request without a good CSRF token, as another site's page would send it.

    Raises:
        Problem: It has none.
    """
    check = CSRFCheck(_no_response)
    check.process_request(request)
    # The view is exempt, which would end the check; it asks for it itself.
    reason = check.process_view(request, _no_response, (), {})
    if reason:
        raise forbidden(_("CSRF failed: %s") % reason)


def _no_response(request: HttpRequest) -> HttpResponseBase:
    """Stand for the view that Django's class asks for: it is never called."""
    raise NotImplementedError(request)
