"""Which origins may read what, and with which methods and headers.

Source: the Fetch standard, 3.3 (CORS protocol).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pulse.core.document import Item
from pulse.core.endpoints import Remembered, prefixes
from pulse.core.origins import ANY, LONGEST, NULL, is_wildcard, parse_origin, wildcards_of
from pulse.exceptions import InvalidDocument, InvalidOrigin

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
#: Seconds for which a browser keeps a preflight's answer, where a rule does not say.
MAX_AGE_S: Final = 600
#: The longest ``Access-Control-Request-Headers`` worth reading; browsers name a handful.
LONGEST_LIST: Final = 4096

KIND: Final = "cors_origins"
ALLOW_ORIGIN: Final = "Access-Control-Allow-Origin"
ALLOW_CREDENTIALS: Final = "Access-Control-Allow-Credentials"
ALLOW_METHODS: Final = "Access-Control-Allow-Methods"
ALLOW_HEADERS: Final = "Access-Control-Allow-Headers"
ALLOW_PRIVATE_NETWORK: Final = "Access-Control-Allow-Private-Network"
EXPOSE_HEADERS: Final = "Access-Control-Expose-Headers"
MAX_AGE: Final = "Access-Control-Max-Age"
ASKED_METHOD: Final = "Access-Control-Request-Method"

TOKEN_CHARACTERS: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Permission:
    """What the scripts of an origin may do, as headers; most rules share one.

    Attributes:
        methods: Those that a preflight may ask for.
        headers: The names that a preflight may ask for, in small letters.
        answer: Sent with every answer, beside the origin.
        preflight: Sent with the answer to a preflight, beside the origin.
    """

    methods: frozenset[str]
    headers: frozenset[str]
    answer: Headers
    preflight: Headers

    def covers(self, method: str, headers: str) -> bool:
        """Whether all that a preflight asks for is allowed.

        Args:
            method: Its ``Access-Control-Request-Method``.
            headers: Its ``Access-Control-Request-Headers``; empty if it has none. What is longer
                than any browser's is not read.
        """
        if method not in self.methods or len(headers) > LONGEST_LIST:
            return False
        return all(
            name in self.headers
            for part in headers.lower().split(",")
            if (name := part.strip(" \t"))
        )


@dataclass(frozen=True, slots=True, eq=False)
class CorsRule:
    """One origin that may read what lies under a path.

    Attributes:
        name: Under which it is counted.
        origin: An exact origin, one with a wildcard, or ``*``.
        private_network: A public page may ask for this site on a private network.
        strict: A preflight for what is not allowed is refused, not only left without permission.
        csrf_trusted: Forms of the origin may post with a valid token.
        is_for_many: More than one origin can be meant.
    """

    name: str
    origin: str
    path: str
    permission: Permission
    private_network: bool = False
    strict: bool = False
    csrf_trusted: bool = False
    is_for_many: bool = field(init=False)

    def __post_init__(self) -> None:
        many = self.origin == ANY or is_wildcard(self.origin)
        object.__setattr__(self, "is_for_many", many)

    def allowed_origin(self, origin: str | None) -> str | None:
        """Return ``Access-Control-Allow-Origin`` for a request that the rule was found for."""
        return ANY if self.origin == ANY else origin


class Found(NamedTuple):
    """What the policy says of a request.

    Attributes:
        rule: The rule in force that answers, alone; None if none is for the origin.
        would: Where none is, the rule in shadow that would answer.
        path: The longest path of a rule in force that covers the request; None if none does.
        varies: Another origin gets another answer.
    """

    rule: CorsRule | None = None
    would: CorsRule | None = None
    path: str | None = None
    varies: bool = False


NOTHING: Final = Found()


class _Level:
    """The rules of one path."""

    __slots__ = ("everyone", "exact", "wildcards")

    def __init__(self) -> None:
        self.exact: dict[str, CorsRule] = {}
        self.wildcards: dict[str, CorsRule] = {}
        self.everyone: CorsRule | None = None

    def find(self, origin: str) -> CorsRule | None:
        """Find the rule that names an origin: exact, then the longest wildcard."""
        rule = self.exact.get(origin)
        if rule is None and self.wildcards:
            wildcards = self.wildcards
            return next(
                (wildcards[text] for text in wildcards_of(origin) if text in wildcards), None
            )
        return rule

    def add(self, rule: CorsRule) -> None:
        if rule.origin == ANY:
            self.everyone = rule
        else:
            (self.wildcards if is_wildcard(rule.origin) else self.exact)[rule.origin] = rule


class _Tree:
    """Rules by path, then by origin; a look-up costs the path's depth and the origin's labels."""

    __slots__ = ("_levels", "_longest")

    def __init__(self, rules: Iterable[CorsRule] = ()) -> None:
        self._levels: dict[str, _Level] = {}
        for rule in rules:
            level = self._levels.get(rule.path)
            if level is None:
                level = self._levels[rule.path] = _Level()
            level.add(rule)
        self._longest = max(map(len, self._levels), default=0)

    def __bool__(self) -> bool:
        return bool(self._levels)

    def find(self, path: str, origin: str | None) -> Found:
        """Find the longest path, then an exact origin, the longest wildcard, ``*``."""
        longest, varies = None, False
        for prefix in prefixes(path, self._longest):
            level = self._levels.get(prefix)
            if level is None:
                continue
            longest = longest or prefix
            if level.exact or level.wildcards:
                varies = True
                rule = None if origin is None else level.find(origin)
                if rule is not None:
                    return Found(rule, None, longest, varies)
            if level.everyone is not None:
                # What is below is never reached: with no name above, all get the same answer.
                return Found(level.everyone, None, longest, varies)
        return NOTHING if longest is None else Found(None, None, longest, varies)


class CorsIndex:
    """The CORS rules of a policy; a look-up costs the same with ten and with ten thousand.

    Attributes:
        trusts_csrf: Some rule in force trusts its origin for CSRF.
    """

    __slots__ = ("_enforced", "_has_any", "_has_shadow", "_remembered", "_shadow", "trusts_csrf")

    def __init__(self, enforced: Iterable[CorsRule] = (), shadow: Iterable[CorsRule] = ()) -> None:
        enforced = tuple(enforced)
        self._enforced, self._shadow = _Tree(enforced), _Tree(shadow)
        self._has_shadow = bool(self._shadow)
        self._has_any = bool(enforced) or self._has_shadow
        self._remembered: Remembered[tuple[str, str | None], Found] = Remembered()
        self.trusts_csrf = any(rule.csrf_trusted for rule in enforced)

    def __bool__(self) -> bool:
        return self._has_any

    def find(self, path: str, origin: str | None) -> Found:
        """Find the rule that answers a request, by the longest path and then by the origin.

        Origins are compared letter for letter with what browsers write.

        Args:
            path: The decoded path that Django resolved.
            origin: The header ``Origin``; None if the request has none.
        """
        if origin is not None and (origin == NULL or len(origin) > LONGEST):
            origin = None
        found = self._remembered.get((path, origin))
        return self._find(path, origin) if found is None else found

    def _find(self, path: str, origin: str | None) -> Found:
        found = self._enforced.find(path, origin)
        if found.rule is None:
            # Not remembered: whom no rule names should not drive out those whom one does.
            if self._has_shadow and origin is not None:
                return found._replace(would=self._shadow.find(path, origin).rule)
            return found
        self._remembered.keep((path, origin), found, path)
        return found

    def trusts(self, path: str, origin: str) -> bool:
        """Whether forms of an origin may post to a path with a valid token."""
        rule = self.find(path, origin).rule
        return rule is not None and rule.csrf_trusted and rule.origin != ANY


def cors_index(items: Iterable[Item]) -> CorsIndex:
    """Compile the CORS rules that are in force, in ``enforce`` and in ``shadow``.

    Browsers and caches share answers, so a rule is for all clients or for none: one that is
    enforced for a share of them is in shadow.

    Raises:
        InvalidDocument: A value was written past every validator. Any origin with credentials is
            among them: the policy in force stays, and nobody gets what nobody may.
    """
    enforced: list[CorsRule] = []
    shadow: list[CorsRule] = []
    permissions: dict[tuple[object, ...], Permission] = {}
    for item in items:
        acts = item["mode"] == "enforce" and item.get("percent", 100) >= 100
        (enforced if acts else shadow).append(_rule(item, permissions))
    return CorsIndex(enforced, shadow)


def _rule(item: Item, permissions: dict[tuple[object, ...], Permission]) -> CorsRule:
    origin, path = item["origin"], item["path"]
    try:
        parse_origin(origin)
    except InvalidOrigin as error:
        raise InvalidDocument({f"{KIND}.{origin}": [str(error)]}) from error
    if origin == ANY and (item["credentials"] or item["csrf_trusted"]):
        text = "Never for *: any page could act as the visitor."
        raise InvalidDocument({f"{KIND}.{origin}": [text]})
    key = (
        tuple(item["methods"]),
        tuple(item["allowed_headers"]),
        tuple(item["exposed_headers"]),
        item["credentials"],
        item["max_age"],
    )
    permission = permissions.get(key)
    if permission is None:
        permission = permissions[key] = _permission(*key)
    return CorsRule(
        name=f"{KIND}:{origin} {path}",
        origin=origin,
        path=path,
        permission=permission,
        private_network=item["private_network"],
        strict=item["strict_preflight"],
        csrf_trusted=item["csrf_trusted"],
    )


def _permission(
    methods: Sequence[str],
    allowed: Sequence[str],
    exposed: Sequence[str],
    credentials: bool,  # noqa: FBT001 - a value among values
    max_age: int,
) -> Permission:
    for name in (*methods, *allowed, *exposed):
        if not name or not TOKEN_CHARACTERS.issuperset(name):
            raise InvalidDocument({KIND: [f"{name!r} is no name of a method or a header."]})
    answer = [(ALLOW_CREDENTIALS, "true")] if credentials else []
    if exposed:
        answer.append((EXPOSE_HEADERS, ", ".join(exposed)))
    preflight = [*answer, (MAX_AGE, str(int(max_age)))]
    if methods:
        preflight.append((ALLOW_METHODS, ", ".join(methods)))
    if allowed:
        preflight.append((ALLOW_HEADERS, ", ".join(allowed)))
    return Permission(
        methods=frozenset(methods),
        headers=frozenset(name.lower() for name in allowed),
        answer=tuple(answer),
        preflight=tuple(preflight),
    )
