"""What a request asks of the counters, and what they answer.

The seam between policy and store: ``policies`` compiles allowances ahead, ``middleware`` turns a
request into claims, ``store`` decides them all or none, and the answer names the rule.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from pulse.core.quotas import Algorithm, Quota, State, Verdict, judge, mend, standing

#: One quota as the script reads it: algorithm, spacing or period, count or burst, cost.
WIRE: Final = struct.Struct(">Bddd")
#: The most quotas that one rule has.
MAX_QUOTAS: Final = 8
#: Every slot that an allowance may keep state in.
SLOTS: Final = tuple(f"{kind[0]}{rank}" for kind in Algorithm for rank in range(MAX_QUOTAS))


class OnStoreError(StrEnum):
    """What a rule does while the shared counters cannot be reached."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Allowance:
    """The quotas of one rule as one client meets them, compiled ahead.

    Attributes:
        quotas: One to eight, each of which must pass.
        cost: What one request takes from each.
        slots: The name under which each quota keeps its state beside the claim's key. It
            names the algorithm and the rank among its like, the longest period first, not the
            numbers: an edit of a rate keeps what was used, and so do the longer limits when a
            shorter one comes or goes.
        wire: The quotas as the decision script reads them.
    """

    quotas: tuple[Quota, ...]
    cost: int = 1
    slots: tuple[str, ...] = field(init=False, compare=False)
    wire: bytes = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        seen = dict.fromkeys(Algorithm, 0)
        slots = [""] * len(self.quotas)
        for place, quota in sorted(enumerate(self.quotas), key=lambda pair: -pair[1].period_us):
            slots[place] = f"{quota.algorithm[0]}{seen[quota.algorithm]}"
            seen[quota.algorithm] += 1
        object.__setattr__(self, "slots", tuple(slots))
        object.__setattr__(self, "wire", b"".join(map(self._pack, self.quotas)))

    def times(self, factor: int) -> "Allowance":
        """``factor`` times each quota."""
        return Allowance(tuple(quota.times(factor) for quota in self.quotas), self.cost)

    def share(self, parts: int) -> "Allowance":
        """One of ``parts`` equal parts of each quota."""
        quotas = tuple(quota.share(parts) for quota in self.quotas)
        return Allowance(quotas, min(self.cost, *(quota.capacity for quota in quotas)))

    def _pack(self, quota: Quota) -> bytes:
        if quota.algorithm is Algorithm.TOKEN_BUCKET:
            return WIRE.pack(0, quota.spacing_us, quota.capacity, self.cost)
        return WIRE.pack(1, quota.period_us, quota.count, self.cost)


class Claim(NamedTuple):
    """One rule's demand on one counted client.

    Attributes:
        key: Names the rule and the client, such as ``rate_tiers:default:ip:203.0.113.9``.
            Claims of one decision have different keys.
        allowance: What the rule grants.
        enforced: False for a rule in shadow: it counts on keys of its own, only when the
            request is admitted, and never refuses.
        on_store_error: What holds while the counters cannot be reached.
    """

    key: str
    allowance: Allowance
    enforced: bool = True
    on_store_error: OnStoreError = OnStoreError.LOCAL


class Store(StrEnum):
    """Which counters decided."""

    REDIS = "redis"
    LOCAL = "local"
    NONE = "none"


class Outcome(NamedTuple):
    """What became of one claim.

    Attributes:
        passed: Every quota of the claim had room (also for a claim in shadow).
        verdicts: One for each quota, in order; empty where nothing was counted
            (``on_store_error`` ``open`` or ``closed`` without the store). Where the whole
            request was refused or the claim did not pass, nothing was charged and
            ``remaining`` and ``reset_after_us`` describe the state as it is.
    """

    claim: Claim
    passed: bool
    verdicts: tuple[Verdict, ...]

    @property
    def retry_after_us(self) -> int:
        """The longest wait among the quotas, 0 if the claim passed."""
        return max((verdict.retry_after_us for verdict in self.verdicts), default=0)


