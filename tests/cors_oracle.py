"""What a page may read, worked out from the standard alone, to hold against what it gets.

Two halves that know nothing of each other, and nothing of the code that they judge: what a policy
makes a server say (``DESIGN.md`` 2.2 and 4), and what a browser makes of that.

Source: the Fetch standard, 3.3 (CORS protocol), 4.4 to 4.10 (fetching), 2.2.1 and 2.2.2 (methods
and headers).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

ANY: Final = "*"
METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS")
ALLOWED_HEADERS: Final = ("Authorization", "Content-Type", "X-Track-ID", "Idempotency-Key")
EXPOSED_HEADERS: Final = (
    "X-Request-ID",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
)
#: CORS-safelisted methods: never asked about by name.
SIMPLE_METHODS: Final = ("GET", "HEAD", "POST")
#: Methods that ``fetch`` writes in upper case, however a script wrote them. PATCH is none of them.
NORMALISED: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
#: CORS-safelisted response-header names.
READABLE: Final = frozenset(
    {
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    }
)
SIMPLE_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
UNSAFE_CHARACTERS: Final = frozenset('"():<>?@[\\]{}\x7f')
LANGUAGE_CHARACTERS: Final = frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz *,-.;="
)
LONGEST_ORIGIN: Final = 300


@dataclass(frozen=True)
class Rule:
    """One item of ``cors_origins``, as an operator writes it."""

    origin: str
    path: str = "/"
    methods: tuple[str, ...] = METHODS
    allowed_headers: tuple[str, ...] = ALLOWED_HEADERS
    exposed_headers: tuple[str, ...] = EXPOSED_HEADERS
    credentials: bool = False
    max_age: int = 0
    strict: bool = False
    mode: str = "enforce"

    def item(self) -> dict[str, object]:
        return {
            "origin": self.origin,
            "path": self.path,
            "methods": list(self.methods),
            "allowed_headers": list(self.allowed_headers),
            "exposed_headers": list(self.exposed_headers),
            "credentials": self.credentials,
            "max_age": self.max_age,
            "strict_preflight": self.strict,
            "mode": self.mode,
        }


@dataclass(frozen=True)
class Script:
    """What a page's script asks for."""

    origin: str
    path: str
    query: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: str = "same-origin"
    body: str | None = None

    @property
    def sent_method(self) -> str:
        upper = self.method.upper()
        return upper if upper in NORMALISED else self.method

    @property
    def unsafe_headers(self) -> list[str]:
        """The names that a preflight asks for."""
        return sorted(
            name.lower() for name, value in self.headers.items() if not is_simple(name, value)
        )

    @property
    def is_preflighted(self) -> bool:
        return self.sent_method not in SIMPLE_METHODS or bool(self.unsafe_headers)


@dataclass(frozen=True)
class Reading:
    """What comes out for the script.

    Attributes:
        readable: It gets the answer, and not a network error.
        arrives: The request itself is sent, and not only a preflight.
        names: Lower-case names of the headers that it may read, if they are sent.
        why: The step that decided, for a failing test to say.
    """

    readable: bool
    arrives: bool
    names: frozenset[str]
    why: str


# What a policy makes a server say.


def covers(prefix: str, path: str) -> bool:
    """Whether a path lies under a prefix, on whole segments."""
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def matches(pattern: str, origin: str) -> bool:
    """Whether a rule for ``pattern`` is meant for a page on ``origin``."""
    if pattern == ANY:
        return True
    if origin == "null" or len(origin) > LONGEST_ORIGIN:
        return False
    if "://*." not in pattern:
        return origin == pattern
    scheme, suffix = pattern.split("*", 1)
    if not origin.startswith(scheme) or not origin.endswith(suffix):
        return False
    labels = origin[len(scheme) : len(origin) - len(suffix)].split(".")
    return all(label and set(label) <= LABEL_CHARACTERS for label in labels)


#: What browsers let stand in a host's name that resolves: more than host names may have.
LABEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def rule_for(rules: Iterable[Rule], origin: str, path: str) -> Rule | None:
    """The one rule that answers: the longest path, then exact, then the longest wildcard."""
    found = [
        rule
        for rule in rules
        if rule.mode == "enforce" and covers(rule.path, path) and matches(rule.origin, origin)
    ]
    return max(found, key=_rank, default=None)


