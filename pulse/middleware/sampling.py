"""The sample: requests of some clients, kept so that another policy can be tried on them."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject

from pulse.conf import conf
from pulse.core.charging import Facts
from pulse.core.clients import User
from pulse.core.recording import Seen, headers_of, mark_of_client
from pulse.core.snapshot import Snapshot
from pulse.middleware.context import Context
from pulse.store import sample


def note(request: HttpRequest, context: Context, response: HttpResponseBase) -> None:  # noqa: ARG001 - as every step
    """Keep a request that limits were asked about, where its client is among those kept."""
    facts = context.facts
    if facts is None or not conf.SAMPLE_BYTES:
        return
    gathered = sample.gathered
    next(gathered.count)
    mark = mark_of_client(facts)
    snapshot = context.snapshot
    if mark >= gathered.limit or snapshot is None:
        return
    decision = context.decision
    user, user_known = _user(request, snapshot, facts)
    header = facts.header
    sample.add(
        Seen(
            time.time_ns() // 1000 if decision is None else decision.now_us,
            mark,
            snapshot,
            facts.method,
            facts.path,
            facts.match,
            facts.address,
            tuple([(name, header(name)) for name in headers_of(snapshot, facts.sources)]),
            user,
            user_known,
            facts.api_key,
            facts.method == "OPTIONS" and facts.is_preflight,
            decision is not None and not decision.allowed,
        )
    )


def _user(request: HttpRequest, snapshot: Snapshot, facts: Facts) -> tuple[User | None, bool]:
    """Return whom the request is known to come from, and whether that is certain.

    Where no policy asks for users nobody is looked up for it: what the view has found out is taken.
    """
    if facts.user is not None or snapshot.wants_user:
        return facts.user, True
    user: Any = request.__dict__.get("user")
    if isinstance(user, LazyObject):
        found = request.__dict__.get("_cached_user", request.__dict__.get("_acached_user"))
        if found is None:
            # The cookies need not be read for it, where nobody else reads them.
            is_nobody = settings.SESSION_COOKIE_NAME not in request.META.get("HTTP_COOKIE", "")
            return None, is_nobody and "HTTP_AUTHORIZATION" not in request.META
        user = found
    if user is None or not user.is_authenticated:
        return None, "HTTP_AUTHORIZATION" not in request.META
    return User(str(user.pk), user.get_username()), True
