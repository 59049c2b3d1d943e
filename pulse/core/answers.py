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
    name, quota, verdict = tightest
    after_us = verdict.retry_after_us or verdict.reset_after_us
    headers = {}
    if form != "ietf":
        headers["X-RateLimit-Limit"] = str(quota.capacity)
        headers["X-RateLimit-Remaining"] = str(verdict.remaining)
        headers["X-RateLimit-Reset"] = str(ceil_s(decision.now_us + after_us))
    if form != "legacy":
        headers["RateLimit-Policy"] = ", ".join(
            [_policies(charge.rule, charge.ceiling) for charge in found if charge.claim.enforced]
        )
        headers["RateLimit"] = f'"{name}";r={verdict.remaining};t={ceil_s(after_us)}'
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


def _tightest(found: Sequence[Charge], decision: Decision) -> tuple[str, Quota, Verdict] | None:
    """Return the quota with the longest wait, or the least remaining, and its policy's name."""
    best: tuple[tuple[int, int, int], Charge, int, Quota, Verdict] | None = None
    for charge, outcome in zip(found, decision.outcomes, strict=True):
        if not outcome.claim.enforced:
            continue
        quotas = outcome.claim.allowance.quotas
        for place, verdict in enumerate(outcome.verdicts):
            rank = (-verdict.retry_after_us, verdict.remaining, -verdict.reset_after_us)
            if best is None or rank < best[0]:
                best = (rank, charge, place, quotas[place], verdict)
    if best is None:
        return None
    _, charge, place, quota, verdict = best
    return _policy_name(charge.rule, charge.ceiling, place), quota, verdict


@lru_cache(maxsize=4096)
def _policies(rule: Rule, ceiling: bool) -> str:  # noqa: FBT001 - half of a key
    """Write every quota of a rule: its most at once, and the time in which that is free again."""
    allowance = rule.ceiling if ceiling else rule.allowance
    return ", ".join(
        f'"{_policy_name(rule, ceiling, place)}";q={quota.capacity};w={_refill_s(quota)}'
        for place, quota in enumerate(allowance.quotas)
    )


def _policy_name(rule: Rule, ceiling: bool, place: int) -> str:  # noqa: FBT001 - as above
    name = f"{rule.name}-address" if ceiling else rule.name
    return f"{name}-{place + 1}" if place else name


def _refill_s(quota: Quota) -> int:
    if quota.capacity == quota.count:
        return ceil_s(quota.period_us)
    return max(1, ceil_s(quota.burst * quota.spacing_us))
