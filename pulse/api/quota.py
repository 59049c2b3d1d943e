"""``quota/``: what a client has left of its own limits, for anybody and free of charge."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from pulse.access.scopes import Scope
from pulse.api.errors import Problem
from pulse.api.operations import TEXT, WHOLE, Operation, Shape, nullable, record, several
from pulse.api.parameters import Parameter, choice, text
from pulse.api.views import ApiView
from pulse.conf import conf
from pulse.core.charging import Facts
from pulse.core.claims import Allowance, Claim
from pulse.core.clients import User
from pulse.core.endpoints import METHODS
from pulse.core.quotas import SECOND_US, Algorithm, make_quota
from pulse.core.snapshot import Snapshot
from pulse.policies import current
from pulse.policies.clients import client_of
from pulse.policies.explain.questions import path_of, user_of
from pulse.policies.explain.standings import standings
from pulse.policies.routes import match_path
from pulse.store.memory import MemoryStore

#: How often an address may ask one process. No limit of the policy touches this view, and each
#: answer is a call to the store: whoever asks no more often than a person or a client that
#: paces itself by the answer never meets it.
ALLOWANCE: Final = Allowance((make_quota("50/s", 1000, Algorithm.TOKEN_BUCKET),))
MAX_ADDRESSES: Final = 10_000

_asked: Final = MemoryStore()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_asked.after_fork)

QUOTA: Final = Shape(
    "Quota",
    record(
        {
            "client": record({"kind": TEXT, "tier": nullable(TEXT)}),
            "limits": several(
                record(
                    {
                        "kind": TEXT,
                        "key": {"type": "object", "additionalProperties": TEXT},
                        "counted_by": TEXT,
                        "rate": TEXT,
                        "algorithm": TEXT,
                        "limit": WHOLE,
                        "remaining": WHOLE,
                        "reset": WHOLE,
                    }
                )
            ),
        }
    ),
)


class Quota(ApiView):
    """Tell a client how it stands; ``core.charging`` knows the view by name and charges nothing."""

    scopes: ClassVar[Mapping[str, Scope | None]] = {"GET": None}
    parameters: ClassVar[Mapping[str, Sequence[Parameter]]] = {
        "GET": (
            text("path", "The path of a request that the client has in mind."),
            choice("method", "Its method.", METHODS, "GET"),
        )
    }
    operations: ClassVar[Mapping[str, Operation]] = {
        "GET": Operation(
            "Tell what is left",
            QUOTA,
            text=(
                "What whoever asks has left of each limit that is enforced on them, by whatever "
                "names them: a key, a session, a header or their address. With `path`, also of "
                "the limits of that endpoint. Asking costs nothing of any limit."
            ),
            example={
                "client": {"kind": "ip", "tier": "default"},
                "limits": [
                    {
                        "kind": "rate_tiers",
                        "key": {"name": "default"},
                        "counted_by": "ip",
                        "rate": "10/s",
                        "algorithm": "token_bucket",
                        "limit": 20,
                        "remaining": 19,
                        "reset": 1759575000,
                    }
                ],
            },
            errors=(429,),
        )
    }

    def get(self, request: Request) -> Response:
        """Tell."""
        snapshot = current.current_snapshot()
        facts = _facts(snapshot, request, self.query["path"], self.query["method"])
        _slow_down(facts)
        return Response(standings(snapshot, facts))


def _slow_down(facts: Facts) -> None:
    """Count, in this process alone, how often an address asks.

    Raises:
        Problem: Too often.
    """
    claim = Claim(f"quota:{facts.address.prefix}", ALLOWANCE)
    [outcome] = _asked.decide([claim], max_keys=MAX_ADDRESSES).outcomes
    if not outcome.passed:
        wait_s = outcome.retry_after_us / SECOND_US
        raise Problem(429, "rate_limited", _("You ask too often."), retry_after_s=wait_s)


def _facts(snapshot: Snapshot, request: Request, path: str | None, method: str) -> Facts:
    """Take whoever asks for the client of the request that they have in mind."""
    headers = request._request.headers
    decoded = "" if path is None else path_of(path)
    return Facts(
        method=method,
        path=decoded,
        match=None if path is None else match_path(decoded),
        address=client_of(request._request),
        header=headers.get,
        sources=conf.CLIENT_IDENTITY,
        secret=conf.client_secret,
        user=_user(request) if snapshot.wants_user else None,
        api_key=snapshot.keys.find(headers.get("Authorization", "")),
    )


def _user(request: Request) -> User | None:
    """Return the user of the session, as the middleware sees it."""
    user: Any = getattr(request._request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return user_of(user)
