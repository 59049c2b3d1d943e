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
from pulse.core.bounds import ARRIVAL, SITE, Arrival, parse_length
from pulse.core.snapshot import Snapshot
from pulse.logging import say
from pulse.metrics import flush

logger = logging.getLogger(__name__)

Message: TypeAlias = Mapping[str, Any]
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SHUTDOWN_COMPLETE: Final = "lifespan.shutdown.complete"
#: How long a client that is refused may go on sending, in seconds. A connection that is closed
#: while it does is reset, and many clients then never see the answer (RFC 9112, 9.6).
LINGER_S: Final = 2.0


def limit_bodies(application: Application) -> Application:
    """Cut off bodies that are larger than their endpoint takes, while they arrive.

    Django writes a body to memory or disk as long as it comes, and only then asks anybody. Around
    Django's application, and around no other, this bounds what it writes by what the policy allows
    the endpoint. ``PulseMiddleware`` answers 413 for what was cut; no view is called.

    ::

        application = limit_bodies(get_asgi_application())

    Raises:
        ImproperlyConfigured: ``PulseMiddleware`` is not in ``MIDDLEWARE``: views would be called
            with half a body.
    """
    _require_middleware()

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" and conf.ENABLED:
            await _live(application, scope, receive, send)
            return
        if scope["type"] != "http" or not conf.ENABLED:
            await application(scope, receive, send)
            return
        body = _Body(scope, receive, send)
        await application({**scope, ARRIVAL: body.arrival}, body.receive, body.send)

    return limited


async def _live(application: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Send what was measured before the server ends: some end by a signal, and nothing runs then.

    Django takes no part in the protocol by which servers tell of their start and end; what is
    around it may.
    """
    heard = False

    async def hear() -> Message:
        nonlocal heard
        heard = True
        return await receive()

    async def tell(message: Message) -> None:
        if message["type"] == SHUTDOWN_COMPLETE:
            await sync_to_async(flush.flush_at_end)()
        await send(message)

    try:
        await application(scope, hear, tell)
    except Exception:
        if heard:
            raise
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await tell({"type": SHUTDOWN_COMPLETE})


class _Body:
    """One request's body on its way in, and the answer on its way out."""

    __slots__ = (
        "_answered",
        "_arrived",
        "_declared",
        "_ended",
        "_passes",
        "_receive",
        "_rule",
        "_scope",
        "_send",
        "_snapshot",
        "arrival",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._declared = _declared(scope)
        self._arrived = 0
        #: So many bytes are known to be taken, by what ``_rule`` names.
        self._passes, self._rule = 0, SITE
        self._snapshot: Snapshot | None = None
        self._ended = False
        self._answered: asyncio.Event | None = None
        self.arrival = Arrival()

    async def receive(self) -> Message:
        """Hand on what arrives, until it is more than the endpoint takes."""
        if self._answered is not None:
            # To be asked for more would be to invite it, by 100 Continue too.
            await self._answered.wait()
            return await self._next_but_body()
        if self._declared:
            declared, self._declared = self._declared, 0
            if await self._is_too_large(declared):
                return self._cut()
        message = await self._receive()
        if message["type"] == "http.request":
            self._arrived += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if await self._is_too_large(self._arrived):
                return self._cut()
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

    async def _is_too_large(self, size: int) -> bool:
        """Whether a size is more than the endpoint takes, which is looked for where it matters."""
        if size <= self._passes:
            return False
        # Imported late, as a host's asgi.py is before its apps are loaded.
        from pulse.middleware import arrival

        if self._snapshot is None:
            self._snapshot = await _snapshot()
            self._passes, self._rule = arrival.by_any(self._snapshot)
        if size > self._passes:
            self._passes, self._rule = arrival.by_endpoint(self._snapshot, self._scope)
        return size > self._passes

    def _cut(self) -> Message:
        self.arrival.cut_at, self.arrival.cut_by = self._passes, self._rule
        self._answered = asyncio.Event()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _next_but_body(self) -> Message:
        while (message := await self._receive())["type"] == "http.request":
            pass
        return message


async def _snapshot() -> Snapshot:
    """Return the policy in force, without blocking the event loop.

    The first request with a body of a process loads it here, as it would anyway a moment later.
    """
    from pulse.policies import current

    try:
        if not current.is_loaded():
            load = current.leaving_no_connection(_load)
            await sync_to_async(load, thread_sensitive=False)()
        return current.current_snapshot() if current.is_loaded() else Snapshot()
    except Exception as error:  # noqa: BLE001 - nothing that fails here fails the request
        say(logger, logging.ERROR, "The policy cannot be loaded (non-fatal): %s", error)
        return Snapshot()


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
