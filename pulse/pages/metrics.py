"""The door of Prometheus."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from pulse.access.scopes import Scope
from pulse.conf import conf
from pulse.pages.answers import refusal
from pulse.pages.guard import SAFE, guarded
from pulse.policies.clients import client_of

try:
    from prometheus_client.exposition import choose_encoder
except ImportError:
    choose_encoder = None  # type: ignore[assignment]  # the extra "prometheus" is not installed

if TYPE_CHECKING:
    from prometheus_client.core import Metric

#: However many ask, it is written once in so many seconds by a process.
FRESH_S: Final = 1.0
#: How long who asks waits for another that writes it, in seconds; scrapers give up after ten.
WAIT_S: Final = 2.0
#: There are three; a client may write others.
MAX_FORMS: Final = 4
#: What a proxy says that it stands between.
FORWARDED: Final = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA")


class _Written:
    """What was written last, by its form.

    Attributes:
        lock: Held while it is written; who comes meanwhile waits for it.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.texts: dict[str, tuple[float, bytes]] = {}


_written: Final = _Written()


@transaction.non_atomic_requests
@login_not_required
@csrf_exempt
def scrape(request: HttpRequest) -> HttpResponseBase:
    """Answer a scraper of a network that may ask, or who holds ``view``."""
    if request.method in SAFE and _is_near(request):
        return _answer(request)
    return _answer_guarded(request)


def forget() -> None:
    """Write anew at the next request."""
    _written.texts.clear()


def _answer(request: HttpRequest) -> HttpResponse:
    if choose_encoder is None:
        detail = _("Install prometheus-client: pip install 'django-pulse-policy[prometheus]'.")
        return refusal(request, HTTPStatus.NOT_IMPLEMENTED, "not_implemented", detail)
    accepted = request.META.get("HTTP_ACCEPT", "")
    try:
        encode, content_type = choose_encoder(accepted)
    except Exception:  # noqa: BLE001 - the library reads a version that is none
        encode, content_type = choose_encoder("")
    response = HttpResponse(_text(encode, content_type), content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept"
    return response


_answer_guarded = guarded(Scope.VIEW)(_answer)


def _text(encode: Callable[[Any], bytes], form: str) -> bytes:
    if not _written.lock.acquire(timeout=WAIT_S):
        # Whoever writes it waits for a database that says nothing.
        return encode(_Registry(has_database=False))
    try:
        until, text = _written.texts.get(form, (0.0, b""))
        if time.monotonic() >= until:
            text = encode(_Registry())
            if len(_written.texts) >= MAX_FORMS:  # A form has words of the client's in its name.
                _written.texts.clear()
            _written.texts[form] = (time.monotonic() + FRESH_S, text)
        return text
    finally:
        _written.lock.release()


class _Registry:
    """What the library reads: families, made when they are asked for."""

    def __init__(self, *, has_database: bool = True) -> None:
        self._has_database = has_database

    def collect(self) -> "Iterator[Metric]":
        from pulse.alerts import exposition as alerts
        from pulse.metrics import exposition
        from pulse.probes import exposition as probes

        yield from exposition.families()
        # Without its database the site is measured all the same.
        if not self._has_database:
            return
        with suppress(DatabaseError):
            yield from [*probes.families(), *alerts.families()]


def _is_near(request: HttpRequest) -> bool:
    """Whether the client is of a network that may ask.

    Behind a proxy that nobody named, everybody comes from its address: what was forwarded by such a
    one has no network of its own.
    """
    client = client_of(request)
    if not client.peer_trusted and any(name in request.META for name in FORWARDED):
        return False
    address = client.address
    return address is not None and any(address in network for network in conf.metrics_networks)