class Decision(NamedTuple):
    """The answer to all claims of one request.

    Attributes:
        allowed: Every enforced claim passed, and all of them were charged; else none was.
        outcomes: One for each claim, in order.
        now_us: The clock that decided (Redis's own), in epoch microseconds.
        store: Whose counters they were.
        unavailable: Refused only because a ``closed`` rule had no store to ask: 503, not 429.
    """

    allowed: bool
    outcomes: tuple[Outcome, ...]
    now_us: int
    store: Store
    unavailable: bool = False

    def followed_by(self, other: "Decision") -> "Decision":
        """What this decision and a later one on other claims of the request are together."""
        return Decision(
            self.allowed and other.allowed,
            (*self.outcomes, *other.outcomes),
            other.now_us,
            other.store,
            other.unavailable,
        )


def settle(
    claims: Sequence[Claim], states: Sequence[State | None], now_us: int, *, parts: int = 1
) -> tuple[tuple[Outcome, ...], list[State | None]]:
    """Decide all claims of one request, as ``store/scripts/decide.lua`` does.

    Args:
        claims: What the request asks.
        states: What each quota of each claim kept from the last call, in order.
        now_us: Epoch microseconds.
        parts: Into how many equal parts each allowance is cut; one of them is granted.

    Returns:
        One outcome for each claim, and for each state the one to write, None where it stands.
    """
    outcomes = []
    keep: list[State | None] = []
    refused = short = False
    for claim in claims:
        allowance = claim.allowance if parts == 1 else _share(claim.allowance, parts)
        passed = True
        verdicts = []
        for quota in allowance.quotas:
            verdict, kept = judge(quota, states[len(keep)], now_us, allowance.cost)
            verdicts.append(verdict)
            keep.append(kept)
            passed = passed and verdict.allowed
        if not passed:
            short = True
            refused = refused or claim.enforced
        outcomes.append(Outcome(claim, passed, tuple(verdicts)))
    if short:
        _take_back(outcomes, states, keep, now_us, parts, refused=refused)
    return tuple(outcomes), keep


def counted_alone(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that are counted in the process while the shared counters are away."""
    return [claim for claim in claims if claim.on_store_error is OnStoreError.LOCAL]


def decide_alone(
    claims: Sequence[Claim], now_us: int, count: Callable[[list[Claim]], Decision]
) -> Decision:
    """Decide without the shared counters, each claim as its rule says.

    Args:
        claims: What the request asks.
        now_us: Epoch microseconds.
        count: Decides those of ``counted_alone``. Not called where a ``closed`` rule refuses.
    """
    if any(claim.enforced and claim.on_store_error is OnStoreError.CLOSED for claim in claims):
        outcomes = tuple(
            Outcome(claim, claim.on_store_error is not OnStoreError.CLOSED, ()) for claim in claims
        )
        return Decision(
            allowed=False, outcomes=outcomes, now_us=now_us, store=Store.NONE, unavailable=True
        )
    local = counted_alone(claims)
    decision = count(local)
    counted = iter(decision.outcomes)
    outcomes = tuple(
        next(counted)
        if claim.on_store_error is OnStoreError.LOCAL
        else Outcome(claim, claim.on_store_error is OnStoreError.OPEN, ())
        for claim in claims
    )
    return decision._replace(outcomes=outcomes, store=Store.LOCAL if local else Store.NONE)


def _take_back(
    outcomes: list[Outcome],
    states: Sequence[State | None],
    keep: list[State | None],
    now_us: int,
    parts: int,
    *,
    refused: bool,
) -> None:
    """Charge nothing where a claim fell short; where the request is refused, nothing at all."""
    place = 0
    for number, (claim, passed, verdicts) in enumerate(outcomes):
        allowance = claim.allowance if parts == 1 else _share(claim.allowance, parts)
        if refused or not passed:
            told = []
            for offset, (quota, verdict) in enumerate(zip(allowance.quotas, verdicts, strict=True)):
                state = states[place + offset]
                told.append(standing(quota, state, now_us) if verdict.allowed else verdict)
                keep[place + offset] = mend(quota, state, now_us)
            outcomes[number] = Outcome(claim, passed, tuple(told))
        place += len(verdicts)


@lru_cache(maxsize=4096)
def _share(allowance: Allowance, parts: int) -> Allowance:
    return allowance.share(parts)
