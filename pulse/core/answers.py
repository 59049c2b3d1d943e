"""What a client is told of its limits: the header fields of an answer.

Source: draft-ietf-httpapi-ratelimit-headers-10 for ``RateLimit`` and ``RateLimit-Policy``.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pulse.core.charging import Charge
from pulse.core.claims import Decision, Outcome
from pulse.core.quotas import SECOND_US, Quota, Verdict
from pulse.core.snapshot import Rule

#: Seconds after which a client may try again while a ``closed`` limit has no store.
STORE_RETRY_S: Final = 5


def rate_limit_headers(found: Sequence[Charge], decision: Decision, form: str) -> dict[str, str]:
    """Tell where a client stands with the tightest limit that is enforced on it.

    Args:
        found: What the request was charged to, in the order of the decision's outcomes.
        decision: The verdict on it.
        form: ``both``, ``legacy``, ``ietf`` or ``off``.

    Returns:
        Header fields by name; none where nothing is enforced or nothing was counted.
    """
    if form == "off":
        return {}
    tightest = _tightest(found, decision)
    if tightest is None:
        return {}
    charge, place, verdict = tightest
    name, capacity = _told(charge.rule, charge.ceiling)[place]
    remaining = str(verdict.remaining)
    after_us = verdict.retry_after_us or verdict.reset_after_us
    headers = {}
    if form != "ietf":
        headers["X-RateLimit-Limit"] = capacity
        headers["X-RateLimit-Remaining"] = remaining
        headers["X-RateLimit-Reset"] = str(ceil_s(decision.now_us + after_us))
    if form != "legacy":
        told = [_policies(charge.rule, charge.ceiling) for charge in found if charge.claim.enforced]
        # A rule that only takes requests once has no limits to tell of.
        headers["RateLimit-Policy"] = ", ".join(filter(None, told))
        headers["RateLimit"] = f'"{name}";r={remaining};t={ceil_s(after_us)}'
    return headers


def refusing(found: Sequence[Charge], decision: Decision) -> tuple[Charge, Outcome]:
    """Return the enforced claim that makes the client of a refused request wait longest."""
    refused = [
        (charge, outcome)
        for charge, outcome in zip(found, decision.outcomes, strict=True)
        if outcome.claim.enforced and not outcome.passed
    ]
    return max(refused, key=lambda pair: pair[1].retry_after_us)


def retry_after_s(outcome: Outcome) -> int:
    """Return ``Retry-After``: whole seconds, rounded up, at least 1."""
    return max(1, ceil_s(outcome.retry_after_us))


def ceil_s(time_us: int) -> int:
    """Return microseconds as seconds, rounded up."""
    return -(-time_us // SECOND_US)


def _tightest(found: Sequence[Charge], decision: Decision) -> tuple[Charge, int, Verdict] | None:
    """Return what has the longest wait, or the least remaining: a charge, which of its quotas."""
    standing = [
        (charge, place, verdict)
        for charge, outcome in zip(found, decision.outcomes, strict=True)
        if outcome.claim.enforced
        for place, verdict in enumerate(outcome.verdicts)
    ]
    return min(standing, key=_tightness, default=None)


def _tightness(standing: tuple[Charge, int, Verdict]) -> tuple[int, int, int]:
    _, _, verdict = standing
    return -verdict.retry_after_us, verdict.remaining, -verdict.reset_after_us


@lru_cache(maxsize=4096)
def _policies(rule: Rule, ceiling: bool) -> str:  # noqa: FBT001 - half of a key
    """Write every quota of a rule: its most at once, and the time in which that is free again."""
    allowance = rule.ceiling if ceiling else rule.allowance
    return ", ".join(
        f'"{_policy_name(rule, ceiling, place)}";q={quota.capacity};w={_refill_s(quota)}'
        for place, quota in enumerate(allowance.quotas)
    )


@lru_cache(maxsize=4096)
def _told(rule: Rule, ceiling: bool) -> tuple[tuple[str, str], ...]:  # noqa: FBT001 - as above
    """Write the policy's name and the most at once of every quota of a rule."""
    quotas = (rule.ceiling if ceiling else rule.allowance).quotas
    return tuple(
        (_policy_name(rule, ceiling, place), str(quota.capacity))
        for place, quota in enumerate(quotas)
    )


def _policy_name(rule: Rule, ceiling: bool, place: int) -> str:  # noqa: FBT001 - as above
    name = f"{rule.name}-address" if ceiling else rule.name
    return f"{name}-{place + 1}" if place else name


def _refill_s(quota: Quota) -> int:
    if quota.capacity == quota.count:
        return ceil_s(quota.period_us)
    return max(1, ceil_s(quota.burst * quota.spacing_us))
