"""How large a body and how long an answer may be, and what is slow, for each endpoint."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pulse.core.clients import in_percent
from pulse.core.document import Item
from pulse.core.endpoints import MAX_REMEMBERED, EndpointIndex, Match, Matcher
from pulse.exceptions import InvalidSize

#: No endpoint takes more, or longer: a terabyte, a day.
MAX_BODY_BYTES: Final = 2**40
MAX_TIMEOUT_S: Final = 86_400
MAX_SLOW_MS: Final = 1000 * MAX_TIMEOUT_S
#: What an endpoint limit may say once of a request.
FIELDS: Final = ("max_body_bytes", "timeout_s", "slow_ms")
#: Longer lengths than any body has are no numbers of bytes.
MAX_DIGITS: Final = 18
#: Where an ASGI scope holds what ``pulse.asgi.limit_bodies`` saw of the body.
ARRIVAL: Final = "pulse.body"
#: What refuses where no endpoint limit does, as it is counted and logged.
SITE: Final = "site:max_body_bytes"
LENGTH: Final = "site:content_length"
#: What says what is slow where none does.
SLOW: Final = "site:slow_request_ms"

#: What people write for a number of bytes, and the largest first what they are shown.
UNITS: Final = {"GB": 2**30, "MB": 2**20, "KB": 2**10}
_UNITS: Final[dict[str, int]] = {
    **dict.fromkeys(("", "b", "byte", "bytes"), 1),
    **dict.fromkeys(("k", "kb", "kib"), 2**10),
    **dict.fromkeys(("m", "mb", "mib"), 2**20),
    **dict.fromkeys(("g", "gb", "gib"), 2**30),
    **dict.fromkeys(("t", "tb", "tib"), 2**40),
}
_SIZE: Final = re.compile(r"(\d{1,16})(?:\.(\d{1,6}))?\s*([a-z]*)", re.ASCII | re.IGNORECASE)


class Arrival:
    """What became of a body on its way in; every copy of its scope has the same one.

    Attributes:
        cut_at: The most that would have been taken of the body that was cut off, in bytes; None
            for a body that is whole.
        cut_by: What says so.
    """

    __slots__ = ("cut_at", "cut_by")

    def __init__(self) -> None:
        self.cut_at: int | None = None
        self.cut_by = SITE


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The single-valued fields of one endpoint limit.

    Attributes:
        slow_ms: An answer that takes longer is logged as slow; 0 for none.
        enforced: Not in shadow.
        percent: The share of clients for whom it is enforced; for the others it is in shadow.
        rule: Its name where it is counted and logged.
    """

    name: str
    max_body_bytes: int | None = None
    timeout_s: float | None = None
    slow_ms: int | None = None
    enforced: bool = True
    percent: int = 100
    rule: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", f"endpoint_limits:{self.name}")

    @property
    def is_shared(self) -> bool:
        """Whether it is enforced for some clients and not for others."""
        return self.enforced and self.percent < 100

    def acts(self, client: str, secret: bytes) -> bool:
        """Whether it is enforced for a client, rather than in shadow."""
        # The same clients as those for whom its rates are: the hash is of the same name.
        return self.enforced and in_percent(f"{self.rule}:", client, self.percent, secret)


