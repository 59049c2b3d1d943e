"""The size of a body under ASGI, where a server hands all of it over before any middleware."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from pulse.conf import conf
from pulse.core.bounds import ARRIVAL, Arrival, Bounds, parse_length
from pulse.logging import say

logger = logging.getLogger(__name__)

Message: TypeAlias = Mapping[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: How long a client that is refused may go on sending, in seconds. A connection that is closed
#: while it does is reset, and many clients then never see the answer (RFC 9112, 9.6).
LINGER_S: Final = 2.0


def limit_bodies(application: Application) -> Application:
    """Cut off bodies that are larger than any endpoint takes, while they arrive.

    Django writes a body to memory or disk as long as it comes, and only then asks anybody. Around
    Django's application, and around no other, this bounds what it writes by the largest body that
    the policy allows. ``PulseMiddleware`` answers 413 for what was cut; no view is called.

    ::

        application = limit_bodies(get_asgi_application())

    Raises:
        ImproperlyConfigured: ``PulseMiddleware`` is not in ``MIDDLEWARE``: views would be called
            with half a body.
    """
    _require_middleware()

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not conf.ENABLED:
            await application(scope, receive, send)
            return
        body = _Body(scope, receive, send)
        await application({**scope, ARRIVAL: body.arrival}, body.receive, body.send)

    return limited


class _Body:
    """One request's body on its way in, and the answer on its way out."""

    __slots__ = ("_answered", "_arrived", "_declared", "_ended", "_receive", "_send", "arrival")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._declared = _declared(scope)
        self._arrived = 0
        self._ended = False
        self._answered: asyncio.Event | None = None
        self.arrival = Arrival()

    async def receive(self) -> Message:
        """Hand on what arrives, until it is more than any endpoint takes."""
        if self._answered is not None:
            # To be asked for more would be to invite it, by 100 Continue too.
            await self._answered.wait()
            return await self._next_but_body()
        if self._declared:
            declared, self._declared = self._declared, 0
            if (limit := await _exceeded_by(declared)) is not None:
                return self._cut(limit)
        message = await self._receive()
        if message["type"] == "http.request":
            self._arrived += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if (limit := await _exceeded_by(self._arrived)) is not None:
                return self._cut(limit)
        return message

    async def send(self, message: Message) -> None:
        """Hand on the answer; of one to a body that was cut, the end when the client has it."""
        if (
            self._answered is None
            or message["type"] != "http.response.body"
            or message.get("more_body", False)
        ):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._ended:
                    received = await self._receive()
                    more = received["type"] == "http.request" and received.get("more_body", False)
                    self._ended = not more
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self._answered.set()

    def _cut(self, limit: int) -> Message:
        self.arrival.cut_at = limit
        self._answered = asyncio.Event()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _next_but_body(self) -> Message:
        while (message := await self._receive())["type"] == "http.request":
            pass
        return message


async def _exceeded_by(size: int) -> int | None:
    """Return the most that any endpoint takes, where a size is more than that."""
    site = conf.MAX_BODY_BYTES
    if not site or size <= site:
        return None
    largest = max(site, (await _bounds()).largest_body)
    return largest if size > largest else None


async def _bounds() -> Bounds:
    """Return the bounds in force, without blocking the event loop.

    Only asked for what is larger than usual; the first such request of a process loads the policy
    here, as it would anyway a moment later.
    """
    # Imported as a host's asgi.py does before its apps are loaded.
    from pulse.policies import current

    try:
        if not current.is_loaded():
            load = current.leaving_no_connection(_load)
            await sync_to_async(load, thread_sensitive=False)()
        return current.current_snapshot().bounds if current.is_loaded() else Bounds()
    except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
        say(logger, logging.ERROR, "The policy cannot be loaded (non-fatal): %s", error)
        return Bounds()


def _load() -> None:
    from pulse.policies import current

    current.current_snapshot()


def _declared(scope: Scope) -> int:
    """Return the length that a body is said to have; 0 where none is, or not clearly."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return parse_length(value.decode("latin-1")) or 0
    return 0


def _require_middleware() -> None:
    from pulse.middleware.stack import PulseMiddleware

    for path in settings.MIDDLEWARE:
        with suppress(ImportError):  # Django says it better.
            found = import_string(path)
            if isinstance(found, type) and issubclass(found, PulseMiddleware):
                return
    raise ImproperlyConfigured(
        "limit_bodies() cuts bodies off for PulseMiddleware to refuse, which is not in MIDDLEWARE: "
        'put "pulse.middleware.PulseMiddleware" first, or leave limit_bodies() out.'
    )
