"""What is asked: a request in words or by fields, and the plain values that it comes to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

from django.contrib.auth import get_user_model
from django.utils.encoding import repercent_broken_unicode
from django.utils.translation import gettext as _

from pulse.conf import conf
from pulse.core.charging import Facts
from pulse.core.clients import User, resolve_address
from pulse.core.networks import parse_address
from pulse.core.snapshot import Snapshot
from pulse.exceptions import InvalidQuestion, UnknownUser
from pulse.policies.routes import match_path

#: ``GET /api/search/ as kim from 203.0.113.9``; all but the path may be left out.
SENTENCE: Final = re.compile(
    r"\s*(?:(?P<method>[A-Za-z]+)\s+)?(?P<path>/\S*)"
    r"(?:\s+as\s+(?P<user>\S+))?(?:\s+from\s+(?P<address>\S+))?\s*"
)
ANONYMOUS: Final = "anonymous"
MAX_COUNT: Final = 10_000
COUNTERS: Final = ("live", "fresh")
FIELDS: Final = (
    *("method", "path", "address", "user", "api_key"),
    *("headers", "count", "counters", "https"),
)
MAX_TEXT: Final = 2048
MAX_HEADERS: Final = 100
#: A method, or the name of a header (RFC 9110, 5.6.2).
TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")


@dataclass(frozen=True, slots=True)
class Question:
    """A request to explain.

    Attributes:
        path: As in a URL: it may be percent-encoded and have a query.
        address: The socket's peer; ``X-Forwarded-For`` among the headers counts as it would.
        user: A user's name; None for nobody.
        api_key: The prefix of a key of pulse's that comes with it; None for none.
        secure: It comes over HTTPS, also where no header says so.
        count: How many such requests are made at one instant; the last is told of.
        counters: ``live``, or ``fresh`` for full buckets.
    """

    path: str
    method: str = "GET"
    address: str = "203.0.113.1"
    user: str | None = None
    api_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    counters: Literal["live", "fresh"] = "live"
    secure: bool = False


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


def read(fields: Mapping[str, Any]) -> Question:
    """Read a request that is described by fields, as in the body of the API.

    Args:
        fields: ``path``, and what else of ``FIELDS`` is not as usual; None is not said.

    Raises:
        InvalidQuestion: Some of them cannot be what they are.
    """
    errors = {str(name)[:100]: [_("There is no such field.")] for name in fields.keys() - {*FIELDS}}
    said = {name: value for name, value in fields.items() if value is not None and name in FIELDS}
    if "path" not in said:
        errors["path"] = [_("Say which path.")]
    for name, value in said.items():
        if problem := _problem_of(name, value):
            errors[name] = [problem]
    if errors:
        raise InvalidQuestion(errors)
    if "method" in said:
        said["method"] = said["method"].upper()
    said["secure"] = said.pop("https", False)
    return Question(**said)


def read_headers(text: str) -> dict[str, str]:
    """Read headers by lines, ``NAME: value``; of one that comes twice, all values.

    Raises:
        InvalidQuestion: A line is none.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _is_token(name):
            told = _("Line %d is no header. Write it like X-Plan: gold.") % number
            raise InvalidQuestion({"headers": [told]})
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def path_of(text: str) -> str:
    """Decode a path as Django does: without its query, and what is no UTF-8 stays encoded."""
    return repercent_broken_unicode(unquote_to_bytes(text.partition("?")[0])).decode()


def facts_of(snapshot: Snapshot, question: Question) -> Facts:
    """Turn a question into what a policy needs to know of a request.

    Raises:
        InvalidQuestion: It names a user, or a key, that is not there.
    """
    if question.api_key is not None and question.api_key not in snapshot.keys:
        told = _("No key that counts is called %s.") % question.api_key
        raise InvalidQuestion({"api_key": [told]})
    headers = {name.lower(): value for name, value in question.headers.items()}
    user = user_of(find_user(question.user)) if question.user else None
    path = path_of(question.path)
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
        api_key=question.api_key or snapshot.keys.find(headers.get("authorization", "")),
    )


def find_user(name: str) -> Any:
    """Find a user of the host by name.

    Raises:
        UnknownUser: There is none.
    """
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist:
        raise UnknownUser(name) from None


def user_of(user: Any) -> User:
    """Return a user of the host's as policies know one; queries the groups."""
    groups = user.groups.values_list("name", flat=True) if hasattr(user, "groups") else ()
    return User(str(user.pk), user.get_username(), frozenset(groups))


def _problem_of(name: str, value: Any) -> str:
    """Say what is wrong with a field; empty for nothing."""
    if name == "headers":
        return _problem_of_headers(value)
    if name not in {"count", "https"} and not _is_text(value):
        return _("Write a text of at most %d characters.") % MAX_TEXT
    checks: dict[str, tuple[Callable[[Any], object], Any]] = {
        "method": (_is_token, _("That is no method.")),
        "path": (lambda path: path[:1] == "/", _("Begin it with a slash: /api/search/.")),
        "address": (parse_address, _("That is no address. Write one such as 203.0.113.9.")),
        "user": (bool, _("Write a name.")),
        "api_key": (bool, _("Write the prefix of a key.")),
        "count": (_is_count, _("Write a number from 1 to %d.") % MAX_COUNT),
        "counters": (COUNTERS.__contains__, _("It may be: %s.") % ", ".join(COUNTERS)),
        "https": (lambda https: isinstance(https, bool), _("Write true or false.")),
    }
    is_right, told = checks[name]
    return "" if is_right(value) else str(told)


def _problem_of_headers(headers: Any) -> str:
    if not isinstance(headers, Mapping):
        return _("Write an object of names and values.")
    if len(headers) > MAX_HEADERS:
        return _("That is more than %d.") % MAX_HEADERS
    for name, value in headers.items():
        if not _is_token(name):
            return _("%s is no name of a header.") % ascii(name[:40])
        if not _is_text(value) or any(character in value for character in "\r\n\0"):
            return str(_("The value of %s cannot be sent.") % name)
    return ""


def _is_token(text: str) -> bool:
    return TOKEN.fullmatch(text) is not None


def _is_count(value: Any) -> bool:
    # A bool is an int to Python.
    return isinstance(value, int) and value is not True and value in range(1, MAX_COUNT + 1)


def _is_text(value: Any) -> bool:
    """Whether it is a text that can be written and looked up: JSON can escape half a character."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)