class Effective(NamedTuple):
    """The bounds of one request, each from the most specific endpoint limit that names it.

    Attributes:
        body: Says how large the body may be; None where none does.
        timeout: Says how long the answer may take.
        body_shadows: Would say so in its place, if they were enforced.
        timeout_shadows: Likewise.
        slow: Says from when on an answer is slow. In shadow it says nothing.
    """

    body: Bound | None = None
    timeout: Bound | None = None
    body_shadows: tuple[Bound, ...] = ()
    timeout_shadows: tuple[Bound, ...] = ()
    slow: Bound | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every bound of a policy.

    Attributes:
        largest_body: The most bytes that any endpoint takes; 0 where none says.
        smallest_body: The fewest that any takes as its most; None where none says.
        has_timeouts: Some endpoint has a time limit that is enforced.
        is_empty: No endpoint has a bound, not in shadow either.
    """

    endpoints: EndpointIndex[Bound] = field(default_factory=EndpointIndex)
    largest_body: int = 0
    smallest_body: int | None = None
    has_timeouts: bool = False
    is_empty: bool = True
    _same_for_all: dict[tuple[Bound, ...], Effective] = field(default_factory=dict, compare=False)

    def find(self, match: Match, path: str, method: str, client: str, secret: bytes) -> Effective:
        """Return the bounds of a request.

        Args:
            match: What it resolved to.
            path: The decoded path that Django resolved.
            method: Its method.
            client: The name under which its address is counted.
            secret: Keys the hash that decides for which clients a bound is enforced.
        """
        found = self.endpoints.find(match, path, method)
        effective = self._same_for_all.get(found)
        return self._judge(found, client, secret) if effective is None else effective

    def _judge(self, found: tuple[Bound, ...], client: str, secret: bytes) -> Effective:
        bodies = [bound for bound in found if bound.max_body_bytes is not None]
        times = [bound for bound in found if bound.timeout_s is not None]
        body, body_shadows = _first_acting(bodies, client, secret)
        timeout, timeout_shadows = _first_acting(times, client, secret)
        slow, _ = _first_acting(
            [bound for bound in found if bound.slow_ms is not None], client, secret
        )
        effective = Effective(body, timeout, body_shadows, timeout_shadows, slow)
        # As many as the policy has ways to overlap; the request chooses among them.
        if len(self._same_for_all) < MAX_REMEMBERED and not any(b.is_shared for b in found):
            self._same_for_all[found] = effective
        return effective


def bounds_of(items: Iterable[Item]) -> Bounds:
    """Compile the bounds of the endpoint limits that are in force.

    Raises:
        ValueError: A time is no number.
    """
    named = [item for item in items if any(item.get(name) is not None for name in FIELDS)]
    # Within one route, name, view or prefix the index keeps this order.
    pairs = [_bound(item) for item in sorted(named, key=lambda item: not item["methods"])]
    acting = [bound for _, bound in pairs if bound.enforced and bound.percent]
    bodies = [bound.max_body_bytes for bound in acting if bound.max_body_bytes is not None]
    return Bounds(
        endpoints=EndpointIndex(pairs),
        largest_body=max(bodies, default=0),
        smallest_body=min(bodies, default=None),
        has_timeouts=any(bound.timeout_s is not None for bound in acting),
        is_empty=not pairs,
    )


def parse_length(text: str) -> int | None:
    """Read a ``Content-Length``: ASCII digits, and no more of them than a body can have.

    Returns:
        The number of bytes; None for what is no length, as several lengths are.

    Source: RFC 9110, 8.6.
    """
    if len(text) > MAX_DIGITS or not text.isascii() or not text.isdigit():
        return None
    return int(text)


def parse_size(text: str) -> int:
    """Read a number of bytes as people write it: ``100 MB``, ``1.5 GB``, ``512 KB``, ``4096``.

    Raises:
        InvalidSize: The text is no such number, or more than there can be.
    """
    text = text.strip()
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[3].lower()) if found else None
    if found is None or unit is None:
        raise InvalidSize(text, "is not a size. Write a number and a unit, such as 100 MB.")
    whole, part = found[1], found[2] or ""
    size, rest = divmod(int(whole + part) * unit, int(10 ** len(part)))
    if rest:
        raise InvalidSize(text, "is not a whole number of bytes.")
    if size > MAX_BODY_BYTES:
        raise InvalidSize(text, "is more than a terabyte.")
    return size


def format_size(size: int) -> str:
    """Write a number of bytes exactly, in the largest unit that it is whole in: ``100 MB``."""
    for unit, bytes_of in UNITS.items():
        if size and size % bytes_of == 0:
            return f"{size // bytes_of} {unit}"
    return "1 byte" if size == 1 else f"{size} bytes"


def round_size(size: int) -> str:
    """Write a number of bytes briefly, rounded down, in megabytes at most: ``10MB``."""
    for unit in ("MB", "KB"):
        if size >= UNITS[unit]:
            return f"{size // UNITS[unit]}{unit}"
    return format_size(size)


def _bound(item: Item) -> tuple[Matcher, Bound]:
    timeout_s = item.get("timeout_s")
    if timeout_s is not None and not math.isfinite(timeout_s):
        raise ValueError(f"{item['name']}: {timeout_s} is no number of seconds")
    slow_ms = item.get("slow_ms")
    matcher = Matcher(
        route=item.get("route"),
        url_name=item.get("url_name"),
        view=item.get("view"),
        path=item.get("path"),
        methods=frozenset(item["methods"]) or None,
    )
    bound = Bound(
        item["name"],
        item.get("max_body_bytes"),
        timeout_s,
        None if slow_ms is None else int(slow_ms),
        # Mode.ENFORCE, whose module knows this one.
        enforced=item["mode"] == "enforce",
        percent=item["percent"],
    )
    return matcher, bound


def _first_acting(
    bounds: Iterable[Bound], client: str, secret: bytes
) -> tuple[Bound | None, tuple[Bound, ...]]:
    """Return the first bound that acts, and those before it, which do not."""
    shadows: list[Bound] = []
    for bound in bounds:
        if bound.acts(client, secret):
            return bound, tuple(shadows)
        shadows.append(bound)
    return None, tuple(shadows)
