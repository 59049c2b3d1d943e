"""What the CORS rules were good for of late, and what taking one away would break.

Counts are of the last 24 hours; origins of clients among them are bounded, so the last of many
may be missing. Anybody can send any origin: what is counted here is what was claimed.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from pulse.core.cors import KIND
from pulse.core.document import Document, Item, canonical, key_of
from pulse.core.origins import ANY, is_wildcard
from pulse.policies.compiler import compile_document
from pulse.policies.models import PolicyRevision
from pulse.store import buckets, hourly

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
#: By these scripts may ask whatever a preflight's answer says (Fetch standard, CORS-safelisted).
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "POST"})
#: What a rule may allow beside, in words; and the lists of headers that it allows.
WHAT: Final = {
    "credentials": _("cookies"),
    "csrf_trusted": _("forms"),
    "private_network": _("private networks"),
}
NAMES: Final = ("allowed_headers", "exposed_headers")


@dataclass(slots=True)
class Use:
    """How often a rule answered.

    Attributes:
        used: Answers that scripts were allowed to read, preflights included.
        would_use: Those that they would have been, were it not in shadow.
        last: The begin of the hour of the last; None for none.
        origins: ``used`` by the request's origin, where the rule is for many; as far as known.
        would_origins: ``would_use`` likewise.
    """

    used: int = 0
    would_use: int = 0
    last: datetime | None = None
    origins: Counter[str] = field(default_factory=Counter)
    would_origins: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Uses:
    """The uses of every rule, by its name; and who was refused, by path and origin."""

    rules: dict[str, Use] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)

    def of(self, item: Item) -> Use:
        """Return the use of a rule."""
        return self.rules.get(name_of(item)) or Use()


@dataclass(frozen=True, slots=True)
class Breakage:
    """Whom the end of a rule would break.

    Attributes:
        refused: Origins that no other rule would allow.
        lessened: Those that another rule would allow less, and what of it they would lose.
        unknown: How many answers went to origins that are not known.
    """

    refused: Sequence[str] = ()
    lessened: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unknown: int = 0


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
        begin = datetime.fromtimestamp(hour * hourly.HOUR_S, UTC)
        for text, amount in counts.items():
            verb, _space, rest = text.partition(" ")
            if verb == buckets.CORS_REFUSED:
                origin, _space, path = rest.removeprefix(f"{KIND}:").partition(" ")
                found.refused.setdefault(path, Counter())[origin] += amount
            elif verb in {buckets.CORS_USED, buckets.CORS_WOULD_USE}:
                _add(found.rules, verb, rest, amount, begin)
    return found


def would_break(
    item: Item, use: Use, rules: Sequence[Item], *, shadow_too: bool = False
) -> Breakage:
    """Say which of the origins that used a rule of late other rules would not do for, if it went.

    The host's settings are not asked.

    Args:
        item: The rule.
        use: Its use.
        rules: All that there are; it may be among them.
        shadow_too: Count on the rules in shadow, as if they were enforced by then.

    Raises:
        InvalidDocument: Another rule was written past every validator.
    """
    if not use.used:
        return Breakage()
    others = {
        name: {**other, "mode": "enforce"} if shadow_too and other["mode"] == "shadow" else other
        for other in rules
        if (name := name_of(other)) != name_of(item)
    }
    rest = compile_document({KIND: list(others.values())}, None, time.time()).cors
    is_for_many = item["origin"] == ANY or is_wildcard(item["origin"])
    users = (
        [origin for origin, _n in use.origins.most_common()] if is_for_many else [item["origin"]]
    )
    refused: list[str] = []
    lessened: dict[str, list[str]] = {}
    for origin in users:
        rule = rest.find(item["path"], origin).rule
        if rule is None:
            refused.append(origin)
        elif lost := _lost(item, others[rule.name]):
            lessened[origin] = lost
    unknown = max(0, use.used - use.origins.total()) if is_for_many else 0
    return Breakage(refused, lessened, unknown)


def held(item: Item, in_force: Document, now: datetime) -> Held | None:
    """Say until when browsers may hold an answer to a preflight that a rule would not give now.

    Queries the revisions of one day. What a rule of another origin or path answered is not asked.

    Args:
        item: The rule, of which the key is looked at.
        in_force: The newest revision's document.
        now: The time.
    """
    key = canonical(_key(item))
    rule = next((rule for rule in in_force.get(KIND, ()) if canonical(_key(rule)) == key), None)
    found = [_held(rule, now)] if rule is not None and _end(rule, now) < now else []
    since = now - timedelta(seconds=LONGEST_S)
    revisions = PolicyRevision.objects.filter(created_at__gt=since).defer("document")
    for revision in revisions[:LOOK_BACK]:
        for change in revision.changes:
            if change["kind"] == KIND and canonical(change["key"]) == key:
                rule = _undone(rule, change)
                if change["fields"].keys() & IN_PREFLIGHTS:
                    found.append(_held(rule, revision.created_at))
    known = [one for one in found if one is not None]
    until = max((one.until for one in known), default=now)
    return Held(until, max(one.chromium_until for one in known)) if until > now else None


def _key(item: Item) -> Mapping[str, Any]:
    return key_of(item, ("origin", "path"))


def _add(rules: dict[str, Use], verb: str, rest: str, amount: int, begin: datetime) -> None:
    origin, path, *client = rest.split(" ")
    use = rules.setdefault(f"{origin} {path}", Use())
    use.last = begin
    is_used = verb == buckets.CORS_USED
    if client:
        (use.origins if is_used else use.would_origins)[client[0]] += amount
    elif is_used:
        use.used += amount
    else:
        use.would_use += amount


def _lost(item: Item, other: Item) -> list[str]:
    """Name what a rule allows and another does not."""
    safe = frozenset() if other["strict_preflight"] else SAFE_METHODS
    named = {name: {text.lower() for text in other[name]} for name in NAMES}
    return [
        *(text for name, text in WHAT.items() if item[name] and not other[name]),
        *(method for method in item["methods"] if method not in {*other["methods"], *safe}),
        *(text for name in NAMES for text in item[name] if text.lower() not in named[name]),
    ]


def _undone(rule: Item | None, change: Mapping[str, Any]) -> Item | None:
    """Return a rule as it was before a change; None if there was none."""
    if change["action"] == "create":
        return None
    before = {name: values["before"] for name, values in change["fields"].items()}
    return before if change["action"] == "delete" else {**(rule or {}), **before}


def _end(rule: Item, changed_at: datetime) -> datetime:
    """Return when a rule answered last that was changed at a time, or ended before."""
    ends_at = rule.get("ends_at")
    return min(changed_at, datetime.fromisoformat(ends_at)) if ends_at else changed_at


def _held(rule: Item | None, changed_at: datetime) -> Held | None:
    """Say until when the answers of a rule are kept that was changed; None if it gave none."""
    if rule is None or rule["mode"] != "enforce":
        return None
    end, starts_at = _end(rule, changed_at), rule.get("starts_at")
    if starts_at and datetime.fromisoformat(starts_at) >= end:
        return None
    return Held(
        end + timedelta(seconds=min(rule["max_age"], LONGEST_S)),
        end + timedelta(seconds=min(rule["max_age"], CHROMIUM_S)),
    )
