"""Whether a change of policy asks more of clients, or less.

Told of each item by itself: that another item may hold in its place is not weighed, and where the
item alone cannot tell, the effect is ``mixed``. Values are those of the canonical document.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pulse.core.quotas import Algorithm, Quota, make_quota
from pulse.exceptions import InvalidQuota

Item = Mapping[str, Any]
#: Judges one field of an item that acted before and acts after, by the field's name.
Judge = Callable[[str, Item, Item], "Effect"]


class Effect(StrEnum):
    """What a change does to those whom the policy is for."""

    TIGHTENS = "tightens"
    LOOSENS = "loosens"
    MIXED = "mixed"
    NEUTRAL = "neutral"

    @property
    def opposite(self) -> "Effect":
        """What taking it back does."""
        return _OPPOSITES.get(self, self)


_OPPOSITES: Final = {Effect.TIGHTENS: Effect.LOOSENS, Effect.LOOSENS: Effect.TIGHTENS}


@dataclass(frozen=True, slots=True)
class Nature:
    """What items of a kind do.

    Attributes:
        presence: What it does that an item acts, beside that it does not.
        fields: Who judges a field; of others nobody can tell.
        addition: What it does that one is added which acts, where that is not the same.
        removal: What it does that one which acts is removed, where that is not the opposite.
    """

    presence: Callable[[Item], Effect]
    fields: Mapping[str, Judge] = field(default_factory=dict)
    addition: Callable[[Item], Effect] | None = None
    removal: Callable[[Item], Effect] | None = None


def effect_of(kind: str, before: Item | None, after: Item | None) -> Effect:
    """Judge the change of one item.

    Args:
        kind: Its list in the document.
        before: Defaults written out; None where it was added.
        after: The same; None where it was deleted.
    """
    if kind in APART:
        return Effect.NEUTRAL
    nature = KINDS.get(kind)
    if nature is None:
        return Effect.MIXED
    presence = nature.presence
    if nature.addition is not None and (before is None or after is None):
        presence = nature.addition
    if before is None or not _acts(before):
        if after is None or not _acts(after):
            return Effect.NEUTRAL
        return presence(after)
    if after is None or not _acts(after):
        removal = nature.removal if after is None else None
        return presence(before).opposite if removal is None else removal(before)
    return both(
        _judge(nature, name, before, after)
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def both(effects: Iterable[Effect]) -> Effect:
    """Return what several effects are together."""
    found = set(effects) - {Effect.NEUTRAL}
    if not found:
        return Effect.NEUTRAL
    return found.pop() if len(found) == 1 else Effect.MIXED


def _acts(item: Item) -> bool:
    """Whether an item does more than count and report."""
    mode: str = item.get("mode", "enforce")
    return mode == "enforce"


def _judge(nature: Nature, name: str, before: Item, after: Item) -> Effect:
    if name in _WORDS:
        return Effect.NEUTRAL
    if name in _DURATION:
        # How long it acts, and on how many, is more or less of what it is.
        presence = both((nature.presence(before), nature.presence(after)))
        return {
            Effect.TIGHTENS: presence,
            Effect.LOOSENS: presence.opposite,
        }.get(_DURATION[name](name, before, after), Effect.MIXED)
    judge = nature.fields.get(name)
    return Effect.MIXED if judge is None else judge(name, before, after)


def _always(effect: Effect) -> Callable[[Item], Effect]:
    return lambda _item: effect


def _new_tier(item: Item) -> Effect:
    """A new tier is nobody's until an assignment says so; a new default takes another's place."""
    return Effect.MIXED if item.get("default") else Effect.NEUTRAL


def _tier_gone(item: Item) -> Effect:
    """Who had the default and gets no other has no limit."""
    return Effect.LOOSENS if item.get("default") else Effect.NEUTRAL


def _endpoint(item: Item) -> Effect:
    parts = []
    if item.get("limits") or item.get("tier"):
        # In the tier's place it may let more through, or less.
        parts.append(Effect.MIXED if item.get("replaces_tier") else Effect.TIGHTENS)
    if item.get("max_body_bytes") is not None:
        # Where an upload may be large, the site's own bound is smaller.
        parts.append(Effect.MIXED)
    if item.get("timeout_s") is not None or item.get("require_nonce"):
        parts.append(Effect.TIGHTENS)
    return both(parts)


def _access(item: Item) -> Effect:
    return Effect.TIGHTENS if item.get("action") == "deny" else Effect.LOOSENS


def _neutral(_name: str, _before: Item, _after: Item) -> Effect:
    return Effect.NEUTRAL


def _ranked(ranks: Sequence[object]) -> Judge:
    """Judge by an order, the loosest first; what is not in it nobody can tell."""

    def judge(name: str, before: Item, after: Item) -> Effect:
        try:
            one, other = ranks.index(before.get(name)), ranks.index(after.get(name))
        except ValueError:
            return Effect.MIXED
        return Effect.TIGHTENS if other > one else Effect.LOOSENS

    return judge


_permission: Final = _ranked((True, False))
_demand: Final = _ranked((False, True))


def _bound(name: str, before: Item, after: Item) -> Effect:
    """Judge a bound that is tighter where it is lower; without one there is none."""
    one, other = before.get(name), after.get(name)
    if one is None or other is None:
        return Effect.TIGHTENS if one is None else Effect.LOOSENS
    return Effect.TIGHTENS if other < one else Effect.LOOSENS


def _known_bound(name: str, before: Item, after: Item) -> Effect:
    """Judge a bound in the place of which another holds."""
    if before.get(name) is None or after.get(name) is None:
        return Effect.MIXED
    return _bound(name, before, after)


def _price(name: str, before: Item, after: Item) -> Effect:
    return _bound(name, before, after).opposite


def _granted(name: str, before: Item, after: Item) -> Effect:
    """Judge a list of what is allowed."""
    one, other = set(before.get(name) or ()), set(after.get(name) or ())
    if one == other:
        return Effect.NEUTRAL
    if one < other:
        return Effect.LOOSENS
    return Effect.TIGHTENS if other < one else Effect.MIXED


def _removed_headers(name: str, before: Item, after: Item) -> Effect:
    """Judge headers by name: one that is taken away protects no more; values nobody can tell."""
    one, other = before.get(name) or {}, after.get(name) or {}
    return both(
        Effect.MIXED
        if one.get(header) is not None and other.get(header) is not None
        else Effect.LOOSENS
        if _is_missing(header, other) or (one.get(header) is not None and header not in other)
        else Effect.TIGHTENS
        for header in {**one, **other}
        if (header in one) != (header in other) or one.get(header) != other.get(header)
    )


def _is_missing(header: str, headers: Mapping[str, str | None]) -> bool:
    return header in headers and headers[header] is None


def _limits(name: str, before: Item, after: Item) -> Effect:
    """Judge lists of limits, all of which must pass."""
    try:
        one, other = _quotas(before.get(name) or ()), _quotas(after.get(name) or ())
    except (InvalidQuota, KeyError, TypeError, ValueError):  # Written past the validators.
        return Effect.MIXED
    tightens = all(any(_is_within(limit, held) for limit in other) for held in one)
    loosens = all(any(_is_within(limit, given) for limit in one) for given in other)
    if tightens and loosens:
        return Effect.NEUTRAL
    if tightens:
        return Effect.TIGHTENS
    return Effect.LOOSENS if loosens else Effect.MIXED


def _quotas(limits: Iterable[Item]) -> list[Quota]:
    return [
        make_quota(limit["rate"], limit.get("burst"), Algorithm(limit["algorithm"]))
        for limit in limits
    ]


def _is_within(one: Quota, other: Quota) -> bool:
    """Whether whatever one limit lets through the other does, too."""
    if one.algorithm is not other.algorithm:
        return False
    if one.algorithm is Algorithm.TOKEN_BUCKET:
        return one.spacing_us >= other.spacing_us and one.capacity <= other.capacity
    return one.period_us == other.period_us and one.count <= other.count


def _reach(grows: Callable[[Any, Any], bool]) -> Judge:
    """Judge how many requests a rule is for, by what it is to those."""

    def judge(name: str, before: Item, after: Item) -> Effect:
        presence = both((_endpoint(before), _endpoint(after)))
        one, other = before.get(name), after.get(name)
        if grows(one, other):
            return presence
        return presence.opposite if grows(other, one) else Effect.MIXED

    return judge


def _more_methods(one: Any, other: Any) -> bool:
    """Whether a list names more methods than another; an empty one names all."""
    return bool(one) and (not other or set(one) < set(other))


def _shorter_path(one: Any, other: Any) -> bool:
    return bool(one) and bool(other) and one.startswith(other)


def _longer(name: str, before: Item, after: Item) -> Effect:
    """Judge when it begins or ends: acting longer is more of it."""
    one, other = _moment(name, before), _moment(name, after)
    is_longer = other < one if name == "starts_at" else other > one
    return Effect.TIGHTENS if is_longer else Effect.LOOSENS


def _moment(name: str, item: Item) -> float:
    text = item.get(name)
    if text is None:
        return float("-inf") if name == "starts_at" else float("inf")
    return datetime.fromisoformat(text).timestamp()


#: Kinds that ask nothing of clients.
APART: Final = frozenset(
    {
        "alert_channels",
        "alert_rules",
        "maintenance_windows",
        "probe_budgets",
        "probe_payloads",
        "probe_schedules",
        "probe_targets",
    }
)
#: Fields that only tell.
_WORDS: Final = frozenset({"description", "reason"})
_DURATION: Final[Mapping[str, Judge]] = {
    "percent": _price,
    "starts_at": _longer,
    "ends_at": _longer,
}

KINDS: Final[Mapping[str, Nature]] = {
    "rate_tiers": Nature(
        _always(Effect.TIGHTENS),
        {"limits": _limits, "address_ceiling": _bound},
        _new_tier,
        _tier_gone,
    ),
    "tier_assignments": Nature(_always(Effect.MIXED)),
    "endpoint_limits": Nature(
        _endpoint,
        {
            "limits": _limits,
            "cost": _price,
            "methods": _reach(_more_methods),
            "path": _reach(_shorter_path),
            "replaces_tier": _permission,
            "on_store_error": _ranked(("open", "local", "closed")),
            "max_body_bytes": _known_bound,
            "timeout_s": _bound,
            "slow_ms": _neutral,
            "require_nonce": _demand,
        },
    ),
    "exemptions": Nature(_always(Effect.LOOSENS)),
    "trusted_proxies": Nature(_always(Effect.MIXED)),
    "access_rules": Nature(_access, {"action": _ranked(("allow", "deny"))}),
    "cors_origins": Nature(
        _always(Effect.LOOSENS),
        {
            "methods": _granted,
            "allowed_headers": _granted,
            "exposed_headers": _granted,
            "credentials": _permission,
            "max_age": _neutral,
            "private_network": _permission,
            "strict_preflight": _demand,
            "csrf_trusted": _permission,
        },
    ),
    "header_policies": Nature(
        _always(Effect.TIGHTENS),
        {
            "headers": _removed_headers,
            "csp_report_only": _permission,
            # The empty stage is the whole of what the header says.
            "hsts_stage": _ranked(("5m", "1d", "1w", "30d", None)),
        },
    ),
}
