"""What pulse knows of a request, on ``request.pulse``."""

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path
from django.utils.functional import LazyObject

from pulse.conf import conf
from pulse.core.bounds import Effective
from pulse.core.charging import Charge, Facts
from pulse.core.claims import Decision
from pulse.core.clients import ClientAddress, User, came_over_https, resolve_address
from pulse.core.endpoints import METHODS, Match
from pulse.core.measures import UNRESOLVED
from pulse.core.replay import Replay
from pulse.core.snapshot import Snapshot
from pulse.logging import say
from pulse.metrics.queries import Queries
from pulse.middleware.ids import new_id

if TYPE_CHECKING:
    from pulse.middleware.responses import Refusal

logger = logging.getLogger(__name__)

#: How long the groups of a user are remembered, in seconds, and of how many users.
GROUPS_S: Final = 60.0
MAX_USERS: Final = 10_000
#: How much is logged of a method that no standard names.
MAX_METHOD: Final = 20


class Context:
    """What pulse found out about one request; ``request.pulse`` in views and templates.

    Attributes:
        request_id: Names the request in every answer and log line. A trusted proxy's, or made
            when it is first asked for.
        traceparent: The W3C trace context that the request came with; empty if with none.
        started: When the request came, on ``time.perf_counter``'s clock, in seconds.
        deadline: When the answer is due, on ``time.monotonic``'s clock, in seconds; None where
            the endpoint has no time limit.
        body_bytes: The size of the request's body; 0 where none came.
        bounds: How large its body and how long its answer may be; None while not known.
        clock: Cancels the view when its time is over; None where nothing can.
        is_unread: Django found the form larger than it reads into memory.
        client: Where the request came from, and how that was found.
        snapshot: The policy that decided.
        match: The request's route; None where no view was found for it, or not yet.
        facts: What its limits were asked about; None where they were not.
        charges: What the request was charged to, in the order of the decision's outcomes.
        decision: The verdict; None while undecided, and where nothing was asked.
        replays: What endpoint limits that take each request once say of it.
        settled: Limits have had their say, also where none applies.
        exempt_by: The exemption that kept limits away.
        deferred: Limits by user wait until the view has found out who it is.
        refused: The refusal that takes the place of the view's answer.
        refusal: Why pulse refused the request; None where it did not.
        verdict: ``allowed``, ``refused`` or ``preflight``.
        would_refuse: The access rule in shadow that was counted as one that would have refused.
        probe: The id of the job whose probe the request is, by its signed mark; None for others.
        shadowed: The rules in shadow that would have refused, kind and natural key.
        is_slow: The answer took longer than its endpoint may.
        queries: What it asked of databases; None where that is not counted.
    """

    # Of the class, as most requests change few of them.
    traceparent = ""
    deadline: float | None = None
    body_bytes = 0
    bounds: Effective | None = None
    clock: asyncio.Timeout | None = None
    is_unread = False
    client: ClientAddress | None = None
    snapshot: Snapshot | None = None
    match: Match | None = None
    facts: Facts | None = None
    charges: Sequence[Charge] = ()
    decision: Decision | None = None
    replays: Sequence[Replay] = ()
    settled = False
    exempt_by: str | None = None
    deferred = False
    refused: HttpResponse | None = None
    refusal: "Refusal | None" = None
    verdict = "allowed"
    would_refuse: str | None = None
    probe: str | None = None
    shadowed: tuple[str, ...] = ()
    is_slow = False
    queries: Queries | None = None
    _request_id: str | None = None

    def __init__(self) -> None:
        self.started = time.perf_counter()

    @property
    def stamp(self) -> str | None:
        """Names the policy that decided; None where none did, or none was announced."""
        return None if self.snapshot is None else self.snapshot.stamp

    @property
    def request_id(self) -> str:
        if self._request_id is None:
            self._request_id = new_id()
        return self._request_id

    @request_id.setter
    def request_id(self, request_id: str) -> None:
        self._request_id = request_id

    @property
    def remaining_s(self) -> float | None:
        """Seconds left for the answer, 0 where its time is over; None without a time limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def client_address(self) -> str:
        """The client's address as pulse resolves it; ``unknown`` where it has none."""
        return "unknown" if self.client is None else str(self.client)


def route_of(request: HttpRequest) -> str:
    """Return the request's route for logs: a path as it came may hold what is secret."""
    resolved = request.resolver_match
    return UNRESOLVED if resolved is None else _on_one_line(resolved.route or "/")


def method_of(request: HttpRequest) -> str:
    """Return the request's method for logs; one that no standard names is the client's text."""
    method = request.method or ""
    return method if method in METHODS else escape_uri_path(method[:MAX_METHOD])


