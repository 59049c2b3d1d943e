"""``Idempotency-Key``: a POST that is sent again does nothing again, and is told the same."""

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access import answers
from pulse.access.models import StoredAnswer
from pulse.api.errors import invalid
from pulse.api.media import JsonRenderer
from pulse.core.document import canonical

if TYPE_CHECKING:
    from pulse.api.views import ApiView

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
#: 1 to 255 visible ASCII characters.
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
#: Those of an answer that are repeated with it.
KEPT_HEADERS: Final = ("Content-Type", "ETag", "Location", "X-Pulse-Revision")
BAD_REQUEST: Final = 400


def once(
    view: "ApiView",
    handle: Callable[..., HttpResponseBase],
    request: Request,
    *args: Any,
    **kwargs: Any,
) -> HttpResponseBase:
    """Answer a request by ``handle``, unless its key was answered before.

    Only what went well, and what can never go well (400), is kept: after any other refusal the
    same request may be sent again. What nobody foresaw may have come after the deed: such a claim
    is left to run out.

    Raises:
        RequestRunning: The first of them is still answered.
        RequestMismatch: The key came with something else.
    """
    found = answers.claim(*_digests(view, request))
    if isinstance(found, StoredAnswer):
        return HttpResponse(
            found.body, status=found.status, headers={**found.headers, REPLAYED: "true"}
        )
    response = _answered(view, handle, request, *args, **kwargs)
    body = _body(view, response)
    if body is None:
        answers.release(found)
    else:
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        if isinstance(response, Response):  # Which is rendered later.
            headers["Content-Type"] = JsonRenderer.media_type
        answers.keep(found, response.status_code, headers, body)
    return response


def _answered(
    view: "ApiView",
    handle: Callable[..., HttpResponseBase],
    request: Request,
    *args: Any,
    **kwargs: Any,
) -> HttpResponseBase:
    try:
        return handle(request, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - raised again where the API has no answer to it
        response: HttpResponseBase = view.handle_exception(error)
        return response


def _digests(view: "ApiView", request: Request) -> tuple[str, str]:
    key = request.headers[HEADER]
    if not KEY.fullmatch(key):
        text = _("Write 1 to 255 visible ASCII characters.")
        raise invalid({HEADER: [text]})
    who = view.principal
    actor = None if who is None else [who.actor.type, who.key_prefix or who.actor.name]
    same = canonical([actor, request.method, request.path, key])
    # A query makes another request of it, such as a dry run, and so does a condition.
    conditions = [request.headers.get(name) for name in ("If-Match", "If-None-Match")]
    beside = [request.META.get("QUERY_STRING", ""), *conditions]
    sent = hashlib.sha256(canonical(beside).encode())
    # As it was read: whole bodies are kept up to the host's limit only, which is meant for forms.
    sent.update(repr(request.data).encode(errors="surrogatepass"))
    return hashlib.sha256(same.encode()).hexdigest(), sent.hexdigest()


def _body(view: "ApiView", response: HttpResponseBase) -> str | None:
    """Return the text of an answer that is kept; None for one that is not."""
    if not (200 <= response.status_code < 300 or response.status_code == BAD_REQUEST):
        return None
    if isinstance(response, Response):
        return JsonRenderer().render(view.to_store(response.data)).decode()
    return response.content.decode() if isinstance(response, HttpResponse) else None
