"""What the CORS rules were good for of late, and what taking one away would break.

Counts are of the last 24 hours; origins of clients among them are bounded, so the last of many
may be missing.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pulse.core.cors import KIND
from pulse.core.document import Document, Item, canonical, key_of
from pulse.core.origins import ANY, is_wildcard
from pulse.policies.compiler import compile_document
from pulse.policies.models import PolicyRevision
from pulse.store import buckets

#: How long browsers keep a preflight's answer at most, whatever it says, in seconds.
CHROMIUM_S: Final = 7200
LONGEST_S: Final = 86_400
#: What of a rule is in the answer to a preflight, or decides who gets one.
IN_PREFLIGHTS: Final = frozenset(
    {
        "methods",
        "allowed_headers",
        "credentials",
        "max_age",
        "private_network",
        "strict_preflight",
        "mode",
        "percent",
        "starts_at",
        "ends_at",
    }
)
#: So many revisions of the last day are looked at, the newest first.
LOOK_BACK: Final = 200
#: What says whether an answer was given, and for how long it is kept.
WHILE: Final = ("mode", "max_age")


@dataclass(slots=True)
class Use:
    """How often a rule answered.

    Attributes:
        used: Answers that scripts were allowed to read, preflights included.
        would_use: Those that they would have been, were it not in shadow.
        last: The begin of the hour of the last; None for none.
        origins: Either by the request's origin, where the rule is for many.
    """

    used: int = 0
    would_use: int = 0
    last: datetime | None = None
    origins: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Uses:
    """The uses of every rule, by its name; and who was refused, by path and origin."""

    rules: dict[str, Use] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)

    def of(self, item: Item) -> Use:
        """Return the use of a rule."""
        return self.rules.get(name_of(item)) or Use()


@dataclass(frozen=True, slots=True)
class Held:
    """Until when browsers may go by the answer to an earlier preflight."""

    until: datetime
    chromium_until: datetime


def name_of(item: Item) -> str:
    """Return the name under which a rule is counted."""
    return f"{KIND}:{item['origin']} {item['path']}"


def last_day() -> Uses:
    """Read the counters, by one call for each hour.

    Raises:
        StoreUnavailable: They cannot be read.
    """
    found = Uses()
    for hour, counts in sorted(buckets.last_hours().items()):
        begin = datetime.fromtimestamp(hour * buckets.HOUR_S, UTC)
        for text, amount in counts.items():
            verb, _space, rest = text.partition(" ")
            if verb == buckets.CORS_REFUSED:
                origin, _space, path = rest.removeprefix(f"{KIND}:").partition(" ")
                found.refused.setdefault(path, Counter())[origin] += amount
            elif verb in {buckets.CORS_USED, buckets.CORS_WOULD_USE}:
                _add(found.rules, verb, rest, amount, begin)
    return found


def would_break(item: Item, use: Use, document: Document, *, shadow_too: bool = False) -> list[str]:
    """List the origins that used a rule of late and that no other rule would allow, if it went.

    Args:
        item: The rule.
        use: Its use.
        document: The policy in force.
        shadow_too: Count on the rules in shadow, as if they were enforced by then.
    """
    if not use.used:
        return []
    key = key_of(item, ("origin", "path"))
    others = [
        {**other, "mode": "enforce"} if shadow_too and other["mode"] == "shadow" else other
        for other in document.get(KIND, ())
        if key_of(other, ("origin", "path")) != key
    ]
    rest = compile_document({KIND: others}, None, time.time()).cors
    is_for_many = item["origin"] == ANY or is_wildcard(item["origin"])
    users = [origin for origin, _ in use.origins.most_common()] if is_for_many else [item["origin"]]
    return [origin for origin in users if rest.find(item["path"], origin).rule is None]


def held(item: Item, now: datetime) -> Held | None:
    """Say until when browsers may hold the answer to a preflight from before a rule's last change.

    Queries the revisions of one day. None where nothing can be held any more.
    """
    key = canonical(key_of(item, ("origin", "path")))
    since = now - timedelta(seconds=LONGEST_S)
    revisions = PolicyRevision.objects.filter(created_at__gt=since).defer("document")
    found = [
        _held(revision.created_at, before)
        for revision in revisions[:LOOK_BACK]
        for before in _answers_before(revision.changes, key, item)
    ]
    if not found:
        return None
    until = Held(
        max(one.until for one in found),
        max(one.chromium_until for one in found),
    )
    return until if until.until > now else None


def _add(rules: dict[str, Use], verb: str, rest: str, amount: int, begin: datetime) -> None:
    origin, path, *client = rest.split(" ")
    use = rules.setdefault(f"{origin} {path}", Use())
    use.last = begin
    if client:
        use.origins[client[0]] += amount
    elif verb == buckets.CORS_USED:
        use.used += amount
    else:
        use.would_use += amount


def _answers_before(changes: Iterable[Mapping[str, Any]], key: str, item: Item) -> Iterator[int]:
    """Yield the seconds for which answers are kept that a revision's changes made untrue.

    Args:
        changes: Of the revision.
        key: The rule's.
        item: The rule as it is, for the fields that were not changed.
    """
    for change in changes:
        if change["kind"] != KIND or canonical(change["key"]) != key:
            continue
        fields: Mapping[str, Any] = change["fields"]
        if change["action"] == "create" or not fields.keys() & IN_PREFLIGHTS:
            continue
        before = {name: fields.get(name, {}).get("before", item[name]) for name in WHILE}
        if before["mode"] == "enforce":
            yield before["max_age"]


def _held(changed_at: datetime, max_age: int) -> Held:
    return Held(
        changed_at + timedelta(seconds=min(max_age, LONGEST_S)),
        changed_at + timedelta(seconds=min(max_age, CHROMIUM_S)),
    )