def is_secure(request: HttpRequest, context: Context) -> bool:
    """Whether the client's connection is HTTPS, by Django or by the word of a trusted proxy."""
    if request.is_secure():
        return True
    if context.client is None or not context.client.peer_trusted:
        return False
    return came_over_https(request.META.get("HTTP_X_FORWARDED_PROTO", ""))


def locate(snapshot: Snapshot, request: HttpRequest) -> ClientAddress:
    """Resolve the client's address of a request."""
    meta = request.META
    peer = meta.get("REMOTE_ADDR", "")
    address = resolve_address(
        peer,
        meta.get("HTTP_X_FORWARDED_FOR", ""),
        snapshot.trusted_proxies,
        trusts_unix=snapshot.trusts_unix,
    )
    if address.address is None:
        _warn_of_unknown()
    return address


def facts_of(
    snapshot: Snapshot, request: HttpRequest, address: ClientAddress, user: User | None
) -> Facts:
    """Gather what the policy needs to know of a request, as plain values."""
    meta = request.META
    authorization = meta.get("HTTP_AUTHORIZATION")
    return Facts(
        method=request.method or "",
        path=request.path_info,
        match=request.pulse.match,  # type: ignore[attr-defined]
        address=address,
        header=partial(_header, meta),
        sources=conf.CLIENT_IDENTITY,
        secret=conf.client_secret,
        user=user,
        api_key=None if authorization is None else snapshot.keys.find(authorization),
    )


def user_of(snapshot: Snapshot, request: HttpRequest) -> User | None:
    """Return the authenticated user; may query the session, and groups where a policy asks."""
    user = request.user
    if not user.is_authenticated:
        return None
    groups: frozenset[str] = frozenset()
    if snapshot.wants_groups:
        known = _groups.get(user.pk)
        groups = _remember(user.pk, _group_names(user)) if known is None else known
    return User(str(user.pk), user.get_username(), groups)


async def auser_of(snapshot: Snapshot, request: HttpRequest) -> User | None:
    """Return what ``user_of`` returns, without blocking the event loop."""
    # A user that another middleware put there is the request's, whatever auser() would find.
    user = request.__dict__["user"]
    if isinstance(user, LazyObject) and hasattr(request, "auser"):
        user = await request.auser()
    if not user.is_authenticated:
        return None
    groups: frozenset[str] = frozenset()
    if snapshot.wants_groups:
        known = _groups.get(user.pk)
        if known is None:
            names = [name async for name in _group_names(user)]
            known = _remember(user.pk, names)
        groups = known
    return User(str(user.pk), user.get_username(), groups)


def forget_groups() -> None:
    """Ask for the groups of every user anew."""
    _groups.clear()


class _Groups:
    """The groups of users seen lately, so that steady state makes no query."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[float, frozenset[str]]] = {}

    def get(self, pk: object) -> frozenset[str] | None:
        expires, names = self._known.get(pk, (0.0, frozenset()))
        return names if expires > time.monotonic() else None

    def clear(self) -> None:
        self._known = {}

    def put(self, pk: object, names: frozenset[str]) -> None:
        if len(self._known) >= MAX_USERS:
            self._known.clear()
        self._known[pk] = (time.monotonic() + GROUPS_S, names)


_groups = _Groups()


def _remember(pk: object, names: Any) -> frozenset[str]:
    found = frozenset(names)
    _groups.put(pk, found)
    return found


def _group_names(user: Any) -> Any:
    return user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()


@lru_cache(maxsize=1024)
def _on_one_line(route: str) -> str:
    """Mend a regular expression that is written over several lines."""
    return " ".join(route.split())


@cache
def _warn_of_unknown() -> None:
    """Say once in a process what each such request would say."""
    say(
        logger,
        logging.WARNING,
        "Requests come from no address and are counted together as unknown. Behind a proxy on a "
        "Unix socket, name unix among the trusted proxies",
    )


def may_have_user(snapshot: Snapshot, request: HttpRequest) -> bool:
    """Whether it is worth touching ``request.user``.

    Touching Django's lazy user loads the session and makes the response vary by cookie; where
    no session cookie came there is nobody to find.
    """
    if not snapshot.wants_user:
        return False
    user = request.__dict__.get("user")
    if user is None:
        return False
    return not isinstance(user, LazyObject) or settings.SESSION_COOKIE_NAME in request.COOKIES


def _header(meta: dict[str, Any], name: str) -> str | None:
    value: str | None = meta.get(_meta_name(name))
    return value


@lru_cache(maxsize=1024)
def _meta_name(name: str) -> str:
    upper = name.upper().replace("-", "_")
    return upper if upper in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{upper}"
