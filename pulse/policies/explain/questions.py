"""What is asked: a request in words, and the plain values that it comes to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import unquote

from django.contrib.auth import get_user_model

from pulse.conf import conf
from pulse.core.charging import Facts
from pulse.core.clients import User, resolve_address
from pulse.core.snapshot import Snapshot
from pulse.policies.routes import match_path

#: ``GET /api/search/ as kim from 203.0.113.9``; all but the path may be left out.
SENTENCE: Final = re.compile(
    r"\s*(?:(?P<method>[A-Za-z]+)\s+)?(?P<path>/\S*)"
    r"(?:\s+as\s+(?P<user>\S+))?(?:\s+from\s+(?P<address>\S+))?\s*"
)
ANONYMOUS: Final = "anonymous"
MAX_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain.

    Attributes:
        path: As in a URL: it may be percent-encoded and have a query.
        address: The socket's peer; ``X-Forwarded-For`` among the headers counts as it would.
        user: A user's name; None for nobody.
        secure: It comes over HTTPS, also where no header says so.
        count: How many such requests are made at one instant; the last is told of.
        counters: ``live``, or ``fresh`` for full buckets.
    """

    path: str
    method: str = "GET"
    address: str = "203.0.113.1"
    user: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    counters: Literal["live", "fresh"] = "live"
    secure: bool = False


class UnknownUser(LookupError):
    """No user has that name."""


def parse(sentence: str) -> Question | None:
    """Read ``GET /api/search/ as anonymous from 203.0.113.9``; None if it is not one."""
    match = SENTENCE.fullmatch(sentence)
    if match is None:
        return None
    question = Question(match["path"])
    user = match["user"]
    return replace(
        question,
        method=(match["method"] or question.method).upper(),
        address=match["address"] or question.address,
        user=None if user is None or user == ANONYMOUS else user,
    )


def facts_of(snapshot: Snapshot, question: Question) -> Facts:
    """Turn a question into what a policy needs to know of a request.

    Raises:
        UnknownUser: It names a user who is not there.
    """
    headers = {name.lower(): value for name, value in question.headers.items()}
    user = _user(question.user) if question.user else None
    path = unquote(question.path.partition("?")[0])
    return Facts(
        method=question.method,
        path=path,
        match=match_path(path),
        address=resolve_address(
            question.address,
            headers.get("x-forwarded-for", ""),
            snapshot.trusted_proxies,
            trusts_unix=snapshot.trusts_unix,
            explain=True,
        ),
        header=lambda name: headers.get(name.lower()),
        sources=conf.CLIENT_IDENTITY,
        secret=conf.client_secret,
        user=user if snapshot.wants_user else None,
    )


def _user(name: str) -> User:
    model = get_user_model()
    try:
        user: Any = model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise UnknownUser(name) from None
    groups = user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()
    return User(str(user.pk), name, frozenset(groups))