def _rank(rule: Rule) -> tuple[int, int, int]:
    kind = 0 if rule.origin == ANY else 1 if "://*." in rule.origin else 2
    return len(rule.path), kind, len(rule.origin)


def has_rules(rules: Iterable[Rule], path: str) -> bool:
    return any(rule.mode == "enforce" and covers(rule.path, path) for rule in rules)


def must_vary(rules: Iterable[Rule], path: str) -> bool | None:
    """Whether an answer has to say ``Vary: Origin``; None where it may do either.

    It has to where two origins get different answers, and has not to where all get the same.
    """
    found = [rule for rule in rules if rule.mode == "enforce" and covers(rule.path, path)]
    named = [rule for rule in found if rule.origin != ANY]
    if not named:
        return False
    longest_any = max((len(rule.path) for rule in found if rule.origin == ANY), default=-1)
    # Where a longer path is open to all, it hides the others, and every answer is the same.
    return None if all(len(rule.path) < longest_any for rule in named) else True


def allow_origin(rule: Rule | None, origin: str) -> str | None:
    """The value of ``Access-Control-Allow-Origin``."""
    if rule is None:
        return None
    return ANY if rule.origin == ANY else origin


def is_permitted(rule: Rule, method: str, headers: Iterable[str]) -> bool:
    """Whether a strict rule answers a preflight with permission."""
    return method in rule.methods and _lower(headers) <= _lower(rule.allowed_headers)


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


# What a browser makes of it.


def is_simple(name: str, value: str) -> bool:
    """Whether a header is a CORS-safelisted request-header."""
    name = name.lower()
    if len(value.encode()) > 128:
        return False
    if name == "accept":
        return not _has_unsafe(value)
    if name in {"accept-language", "content-language"}:
        return set(value) <= LANGUAGE_CHARACTERS
    if name == "content-type":
        essence = value.split(";", 1)[0].strip().lower()
        return not _has_unsafe(value) and essence in SIMPLE_TYPES
    if name == "range":
        first, dash, last = value.removeprefix("bytes=").partition("-")
        return value.startswith("bytes=") and bool(dash) and first.isdigit() and _is_end(last)
    return False


def _has_unsafe(value: str) -> bool:
    return any(mark in UNSAFE_CHARACTERS or (mark < " " and mark != "\t") for mark in value)


def _is_end(text: str) -> bool:
    return not text or text.isdigit()


def passes_check(allowed: str | None, allows_credentials: bool, script: Script) -> bool:
    """The standard's CORS check."""
    if allowed == ANY and script.credentials != "include":
        return True
    if allowed != script.origin:
        return False
    return script.credentials != "include" or allows_credentials


def read(rules: Iterable[Rule], script: Script, *paths: str, opened: bool = False) -> Reading:
    """What a page gets under a policy.

    Args:
        rules: The policy's rules.
        script: What the page's script asks for.
        paths: Where redirects lead it, on the same site.
        opened: The host itself lets every origin read the answer, where no rule covers it.
    """
    rules = tuple(rules)
    rule = rule_for(rules, script.origin, script.path)
    if script.is_preflighted:
        refusal = _preflight(rules, rule, script)
        if refusal:
            return Reading(False, False, frozenset(), refusal)
    for path in (script.path, *paths):
        rule = rule_for(rules, script.origin, path)
        if opened and script.credentials != "include" and not has_rules(rules, path):
            return Reading(True, True, READABLE, "the host lets every origin read it")
        if rule is None or not _passes(rule, script):
            return Reading(False, True, frozenset(), f"the answer of {path} is not for it")
    assert rule is not None
    return Reading(True, True, READABLE | _lower(rule.exposed_headers), str(rule))


def _passes(rule: Rule, script: Script) -> bool:
    return passes_check(allow_origin(rule, script.origin), rule.credentials, script)


def _preflight(rules: Iterable[Rule], rule: Rule | None, script: Script) -> str:
    """Why the preflight ends the matter; empty if it does not."""
    if rule is None:
        return "no rule answers the preflight"
    if rule.strict and not is_permitted(rule, script.sent_method, script.unsafe_headers):
        return "a strict rule refuses the preflight"
    if not _passes(rule, script):
        return "the preflight's answer is not for it"
    if script.sent_method not in {*rule.methods, *SIMPLE_METHODS}:
        return f"{script.sent_method} is not allowed"
    missing = set(script.unsafe_headers) - _lower(rule.allowed_headers)
    return f"{sorted(missing)} is not allowed" if missing else ""
