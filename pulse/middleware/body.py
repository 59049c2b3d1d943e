"""How large a body may be, asked before any view: by its length, or by what arrived."""

import json
from http import HTTPStatus
from io import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse

from pulse.conf import conf
from pulse.core.bounds import ARRIVAL, LENGTH, SITE, Arrival, parse_length
from pulse.envelope import JSON
from pulse.middleware.context import Context
from pulse.middleware.responses import Refusal, refuse
from pulse.policies import texts
from pulse.store import buckets, refusals

#: What refuses in Django's name.
DJANGO: Final = "site:data_upload_max_memory_size"
CODING: Final = "HTTP_TRANSFER_ENCODING"
FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def judge(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Refuse a body that no endpoint of this site takes, or whose length cannot be read.

    Under ASGI the server's word is not taken: what Django has spooled is measured.
    """
    scope = _scope(request)
    declared = request.META.get("CONTENT_LENGTH")
    if scope is None:
        if not declared:  # WSGI servers say "" for none, too.
            return _length_required(request) if CODING in request.META else None
    elif (cut := _cut(scope)) is not None:
        return _closing(request, _too_large(request, *cut))
    size = _measure(request, declared)
    if size is None:
        status = HTTPStatus.BAD_REQUEST
        refusal = _refuse(request, status, "bad_length", texts.bad_length(), LENGTH)
        return _closing(request, refusal)
    context.body_bytes = size
    return _judge_size(request, context, size) if size else None


def judge_endpoint(request: HttpRequest, context: Context) -> HttpResponse | None:
    """Find the endpoint's bounds, and refuse a body that it does not take."""
    snapshot, match = context.snapshot, context.match
    context.bounds = context.deadline = None
    if snapshot is None or snapshot.bounds.is_empty or match is None or context.client is None:
        return None
    found = context.bounds = snapshot.bounds.find(
        match,
        request.path_info,
        request.method or "",
        context.client.prefix,
        conf.client_secret,
    )
    size = context.body_bytes
    if not size:
        return None
    if found.body is None:
        if conf.MAX_BODY_BYTES and size > conf.MAX_BODY_BYTES:
            return _too_large(request, conf.MAX_BODY_BYTES, SITE)
    elif size > (limit := found.body.max_body_bytes or 0):
        return _too_large(request, limit, found.body.rule)
    for shadow in found.body_shadows:
        if size > (shadow.max_body_bytes or 0):
            context.shadowed += (shadow.rule,)
            buckets.add(buckets.WOULD_REFUSE, shadow.rule)
    return None


def refuse_cut(request: HttpRequest) -> HttpResponse | None:
    """Refuse a body that was cut off, where what should have done so failed: no view has half."""
    scope = _scope(request)
    cut = None if scope is None else _cut(scope)
    if cut is None:
        return None
    answer = json.dumps({"detail": texts.body_too_large(cut[0])})
    response = HttpResponse(answer, JSON, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    response.headers["Content-Length"] = str(len(response.content))
    return _closing(request, response)


def refuse_unread(request: HttpRequest, context: Context) -> HttpResponse | None:  # noqa: ARG001 - as every step
    """Refuse a body that Django does not read into memory, however much the policy allows."""
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if limit is None:
        return None
    # What is read again would fail again, as a template may do that writes the answer.
    request._mark_post_parse_error()  # type: ignore[attr-defined]  # Django's own, for this
    return _too_large(request, limit, DJANGO)


def _measure(request: HttpRequest, declared: str | None) -> int | None:
    """Return the size of a body; None where what is said of it cannot be true."""
    arrived = _spooled(request)
    if declared is None:
        return arrived or 0
    length = parse_length(declared)
    # Whoever stands in front may have believed the other of the two (RFC 9112, 6.3).
    if length is None or CODING in request.META:
        return None
    return None if arrived is not None and arrived > length else length


def _judge_size(request: HttpRequest, context: Context, size: int) -> HttpResponse | None:
    site, snapshot = conf.MAX_BODY_BYTES, context.snapshot
    if site and size > site and snapshot is not None:
        largest = max(site, snapshot.bounds.largest_body)
        if size > largest:
            return _too_large(request, largest, SITE)
    _watch_form(request, context, size)
    return None


def _watch_form(request: HttpRequest, context: Context, size: int) -> None:
    """Note whether Django finds a form too large for its memory.

    It may do so before the view, at the CSRF check, where no exception reaches a middleware and
    the answer is a 400 that does not say why.
    """
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if limit is None or size <= limit or request.content_type not in FORMS:
        return
    read: Any = request._load_post_and_files

    def watched() -> None:
        try:
            read()
        except RequestDataTooBig:
            context.is_unread = True
            raise

    vars(request)["_load_post_and_files"] = watched


def _spooled(request: HttpRequest) -> int | None:
    """Measure what Django wrote down of a body under ASGI; None for a stream of another kind."""
    stream: Any = getattr(request, "_stream", None)
    if not isinstance(stream, SpooledTemporaryFile) or stream.closed:
        return None
    place = stream.tell()
    size: int = stream.seek(0, SEEK_END)
    stream.seek(place)
    return size


def _scope(request: HttpRequest) -> dict[str, Any] | None:
    """Return the ASGI scope, which a host may have put something else in the place of."""
    scope = getattr(request, "scope", None)
    return scope if isinstance(scope, dict) else None


def _cut(scope: dict[str, Any]) -> tuple[int, str] | None:
    """Return at which size a body was cut off, and by what; None for one that is whole."""
    arrival: Arrival | None = scope.get(ARRIVAL)
    if arrival is None or arrival.cut_at is None:
        return None
    return arrival.cut_at, arrival.cut_by


def _length_required(request: HttpRequest) -> HttpResponse:
    status = HTTPStatus.LENGTH_REQUIRED
    return _refuse(request, status, "length_required", texts.length_required(), LENGTH)


def _too_large(request: HttpRequest, limit: int, rule: str) -> HttpResponse:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _refuse(request, status, "body_too_large", texts.body_too_large(limit), rule)


def _refuse(
    request: HttpRequest, status: HTTPStatus, code: str, detail: str, rule: str
) -> HttpResponse:
    refusals.add(request.pulse.stamp, rule)  # type: ignore[attr-defined]
    response = refuse(request, Refusal(status, code, detail, rule))
    # The client need not wait for the end of the connection to know that it has all.
    response.headers["Content-Length"] = str(len(response.content))
    return response


def _closing(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """End the connection with the answer, as nobody knows where on it the next request begins.

    WSGI forbids an application to say so, and leaves it to the server (PEP 3333); so does HTTP/2.
    """
    scope = _scope(request)
    if scope is not None and str(scope.get("http_version", "")).startswith("1"):
        response.headers["Connection"] = "close"
    return response
